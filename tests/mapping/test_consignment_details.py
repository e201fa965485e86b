"""Consignments, quotes and labels as the Consignments API writes them: states, dates, amounts, names and numbers."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any, Final

import grpc
import pytest
from allocation.v1 import consignment_allocation_service_pb2 as pb
from allocation.v1 import core_pb2
from allocation.v1.error_reason_pb2 import ErrorReason
from google.type import decimal_pb2, money_pb2
from mapping.consignments import (
    CONSIGNMENT,
    LABELS,
    QUOTED,
    REQUESTS,
    answer,
    call,
    check,
    consignment,
    expected,
    lines,
    refused,
    response,
)
from mapping.table import same
from support.doubt import in_doubt
from support.upstream import Reply

if TYPE_CHECKING:
    from allocation.v1.consignment_allocation_service_pb2_grpc import ConsignmentAllocationServiceStub as Stub
    from support.upstream import Upstream

GET: Final = "GetConsignmentAllocation"
QUOTES: Final = "GetConsignmentQuotes"

# The wire name and the number of each state, as the vendor's SDK has them.
STATES: Final = {
    "Unallocated": 0,
    "Allocating": 1,
    "AllocationFailed": 2,
    "Allocated": 3,
    "Manifesting": 4,
    "Manifested": 5,
    "ManifestFailed": 6,
    "Dispatched": 7,
    "AtDropOffPoint": 9,
    "Collected": 10,
    "CollectionFailed": 11,
    "InTransit": 12,
    "Delayed": 13,
    "OutForDelivery": 14,
    "DeliveryFailed": 15,
    "DeliveryFailedCardLeft": 16,
    "Delivered": 17,
    "PartiallyDelivered": 18,
    "AtCollectionPoint": 19,
    "ReturnToSender": 20,
    "ActionRequired": 21,
    "Missing": 22,
    "Lost": 23,
    "Damaged": 24,
    "Cancelling": 25,
    "Cancelled": 26,
    "InTransitWaiting": 27,
    "HeldByCarrier": 28,
    "ExchangeFailed": 29,
    "AtCustoms": 30,
    "CarrierUnableToCollect": 31,
    "DeliveredDamaged": 32,
    "ReadyToShip": 40,
}


def read(stub: Stub, upstream: Upstream, body: object) -> pb.ConsignmentAllocation:
    """Reads the golden consignment from a body."""
    upstream.answer(200, body)
    return call(stub, REQUESTS[GET]).allocation  # type: ignore[no-any-return]


def broken(stub: Stub, upstream: Upstream, rpc: str, body: object) -> str:
    """Makes a read whose answer cannot be used, and returns what the caller is told."""
    upstream.answer(200, body)
    failed = refused(stub, REQUESTS[rpc])
    assert (failed.code, failed.reason) == (grpc.StatusCode.INTERNAL, "UPSTREAM_CONTRACT_BROKEN")
    assert failed.metadata == {"upstream_status": "200"}
    return failed.message


# States


def test_the_documented_states_are_33() -> None:
    """And each has a value of its own in the contract."""
    assert len(STATES) == 33
    assert len(pb.ConsignmentState.keys()) == 1 + 33


@pytest.mark.parametrize(("name", "number"), STATES.items())
def test_every_documented_state_is_known_by_name_in_any_case_and_by_number(
    consignments_stub: Stub, upstream: Upstream, name: str, number: int
) -> None:
    """The text beside the enum is as upstream wrote it."""
    spelt = "".join(f"_{letter}" if letter.isupper() else letter.upper() for letter in name)
    value = pb.ConsignmentState.Value(f"CONSIGNMENT_STATE{spelt}")
    for written in (name, name.lower(), name.upper(), number):
        got = read(consignments_stub, upstream, consignment(CONSIGNMENT, written))  # type: ignore[arg-type]

        same(got, pb.ConsignmentAllocation(consignment_reference=CONSIGNMENT, state=value, state_text=str(written)))


@pytest.mark.parametrize("written", ["Teleporting", "At Customs", "Unspecified", "3 ", 8, 33, 39, 41, -1, 10**30])
def test_a_state_that_is_not_known_keeps_its_text(consignments_stub: Stub, upstream: Upstream, written: Any) -> None:
    """It is neither an error nor taken for another state."""
    got = read(consignments_stub, upstream, consignment(CONSIGNMENT, written))

    same(got, pb.ConsignmentAllocation(consignment_reference=CONSIGNMENT, state_text=str(written)))


@pytest.mark.parametrize(
    ("body", "what"),
    [
        ({"Reference": CONSIGNMENT}, "ConsignmentState: expected a string, got nothing"),
        ({"Reference": CONSIGNMENT, "ConsignmentState": ""}, "ConsignmentState: is empty"),
        ({"Reference": CONSIGNMENT, "ConsignmentState": 1.5}, "ConsignmentState: expected a string, got a number"),
        ({"Reference": CONSIGNMENT, "ConsignmentState": True}, "ConsignmentState: expected a string, got a boolean"),
        ({"ConsignmentState": "Allocated"}, "Reference: expected a string, got nothing"),
        (consignment("EC-000-999-999", "Allocated"), "Reference: is not the consignment that was asked for"),
        ([consignment(CONSIGNMENT, "Allocated")], "body: expected an object, got an array"),
        (consignment(CONSIGNMENT, "Allocated", Allocation=[]), "Allocation: expected an object, got an array"),
        (
            consignment(CONSIGNMENT, "Allocated", Allocation={"MpdCarrierServiceReference": 1}),
            "Allocation.MpdCarrierServiceReference: expected a string, got a number",
        ),
        (
            consignment(CONSIGNMENT, "Allocated", Allocation={"CarrierServiceGroupReference": 1}),
            "Allocation.CarrierServiceGroupReference: expected a string, got a number",
        ),
    ],
)
def test_a_consignment_that_cannot_be_read_says_what_is_wrong(
    consignments_stub: Stub, upstream: Upstream, body: object, what: str
) -> None:
    """With the path, and without the value."""
    assert what in broken(consignments_stub, upstream, GET, body)


def test_a_reference_in_another_case_is_the_same_consignment(consignments_stub: Stub, upstream: Upstream) -> None:
    """Upstream's have no small letters; it is told as upstream writes it."""
    got = read(consignments_stub, upstream, consignment(CONSIGNMENT.lower(), "Unallocated"))

    assert got.consignment_reference == CONSIGNMENT.lower()


# Allocations that are read


def allocated(**changes: Any) -> dict[str, Any]:
    return consignment(CONSIGNMENT, "Allocated", Allocation=changes)


@pytest.mark.parametrize("name", ["AllocationDate", "AllocateDate"])
@pytest.mark.parametrize(
    ("text", "seconds", "nanos"),
    [
        ("2019-06-14T09:41:05.6034562+00:00", 1560505265, 603_456_200),
        ("2019-06-14T10:41:05+01:00", 1560505265, 0),
        ("2019-06-14T09:41:05.5Z", 1560505265, 500_000_000),
        ("2019-06-14T09:41:05", 1560505265, 0),
    ],
)
def test_the_date_of_an_allocation_has_either_name_and_every_digit(
    consignments_stub: Stub, upstream: Upstream, name: str, text: str, seconds: int, nanos: int
) -> None:
    """The SDK and a client in production call it differently; null under one name leaves the other."""
    other = {"AllocationDate": "AllocateDate", "AllocateDate": "AllocationDate"}[name]
    got = read(consignments_stub, upstream, allocated(**{name: text, other: None}))

    assert (got.allocation_date.seconds, got.allocation_date.nanos) == (seconds, nanos)


def test_nulls_and_what_is_left_out_are_the_same(consignments_stub: Stub, upstream: Upstream) -> None:
    """Upstream emits nulls; a serialiser may leave them out."""
    bare = {"Reference": CONSIGNMENT, "ConsignmentState": "Allocated"}
    wanted = read(consignments_stub, upstream, bare)
    names = ("ConsignmentLegs", "Allocation", "FailedAllocation", "ApiLinks", "Tags")

    same(read(consignments_stub, upstream, {**bare, **dict.fromkeys(names)}), wanted)

    keys = ("CarrierServiceGroupReference", "MpdCarrierServiceReference", "AllocationDate", "AllocateDate", "Price")
    same(read(consignments_stub, upstream, allocated(**dict.fromkeys(keys))), wanted)
    same(read(consignments_stub, upstream, allocated()), wanted)


def gbp(**more: Any) -> dict[str, Any]:
    return {"Net": None, "Gross": None, "TaxRate": None, "Currency": {"Name": "x", "IsoCode": "GBP"}, **more}


MONEY: Final = {
    "27.69": (27, 690_000_000),
    "27.69000": (27, 690_000_000),
    "5.9900": (5, 990_000_000),
    "0.50000": (0, 500_000_000),
    "0.1": (0, 100_000_000),
    "0.00001": (0, 10_000),
    "-3.14159": (-3, -141_590_000),
    "0": (0, 0),
    "0.00000": (0, 0),
    "33": (33, 0),
    "1e2": (100, 0),
    "1234567.123456789": (1_234_567, 123_456_789),
    "9223372036854775807": (2**63 - 1, 0),
}


@pytest.mark.parametrize(("text", "exact"), MONEY.items())
@pytest.mark.parametrize("tax", ["VatAmount", "TaxAmount"])
def test_amounts_are_exact_with_any_number_of_places(
    consignments_stub: Stub, upstream: Upstream, text: str, exact: tuple[int, int], tax: str
) -> None:
    """Decimals come with four or five places, and the tax under either of its names."""
    price = '{"Net": %s, "Gross": %s, "%s": %s, "Currency": {"Name": "Pound Sterling", "IsoCode": "GBP"}}'
    body = '{"Reference": "%s", "ConsignmentState": "Allocated", "Allocation": {"Price": %s}}'
    written = body % (CONSIGNMENT, price % (text, text, tax, text))
    amount = money_pb2.Money(currency_code="GBP", units=exact[0], nanos=exact[1])

    got = read(consignments_stub, upstream, written.encode())

    same(got.price, core_pb2.Price(net=amount, gross=amount, taxes=[core_pb2.Tax(amount=amount)]))


def test_a_rate_without_amounts_is_no_price(consignments_stub: Stub, upstream: Upstream) -> None:
    """Each of them may be null; a service may have no rates."""
    for price in (gbp(), gbp(Currency=None), {}, gbp(TaxRate={"Rate": 0.2})):
        assert not read(consignments_stub, upstream, allocated(Price=price)).HasField("price")


def test_a_rate_may_have_a_part_of_the_amounts(consignments_stub: Stub, upstream: Upstream) -> None:
    """What is not there is unset, and not zero."""
    got = read(consignments_stub, upstream, allocated(Price=gbp(Gross=1.5))).price
    assert not got.HasField("net")
    assert (got.gross.units, got.gross.nanos, list(got.taxes)) == (1, 500_000_000, [])

    got = read(consignments_stub, upstream, allocated(Price=gbp(Net=1, TaxRate={"Rate": 0}))).price
    assert (got.taxes[0].rate.value.value, got.taxes[0].HasField("amount")) == ("0", False)


INEXACT: Final = {
    "ten places": ('"Net": 0.0000000001', "Net: the number has more than nine decimals"),
    "too large": ('"Net": 9223372036854775808', "Net: the number is out of range"),
    "text": ('"Net": "1.00"', "Net: expected a number, got a string"),
    "one of two": ('"Net": 1.00, "Gross": []', "Gross: expected a number, got an array"),
    "no currency": ('"Net": 1.00, "Currency": null', "Currency: expected an object, got nothing"),
    "no code": ('"Net": 1.00, "Currency": {"Name": "x"}', "Currency.IsoCode: expected a string, got nothing"),
    "empty code": ('"Net": 1.00, "Currency": {"IsoCode": ""}', "Currency.IsoCode: is empty"),
    "currency as text": ('"Net": 1.00, "Currency": "GBP"', "Currency: expected an object, got a string"),
}


@pytest.mark.parametrize(("fields", "what"), INEXACT.values(), ids=INEXACT.keys())
def test_a_price_that_is_not_exact_is_left_out_and_named_and_never_rounded(
    consignments_stub: Stub, upstream: Upstream, fields: str, what: str
) -> None:
    """The booking, its state and everything else can be read all the same."""
    currency = "" if '"Currency"' in fields else ', "Currency": {"IsoCode": "GBP"}'
    head = f'{{"Reference": "{CONSIGNMENT}", "ConsignmentState": "Allocated"'
    body = f'{head}, "Allocation": {{"Price": {{{fields}{currency}}}}}}}'

    upstream.answer(200, body.encode())

    got = call(consignments_stub, REQUESTS[GET]).allocation

    wanted = pb.ConsignmentAllocation(
        consignment_reference=CONSIGNMENT,
        state=pb.CONSIGNMENT_STATE_ALLOCATED,
        state_text="Allocated",
        unreadable=[f"Allocation.Price.{what.partition(':')[0]}"],
    )
    same(got, wanted)


def test_a_tax_rate_that_cannot_be_read_does_not_cost_the_price(consignments_stub: Stub, upstream: Upstream) -> None:
    """Its amounts are exact."""
    rate = {"Reference": "GB-0.2000", "Rate": "0.2"}

    got = read(consignments_stub, upstream, allocated(Price=gbp(Net=1, Gross=2, VatAmount=1, TaxRate=rate)))

    assert list(got.unreadable) == ["Allocation.Price.TaxRate.Rate"]
    assert [got.price.net.units, got.price.gross.units, got.price.taxes[0].amount.units] == [1, 2, 1]
    assert (got.price.taxes[0].rate.reference, got.price.taxes[0].rate.HasField("value")) == ("GB-0.2000", False)


def test_the_rate_of_the_first_version_is_called_otherwise(consignments_stub: Stub, upstream: Upstream) -> None:
    """VatRate, with the members of TaxRate; null under one name leaves the other."""
    rate = {"Reference": "GB-0.2000", "CountryIsoCode": "GB", "Type": "Standard", "Rate": 0.2}
    wanted = read(consignments_stub, upstream, allocated(Price=gbp(Net=1, TaxRate=rate)))
    assert wanted.price.taxes[0].rate.value.value == "0.2"

    old = {key: value for key, value in gbp(Net=1, VatRate=rate).items() if key != "TaxRate"}
    same(read(consignments_stub, upstream, allocated(Price=old)), wanted)
    same(read(consignments_stub, upstream, allocated(Price=gbp(Net=1, VatRate=rate))), wanted)
    same(read(consignments_stub, upstream, allocated(Price=gbp(Net=1, TaxRate=rate, VatRate=None))), wanted)


# Quotes


def quoted(**changes: Any) -> dict[str, Any]:
    return {"QuoteRequestReference": "r", "Quotes": [{"QuoteReference": "q", **changes}]}


@pytest.mark.parametrize(
    ("written", "name", "text"),
    [
        (0, "NONE", "0"),
        (1, "INTERNAL", "1"),
        (2, "EXTERNAL", "2"),
        ("None", "NONE", "None"),
        ("Internal", "INTERNAL", "Internal"),
        ("External", "EXTERNAL", "External"),
        ("external", "EXTERNAL", "external"),
        ("2", "EXTERNAL", "2"),
        (3, "UNSPECIFIED", "3"),
        (-1, "UNSPECIFIED", "-1"),
        ("Lunar", "UNSPECIFIED", "Lunar"),
        ("Unspecified", "UNSPECIFIED", "Unspecified"),
        (None, "UNSPECIFIED", ""),
    ],
)
def test_the_source_of_a_quoted_service_is_a_name_or_a_number(
    consignments_stub: Stub, upstream: Upstream, written: object, name: str, text: str
) -> None:
    """An integer in what looks like a live answer, a name in another sample; its text is as upstream wrote it."""
    upstream.answer(200, quoted(MpdCarrierServiceSource=written))

    (quote,) = call(consignments_stub, REQUESTS[QUOTES]).quotes

    assert (pb.CarrierServiceSource.Name(quote.source), quote.source_text) == (f"CARRIER_SERVICE_SOURCE_{name}", text)


SURCHARGES: Final[list[tuple[str, object, str]]] = [
    ("ApplicationType", "Standard", "SURCHARGE_APPLICATION_TYPE_STANDARD"),
    ("ApplicationType", "retrospective", "SURCHARGE_APPLICATION_TYPE_RETROSPECTIVE"),
    ("ApplicationType", 1, "SURCHARGE_APPLICATION_TYPE_STANDARD"),
    ("ApplicationType", 2, "SURCHARGE_APPLICATION_TYPE_RETROSPECTIVE"),
    ("ApplicationType", 0, "SURCHARGE_APPLICATION_TYPE_UNSPECIFIED"),
    ("ApplicationType", "Unknown", "SURCHARGE_APPLICATION_TYPE_UNSPECIFIED"),
    ("Type", "Additive", "SURCHARGE_TYPE_ADDITIVE"),
    ("Type", 0, "SURCHARGE_TYPE_ADDITIVE"),
    ("Type", "Variable", "SURCHARGE_TYPE_VARIABLE"),
    ("Type", 1, "SURCHARGE_TYPE_VARIABLE"),
    ("Type", 9, "SURCHARGE_TYPE_UNSPECIFIED"),
    ("CalculationModel", "Fixed", "SURCHARGE_CALCULATION_MODEL_FIXED"),
    ("CalculationModel", 0, "SURCHARGE_CALCULATION_MODEL_FIXED"),
    ("CalculationModel", "Calculated", "SURCHARGE_CALCULATION_MODEL_CALCULATED"),
    ("CalculationModel", 1, "SURCHARGE_CALCULATION_MODEL_CALCULATED"),
    ("CalculationModel", "Guessed", "SURCHARGE_CALCULATION_MODEL_UNSPECIFIED"),
]


@pytest.mark.parametrize(("key", "written", "name"), SURCHARGES)
def test_the_kinds_of_a_surcharge_are_names_or_numbers(
    consignments_stub: Stub, upstream: Upstream, key: str, written: object, name: str
) -> None:
    """Upstream's numbers begin at zero where the contract keeps zero for what is not known."""
    field = {"ApplicationType": "application_type", "Type": "type", "CalculationModel": "calculation_model"}[key]
    upstream.answer(200, quoted(Surcharges=[{"Reference": "s", key: written}]))

    check(
        consignments_stub,
        QUOTES,
        f"""
        reference: "r"
        quotes {{
          reference: "q"
          surcharges {{ reference: "s" {field}: {name} {field}_text: "{written}" }}
        }}
        """,
    )


@pytest.mark.parametrize("text", ["0.20000", "5", "1E-7", "123456789012345678901234567890.5"])
def test_the_amount_of_a_surcharge_keeps_its_scale(consignments_stub: Stub, upstream: Upstream, text: str) -> None:
    """It is a decimal, whatever it is an amount of."""
    body = '{"QuoteRequestReference": "r", "Quotes": [{"QuoteReference": "q", "Surcharges": [{"Amount": %s}]}]}'
    upstream.answer(200, (body % text).encode())

    (quote,) = call(consignments_stub, REQUESTS[QUOTES]).quotes

    same(quote.surcharges[0].amount, decimal_pb2.Decimal(value=text))


@pytest.mark.parametrize("reference", [QUOTED, QUOTED.lower(), "", None])
def test_a_quote_may_leave_its_consignment_open(
    consignments_stub: Stub, upstream: Upstream, reference: str | None
) -> None:
    """It is empty for a consignment that does not exist yet. One in another case is the same."""
    upstream.answer(200, quoted(ConsignmentReference=reference))

    (quote,) = call(consignments_stub, REQUESTS[QUOTES]).quotes

    assert quote.consignment_reference == (reference or "")


@pytest.mark.parametrize(
    ("body", "what"),
    [
        (quoted(ConsignmentReference="EC-000-999-999"), "ConsignmentReference: is not the consignment"),
        ({"Message": "None."}, "QuoteRequestReference: there is neither a reference nor a quote"),
        ({"Quotes": []}, "QuoteRequestReference: there is neither a reference nor a quote"),
        ([], "body: expected an object, got an array"),
        ({"QuoteRequestReference": "r", "Quotes": {}}, "Quotes: expected an array, got an object"),
    ],
)
def test_quotes_that_cannot_be_used_say_what_is_wrong(
    consignments_stub: Stub, upstream: Upstream, body: object, what: str
) -> None:
    """If there are none to be read, or if they are another consignment's."""
    assert what in broken(consignments_stub, upstream, QUOTES, body)


@pytest.mark.parametrize(
    ("changes", "path", "is_told"),
    [
        ({"QuoteReference": None}, "QuoteReference", False),
        ({"QuoteReference": 7}, "QuoteReference", False),
        ({"ConsignmentReference": 7}, "ConsignmentReference", False),
        ({"ExpiryDate": "tomorrow"}, "ExpiryDate", True),
        ({"Price": {"Net": 1e-10, "Currency": {"IsoCode": "GBP"}}}, "Price.Net", True),
        ({"BasePrice": "free"}, "BasePrice", True),
        ({"Surcharges": [{"Amount": "1"}]}, "Surcharges[0].Amount", True),
    ],
)
def test_one_quote_of_which_a_part_cannot_be_read_does_not_cost_the_others(
    consignments_stub: Stub, upstream: Upstream, changes: dict[str, object], path: str, is_told: bool
) -> None:
    """It is told without that part, and names it; without what nobody can take it by, it is left out and named."""
    good = {"QuoteReference": "good", "ConsignmentReference": QUOTED}
    upstream.answer(200, {"QuoteRequestReference": "r", "Quotes": [good, {"QuoteReference": "q", **changes}]})

    got = call(consignments_stub, REQUESTS[QUOTES])

    named = [f"Quotes[1].{path}"]
    assert [quote.reference for quote in got.quotes] == (["good", "q"] if is_told else ["good"])
    assert list(got.quotes[0].unreadable) == []
    assert list(got.quotes[-1].unreadable) == (named if is_told else [])
    assert list(got.unreadable) == ([] if is_told else named)
    assert not got.quotes[-1].HasField("price")


def test_no_quotes_are_an_answer_like_any_other(consignments_stub: Stub, upstream: Upstream) -> None:
    """With the services that gave none, and why."""
    unqualified = {"Available": True, "Rates": None, "MpdCarrierServiceReference": "S", "ExclusionReason": "No."}
    body = {"QuoteRequestReference": "r", "Quotes": None, "Message": "None.", "UnqualifiedServices": [unqualified]}
    upstream.answer(201, body)

    check(
        consignments_stub,
        QUOTES,
        """
        reference: "r" message: "None."
        unqualified_services { carrier_service_reference: "S" available: true exclusion_reason: "No." }
        """,
    )


# Labels with an allocation


def labelled(*items: dict[str, Any]) -> dict[str, Any]:
    """Returns an AllocateAndGetLabelsResponse whose results differ from the golden one as given."""
    golden = json.loads(answer("labels"))["Responses"][0]
    return {"Responses": [{**golden, **item} for item in items]}


def with_labels(stub: Stub, upstream: Upstream, *items: dict[str, Any]) -> Any:
    """Makes the golden call for labels with an answer of these results."""
    upstream.answer(200, labelled(*items))
    return call(stub, REQUESTS[LABELS])


def test_two_labels_come_with_the_allocation_of_the_way_out(consignments_stub: Stub, upstream: Upstream) -> None:
    """Whichever of them comes first: what the consignment that comes back is allocated to is not told as this one's."""
    upstream.answer(200, answer("labels_both_ways"))
    check(consignments_stub, LABELS, expected("labels_both_ways"))

    body = json.loads(answer("labels_both_ways"))
    upstream.answer(200, {"Responses": body["Responses"][::-1]})
    got = call(consignments_stub, REQUESTS[LABELS])
    assert got.allocation == response(LABELS, expected("labels_both_ways")).allocation  # type: ignore[attr-defined]
    assert [item.label_type for item in got.labels] == [pb.LABEL_TYPE_CONSIGNMENT, pb.LABEL_TYPE_RETURN]


CONTENTS: Final = {
    "every byte": bytes(range(256)),
    "one byte": b"\0",
    "ZPL": b"^XA^FO50,50^ADN,36,20^FDEC-000-05B-MMA^FS^XZ",
    "PNG": b"\x89PNG\r\n\x1a\n" + b"\0" * 1_000,
    "large": b"%PDF-1.4" + b"\xff" * 1_000_000,
}


@pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS.keys())
@pytest.mark.parametrize("kind", ["application/pdf", "image/png", "application/zpl", ""])
def test_the_bytes_of_a_label_are_exact_and_its_type_is_upstreams(
    consignments_stub: Stub, upstream: Upstream, content: bytes, kind: str
) -> None:
    """Base64 on one side, bytes on the other."""
    written = base64.b64encode(content).decode()
    got = with_labels(consignments_stub, upstream, {"LabelContent": written, "LabelFileType": kind or None})

    (label,) = got.labels
    assert label.content == content
    assert label.content_type == kind
    assert not got.HasField("label_error")


def test_base64_may_be_wrapped_into_lines(consignments_stub: Stub, upstream: Upstream) -> None:
    """Some serialisers do that."""
    wrapped = base64.encodebytes(bytes(range(200))).decode().replace("\n", "\r\n")

    assert with_labels(consignments_stub, upstream, {"LabelContent": wrapped}).labels[0].content == bytes(range(200))


BAD_LABELS: Final[list[object]] = [
    None,
    "",
    "no base64!",
    "YWJj=",
    "YQ==YQ==",
    "YWJ",
    "YWJj\0",
    "ä",
    "YWJj-_",
    17,
    ["YWJj"],
]


@pytest.mark.parametrize("content", BAD_LABELS, ids=repr)
@pytest.mark.parametrize("result", ["ConsignmentAllocated", "OperationSucceed", "OperationPartialSuccess", "New", None])
def test_an_allocation_whose_label_cannot_be_read_is_ok_with_a_label_error(
    consignments_stub: Stub, upstream: Upstream, content: object, result: str | None
) -> None:
    """A label that is missing or broken never makes a failed allocation of one that was made."""
    got = with_labels(consignments_stub, upstream, {"LabelContent": content, "Result": result})

    same(got.allocation, response(LABELS, expected("labels")).allocation)  # type: ignore[attr-defined]
    assert not got.labels
    assert got.label_error.reason == ErrorReason.ERROR_REASON_LABEL_NOT_AVAILABLE
    assert got.label_error.message
    assert len(lines(upstream)) == 1


def test_a_label_error_says_what_upstream_says_or_what_is_wrong(consignments_stub: Stub, upstream: Upstream) -> None:
    """For people to read."""
    said = {"StatusCode": 404, "LabelContent": None, "Message": "Label not found"}
    assert with_labels(consignments_stub, upstream, said).label_error.message == "Label not found"

    broken_label = with_labels(consignments_stub, upstream, {"LabelContent": "!"}).label_error.message
    assert broken_label == "Responses[0].LabelContent: is not base64"

    nothing = with_labels(consignments_stub, upstream, {"LabelContent": None, "Message": None}).label_error.message
    assert nothing == "Upstream allocated the consignment and gave no label."


def test_a_label_of_the_way_back_alone_leaves_a_label_error(consignments_stub: Stub, upstream: Upstream) -> None:
    """The label that was asked for is the one of the way out."""
    got = with_labels(
        consignments_stub,
        upstream,
        {"LabelContent": None},
        {"LabelType": "Return", "Result": "ReturnConsignmentAllocated"},
    )

    assert [item.label_type for item in got.labels] == [pb.LABEL_TYPE_RETURN]
    assert got.label_error.reason == ErrorReason.ERROR_REASON_LABEL_NOT_AVAILABLE


def test_a_way_back_that_failed_does_not_cost_the_way_out(consignments_stub: Stub, upstream: Upstream) -> None:
    """The label of the way out is there."""
    failed = {
        **dict.fromkeys(("LabelContent", "LabelFileType", "CarrierServiceReference")),
        "LabelType": "Return",
        "StatusCode": 400,
        "Result": "ReturnConsignmentAllocationFailed",
    }
    got = with_labels(consignments_stub, upstream, failed, {})

    same(got, response(LABELS, expected("labels")))


FAILED: Final[dict[str, Any]] = {
    **dict.fromkeys(("LabelContent", "LabelFileType", "CarrierReference", "CarrierServiceReference")),
    "StatusCode": 400,
    "Result": "ConsignmentAllocationFailed",
}
OUTCOMES: Final[dict[str, tuple[list[dict[str, Any]], str]]] = {
    "failed": ([FAILED], "ALLOCATION_FAILED none"),
    "failed, by its number": ([{**FAILED, "Result": 3}], "ALLOCATION_FAILED none"),
    "failed, with a service": ([{**FAILED, "CarrierServiceReference": "S"}], "ALLOCATION_FAILED none"),
    "failed, with success": ([{**FAILED, "StatusCode": 200}], "ALLOCATION_FAILED none"),
    "not created": ([{**FAILED, "Result": "ConsignmentCreationFailed"}], "ALLOCATION_FAILED none"),
    "created alone": ([{**FAILED, "Result": "ConsignmentCreated"}], "ALLOCATION_FAILED none"),
    "refused by its status": ([{**FAILED, "Result": "OperationFailed"}], "ALLOCATION_FAILED none"),
    "failed there, made back": (
        [FAILED, {"LabelType": "Return", "Result": "ReturnConsignmentAllocated"}],
        "ALLOCATION_FAILED none",
    ),
    "broke down": ([{**FAILED, "Result": "OperationFailed", "StatusCode": 500}], "UPSTREAM_CONTRACT_BROKEN unknown"),
    "failed with a service that was tried": (
        [{**FAILED, "Result": "OperationFailed", "CarrierServiceReference": "S"}],
        "UPSTREAM_CONTRACT_BROKEN unknown",
    ),
    "nothing is said": ([{**FAILED, "Result": None, "StatusCode": 200}], "UPSTREAM_CONTRACT_BROKEN unknown"),
    "only the way back": ([{"LabelType": "Return"}], "UPSTREAM_CONTRACT_BROKEN unknown"),
    "none": ([], "UPSTREAM_CONTRACT_BROKEN unknown"),
}


REFUSED: Final = {name: items for name, (items, wanted) in OUTCOMES.items() if wanted.endswith("none")}
DOUBTFUL: Final = {name: items for name, (items, wanted) in OUTCOMES.items() if wanted.endswith("unknown")}


@pytest.mark.parametrize("items", REFUSED.values(), ids=REFUSED.keys())
def test_what_was_not_allocated_is_an_error(
    consignments_stub: Stub, upstream: Upstream, items: list[dict[str, Any]]
) -> None:
    """What upstream calls the result decides; the service of the way back proves nothing of the way out."""
    upstream.answer(200, labelled(*items))
    upstream.answer(503)

    failed = refused(consignments_stub, REQUESTS[LABELS])

    assert f"{failed.reason} {failed.metadata['effect']}" == "ALLOCATION_FAILED none"


NO_ANSWERS: Final[tuple[object, ...]] = ([], {}, {"Responses": None}, {"Responses": {}}, {"Responses": [17]}, "text")


def test_what_may_not_have_been_allocated_is_of_unknown_outcome(consignments_stub: Stub, upstream: Upstream) -> None:
    """So is an answer with labels that has another shape: nobody knows what was allocated then."""
    assert len(DOUBTFUL) == 5
    bodies = [*(labelled(*items) for items in DOUBTFUL.values()), *NO_ANSWERS]
    cases = {place: (REQUESTS[LABELS], Reply(200, body)) for place, body in enumerate(bodies)}

    for failed in in_doubt(consignments_stub, upstream, cases).values():
        assert (failed.reason, failed.metadata["cause"]) == ("OUTCOME_UNKNOWN", "UPSTREAM_CONTRACT_BROKEN")


NUMBERED: Final = {
    2: "LABEL_RESULT_CONSIGNMENT_ALLOCATED",
    5: "LABEL_RESULT_OPERATION_FAILED",
    6: "LABEL_RESULT_OPERATION_SUCCEED",
    7: "LABEL_RESULT_OPERATION_PARTIAL_SUCCESS",
}


@pytest.mark.parametrize(
    ("key", "written", "field", "name"),
    [
        ("LabelType", 1, "label_type", "LABEL_TYPE_CONSIGNMENT"),
        ("LabelType", "consignment", "label_type", "LABEL_TYPE_CONSIGNMENT"),
        ("LabelType", "Poster", "label_type", "LABEL_TYPE_UNSPECIFIED"),
        ("LabelType", 9, "label_type", "LABEL_TYPE_UNSPECIFIED"),
        *(("Result", number, "result", name) for number, name in NUMBERED.items()),
        *(("Result", number, "result", "LABEL_RESULT_UNSPECIFIED") for number in (0, 12, -1)),
        ("Result", "OperationSucceed", "result", "LABEL_RESULT_OPERATION_SUCCEED"),
        ("Result", "OperationPartialSuccess", "result", "LABEL_RESULT_OPERATION_PARTIAL_SUCCESS"),
        ("Result", "Unknown", "result", "LABEL_RESULT_UNSPECIFIED"),
        ("Result", "Splendid", "result", "LABEL_RESULT_UNSPECIFIED"),
    ],
)
def test_the_type_and_the_result_of_a_label_are_names_or_numbers(
    consignments_stub: Stub, upstream: Upstream, key: str, written: object, field: str, name: str
) -> None:
    """One that is not known keeps its text."""
    (label,) = with_labels(consignments_stub, upstream, {key: written}).labels

    known: Any = pb.LabelType if key == "LabelType" else pb.LabelResult
    assert known.Name(getattr(label, field)) == name
    assert getattr(label, f"{field}_text") == str(written)

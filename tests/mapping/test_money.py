"""Money is exact: every amount comes back by value or not at all, and an allocation is never lost over its price."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import grpc
import pytest
from allocation.v1 import core_pb2, error_reason_pb2
from allocation.v1 import shipment_allocation_service_pb2 as pb
from mapping.table import BULKS, REQUESTS, SHIPMENT, SHIPMENTS, SINGLES, answer, call, expected, refused, response, same
from support.doubt import in_doubt
from support.upstream import Reply

if TYPE_CHECKING:
    from allocation.v1.shipment_allocation_service_pb2_grpc import ShipmentAllocationServiceStub
    from support.status import Failure
    from support.upstream import Upstream

AMOUNTS: Final = [
    ("0", 0, 0),
    ("-0", 0, 0),
    ("0.0", 0, 0),
    ("-0.000000", 0, 0),
    ("0e0", 0, 0),
    ("0.0e-99999", 0, 0),
    ("0E+999999999999999999999", 0, 0),
    ("1", 1, 0),
    ("-1", -1, 0),
    ("2.00", 2, 0),
    ("1.10", 1, 100_000_000),
    ("1.1", 1, 100_000_000),
    ("0.1", 0, 100_000_000),
    ("0.2", 0, 200_000_000),
    ("0.30000000000", 0, 300_000_000),
    ("0.000001", 0, 1_000),
    ("0.000000001", 0, 1),
    ("-0.000000001", 0, -1),
    ("9999999.99999", 9_999_999, 999_990_000),
    ("-9999999.99999", -9_999_999, -999_990_000),
    ("-12.34", -12, -340_000_000),
    ("-0.5", 0, -500_000_000),
    ("16777217.1", 16_777_217, 100_000_000),
    ("9007199254740993", 9_007_199_254_740_993, 0),
    ("9007199254740993.000000001", 9_007_199_254_740_993, 1),
    ("1e3", 1_000, 0),
    ("1E+3", 1_000, 0),
    ("1.5e3", 1_500, 0),
    ("15e-1", 1, 500_000_000),
    ("-2.5E-1", 0, -250_000_000),
    ("12345e-9", 0, 12_345),
    ("1000000000000e-12", 1, 0),
    ("1.0000000000000000000000000000000000", 1, 0),
    ("0.1234567890000000000", 0, 123_456_789),
    ("0.0000000012e1", 0, 12),
    ("9223372036854775807", 9_223_372_036_854_775_807, 0),
    ("-9223372036854775808", -9_223_372_036_854_775_808, 0),
    ("9223372036854775807.999999999", 9_223_372_036_854_775_807, 999_999_999),
    ("-9223372036854775808.999999999", -9_223_372_036_854_775_808, -999_999_999),
    ("922337203685477580.7e1", 9_223_372_036_854_775_807, 0),
    ("9.223372036854775807e18", 9_223_372_036_854_775_807, 0),
]
RANGE: Final = "the number is out of range"
EXACT: Final = "the number has more than nine decimals or is out of range"
NOT_MONEY: Final = [
    ("0.0000000001", EXACT),
    ("1e-10", EXACT),
    ("-1.0000000001", EXACT),
    ("0.1234567891", EXACT),
    ("9223372036854775808", RANGE),
    ("-9223372036854775809", RANGE),
    ("9223372036854775808.0", RANGE),
    ("-9223372036854775809.5", RANGE),
    ("100000000000000000000000000000000000000000", RANGE),
    ("1e19", EXACT),
    ("1e20", EXACT),
    ("1e400", EXACT),
    ("1e-400", EXACT),
    ("-1e99999999999999999999", EXACT),
    ("0." + "0" * 2000 + "1", EXACT),
    ('"2.00"', "expected a number, got a string"),
    ('""', "expected a number, got a string"),
    ("null", "expected a number, got nothing"),
    ("true", "expected a number, got a boolean"),
    ("{}", "expected a number, got an object"),
    ("[2.00]", "expected a number, got an array"),
]
GOLDEN: Final = answer("service_group").decode()


def priced(net: str = "2.00", gross: str = "2.00", tax: str = "0.000000") -> bytes:
    """Returns the documented allocation with other amounts, each as the text of a JSON value."""
    body = GOLDEN.replace('"net": 2.00', f'"net": {net}').replace('"gross": 2.00', f'"gross": {gross}')
    return body.replace('"amount": 0.000000', f'"amount": {tax}').encode()


def whole() -> core_pb2.Allocation:
    """Returns the documented allocation."""
    made = response("AllocateShipmentWithServiceGroup", expected("service_group"))
    assert isinstance(made, pb.AllocateShipmentWithServiceGroupResponse)
    return made.allocation


def check_made(found: Failure, status: int, message: str, *paths: str) -> None:
    """Checks a failure that says that the allocation was made, and carries it without its price."""
    assert found.code is grpc.StatusCode.INTERNAL
    assert found.reason == "UPSTREAM_CONTRACT_BROKEN"
    assert found.metadata == {"upstream_status": str(status), "effect": "made"}
    assert found.message == message
    kept = whole()
    kept.ClearField("price")
    kept.ClearField("excluded_services")
    kept.unreadable[:] = paths
    carried = found.detail(core_pb2.Allocation)
    assert carried is not None
    same(carried, kept)
    omitted = found.detail(error_reason_pb2.ExcludedServices)
    assert omitted == error_reason_pb2.ExcludedServices(omitted_count=4)
    assert len(found.details) == 3


@pytest.mark.parametrize(("text", "units", "nanos"), AMOUNTS)
def test_an_amount_is_told_by_value(
    stub: ShipmentAllocationServiceStub, upstream: Upstream, text: str, units: int, nanos: int
) -> None:
    """However it is written: with an exponent, with zeros at its end, beyond what a binary float holds."""
    upstream.answer(200, priced(text, text, text))
    wanted = whole()
    for amount in (wanted.price.net, wanted.price.gross, wanted.price.taxes[0].amount):
        amount.units, amount.nanos = units, nanos

    same(
        call(stub, REQUESTS["AllocateShipmentWithServiceGroup"]),
        pb.AllocateShipmentWithServiceGroupResponse(allocation=wanted),
    )


@pytest.mark.parametrize(("text", "why"), NOT_MONEY, ids=[text[:45] for text, _ in NOT_MONEY])
@pytest.mark.parametrize("rpc", SINGLES)
def test_a_price_that_is_not_exact_fails_the_call_and_says_that_the_allocation_was_made(
    stub: ShipmentAllocationServiceStub, upstream: Upstream, rpc: str, text: str, why: str
) -> None:
    """It is never rounded, and the allocation comes with the error: without it the caller would allocate again."""
    upstream.answer(200, priced(net=text))

    found = refused(stub, REQUESTS[rpc])

    told = f"Upstream's answer is not as documented: price.net: {why}. The operation was carried out."
    check_made(found, 200, told, "price.net")


@pytest.mark.parametrize("status", [200, 201, 202, 207])
@pytest.mark.parametrize(
    ("body", "what"),
    [
        (priced(gross="1e-10"), f"price.gross: {EXACT}"),
        (priced(tax='"0"'), "price.taxes[0].amount: expected a number, got a string"),
        (
            priced("null", "true", "1e-10"),
            "price.net: expected a number, got nothing; price.gross: expected a number, got a boolean; "
            f"price.taxes[0].amount: {EXACT}",
        ),
        (
            GOLDEN.replace('"currency": "GBP"', '"currency": null').encode(),
            "price.currency: expected a string, got nothing",
        ),
        (GOLDEN.replace('"currency": "GBP"', '"currency": ""').encode(), "price.currency: is empty"),
        (GOLDEN.replace('"currency"', '"currencies"').encode(), "price.currency: expected a string, got nothing"),
        (
            GOLDEN.replace('"price": {', '"price": "2.00 GBP", "was": {').encode(),
            "price: expected an object, got a string",
        ),
    ],
    ids=["gross", "tax", "all", "null currency", "empty currency", "no currency", "no object"],
)
def test_a_price_is_never_partly_right(
    stub: ShipmentAllocationServiceStub, upstream: Upstream, status: int, body: bytes, what: str
) -> None:
    """One bad part of it leaves all of it out, under every status that means success."""
    upstream.answer(status, body)

    found = refused(stub, REQUESTS["AllocateShipment"])

    told = f"Upstream's answer is not as documented: {what}. The operation was carried out."
    check_made(found, status, told, *[part.partition(":")[0] for part in what.split("; ")])


def test_a_tax_rate_that_cannot_be_read_does_not_cost_the_price(
    stub: ShipmentAllocationServiceStub, upstream: Upstream
) -> None:
    """Its amounts are exact: what is told of the rate is left out, and named."""
    upstream.answer(200, GOLDEN.replace('"value": 0.0000', '"value": "0"').encode())
    wanted = whole()
    wanted.price.taxes[0].rate.ClearField("value")
    wanted.unreadable[:] = ["price.taxes[0].rate.value"]

    same(call(stub, REQUESTS["AllocateShipment"]), pb.AllocateShipmentResponse(allocation=wanted))


def inexact(state: str) -> Reply:
    """Returns an answer whose price is not exact."""
    price = '"price":{"net":1e-10,"gross":1,"currency":"GBP"}'
    return Reply(200, f'{{"shipment_reference":"{SHIPMENT}","state":"{state}",{price}}}'.encode())


@pytest.mark.parametrize("state", ["allocated", "Manifested"])
def test_the_error_says_that_an_allocation_was_made_if_the_state_does(
    stub: ShipmentAllocationServiceStub, upstream: Upstream, state: str
) -> None:
    """It is over with that, and the allocation comes with it."""
    upstream.script.put(inexact(state))

    found = refused(stub, REQUESTS["AllocateShipment"])

    assert found.reason == "UPSTREAM_CONTRACT_BROKEN"
    assert found.metadata == {"upstream_status": "200", "effect": "made"}
    assert found.detail(core_pb2.Allocation) is not None
    assert "was carried out" in found.message


def test_a_price_that_is_not_exact_proves_no_allocation(
    stub: ShipmentAllocationServiceStub, upstream: Upstream
) -> None:
    """A state that does not show a booking leaves the effect open, and so does an answer for another shipment."""
    request = REQUESTS["AllocateShipment"]
    cases = {state: (request, inexact(state)) for state in ("allocating", "unallocated", "teleported")}
    cases["another"] = (request, Reply(200, GOLDEN.replace(SHIPMENT, "sp_another").encode()))

    for case, found in in_doubt(stub, upstream, cases).items():
        assert found.reason == "OUTCOME_UNKNOWN"
        assert found.metadata == {
            "upstream_status": "200",
            "cause": "UPSTREAM_CONTRACT_BROKEN",
            "effect": "unknown",
        }
        assert found.detail(core_pb2.Allocation) is None
        assert ("shipment_reference: is not the shipment that was asked for" in found.message) == (case == "another")


@pytest.mark.parametrize("text", [*(text for text, _ in NOT_MONEY), "12.1951219512"], ids=lambda text: text[:45])
def test_a_price_that_is_not_exact_is_left_out_of_a_read_and_named(
    stub: ShipmentAllocationServiceStub, upstream: Upstream, text: str
) -> None:
    """Of a shipment or of quotes: it is not rounded, and everything else is told."""
    body = answer("shipment_allocated")
    upstream.answer(200, body)
    upstream.answer(200, body.replace(b'"net": 2.00', f'"net": {text}'.encode()))
    wanted, got = (call(stub, REQUESTS["GetShipmentAllocation"]) for _ in range(2))
    wanted.allocation.ClearField("price")
    wanted.allocation.unreadable[:] = ["allocation.price.net"]
    same(got, wanted)

    body = answer("quotes")
    upstream.answer(201, body)
    upstream.answer(201, body.replace(b'"net": 2.00', f'"net": {text}'.encode(), 1))
    wanted, got = (call(stub, REQUESTS["CreateShipmentQuotes"]) for _ in range(2))
    wanted.quotes[0].ClearField("price")
    wanted.quotes[0].unreadable[:] = ["quotes[0].price.net"]
    same(got, wanted)


@pytest.mark.parametrize("key", ["value", "incremental_unit_price", "minimum_value"])
def test_a_surcharge_whose_number_is_none_is_told_without_it(
    stub: ShipmentAllocationServiceStub, upstream: Upstream, key: str
) -> None:
    """Its numbers are decimals of any length, but numbers."""
    body = answer("quotes").decode()
    start = body.index(f'"{key}": ') + len(key) + 4
    end = body.index(",", start)
    upstream.answer(201, body.encode())
    wanted = call(stub, REQUESTS["CreateShipmentQuotes"])
    wanted.quotes[0].surcharges[0].ClearField(key)
    wanted.quotes[0].unreadable[:] = [f"quotes[0].surcharges[0].{key}"]
    for text in ('"1"', "true", "{}"):
        upstream.answer(201, (body[:start] + text + body[end:]).encode())

        same(call(stub, REQUESTS["CreateShipmentQuotes"]), wanted)


@pytest.mark.parametrize(
    "text", ["0", "-0.0500", "1e-30", "1E400", "0." + "1" * 60, "123456789012345678901234567890", "0.2"]
)
def test_a_proportion_keeps_the_digits_that_upstream_wrote(
    stub: ShipmentAllocationServiceStub, upstream: Upstream, text: str
) -> None:
    """A google.type.Decimal has room for any of them."""
    upstream.answer(200, GOLDEN.replace('"value": 0.0000', f'"value": {text}').encode())
    wanted = whole()
    wanted.price.taxes[0].rate.value.value = text

    same(call(stub, REQUESTS["AllocateShipment"]), pb.AllocateShipmentResponse(allocation=wanted))


@pytest.mark.parametrize("rpc", BULKS)
def test_a_bad_price_in_an_array_does_not_cost_the_other_shipments(
    stub: ShipmentAllocationServiceStub, upstream: Upstream, rpc: str
) -> None:
    """The array says which shipments are queued: the one price is left out, not rounded, and everything else stays."""
    items = ",".join(
        f'{{"shipment_reference":"{reference}","state":"allocated","price":{{"net":{net},"gross":1,"currency":"GBP"}}}}'
        for reference, net in zip(SHIPMENTS, ("1", "1e-10", '"1"', "0.1"), strict=True)
    )
    upstream.answer(202, f"[{items}]".encode())

    got = call(stub, REQUESTS[rpc])

    assert [(item.shipment_reference, item.HasField("price")) for item in got.allocations] == [
        (SHIPMENTS[0], True),
        (SHIPMENTS[1], False),
        (SHIPMENTS[2], False),
        (SHIPMENTS[3], True),
    ]
    assert [list(item.unreadable) for item in got.allocations] == [[], ["[1].price.net"], ["[2].price.net"], []]
    assert not got.unaccounted

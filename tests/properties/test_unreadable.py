"""Of an answer that is nearly as documented, what can be read is told, and what cannot be is named: no more, no less.

Each node of each documented successful answer is replaced by values of other kinds. Unless it decides, the response is
what it is without that node, and names its path. That is not asked of the codecs, but of the same answer without it.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import pytest
from allocation.v1 import consignment_allocation_service_pb2 as consignments_pb
from allocation.v1 import core_pb2
from allocation_gateway.codecs.findings import MOST_UNREADABLE
from allocation_gateway.errors import GatewayError, WriteEffect
from allocation_gateway.operations import consignments, ship
from allocation_gateway.upstream import reply
from allocation_gateway.upstream.http import Answer
from mapping import consignments as consignments_table
from mapping import table
from properties.answers import DROPPED, check_error, mutated, places

if TYPE_CHECKING:
    from collections.abc import Iterator

    from allocation_gateway.operations.model import Operation
    from google.protobuf.message import Message

SHIPMENT: Final = table.SHIPMENT


class Case(NamedTuple):
    """A documented answer.

    Attributes:
        operation: The row that was called.
        request: Its request.
        document: The answer.
        decides: What decides, as a pattern of paths, with the effect of a write whose answer cannot be used over it.
        together: Pattern of paths to the pattern of what cannot stand without them.
        accepted: Pattern of paths to the kinds that some source documents, beside the one that stands there.
    """

    operation: Operation
    request: Message
    document: Any
    decides: dict[str, str | None]
    together: dict[str, str]
    accepted: dict[str, tuple[type, ...]]


_PRICE: Final = r"(net|gross|currency|taxes|taxes\[\d+\]|taxes\[\d+\]\.amount)"
_RATE: Final = r"(Net|Gross|VatAmount|TaxAmount|Currency|Currency\.IsoCode)"
_ALLOCATED: Final = {
    **json.loads(table.answer("service_group")),
    "shipping_date": {"start": "2020-07-16T19:20:30+01:00", "end": "2020-07-17T19:20:30Z", "has_value": True},
    "expected_delivery_date": {"has_value": False},
    "details": [
        {
            "reference": "er_1",
            "correlation_id": "c",
            "code": "warning",
            "message": "m",
            "details": [{"property": "p", "code": "c", "message": "m"}],
            "_links": [{"href": "h", "rel": "r", "reference": "x", "type": "t"}],
        }
    ],
    "tracking_details": {
        "shipment": {
            "reference": SHIPMENT,
            "tracking_references": ["1", "2"],
            "_links": [{"href": "h", "rel": "r", "reference": None, "type": "t"}],
        },
        "contents": [{"reference": "sc_1", "tracking_references": ["3"]}, {"reference": "sc_2"}],
    },
    "carrier": {"reference": "C", "name": "n", "service_reference": "S", "service_name": "s", "tags": ["a", "b"]},
    "paperless_documents": {"sent_to_carrier": True, "usage_type": "electronic_only"},
    "applicable_documents": [{"type": "cn22", "applicable": True}],
}
_READ: Final = {
    **json.loads(table.answer("shipment_allocated")),
    "paperless_documents": [
        {
            "document_reference": "pd_1",
            "document_state": "ready",
            "document_type": "invoice",
            "file_format": "pdf",
            "usage": "electronic_trade",
            "expiration": "2021-01-01T00:00:00Z",
        },
        {"type": "invoice", "format": "pdf"},
    ],
}
_SHIP_ACCEPTED: Final[dict[str, tuple[type, ...]]] = {
    r"(.*\.)?base_application\.base": (bool, int, float, str),
    r"(.*\.)?paperless_documents": (list, dict),
    r".*\.surcharges\[\d+\]\.value": (int, float),
}
_NAMES_OR_NUMBERS: Final[dict[str, tuple[type, ...]]] = {
    r"ConsignmentState": (int,),
    r".*\.Amount": (int, float),
    r"(.*\.)?(MpdCarrierServiceSource|ApplicationType|Type|CalculationModel|LabelType|Result)": (int, str),
}


def _ship() -> Iterator[tuple[str, Any, dict[str, str | None], dict[str, str]]]:
    booked: dict[str, str | None] = {
        r"state": "unknown",
        rf"shipment_reference|price|price\.{_PRICE}|carrier|carrier\.(reference|service_reference)": "made",
    }
    yield from ((rpc, _ALLOCATED, booked, {rf"(price)\.{_PRICE}": r"\1"}) for rpc in table.SINGLES)
    item = {
        rf"(\[\d+\]\.price)\.{_PRICE}": r"\1",
        r"(\[\d+\])\.(shipment_reference|state)": r"\1",
    }
    # Without a node that two of them share.
    others = [json.loads(json.dumps({**_ALLOCATED, "shipment_reference": name})) for name in table.SHIPMENTS]
    for rpc in table.BULKS:
        yield rpc, json.loads(table.answer("bulk_service_group")), {}, {}
        yield rpc, others[:2], {}, item
    yield "AllocateShipmentsWithFilters", json.loads(table.answer("filters")), {}, {}
    yield "DeallocateShipment", json.loads(table.answer("deallocated")), {r"reference": "unknown"}, {}
    read: dict[str, str | None] = {
        r"reference|state|allocation|allocation\.carrier|allocation\.carrier\.(reference|service_reference)": None
    }
    for document in (_READ, json.loads(table.answer("shipment_allocated"))):
        yield "GetShipmentAllocation", document, read, {rf"(allocation\.price)\.{_PRICE}": r"\1"}
    quote = {rf"(quotes\[\d+\]\.price)\.{_PRICE}": r"\1", r"(quotes\[\d+\])\.(shipment_)?reference": r"\1"}
    yield "CreateShipmentQuotes", json.loads(table.answer("quotes")), {r"quotes": None}, quote


def load(name: str) -> Any:
    """Returns a documented answer of the Consignments API."""
    return json.loads(consignments_table.answer(name))


def _of_consignments() -> Iterator[tuple[str, Any, dict[str, str | None], dict[str, str]]]:
    summary: dict[str, str | None] = {
        r"\[0\]": "unknown",
        r"\[0\]\.(StatusCode|CarrierReference|CarrierServiceReference)": "made",
    }
    for rpc in consignments_table.SINGLES:
        yield rpc, load("allocated"), summary, {}
    for rpc in consignments_table.BULKS:
        yield rpc, load("allocated_bulk"), {}, {}
    yield "DeallocateConsignments", load("deallocated_list"), {}, {r"(\[\d+\])\.Data": r"\1"}
    label: dict[str, str | None] = {
        r"Responses|Responses\[0\]": "unknown",
        r"Responses\[0\]\.(StatusCode|Result|CarrierReference|CarrierServiceReference)": "made",
    }
    yield consignments_table.LABELS, load("labels"), label, {}
    both = {key.replace("[0", "[1"): effect for key, effect in label.items()}
    yield consignments_table.LABELS, load("labels_both_ways"), both, {}
    read: dict[str, str | None] = {
        r"Reference|ConsignmentState|Allocation": None,
        r"Allocation\.(MpdCarrierServiceReference|CarrierServiceGroupReference)": None,
    }
    yield "GetConsignmentAllocation", load("consignment_allocated"), read, {rf"(Allocation\.Price)\.{_RATE}": r"\1"}
    yield "GetConsignmentAllocation", load("consignment_failed"), {r"Reference|ConsignmentState": None}, {}
    quote = {
        rf"(Quotes\[\d+\]\.(Base)?Price)\.{_RATE}": r"\1",
        r"(Quotes\[\d+\])\.(QuoteReference|ConsignmentReference)": r"\1",
    }
    yield "GetConsignmentQuotes", load("quotes"), {r"Quotes": None}, quote


def _cases() -> list[Case]:
    rows = {row.name: row for row in (*ship.ROWS, *consignments.ROWS)}
    requests = {**table.REQUESTS, **consignments_table.REQUESTS}
    return [
        Case(rows[rpc], requests[rpc], document, decides, together, accepted)
        for answers, accepted in ((_ship(), _SHIP_ACCEPTED), (_of_consignments(), _NAMES_OR_NUMBERS))
        for rpc, document, decides, together in answers
    ]


CASES: Final = _cases()
IDS: Final = [f"{case.operation.name}-{number}" for number, case in enumerate(CASES)]
OTHERS: Final[tuple[Any, ...]] = (True, 7, 0.5, "text", [], [7], {}, {"a": {}})


def spelled(path: tuple[Any, ...]) -> str:
    """Returns a path as upstream's users write it."""
    return "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in path).removeprefix(".")


def is_other(value: object, replacement: object) -> bool:
    """Tells whether a replacement is of another kind than a value. A number may lose its fraction."""
    numbers = (int, float)
    if type(value) is float and type(replacement) in numbers:
        return False
    return type(value) is not type(replacement)


def read(case: Case, document: Any) -> Message | GatewayError:
    """Reads an answer."""
    received = Answer(200, {}, json.dumps(document).encode())
    try:
        return reply.read(case.operation, case.request, received)
    except GatewayError as error:
        check_error(case.operation, received, error)
        return error


def named(message: Any) -> list[str]:
    """Returns what a message and those within it name as unreadable, and takes it away."""
    found: list[str] = []
    for field, value in message.ListFields():
        if field.name == "unreadable":
            found += value
        elif field.message_type is not None:
            for inner in value if field.is_repeated else [value]:
                found += named(inner)
    if "unreadable" in message.DESCRIPTOR.fields_by_name:
        message.ClearField("unreadable")
    return found


def without(document: Any, path: tuple[Any, ...]) -> Any:
    return mutated(document, path, DROPPED)


def node(document: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        document = document[key]
    return document


def matching(patterns: dict[str, Any], path: str) -> Any:
    """Returns what the first pattern of a path stands for; None if there is none."""
    return next((value for pattern, value in patterns.items() if re.fullmatch(pattern, path)), None)


def prefix(case: Case, path: tuple[Any, ...]) -> tuple[Any, ...]:
    """Returns the path of what cannot stand without a node: its own, or that of something around it."""
    text = spelled(path)
    for pattern, around in case.together.items():
        if match := re.fullmatch(pattern, text):
            wanted = match.expand(around)
            return next(path[:length] for length in range(len(path)) if spelled(path[:length]) == wanted)
    return path


def comparable(message: Any) -> Any:
    """Returns a message without the one text that tells of the defect itself."""
    if isinstance(message, consignments_pb.AllocateConsignmentWithLabelsResponse):
        message.label_error.message = ""
    return message


def changes(case: Case) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Yields each node with each value of another kind, of nodes that have a kind."""
    for path in places(case.document):
        value = node(case.document, path)
        accepted = matching(case.accepted, spelled(path)) or ()
        for replacement in OTHERS:
            if value is not None and is_other(value, replacement) and type(replacement) not in accepted:
                yield path, replacement


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_what_does_not_decide_is_left_out_and_named(case: Case) -> None:
    """The response is that of the answer without the node, and names it with its path."""
    whole = read(case, case.document)
    assert not isinstance(whole, GatewayError)
    assert named(whole) == []
    tried = 0
    for path, replacement in changes(case):
        text = spelled(path)
        if any(re.fullmatch(pattern, text) for pattern in case.decides):
            continue
        got = read(case, mutated(case.document, path, replacement))
        rest = read(case, without(case.document, prefix(case, path)))
        assert not isinstance(got, GatewayError), (text, replacement, got)
        assert not isinstance(rest, GatewayError), text
        told = named(got)
        named(rest)
        assert comparable(got) == comparable(rest), (text, replacement)
        if comparable(rest) == comparable(whole):
            # Nobody reads it, or it says as much as nothing.
            assert told in ([], [text]), (text, replacement)
        else:
            assert told == [text], (text, replacement)
            tried += 1
    assert tried, "there is nothing in this answer that may be missing"


@pytest.mark.parametrize("case", [case for case in CASES if case.decides], ids=lambda case: case.operation.name)
def test_what_decides_makes_the_answer_broken(case: Case) -> None:
    """A write says what it has done; if it was made, the allocation comes with the error, and names what it lacks."""
    told = set()
    for path, replacement in changes(case):
        text = spelled(path)
        pattern = next((pattern for pattern in case.decides if re.fullmatch(pattern, text)), None)
        if pattern is None:
            continue
        got = read(case, mutated(case.document, path, replacement))
        assert isinstance(got, GatewayError), (text, replacement)
        effect = case.decides[pattern]
        assert got.reason_name == "UPSTREAM_CONTRACT_BROKEN"
        assert (got.effect and got.effect.value) == effect, (text, replacement)
        told.add(pattern)
        if got.effect is WriteEffect.MADE:
            assert got.allocation is not None
            assert named(got.allocation) == [text]
    assert told == set(case.decides)


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_what_upstream_leaves_out_is_not_named(case: Case) -> None:
    """Null and absent are the same; only what every source promises is missed."""
    promised = (
        r"reference|QuoteRequestReference|(quotes|Quotes).*(r|R)eference|.*(price|Price).*|\[\d+\].*(reference|state)"
    )
    tried = 0
    for path in places(case.document):
        text = spelled(path)
        if isinstance(path[-1], int) or any(re.fullmatch(pattern, text) for pattern in (*case.decides, promised)):
            continue
        for replacement in (DROPPED, None):
            got = read(case, mutated(case.document, path, replacement))
            assert not isinstance(got, GatewayError), text
            assert named(got) == [], text
            tried += 1
    assert tried, "there is nothing in this answer that may be left out"


@pytest.mark.parametrize("count", [1, MOST_UNREADABLE - 1, MOST_UNREADABLE, MOST_UNREADABLE + 1, 5_000])
def test_the_names_are_bounded_and_the_last_one_counts_the_others(count: int) -> None:
    """However much cannot be read."""
    document = {**_ALLOCATED, "_links": [{"href": number} for number in range(count)]}

    got: Any = read(CASES[0], document)

    paths = list(got.allocation.unreadable)
    assert len(got.allocation.links) == count, "a link without its address is told all the same"
    if count <= MOST_UNREADABLE:
        assert paths == [f"_links[{number}].href" for number in range(count)]
    else:
        kept = MOST_UNREADABLE - 1
        assert paths == [*(f"_links[{number}].href" for number in range(kept)), f"and {count - kept} more"]


@pytest.mark.parametrize("count", [0, 20, 5_000])
def test_an_error_carries_the_names_however_much_else_there_is(count: int) -> None:
    """They are the last thing that an allocation lacks in the trailers of a call."""
    long = "é" * 3_000
    document = {
        **_ALLOCATED,
        "message": long,
        "price": {**_ALLOCATED["price"], "net": 12.1951219512},
        "tracking_details": {"contents": [{"reference": long, "tracking_references": [7] * count}] * 50},
    }

    error = read(CASES[0], document)

    assert isinstance(error, GatewayError)
    assert "price.net: " in error.message
    assert "tracking" not in error.message
    carried = core_pb2.Allocation()
    assert any(detail.Unpack(carried) for detail in error.status().details)
    assert "price.net" in carried.unreadable
    assert len(carried.unreadable) == (1 if count == 0 else MOST_UNREADABLE)


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_a_price_is_named_however_much_else_is_unreadable(case: Case) -> None:
    """Whoever sees no price must see why: its name is among those that are told."""
    tried = 0
    for path in places(case.document):
        if path[-1] not in {"net", "Net"} or "BasePrice" in path:
            continue
        document = mutated(case.document, path, 12.1951219512)
        done: set[tuple[Any, ...]] = set()
        for other in places(case.document):
            within = {other[:length] for length in range(len(other))} & done
            holds_it = other == path[: len(other)] or "price" in spelled(other).lower()
            if isinstance(node(case.document, other), list) and not holds_it and not within:
                document = mutated(document, other, [7] * 100)
                done.add(other)
        assert done
        got = read(case, document)
        told = named(got.allocation if isinstance(got, GatewayError) else got)
        assert spelled(path) in told
        tried += 1
    assert bool(tried) == bool(re.search("net", json.dumps(case.document), re.IGNORECASE) and case.together)


def test_several_defects_are_each_named_where_they_belong() -> None:
    """Each quote names its own, and the response what belongs to none."""
    case = next(case for case in CASES if case.operation.name == "CreateShipmentQuotes")
    document = case.document
    first = document["quotes"][0]
    price = {**first["price"], "net": 0.12345678901}
    document = {
        **document,
        "reference": 7,
        "quotes": [first, {**first, "price": price, "created": "soon"}, 17],
        "excluded_services": [{"carrier": {"name": 1}}],
    }

    got: Any = read(case, document)

    assert [list(quote.unreadable) for quote in got.quotes] == [[], ["quotes[1].price.net", "quotes[1].created"]]
    assert [quote.HasField("price") for quote in got.quotes] == [True, False]
    assert sorted(got.unreadable) == ["excluded_services[0].carrier.name", "quotes[2]", "reference"]

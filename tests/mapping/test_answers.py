"""The quirks of what comes back: statuses, absent and unknown fields, encodings, states, dates, bulk variants."""

from __future__ import annotations

import gzip
import json
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import grpc
import pytest
from allocation.v1 import core_pb2
from allocation.v1 import shipment_allocation_service_pb2 as pb
from mapping.table import (
    BULKS,
    GOLDEN,
    REQUESTS,
    SHIPMENT,
    SHIPMENTS,
    SINGLES,
    WRITES,
    answer,
    call,
    changed,
    expected,
    refused,
    response,
    same,
)
from support.doubt import in_doubt
from support.upstream import UNREADABLE, Reply

if TYPE_CHECKING:
    from collections.abc import Callable

    from allocation.v1.shipment_allocation_service_pb2_grpc import ShipmentAllocationServiceStub
    from support.upstream import Upstream


def check(stub: ShipmentAllocationServiceStub, rpc: str, wanted: str) -> None:
    """Makes the golden request of an rpc and compares the whole response."""
    same(call(stub, REQUESTS[rpc]), response(rpc, wanted))


def read(stub: ShipmentAllocationServiceStub, upstream: Upstream, body: object) -> core_pb2.Allocation:
    """Reads the golden shipment from a body."""
    upstream.answer(200, body)
    return stub.GetShipmentAllocation(pb.GetShipmentAllocationRequest(shipment_reference=SHIPMENT)).allocation


# Statuses


@pytest.mark.parametrize("rpc", REQUESTS)
@pytest.mark.parametrize("status", [200, 201, 202, 207])
def test_every_documented_success_means_the_same(
    stub: ShipmentAllocationServiceStub, upstream: Upstream, rpc: str, status: int
) -> None:
    """The sources disagree on which success is which, so the body decides."""
    upstream.answer(status, answer(GOLDEN[rpc]))

    check(stub, rpc, expected(GOLDEN[rpc]))


@pytest.mark.parametrize("rpc", BULKS)
@pytest.mark.parametrize("status", [200, 201, 202, 207, 404, 407, 521])
def test_a_bulk_answer_that_queued_a_part_is_ok_under_every_status(
    stub: ShipmentAllocationServiceStub, upstream: Upstream, rpc: str, status: int
) -> None:
    """207, 407, 404 and 521 are all documented for it."""
    upstream.answer(status, answer("bulk_service_group"))

    check(stub, rpc, expected("bulk_service_group"))


@pytest.mark.parametrize("rpc", BULKS)
@pytest.mark.parametrize("status", [202, 207, 404, 407, 521])
@pytest.mark.parametrize("queued", [{"queued": []}, {"queued": None}, {}])
def test_a_bulk_answer_that_rejected_everything_is_ok(
    stub: ShipmentAllocationServiceStub, upstream: Upstream, rpc: str, status: int, queued: dict[str, object]
) -> None:
    """The call did what it is for: it says what became of each shipment."""
    rejected = [
        {"code": "shipment_not_found", "message": "The shipment cannot be found.", "references": SHIPMENTS[:1]},
        {"code": "shipment_invalid_state", "message": "It is allocated.", "references": SHIPMENTS[1:]},
    ]
    upstream.answer(status, {"message": "4 shipments rejected for allocation.", **queued, "rejected": rejected})

    check(
        stub,
        rpc,
        f"""
        rejected {{
          code: "shipment_not_found" message: "The shipment cannot be found." references: "{SHIPMENTS[0]}"
        }}
        rejected {{
          code: "shipment_invalid_state" message: "It is allocated."
          references: "{SHIPMENTS[1]}" references: "{SHIPMENTS[2]}" references: "{SHIPMENTS[3]}"
        }}
        message: "4 shipments rejected for allocation."
        """,
    )


@pytest.mark.parametrize("rpc", SINGLES)
@pytest.mark.parametrize("status", [200, 202])
@pytest.mark.parametrize(
    ("state", "name"),
    [
        ("allocated", "ALLOCATED"),
        ("Allocated", "ALLOCATED"),
        ("collection_booking_pending", "COLLECTION_BOOKING_PENDING"),
        ("ready_to_ship", "READY_TO_SHIP"),
    ],
)
def test_a_single_call_that_leaves_the_shipment_allocated_or_beyond_is_ok(
    stub: ShipmentAllocationServiceStub, upstream: Upstream, rpc: str, status: int, state: str, name: str
) -> None:
    """No page shows what 202 looks like on a single call, so the state decides."""
    upstream.answer(status, {"shipment_reference": SHIPMENT, "state": state, "message": "Accepted."})

    check(
        stub,
        rpc,
        f"""
        allocation {{
          shipment_reference: "{SHIPMENT}" state: SHIPMENT_STATE_{name} state_text: "{state}" message: "Accepted."
        }}
        """,
    )


DEFERRED: Final = ("allocating", "unallocated", "teleporting")


@pytest.mark.parametrize("status", [200, 202])
@pytest.mark.parametrize("state", DEFERRED)
def test_a_single_call_that_is_deferred_is_read_until_the_shipment_is_allocated(
    stub: ShipmentAllocationServiceStub, upstream: Upstream, status: int, state: str
) -> None:
    """What is told is what was read then, and it says so."""
    upstream.answer(status, {"shipment_reference": SHIPMENT, "state": state, "message": "Accepted."})
    upstream.answer(200, {"reference": SHIPMENT, "state": "allocating"})
    now = datetime.now(UTC).isoformat()
    upstream.answer(200, {"reference": SHIPMENT, "state": "allocated", "allocation": {"allocation_date": now}})

    got = call(stub, REQUESTS["AllocateShipment"]).allocation

    assert (got.state, got.reconciled, got.message) == (core_pb2.SHIPMENT_STATE_ALLOCATED, True, "")


def test_a_single_call_that_is_deferred_for_too_long_is_of_unknown_outcome(
    stub: ShipmentAllocationServiceStub, upstream: Upstream
) -> None:
    """Of every rpc. Upstream has taken it in hand, so that it may still be carried out."""
    cases = {
        (rpc, state): (REQUESTS[rpc], Reply(202, {"shipment_reference": SHIPMENT, "state": state}))
        for rpc in SINGLES
        for state in DEFERRED
    }
    for found in in_doubt(stub, upstream, cases).values():
        assert (found.code, found.reason) == (grpc.StatusCode.UNKNOWN, "OUTCOME_UNKNOWN")
        assert found.metadata == {"effect": "unknown"}


# Absent, null and unknown


SMALLEST: Final[dict[str, dict[str, object]]] = {
    **{key: {"shipment_reference": SHIPMENT, "state": "allocated"} for key in SINGLES},
    **{key: {"message": "4 shipments queued.", "queued": list(SHIPMENTS)} for key in BULKS},
    "AllocateShipmentsWithFilters": {"reference": "af_1", "message": "Queued."},
    "DeallocateShipment": {"reference": SHIPMENT},
    "GetShipmentAllocation": {"reference": SHIPMENT, "state": "unallocated"},
    "CreateShipmentQuotes": {"reference": "qr_1"},
}
_ALLOCATED: Final = (
    f'allocation {{ shipment_reference: "{SHIPMENT}" state: SHIPMENT_STATE_ALLOCATED state_text: "allocated" }}'
)
_UNALLOCATED: Final = (
    f'allocation {{ shipment_reference: "{SHIPMENT}" state: SHIPMENT_STATE_UNALLOCATED state_text: "unallocated" }}'
)
SMALLEST_RESPONSE: Final = {
    **dict.fromkeys(SINGLES, _ALLOCATED),
    **dict.fromkeys(
        BULKS, "".join(f'queued: "{reference}" ' for reference in SHIPMENTS) + 'message: "4 shipments queued."'
    ),
    "AllocateShipmentsWithFilters": 'reference: "af_1" message: "Queued."',
    "DeallocateShipment": f'shipment_reference: "{SHIPMENT}"',
    "GetShipmentAllocation": _UNALLOCATED,
    "CreateShipmentQuotes": 'reference: "qr_1"',
}
OPTIONAL: Final = {
    **dict.fromkeys(
        SINGLES,
        (
            "price",
            "message",
            "carrier",
            "tracking_details",
            "_links",
            "correlation_id",
            "details",
            "excluded_services",
            "paperless_documents",
            "shipping_date",
            "expected_delivery_date",
            "applicable_documents",
        ),
    ),
    **dict.fromkeys(BULKS, ("rejected", "_links")),
    "AllocateShipmentsWithFilters": ("shipments",),
    "DeallocateShipment": ("custom_reference", "message", "version", "errors", "_links"),
    "GetShipmentAllocation": (
        "allocation",
        "shipping_date",
        "expected_delivery_date",
        "paperless_documents",
        "_links",
        "custom_reference",
    ),
    "CreateShipmentQuotes": ("message", "quotes", "excluded_services", "shipment"),
}


@pytest.mark.parametrize("rpc", REQUESTS)
def test_optional_fields_may_be_left_out(stub: ShipmentAllocationServiceStub, upstream: Upstream, rpc: str) -> None:
    """What upstream does not say is unset."""
    upstream.answer(200, SMALLEST[rpc])

    check(stub, rpc, SMALLEST_RESPONSE[rpc])


@pytest.mark.parametrize("rpc", REQUESTS)
def test_optional_fields_may_be_null(stub: ShipmentAllocationServiceStub, upstream: Upstream, rpc: str) -> None:
    """Null says the same as nothing."""
    upstream.answer(200, {**SMALLEST[rpc], **dict.fromkeys(OPTIONAL[rpc])})

    check(stub, rpc, SMALLEST_RESPONSE[rpc])


def test_optional_fields_within_fields_may_be_null(stub: ShipmentAllocationServiceStub, upstream: Upstream) -> None:
    """At every depth: live samples leave out `_links` below `tracking_details.shipment`, others have nulls."""
    body = {
        "shipment_reference": SHIPMENT,
        "state": "allocated",
        "price": {"net": 1, "gross": 1, "taxes": None, "currency": "GBP"},
        "carrier": {"reference": None, "name": None, "service_reference": None, "service_name": None, "tags": None},
        "tracking_details": {
            "shipment": {"reference": SHIPMENT, "tracking_references": None, "_links": None},
            "contents": None,
        },
        "details": [{"correlation_id": "c", "code": "warning", "message": "m", "details": None, "_links": None}],
        "excluded_services": [{"carrier": {"reference": "F"}, "exclusion": {"reason": "r", "code": "ex_other"}}],
        "_links": [{"href": "h", "rel": "r", "reference": None, "type": "t"}],
    }
    upstream.answer(200, body)

    check(
        stub,
        "AllocateShipment",
        f"""
        allocation {{
          shipment_reference: "{SHIPMENT}"
          state: SHIPMENT_STATE_ALLOCATED
          state_text: "allocated"
          price {{ net {{ currency_code: "GBP" units: 1 }} gross {{ currency_code: "GBP" units: 1 }} }}
          carrier {{}}
          tracking_details {{ shipment {{ reference: "{SHIPMENT}" }} }}
          excluded_services {{
            carrier {{ reference: "F" }}
            exclusion {{ reason: "r" code: EXCLUSION_CODE_OTHER code_text: "ex_other" }}
          }}
          links {{ href: "h" rel: "r" type: "t" }}
          details {{ correlation_id: "c" code: "warning" message: "m" }}
        }}
        """,
    )


def _grown(node: object) -> object:
    """Returns a JSON document with fields at every level that no documentation knows."""
    if isinstance(node, dict):
        news = {"x_new": {"deep": [1.5, None, {}]}, "X-NEW ": "text", "": 0}
        return {**news, **{key: _grown(value) for key, value in node.items()}}
    return [_grown(item) for item in node] if isinstance(node, list) else node


@pytest.mark.parametrize("rpc", REQUESTS)
def test_fields_that_nobody_knows_are_passed_over(
    stub: ShipmentAllocationServiceStub, upstream: Upstream, rpc: str
) -> None:
    """Upstream adds fields without notice, at any level."""
    upstream.answer(200, _dumped(_grown(json.loads(answer(GOLDEN[rpc]), parse_float=_Literal))))

    check(stub, rpc, expected(GOLDEN[rpc]))


class _Literal(float):
    """A number that is written again as it was read."""

    text: str

    def __new__(cls, text: str) -> _Literal:
        made = super().__new__(cls, text)
        made.text = text
        return made

    def __repr__(self) -> str:
        return self.text


def _dumped(node: object) -> bytes:
    """Writes JSON with literals as they were."""
    if isinstance(node, dict):
        return b"{" + b",".join(json.dumps(key).encode() + b":" + _dumped(value) for key, value in node.items()) + b"}"
    if isinstance(node, list):
        return b"[" + b",".join(map(_dumped, node)) + b"]"
    return repr(node).encode() if isinstance(node, _Literal) else json.dumps(node).encode()


@pytest.mark.parametrize("rpc", REQUESTS)
def test_fields_may_come_in_any_order(stub: ShipmentAllocationServiceStub, upstream: Upstream, rpc: str) -> None:
    """Upstream announces that their order changes."""

    def turned(node: object) -> object:
        if isinstance(node, dict):
            return {key: turned(value) for key, value in reversed(node.items())}
        return [turned(item) for item in node] if isinstance(node, list) else node

    upstream.answer(200, _dumped(turned(json.loads(answer(GOLDEN[rpc]), parse_float=_Literal))))

    check(stub, rpc, expected(GOLDEN[rpc]))


# Vocabularies


STATES: Final = tuple(name.removeprefix("SHIPMENT_STATE_") for name in core_pb2.ShipmentState.keys()[1:])


@pytest.mark.parametrize("name", STATES)
def test_every_documented_state_is_known_in_small_letters_and_capitalised(
    stub: ShipmentAllocationServiceStub, upstream: Upstream, name: str
) -> None:
    """Old samples have `Allocated`, live ones `allocated`; the text beside the enum is as upstream wrote it."""
    for text in (name.lower(), name.capitalize(), name.title(), name.title().replace("_", ""), name):
        got = read(stub, upstream, {"reference": SHIPMENT, "state": text})

        wanted = core_pb2.Allocation(
            shipment_reference=SHIPMENT, state=core_pb2.ShipmentState.Value(f"SHIPMENT_STATE_{name}"), state_text=text
        )
        same(got, wanted)


def test_the_documented_states_are_46() -> None:
    """The union of all generations of the documentation."""
    assert len(STATES) == 46


@pytest.mark.parametrize("text", ["teleporting", "unspecified", "allocated ", "ALLOCATED!", "allocé", "0"])
def test_a_state_that_is_not_known_keeps_its_text(
    stub: ShipmentAllocationServiceStub, upstream: Upstream, text: str
) -> None:
    """It is neither an error nor taken for another state."""
    got = read(stub, upstream, {"reference": SHIPMENT, "state": text})

    same(got, core_pb2.Allocation(shipment_reference=SHIPMENT, state_text=text))


REQUIRED: Final = {
    **dict.fromkeys(SINGLES, ("shipment_reference", "state")),
    "AllocateShipmentsWithFilters": ("reference",),
    "DeallocateShipment": ("reference",),
    "GetShipmentAllocation": ("reference", "state"),
    "CreateShipmentQuotes": ("reference",),
}


NO_TEXTS: Final = {
    "expected a string, got nothing": None,
    "is empty": "",
    "expected a string, got a number": 17,
    "expected a string, got an array": ["allocated"],
}


def without(rpc: str, key: str, what: str) -> Reply:
    """Returns an answer that does not tell what it is about."""
    return Reply(200, {**SMALLEST[rpc], key: NO_TEXTS[what]})


@pytest.mark.parametrize("what", NO_TEXTS)
@pytest.mark.parametrize(
    ("rpc", "key"), [(rpc, key) for rpc, keys in REQUIRED.items() if rpc not in WRITES for key in keys]
)
def test_what_an_answer_is_about_must_be_told(
    stub: ShipmentAllocationServiceStub, upstream: Upstream, rpc: str, key: str, what: str
) -> None:
    """An answer without its reference, or without a state, is not passed off as one."""
    upstream.script.put(without(rpc, key, what))

    found = refused(stub, REQUESTS[rpc])

    assert (found.code, found.reason) == (grpc.StatusCode.INTERNAL, "UPSTREAM_CONTRACT_BROKEN")
    told = NEITHER.get(rpc, what)
    assert found.message.startswith(f"Upstream's answer is not as documented: {key}: {told}.")


# What may lack its reference, unless it says nothing else either.
NEITHER: Final = {
    "AllocateShipmentsWithFilters": "there is neither a reference nor a shipment",
    "CreateShipmentQuotes": "there is neither a reference nor a quote",
}


@pytest.mark.parametrize("rpc", NEITHER)
@pytest.mark.parametrize("what", NO_TEXTS)
def test_a_result_without_its_own_reference_is_told_without_it(
    stub: ShipmentAllocationServiceStub, upstream: Upstream, rpc: str, what: str
) -> None:
    """It decides nothing: what the result is about is told all the same."""
    upstream.answer(200, {**json.loads(answer(GOLDEN[rpc])), "reference": NO_TEXTS[what]})
    upstream.answer(200, answer(GOLDEN[rpc]))

    got, whole = call(stub, REQUESTS[rpc]), call(stub, REQUESTS[rpc])

    assert list(got.unreadable) == ["reference"]
    assert got.reference == ""
    whole.reference, got.unreadable[:] = "", []
    if rpc != "CreateShipmentQuotes":  # whose numbers lose zeros on this way
        same(got, whole)
    assert len(got.DESCRIPTOR.fields) > len(got.ListFields()) > 0


def test_what_the_answer_to_a_write_is_about_must_be_told(
    stub: ShipmentAllocationServiceStub, upstream: Upstream
) -> None:
    """Without that it leaves the outcome unknown, and the caller is told what is wrong with it.

    Only an answer with the state alone shows that the allocation was made.
    """
    cases = {
        (rpc, key, what): (REQUESTS[rpc], without(rpc, key, what))
        for rpc, keys in REQUIRED.items()
        for key in keys
        for what in NO_TEXTS
        if rpc in WRITES
    }
    assert len(cases) == 48
    for (rpc, key, what), found in in_doubt(stub, upstream, cases).items():
        told = f"Upstream's answer is not as documented: {key}: {NEITHER.get(rpc, what)}."
        if key == "shipment_reference":
            assert (found.reason, found.metadata["effect"]) == ("UPSTREAM_CONTRACT_BROKEN", "made")
        else:
            assert (found.reason, found.metadata["cause"]) == ("OUTCOME_UNKNOWN", "UPSTREAM_CONTRACT_BROKEN")
        assert told in found.message


EXCLUSIONS: Final = {
    f"ex_{name.removeprefix('EXCLUSION_CODE_').lower()}": number
    for name, number in core_pb2.ExclusionCode.items()
    if number
}


def test_every_exclusion_code_is_known_and_another_one_keeps_its_text(
    stub: ShipmentAllocationServiceStub, upstream: Upstream
) -> None:
    """The 14 documented ones, one capitalised, and one that is new."""
    assert len(EXCLUSIONS) == 14
    texts: dict[str, core_pb2.ExclusionCode.ValueType] = {**EXCLUSIONS, "Ex_Rates": 2, "ex_moon": 0, "unspecified": 0}  # type: ignore[dict-item]
    excluded = [{"carrier": {"reference": "F"}, "exclusion": {"reason": "r", "code": text}} for text in texts]
    upstream.answer(200, {"shipment_reference": SHIPMENT, "state": "allocated", "excluded_services": excluded})

    wanted = pb.AllocateShipmentResponse(
        allocation=core_pb2.Allocation(
            shipment_reference=SHIPMENT,
            state=core_pb2.SHIPMENT_STATE_ALLOCATED,
            state_text="allocated",
            excluded_services=[
                core_pb2.ExcludedService(
                    carrier=core_pb2.Carrier(reference="F"),
                    exclusion=core_pb2.Exclusion(reason="r", code=code, code_text=text),
                )
                for text, code in texts.items()
            ],
        )
    )
    same(call(stub, REQUESTS["AllocateShipment"]), wanted)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("not_supported", "NOT_SUPPORTED"),
        ("electronic_only", "ELECTRONIC_ONLY"),
        ("electronic_and_physical", "ELECTRONIC_AND_PHYSICAL"),
        ("Not_Applicable", "NOT_APPLICABLE"),
        ("by_pigeon", "UNSPECIFIED"),
    ],
)
def test_paperless_documents_are_an_object_whose_usage_type_keeps_its_text(
    stub: ShipmentAllocationServiceStub, upstream: Upstream, text: str, name: str
) -> None:
    """The same on an allocation and on a shipment."""
    documents = {"sent_to_carrier": False, "usage_type": text}
    wanted = f"""
        allocation {{
          shipment_reference: "{SHIPMENT}" state: SHIPMENT_STATE_ALLOCATED state_text: "allocated"
          paperless_documents {{ usage_type: PAPERLESS_USAGE_TYPE_{name} usage_type_text: "{text}" }}
        }}
        """
    for rpc, key in (("AllocateShipment", "shipment_reference"), ("GetShipmentAllocation", "reference")):
        upstream.answer(200, {key: SHIPMENT, "state": "allocated", "paperless_documents": documents})

        check(stub, rpc, wanted)


def test_paperless_documents_may_be_an_empty_array(stub: ShipmentAllocationServiceStub, upstream: Upstream) -> None:
    """The live sample of a shipment has one in place of the object: there are none."""
    for rpc, key in (("AllocateShipment", "shipment_reference"), ("GetShipmentAllocation", "reference")):
        upstream.answer(200, {key: SHIPMENT, "state": "allocated", "paperless_documents": []})

        check(stub, rpc, _ALLOCATED)


# An allocation with all that the documentation promises


def test_an_allocation_tells_everything_that_is_documented(
    stub: ShipmentAllocationServiceStub, upstream: Upstream
) -> None:
    """The fields that no sample shows: dates, documents, details, links below tracking references, tags."""
    body = b"""{
      "shipment_reference": "%s",
      "state": "allocated",
      "shipping_date": {"start": "2020-07-16T19:20:30+01:00", "end": "2020-07-17T19:20:30.5Z"},
      "expected_delivery_date": {"has_value": false},
      "carrier": {"reference": "C", "tags": ["a", "b"]},
      "tracking_details": {
        "shipment": {"reference": "%s", "tracking_references": ["1", "2"], "_links": [
          {"href": "https://track.example/1", "rel": "tracking", "reference": "te_1", "type": "other"}
        ]},
        "contents": [{"reference": "sc_1", "tracking_references": ["3"]}, {"reference": "sc_2"}]
      },
      "details": [{
        "reference": "er_1", "correlation_id": "c.SAPI_d", "code": "validation_error", "message": "Mind this.",
        "details": [{"property": "addresses[0].contact", "code": "invalid_format", "message": "Odd."},
                    {"property": null, "code": "other", "message": "More."}],
        "_links": [{"href": "https://docs.example", "rel": "documentation", "reference": "invalid_format",
                    "type": "self"}]
      }],
      "paperless_documents": {"sent_to_carrier": true, "usage_type": "electronic_only"},
      "applicable_documents": [{"type": "cn23", "applicable": true}, {"type": "new_kind", "applicable": false}]
    }"""
    upstream.answer(200, body % (SHIPMENT.encode(), SHIPMENT.encode()))

    check(
        stub,
        "AllocateShipmentWithQuote",
        f"""
        allocation {{
          shipment_reference: "{SHIPMENT}"
          state: SHIPMENT_STATE_ALLOCATED
          state_text: "allocated"
          carrier {{ reference: "C" tags: "a" tags: "b" }}
          tracking_details {{
            shipment {{
              reference: "{SHIPMENT}"
              tracking_references: "1"
              tracking_references: "2"
              links {{ href: "https://track.example/1" rel: "tracking" reference: "te_1" type: "other" }}
            }}
            contents {{ reference: "sc_1" tracking_references: "3" }}
            contents {{ reference: "sc_2" }}
          }}
          shipping_date {{ start {{ seconds: 1594923630 }} end {{ seconds: 1595013630 nanos: 500000000 }} }}
          details {{
            reference: "er_1"
            correlation_id: "c.SAPI_d"
            code: "validation_error"
            message: "Mind this."
            details {{ property: "addresses[0].contact" code: "invalid_format" message: "Odd." }}
            details {{ code: "other" message: "More." }}
            links {{ href: "https://docs.example" rel: "documentation" reference: "invalid_format" type: "self" }}
          }}
          paperless_documents {{
            sent_to_carrier: true
            usage_type: PAPERLESS_USAGE_TYPE_ELECTRONIC_ONLY
            usage_type_text: "electronic_only"
          }}
          applicable_documents {{ type: "cn23" applicable: true }}
          applicable_documents {{ type: "new_kind" }}
        }}
        """,
    )


def test_the_tracking_references_of_the_contract_of_2020_are_read(
    stub: ShipmentAllocationServiceStub, upstream: Upstream
) -> None:
    """It has a plain list below the allocation of a shipment, where later ones have tracking_details."""
    allocation: dict[str, object] = {"carrier": {"reference": "C"}, "tracking_references": ["1", "2"]}
    body = {"reference": SHIPMENT, "state": "allocated", "allocation": allocation}
    upstream.answer(200, body)
    check(
        stub,
        "GetShipmentAllocation",
        f"""
        allocation {{
          shipment_reference: "{SHIPMENT}" state: SHIPMENT_STATE_ALLOCATED state_text: "allocated"
          carrier {{ reference: "C" }}
          tracking_details {{
            shipment {{ reference: "{SHIPMENT}" tracking_references: "1" tracking_references: "2" }}
          }}
        }}
        """,
    )

    allocation["tracking_details"] = {"shipment": {"reference": SHIPMENT, "tracking_references": ["3"]}}
    upstream.answer(200, body)
    check(
        stub,
        "GetShipmentAllocation",
        f"""
        allocation {{
          shipment_reference: "{SHIPMENT}" state: SHIPMENT_STATE_ALLOCATED state_text: "allocated"
          carrier {{ reference: "C" }}
          tracking_details {{ shipment {{ reference: "{SHIPMENT}" tracking_references: "3" }} }}
        }}
        """,
    )


def test_a_lost_answer_is_found_by_a_reading_that_cannot_read_everything(
    stub: ShipmentAllocationServiceStub, upstream: Upstream
) -> None:
    """What became of the write does not stay unknown over a price, a link or a document."""
    booked = {
        "allocation_date": datetime.now(UTC).isoformat(),
        "carrier": {"service_reference": "S"},
        "price": {"net": 12.1951219512, "gross": 14, "currency": "GBP"},
        "_links": [{"href": 7}],
    }
    documents = [{"type": "invoice", "format": "pdf"}, 7]
    upstream.answer(raw=b"", close=True)
    upstream.answer(
        200, {"reference": SHIPMENT, "state": "allocated", "allocation": booked, "paperless_documents": documents}
    )

    got = call(stub, REQUESTS["AllocateShipment"]).allocation

    assert (got.reconciled, got.state) == (True, core_pb2.SHIPMENT_STATE_ALLOCATED)
    assert (got.carrier.service_reference, got.HasField("price")) == ("S", False)
    assert [item.type for item in got.supplied_documents] == ["invoice"]
    assert sorted(got.unreadable) == ["allocation._links[0].href", "allocation.price.net", "paperless_documents[1]"]


SUPPLIED: Final[dict[str, tuple[object, str]]] = {
    "an empty array": ([], ""),
    "the members of the OpenAPI document": (
        [
            {
                "document_reference": "pd_1",
                "document_state": "ready",
                "document_type": "commercial_invoice",
                "file_format": "pdf",
                "usage": "electronic_trade",
                "expiration": "2021-01-01T00:00:00Z",
            },
            {"document_state": "pending", "document_type": "other", "file_format": "gif", "document_reference": None},
        ],
        """
        supplied_documents {
          reference: "pd_1" state: "ready" type: "commercial_invoice" format: "pdf" usage: "electronic_trade"
          expiration { seconds: 1609459200 }
        }
        supplied_documents { state: "pending" type: "other" format: "gif" }
        """,
    ),
    "shorter names": (
        [{"type": "invoice", "format": "pdf", "state": "new"}],
        'supplied_documents { state: "new" type: "invoice" format: "pdf" }',
    ),
    "an object": (
        {"sent_to_carrier": True, "usage_type": "not_applicable"},
        """
        paperless_documents {
          sent_to_carrier: true usage_type: PAPERLESS_USAGE_TYPE_NOT_APPLICABLE usage_type_text: "not_applicable"
        }
        """,
    ),
    "neither": ("none", 'unreadable: "paperless_documents"'),
    "a part of one": (
        [{"type": 7, "format": "pdf"}, 7],
        """
        supplied_documents { format: "pdf" }
        unreadable: "paperless_documents[0].type" unreadable: "paperless_documents[1]"
        """,
    ),
}


@pytest.mark.parametrize(("documents", "wanted"), SUPPLIED.values(), ids=SUPPLIED.keys())
def test_paperless_documents_are_an_object_or_a_list(
    stub: ShipmentAllocationServiceStub, upstream: Upstream, documents: object, wanted: str
) -> None:
    """One object in an AllocateResult, a list of what was supplied below a shipment; each is read in either place."""
    for rpc, key in (("AllocateShipment", "shipment_reference"), ("GetShipmentAllocation", "reference")):
        upstream.answer(200, {key: SHIPMENT, "state": "allocated", "paperless_documents": documents})

        check(stub, rpc, _ALLOCATED[:-1] + wanted + "}")


@pytest.mark.parametrize(
    ("base", "text"),
    [(True, "true"), (False, "false"), ("net", "net"), (1, "1"), (0.5, "0.5"), (None, "")],
)
def test_the_base_of_a_surcharge_is_a_boolean_a_name_or_a_number(
    stub: ShipmentAllocationServiceStub, upstream: Upstream, base: object, text: str
) -> None:
    """A boolean by the OpenAPI document."""
    surcharge = {"reference": "s", "base_application": {"base": base, "base_only": True}}
    upstream.answer(201, {"reference": "qr_1", "quotes": [{"reference": "qu_1", "surcharges": [surcharge]}]})

    (quote,) = call(stub, REQUESTS["CreateShipmentQuotes"]).quotes

    assert quote.surcharges[0].base_application.base == text
    assert quote.surcharges[0].base_application.base_only
    assert list(quote.unreadable) == []


def test_a_link_without_an_address_does_not_cost_the_allocation(
    stub: ShipmentAllocationServiceStub, upstream: Upstream
) -> None:
    """It is told without it, and named."""
    link = {"href": "h", "rel": "shipment", "type": "shipment"}
    links = [link, {**link, "href": 7}, 7, {**link, "reference": {}}]
    upstream.answer(200, {"shipment_reference": SHIPMENT, "state": "allocated", "_links": links})

    told = 'links { href: "h" rel: "shipment" type: "shipment" }'
    named = 'unreadable: "_links[1].href" unreadable: "_links[2]" unreadable: "_links[3].reference"'
    without = told.replace('href: "h" ', "")
    check(stub, "AllocateShipmentWithQuote", f"{_ALLOCATED[:-1]} {told} {without} {told} {named} }}")


# Dates


DATES: Final = {
    "seconds, UTC": ("2020-07-16T19:20:30Z", 1594927230, 0),
    "offset with a colon": ("2020-07-16T19:20:30+01:00", 1594923630, 0),
    "offset without a colon": ("2020-07-16T19:20:30+0100", 1594923630, 0),
    "offset to the west, with minutes": ("2020-07-16T19:20:30-03:30", 1594939830, 0),
    "six digits": ("2020-10-06T08:40:16.436208+00:00", 1601973616, 436_208_000),
    "seven digits": ("2020-07-16T09:59:25.4607538+00:00", 1594893565, 460_753_800),
    "nine digits": ("2020-07-16T09:59:25.000000001+00:00", 1594893565, 1),
    "more digits than there are nanoseconds": ("2020-07-16T09:59:25.0000000019Z", 1594893565, 1),
    "one digit": ("2020-07-16T09:59:25.4Z", 1594893565, 400_000_000),
    "no offset, which is UTC": ("2020-07-16T09:59:25.5", 1594893565, 500_000_000),
    "before 1970, with a fraction": ("1969-12-31T23:59:59.5Z", -1, 500_000_000),
    "leap day over midnight": ("2020-03-01T00:30:00+01:00", 1583019000, 0),
    "earliest": ("0001-01-01T00:00:01Z", -62_135_596_799, 0),
    "latest": ("9999-12-31T23:59:59.9999999Z", 253_402_300_799, 999_999_900),
}


@pytest.mark.parametrize(("text", "seconds", "nanos"), DATES.values(), ids=DATES.keys())
def test_a_date_is_exact_in_every_place_where_there_is_one(
    stub: ShipmentAllocationServiceStub, upstream: Upstream, text: str, seconds: int, nanos: int
) -> None:
    """No digit is lost to a binary float, and the offset counts."""
    span = {"start": text, "end": None, "has_value": True}
    body = {
        "reference": SHIPMENT,
        "state": "allocated",
        "shipping_date": span,
        "expected_delivery_date": {"end": text},
        "allocation": {"allocation_date": text},
    }
    moment = f"{{ seconds: {seconds} nanos: {nanos} }}"
    upstream.answer(200, body)
    check(
        stub,
        "GetShipmentAllocation",
        f"""
        allocation {{
          shipment_reference: "{SHIPMENT}" state: SHIPMENT_STATE_ALLOCATED state_text: "allocated"
          shipping_date {{ start {moment} }}
          expected_delivery_date {{ end {moment} }}
          allocation_date {moment}
        }}
        """,
    )

    upstream.answer(200, {"shipment_reference": SHIPMENT, "state": "allocated", "shipping_date": span})
    check(
        stub,
        "AllocateShipment",
        f"""
        allocation {{
          shipment_reference: "{SHIPMENT}" state: SHIPMENT_STATE_ALLOCATED state_text: "allocated"
          shipping_date {{ start {moment} }}
        }}
        """,
    )


@pytest.mark.parametrize(
    ("span", "wanted"),
    [
        ({"has_value": False}, ""),
        ({"has_value": False, "start": None, "end": None}, ""),
        (None, ""),
        ({}, "shipping_date {}"),
        ({"has_value": True, "start": None}, "shipping_date {}"),
    ],
)
def test_a_range_that_has_no_value_is_unset(
    stub: ShipmentAllocationServiceStub, upstream: Upstream, span: object, wanted: str
) -> None:
    """One that has a value, and no end, is open."""
    for rpc, key in (("AllocateShipment", "shipment_reference"), ("GetShipmentAllocation", "reference")):
        upstream.answer(200, {key: SHIPMENT, "state": "allocated", "shipping_date": span})

        check(stub, rpc, _ALLOCATED[:-1] + wanted + "}")


# Bulk


@pytest.mark.parametrize("rpc", BULKS)
def test_a_bulk_answer_may_be_an_array_of_allocations(
    stub: ShipmentAllocationServiceStub, upstream: Upstream, rpc: str
) -> None:
    """The OpenAPI documents type it so. What the array does not mention is unaccounted for."""
    body = [
        {"shipment_reference": SHIPMENTS[2], "state": "allocating", "message": "Queued."},
        {
            "shipment_reference": SHIPMENTS[0],
            "state": "allocation_failed",
            "details": [{"code": "shipment_invalid_state", "message": "No."}],
            "excluded_services": [],
        },
        {
            "shipment_reference": SHIPMENTS[1],
            "state": "Allocated",
            "price": {"net": 1.5, "gross": 1.5, "currency": "GBP"},
        },
    ]
    upstream.answer(202, body)

    check(
        stub,
        rpc,
        f"""
        allocations {{
          shipment_reference: "{SHIPMENTS[2]}" state: SHIPMENT_STATE_ALLOCATING state_text: "allocating"
          message: "Queued."
        }}
        allocations {{
          shipment_reference: "{SHIPMENTS[0]}" state: SHIPMENT_STATE_ALLOCATION_FAILED state_text: "allocation_failed"
          details {{ code: "shipment_invalid_state" message: "No." }}
        }}
        allocations {{
          shipment_reference: "{SHIPMENTS[1]}" state: SHIPMENT_STATE_ALLOCATED state_text: "Allocated"
          price {{
            net {{ currency_code: "GBP" units: 1 nanos: 500000000 }}
            gross {{ currency_code: "GBP" units: 1 nanos: 500000000 }}
          }}
        }}
        unaccounted: "{SHIPMENTS[3]}"
        """,
    )


UNACCOUNTED: Final[dict[str, tuple[object, str]]] = {
    "nothing is mentioned": ({"queued": [], "rejected": []}, "0123"),
    "an empty array": ([], "0123"),
    "one is left out": ({"queued": [SHIPMENTS[3], SHIPMENTS[0]], "rejected": [{"references": [SHIPMENTS[1]]}]}, "2"),
    "a longer name is another shipment": ({"queued": [*SHIPMENTS[:3], f"{SHIPMENTS[3]}0"]}, "3"),
    "one is queued and rejected": (
        {"queued": list(SHIPMENTS[:2]), "rejected": [{"code": "c", "references": [SHIPMENTS[0], SHIPMENTS[2]]}]},
        "03",
    ),
    "one has an error beside what only an allocation has, or beside a state that nobody knows": (
        [
            {"shipment_reference": SHIPMENTS[0], "state": "allocated", "details": [{}], "carrier": {"name": "X"}},
            {"shipment_reference": SHIPMENTS[1], "state": "something_new", "details": [{"code": "c"}]},
            {"shipment_reference": SHIPMENTS[2], "state": "unallocated", "details": [{"code": "c"}]},
            {"shipment_reference": SHIPMENTS[3], "state": "allocated", "details": [], "carrier": {"name": "X"}},
        ],
        "01",
    ),
    "a rejection without references": ({"queued": [SHIPMENTS[0]], "rejected": [{"code": "c", "message": "m"}]}, "123"),
    "an item that is no text": ({"queued": [SHIPMENTS[0], 17, None], "rejected": None}, "123"),
    "an item that is no object": ([{"shipment_reference": SHIPMENTS[1], "state": "allocating"}, "text", None], "023"),
    "a list that is no list": ({"queued": list(SHIPMENTS[:2]), "rejected": "all the others"}, "23"),
}


@pytest.mark.parametrize("rpc", BULKS)
def test_a_result_with_an_error_is_a_rejection_whatever_the_state_that_it_was_refused_for(
    stub: ShipmentAllocationServiceStub, upstream: Upstream, rpc: str
) -> None:
    """It is the state that the shipment had before: an allocation of this call would have a carrier."""
    child = {
        "code": "validation_error",
        "message": "m",
        "details": [{"code": "shipment_invalid_state", "message": "No."}],
    }
    body = [
        {"shipment_reference": SHIPMENTS[0], "state": "allocated", "details": [child], "price": None, "carrier": None},
        {"shipment_reference": SHIPMENTS[1], "state": "allocating", "details": [{"code": "busy", "message": "Wait."}]},
        {"shipment_reference": SHIPMENTS[2], "state": "allocating", "details": []},
        {"shipment_reference": SHIPMENTS[3], "state": "Manifested", "details": [{"message": "No."}], "carrier": {}},
    ]
    upstream.answer(202, body)

    check(
        stub,
        rpc,
        f"""
        rejected {{ code: "shipment_invalid_state" message: "No." references: "{SHIPMENTS[0]}" }}
        rejected {{ code: "busy" message: "Wait." references: "{SHIPMENTS[1]}" }}
        rejected {{ message: "No." references: "{SHIPMENTS[3]}" }}
        allocations {{
          shipment_reference: "{SHIPMENTS[2]}" state: SHIPMENT_STATE_ALLOCATING state_text: "allocating"
        }}
        """,
    )


@pytest.mark.parametrize("rpc", BULKS)
def test_a_reference_that_a_bulk_answer_does_not_mention_is_never_dropped(
    stub: ShipmentAllocationServiceStub, upstream: Upstream, rpc: str
) -> None:
    """It comes back as unaccounted, in the order of the request, also if a part of the answer cannot be read.

    That is what is left if reading does not tell either.
    """
    request = REQUESTS[rpc]
    for body, missing in UNACCOUNTED.values():
        names = [f"{UNREADABLE}-{uuid.uuid4()}" for _ in SHIPMENTS]
        text = json.dumps(body)
        for former, name in zip(SHIPMENTS, names, strict=True):
            text = text.replace(former.upper(), name.upper()).replace(former, name)
        upstream.answer(202, text.encode())

        got = call(stub, changed(request, shipments=names))

        assert list(got.unaccounted) == [names[int(digit)] for digit in missing]
        told = {*got.queued, *(item.shipment_reference for item in got.allocations)}
        told |= {reference for item in got.rejected for reference in item.references}
        assert set(names) - told == set(got.unaccounted)


def test_a_reference_that_was_not_asked_for_is_told_too(
    stub: ShipmentAllocationServiceStub, upstream: Upstream
) -> None:
    """What upstream says it queued is not withheld from the caller."""
    upstream.answer(202, {"message": "m", "queued": [*SHIPMENTS, "sp_another"]})

    names = "".join(f'queued: "{reference}" ' for reference in (*SHIPMENTS, "sp_another"))
    check(stub, "AllocateShipments", names + 'message: "m"')


# Encodings


def _chunked(body: bytes, size: int = 7, encoding: str = "") -> bytes:
    chunks = [body[start : start + size] for start in range(0, len(body), size)]
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n"
    if encoding:
        head += f"content-encoding: {encoding}\r\n".encode()
    return head + b"\r\n" + b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in (*chunks, b""))


ENCODINGS: Final[dict[str, tuple[Callable[[bytes], bytes], dict[str, str]]]] = {
    "gzip": (gzip.compress, {"content-encoding": "gzip"}),
    "gzipped, as documented": (gzip.compress, {"content-encoding": "gzipped"}),
    "x-gzip": (gzip.compress, {"content-encoding": "x-gzip"}),
    "capitals": (gzip.compress, {"Content-Encoding": "GZIP"}),
    "identity": (bytes, {"content-encoding": "identity"}),
    "another content type": (bytes, {"content-type": "text/plain; charset=utf-8"}),
    "no content type": (bytes, {"content-type": ""}),
    "white space around": (lambda body: b" \r\n\t" + body + b"\n\n", {}),
    "byte order mark": (lambda body: b"\xef\xbb\xbf" + body, {}),
    "byte order mark, gzip": (lambda body: gzip.compress(b"\xef\xbb\xbf" + body), {"content-encoding": "gzip"}),
}


@pytest.mark.parametrize("rpc", REQUESTS)
@pytest.mark.parametrize(("encode", "headers"), ENCODINGS.values(), ids=ENCODINGS.keys())
def test_an_answer_is_read_in_every_encoding_that_was_asked_for(
    stub: ShipmentAllocationServiceStub,
    upstream: Upstream,
    rpc: str,
    encode: Callable[[bytes], bytes],
    headers: dict[str, str],
) -> None:
    """The documentation names `gzipped` as the value of the header, the standard `gzip`."""
    body = encode(answer(GOLDEN[rpc]))
    upstream.answer(200, body, headers=headers)

    check(stub, rpc, expected(GOLDEN[rpc]))


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["without", "with"])
def test_what_is_read_field_by_field_may_begin_with_a_byte_order_mark(
    stub: ShipmentAllocationServiceStub, upstream: Upstream, mark: bytes
) -> None:
    """An answer that is not as documented, an error, and a bulk answer under the status of one."""
    upstream.answer(200, mark + json.dumps({"reference": SHIPMENT, "state": "allocated", "_links": 7}).encode())
    check(stub, "GetShipmentAllocation", _ALLOCATED[:-1] + 'unreadable: "_links" }')

    upstream.answer(521, mark + b'{"code":"allocation_failed","details":[{"code":"carrier_service_not_found"}]}')
    found = refused(stub, REQUESTS["AllocateShipment"])
    assert (found.reason, found.metadata["effect"]) == ("CARRIER_SERVICE_NOT_FOUND", "none")

    upstream.answer(404, mark + answer("bulk_service_group"))
    check(stub, "AllocateShipments", expected("bulk_service_group"))


@pytest.mark.parametrize("rpc", ["AllocateShipment", "AllocateShipments", "GetShipmentAllocation"])
@pytest.mark.parametrize("encoding", ["", "gzip", "gzipped"])
@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_an_answer_may_come_in_chunks(
    stub: ShipmentAllocationServiceStub, upstream: Upstream, rpc: str, encoding: str, size: int
) -> None:
    """Of any size, compressed or not."""
    body = answer(GOLDEN[rpc])
    upstream.answer(raw=_chunked(gzip.compress(body) if encoding else body, size, encoding))

    check(stub, rpc, expected(GOLDEN[rpc]))


def test_an_answer_without_a_length_ends_with_its_connection(
    stub: ShipmentAllocationServiceStub, upstream: Upstream
) -> None:
    """As HTTP/1.0 servers do it."""
    upstream.answer(raw=b"HTTP/1.0 200 OK\r\n\r\n" + answer("shipment_allocated"), close=True)

    check(stub, "GetShipmentAllocation", expected("shipment_allocated"))


def test_text_is_any_unicode(stub: ShipmentAllocationServiceStub, upstream: Upstream) -> None:
    """Escaped or not, with pairs of surrogates and control characters."""
    body = '{"reference":"%s","state":"allocated","allocation":{"carrier":{"name":"é\\u00e9🚚\\ud83d\\ude9a\\u0000"}}}'
    upstream.answer(200, (body % SHIPMENT).encode())

    got: Any = call(stub, REQUESTS["GetShipmentAllocation"])

    assert got.allocation.carrier.name == "éé🚚🚚\0"

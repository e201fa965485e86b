"""Bulk calls of the Ship API: AllocateShipmentsResult, its array variant, and AllocateWithFiltersResult."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

from allocation.v1 import core_pb2
from allocation.v1 import shipment_allocation_service_pb2 as pb

from allocation_gateway.codecs import json
from allocation_gateway.codecs import ship_common as common
from allocation_gateway.codecs.schema import REQUIRED, TEXT, TEXTS, Document, Schema, many
from allocation_gateway.codecs.ship_allocation import ALLOCATE_RESULT
from allocation_gateway.codecs.states import SHIP, Stage
from allocation_gateway.references import folded

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from google.protobuf.message import Message

    from allocation_gateway.codecs.findings import Findings
    from allocation_gateway.codecs.json import Object


class NamesShipments(Protocol):
    """A request for several shipments."""

    @property
    def shipments(self) -> Sequence[str]:
        """The references of the shipments."""


def is_bulk_result(body: object) -> bool:
    """Tells whether a body says what became of single shipments, whatever the HTTP status is.

    It does so by what was queued and what was rejected, or by an AllocateResult for each.
    """
    if isinstance(body, list):
        return bool(body) and all(isinstance(item, dict) and item.keys() >= _RESULT for item in body)
    return _is_listing(body)


def _is_listing(body: object) -> bool:
    return isinstance(body, dict) and any(isinstance(body.get(key), list) for key in ("queued", "rejected"))


# What tells an AllocateResult from an ApiError.
_RESULT: Final = frozenset({"shipment_reference", "state"})


_REJECTION: Final = Schema(code=TEXT, message=TEXT, references=TEXTS)
_OBJECT: Final = Schema(queued=TEXTS, rejected=many(_REJECTION), message=TEXT, links=common.LINKS)


def _read(body: Any, findings: Findings) -> Object | None:
    """Reads either form: the guides show an object, the OpenAPI documents an array. Of neither, None."""
    if isinstance(body, list):
        return {"allocations": json.things(body, "", findings, ALLOCATE_RESULT.read)}
    if _is_listing(body):
        return _OBJECT.read(body, "", findings)
    findings.decisive.note("body", "an object with `queued` or `rejected`, or an array", body)
    return None


def _refine(body: Any, findings: Findings) -> Object | None:
    if isinstance(body, list):
        return {"allocations": [ALLOCATE_RESULT.refine(item, "", findings) for item in body]}
    return _OBJECT.refine(body, "", findings) if _is_listing(body) else _read(body, findings)


BULK: Final = Document(
    list[ALLOCATE_RESULT.type] | _OBJECT.type,  # type: ignore[name-defined] # it is for msgspec, at run time
    _read,
    _refine,
)


def _is_refused(item: Object) -> bool:
    """Tells whether a result has an error beside the state of something that is allocated, or is being allocated.

    That state is why it was refused. One that is refused in another state says so itself.
    """
    return bool(item.get("details")) and SHIP.stage(_state(item)) in {Stage.ALLOCATED, Stage.PENDING}


def _is_contradictory(item: Object) -> bool:
    """Tells whether a result has an error beside what only an allocation has, or beside a state that nobody knows."""
    carrier = item.get("carrier") or {}
    is_booked = item.get("price") is not None or any(carrier.values())
    return bool(item.get("details")) and (is_booked or not _state(item))


def _state(item: Object) -> int:
    return int(item.get("state", core_pb2.SHIPMENT_STATE_UNSPECIFIED))


def _rejection(item: Object) -> Object:
    """Returns an AllocationRejection: by the first code of the errors of a result, a child before its parent."""
    errors = item["details"]
    told = [*(part for error in errors for part in error.get("details") or ()), *errors]
    first = next((one for one in told if one.get("code")), told[0])
    return {
        "code": first.get("code"),
        "message": first.get("message"),
        "references": [item["shipment_reference"]],
    }


def _spell_as_asked(fields: Object, asked: Sequence[str]) -> None:
    """Gives each shipment that was asked for the name that its caller knows it by, wherever an answer names it."""
    names = {folded(name): name for name in asked}
    for field in ("allocations", "links"):
        name_of = "reference" if field == "links" else "shipment_reference"
        for item in fields.get(field) or ():
            if name := item.get(name_of):
                item[name_of] = names.get(folded(name), name)
    if queued := fields.get("queued"):
        fields["queued"] = [names.get(folded(name), name) for name in queued]
    for item in fields.get("rejected") or ():
        if rejected := item.get("references"):
            item["references"] = [names.get(folded(name), name) for name in rejected]


def _of_request(items: Sequence[Object], references: Sequence[str], findings: Findings) -> list[Object]:
    """Returns the results of the shipments that were asked for.

    There is none of a shipment with two that disagree, nor of one whose result contradicts itself.
    """
    asked = frozenset(references)
    found: dict[str, Object] = {}
    contradicted: set[str] = set()
    for item in items:
        reference = item["shipment_reference"]
        earlier = found.setdefault(reference, item)
        if earlier.get("state") != item.get("state"):
            contradicted.add(reference)
    if not found.keys() <= asked:
        findings.tell("[].shipment_reference", "is not one of the shipments that were asked for")
    if contradicted:
        findings.tell("[].state", "one shipment has several that differ")
    contradicted.update(name for name, item in found.items() if _is_contradictory(item))
    return [item for name, item in found.items() if name in asked and name not in contradicted]


def _without_contradictions(fields: Object, findings: Findings) -> set[str]:
    """Returns the shipments that were queued or rejected. One that is told to be both is left out of either list."""
    queued = set(fields.get("queued") or ())
    rejections = fields.get("rejected") or ()
    rejected = {reference for item in rejections for reference in item.get("references") or ()}
    contradicted = queued & rejected
    if contradicted:
        findings.tell("rejected[].references", "names a shipment that `queued` names too")
        fields["queued"] = [reference for reference in fields["queued"] if reference not in contradicted]
        for item in rejections:
            item["references"] = [name for name in item.get("references") or () if name not in contradicted]
    return (queued | rejected) - contradicted


def bulk(response: Callable[..., Message]) -> Callable[[NamesShipments, Object | None, Findings], Message]:
    """Makes the decoder of a bulk rpc."""

    def decode(request: NamesShipments, fields: Object | None, findings: Findings) -> Message:
        if fields is None:
            return response()
        _spell_as_asked(fields, request.shipments)
        # One bad item does not cost the others: what it does not say is unaccounted for.
        results = _of_request(fields.get("allocations") or (), request.shipments, findings)
        fields["allocations"] = [item for item in results if not _is_refused(item)]
        refused = [_rejection(item) for item in results if _is_refused(item)]
        fields["rejected"] = [*(fields.get("rejected") or ()), *refused]
        known = {item["shipment_reference"] for item in fields["allocations"]}
        known.update(_without_contradictions(fields, findings))
        fields["unaccounted"] = [reference for reference in request.shipments if reference not in known]
        return response(**fields)

    return decode


FILTERED: Final = Document.of(Schema(reference=REQUIRED, shipments=many(common.LINK), message=TEXT))


def filtered(
    _: pb.AllocateShipmentsWithFiltersRequest, fields: Object, findings: Findings
) -> pb.AllocateShipmentsWithFiltersResponse:
    """Reads an AllocateWithFiltersResult. One with neither its reference nor any shipment is none."""
    if not fields["reference"] and not fields.get("shipments"):
        findings.decide("reference", "there is neither a reference nor a shipment")
    return pb.AllocateShipmentsWithFiltersResponse(**fields)

"""Single shipments of the Ship API: AllocateResult, Shipment and ResourceResult."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

from allocation.v1 import core_pb2
from allocation.v1 import shipment_allocation_service_pb2 as pb

from allocation_gateway.codecs import json, nouns
from allocation_gateway.codecs.json import required, string
from allocation_gateway.codecs.time import dates, timestamp

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.protobuf.message import Message

    from allocation_gateway.codecs.json import Findings, Object


_NOT_MADE: Final = frozenset(
    {
        core_pb2.SHIPMENT_STATE_UNSPECIFIED,
        core_pb2.SHIPMENT_STATE_UNALLOCATED,
        core_pb2.SHIPMENT_STATE_ALLOCATING,
        core_pb2.SHIPMENT_STATE_ALLOCATION_FAILED,
        core_pb2.SHIPMENT_STATE_CANCELLED,
        core_pb2.SHIPMENT_STATE_CANCELLING,
    }
)


class NamesShipment(Protocol):
    """A request for one shipment."""

    shipment_reference: str


def allocate_result(source: Object, path: str, findings: Findings) -> Object:
    """Reads an Allocation from an AllocateResult."""
    state = required(source, "state", path, findings)
    return {
        "shipment_reference": required(source, "shipment_reference", path, findings),
        "state": nouns.STATES.get(state.lower(), 0),
        "state_text": state,
        "price": json.child(source, "price", path, findings, nouns.price),
        "carrier": json.child(source, "carrier", path, findings, nouns.carrier),
        "tracking_details": json.child(source, "tracking_details", path, findings, nouns.tracking_details),
        "excluded_services": json.children(source, "excluded_services", path, findings, nouns.excluded_service),
        "shipping_date": dates(source, "shipping_date", path, findings),
        "expected_delivery_date": dates(source, "expected_delivery_date", path, findings),
        "links": nouns.links(source, path, findings),
        "correlation_id": string(source, "correlation_id", path, findings),
        "message": string(source, "message", path, findings),
        "details": json.children(source, "details", path, findings, nouns.upstream_error),
        "paperless_documents": nouns.paperless_documents(source, "paperless_documents", path, findings),
        "applicable_documents": json.children(
            source, "applicable_documents", path, findings, nouns.applicable_document
        ),
    }


def allocation(response: Callable[..., Message]) -> Callable[[NamesShipment, Any, Findings], Message]:
    """Makes the decoder of an rpc whose response holds the `allocation` of an AllocateResult."""

    def decode(request: NamesShipment, body: object, findings: Findings) -> Message:
        source = json.whole(body, findings)
        fields = allocate_result(source, "", findings)
        _check_reference(request, fields["shipment_reference"], "shipment_reference", findings)
        findings.made = fields["state"] not in _NOT_MADE
        findings.refused = fields["state"] == core_pb2.SHIPMENT_STATE_ALLOCATION_FAILED
        return response(allocation=fields)

    return decode


def shipment(
    request: pb.GetShipmentAllocationRequest, body: object, findings: Findings
) -> pb.GetShipmentAllocationResponse:
    """Reads how a shipment stands, and its allocation if it has one, from a Shipment."""
    source = json.whole(body, findings)
    state = required(source, "state", "", findings)
    reference = required(source, "reference", "", findings)
    _check_reference(request, reference, "reference", findings)
    fields: Object = {
        "shipment_reference": reference,
        "state": nouns.STATES.get(state.lower(), 0),
        "state_text": state,
        "shipping_date": dates(source, "shipping_date", "", findings),
        "expected_delivery_date": dates(source, "expected_delivery_date", "", findings),
        "links": nouns.links(source, "", findings),
        "paperless_documents": nouns.paperless_documents(source, "paperless_documents", "", findings),
    }
    made = json.child(source, "allocation", "", findings, _allocation_of_shipment)
    if made is not None:
        fields["links"] += made.pop("links")
        tracking = made.pop("tracking_references")
        if tracking and made["tracking_details"] is None:
            made["tracking_details"] = {"shipment": {"reference": reference, "tracking_references": tracking}}
        fields.update(made)
    return pb.GetShipmentAllocationResponse(allocation=core_pb2.Allocation(**fields))


def _allocation_of_shipment(source: Object, path: str, findings: Findings) -> Object:
    return {
        "carrier": json.child(source, "carrier", path, findings, nouns.carrier),
        "allocation_date": timestamp(source, "allocation_date", path, findings),
        "price": json.child(source, "price", path, findings, nouns.price),
        "tracking_details": json.child(source, "tracking_details", path, findings, nouns.tracking_details),
        # The data contract of 2020 has a plain list where later ones have tracking_details.
        "tracking_references": json.strings(source, "tracking_references", path, findings),
        "links": nouns.links(source, path, findings),
    }


def deallocation(
    request: pb.DeallocateShipmentRequest, body: object, findings: Findings
) -> pb.DeallocateShipmentResponse:
    """Reads a ResourceResult."""
    source = json.whole(body, findings)
    reference = required(source, "reference", "", findings)
    _check_reference(request, reference, "reference", findings)
    findings.made = bool(reference)
    fields: Object = {
        "shipment_reference": reference,
        "message": string(source, "message", "", findings),
        "links": nouns.links(source, "", findings),
    }
    return pb.DeallocateShipmentResponse(**fields)


def _check_reference(request: NamesShipment, reference: str, path: str, findings: Findings) -> None:
    if reference and reference != request.shipment_reference:
        findings.append(f"{path}: is not the shipment that was asked for")
        findings.foreign = True

"""Single shipments of the Ship API: AllocateResult, Shipment and ResourceResult."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from allocation.v1 import core_pb2
from allocation.v1 import shipment_allocation_service_pb2 as pb

from allocation_gateway.codecs import json, nouns
from allocation_gateway.codecs.json import required, string
from allocation_gateway.codecs.time import dates, timestamp

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.protobuf.message import Message

    from allocation_gateway.codecs.json import Defects, Object


class NamesShipment(Protocol):
    """A request for one shipment."""

    shipment_reference: str


def allocate_result(source: Object, path: str, defects: Defects) -> Object:
    """Reads an Allocation from an AllocateResult."""
    state = required(source, "state", path, defects)
    return {
        "shipment_reference": required(source, "shipment_reference", path, defects),
        "state": nouns.STATES.get(state.lower(), 0),
        "state_text": state,
        "price": nouns.price_below(source, "price", path, defects),
        "carrier": json.child(source, "carrier", path, defects, nouns.carrier),
        "tracking_details": json.child(source, "tracking_details", path, defects, nouns.tracking_details),
        "excluded_services": json.children(source, "excluded_services", path, defects, nouns.excluded_service),
        "shipping_date": dates(source, "shipping_date", path, defects),
        "expected_delivery_date": dates(source, "expected_delivery_date", path, defects),
        "links": nouns.links(source, path, defects),
        "correlation_id": string(source, "correlation_id", path, defects),
        "message": string(source, "message", path, defects),
        "details": json.children(source, "details", path, defects, nouns.upstream_error),
        "paperless_documents": nouns.paperless_documents(source, "paperless_documents", path, defects),
        "applicable_documents": json.children(source, "applicable_documents", path, defects, nouns.applicable_document),
    }


def allocation(response: Callable[..., Message]) -> Callable[[NamesShipment, Any, Defects], Message]:
    """Makes the decoder of an rpc whose response holds the `allocation` of an AllocateResult."""

    def decode(request: NamesShipment, body: object, defects: Defects) -> Message:
        source = _object(body, defects)
        fields = allocate_result(source, "", defects)
        _check_reference(request, fields["shipment_reference"], "shipment_reference", defects)
        return response(allocation=fields)

    return decode


def shipment(
    request: pb.GetShipmentAllocationRequest, body: object, defects: Defects
) -> pb.GetShipmentAllocationResponse:
    """Reads how a shipment stands, and its allocation if it has one, from a Shipment."""
    source = _object(body, defects)
    state = required(source, "state", "", defects)
    reference = required(source, "reference", "", defects)
    _check_reference(request, reference, "reference", defects)
    fields: Object = {
        "shipment_reference": reference,
        "state": nouns.STATES.get(state.lower(), 0),
        "state_text": state,
        "shipping_date": dates(source, "shipping_date", "", defects),
        "expected_delivery_date": dates(source, "expected_delivery_date", "", defects),
        "links": nouns.links(source, "", defects),
        "paperless_documents": nouns.paperless_documents(source, "paperless_documents", "", defects),
    }
    made = json.child(source, "allocation", "", defects, _allocation_of_shipment)
    if made is not None:
        fields["links"] += made.pop("links")
        tracking = made.pop("tracking_references")
        if tracking and made["tracking_details"] is None:
            made["tracking_details"] = {"shipment": {"reference": reference, "tracking_references": tracking}}
        fields.update(made)
    return pb.GetShipmentAllocationResponse(allocation=core_pb2.Allocation(**fields))


def _allocation_of_shipment(source: Object, path: str, defects: Defects) -> Object:
    return {
        "carrier": json.child(source, "carrier", path, defects, nouns.carrier),
        "allocation_date": timestamp(source, "allocation_date", path, defects),
        "price": nouns.price_below(source, "price", path, defects),
        "tracking_details": json.child(source, "tracking_details", path, defects, nouns.tracking_details),
        # The data contract of 2020 has a plain list where later ones have tracking_details.
        "tracking_references": json.strings(source, "tracking_references", path, defects),
        "links": nouns.links(source, path, defects),
    }


def deallocation(
    request: pb.DeallocateShipmentRequest, body: object, defects: Defects
) -> pb.DeallocateShipmentResponse:
    """Reads a ResourceResult."""
    source = _object(body, defects)
    reference = required(source, "reference", "", defects)
    _check_reference(request, reference, "reference", defects)
    fields: Object = {
        "shipment_reference": reference,
        "message": string(source, "message", "", defects),
        "links": nouns.links(source, "", defects),
    }
    return pb.DeallocateShipmentResponse(**fields)


def _object(body: object, defects: Defects) -> Object:
    if isinstance(body, dict):
        return body
    defects.note("body", "an object", body)
    return {}


def _check_reference(request: NamesShipment, reference: str, path: str, defects: Defects) -> None:
    if reference and reference != request.shipment_reference:
        defects.append(f"{path}: is not the shipment that was asked for")
        defects.foreign = True

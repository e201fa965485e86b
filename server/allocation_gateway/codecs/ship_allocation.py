"""Single shipments of the Ship API: AllocateResult, Shipment and ResourceResult."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from allocation.v1 import core_pb2
from allocation.v1 import shipment_allocation_service_pb2 as pb

from allocation_gateway.codecs import ship_common as common
from allocation_gateway.codecs.schema import (
    REQUIRED,
    TEXT,
    TEXTS,
    Document,
    Schema,
    decisive,
    decisive_one,
    many,
    one,
    own,
    spelled,
)
from allocation_gateway.codecs.states import SHIP
from allocation_gateway.codecs.time import dates, timestamp
from allocation_gateway.references import is_same

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.protobuf.message import Message

    from allocation_gateway.codecs.findings import Findings
    from allocation_gateway.codecs.json import Object
    from allocation_gateway.codecs.schema import Field


class NamesShipment(Protocol):
    """A request for one shipment."""

    shipment_reference: str


def _allocate_result(price: Field, carrier: Field) -> Schema:
    """Returns the schema of an AllocateResult with its price and its carrier."""
    return Schema(
        state_text=decisive(REQUIRED).at("state"),
        shipment_reference=decisive(REQUIRED),
        state=spelled(common.STATES),
        price=price,
        carrier=carrier,
        tracking_details=one(common.TRACKING_DETAILS),
        excluded_services=many(common.EXCLUDED_SERVICE),
        shipping_date=own(dates),
        expected_delivery_date=own(dates),
        links=common.LINKS,
        correlation_id=TEXT,
        message=TEXT,
        details=many(common.UPSTREAM_ERROR),
        supplied_documents=common.SUPPLIED_DOCUMENTS,
        paperless_documents=common.PAPERLESS_DOCUMENTS,
        applicable_documents=many(common.APPLICABLE_DOCUMENT),
    )


ALLOCATED: Final = Document.of(_allocate_result(decisive(common.PRICE), common.BOOKED_CARRIER))
# One of several: the others count on what it says of itself, and it is not lost over its price.
ALLOCATE_RESULT: Final = _allocate_result(common.PRICE, one(common.CARRIER))


def allocation(response: Callable[..., Message]) -> Callable[[NamesShipment, Object, Findings], Message]:
    """Makes the decoder of an rpc whose response holds the `allocation` of an AllocateResult."""

    def decode(request: NamesShipment, fields: Object, findings: Findings) -> Message:
        _check_reference(request, fields["shipment_reference"], "shipment_reference", findings)
        state = fields.get("state", core_pb2.SHIPMENT_STATE_UNSPECIFIED)
        findings.made = SHIP.is_allocated(state)
        findings.refused = SHIP.has_failed(state)
        findings.rests_on_status = findings.refused and not (fields.get("details") or fields.get("excluded_services"))
        return response(allocation=fields)

    return decode


SHIPMENT: Final = Document.of(
    Schema(
        state_text=decisive(REQUIRED).at("state"),
        shipment_reference=decisive(REQUIRED).at("reference"),
        state=spelled(common.STATES),
        allocation=decisive_one(
            Schema(
                # The booking stands whatever it costs. What cannot be read of the price is named before all else.
                price=common.PRICE,
                carrier=common.BOOKED_CARRIER,
                allocation_date=own(timestamp),
                tracking_details=one(common.TRACKING_DETAILS),
                # The data contract of 2020 has a plain list where later ones have tracking_details.
                tracking_references=TEXTS,
                links=common.LINKS,
            )
        ),
        shipping_date=own(dates),
        expected_delivery_date=own(dates),
        links=common.LINKS,
        supplied_documents=common.SUPPLIED_DOCUMENTS,
        paperless_documents=common.PAPERLESS_DOCUMENTS,
    )
)


def shipment(
    request: pb.GetShipmentAllocationRequest, fields: Object, findings: Findings
) -> pb.GetShipmentAllocationResponse:
    """Reads how a shipment stands, and its allocation if it has one, from a Shipment."""
    reference = fields["shipment_reference"]
    _check_reference(request, reference, "reference", findings)
    made = fields.pop("allocation", None)
    if made is not None:
        fields["links"] = [*(fields.get("links") or ()), *(made.pop("links", None) or ())]
        tracking = made.pop("tracking_references", None)
        if tracking and made.get("tracking_details") is None:
            made["tracking_details"] = {"shipment": {"reference": reference, "tracking_references": tracking}}
        fields.update(made)
    return pb.GetShipmentAllocationResponse(allocation=core_pb2.Allocation(**fields))


DEALLOCATED: Final = Document.of(
    Schema(shipment_reference=decisive(REQUIRED).at("reference"), message=TEXT, links=common.LINKS)
)


def deallocation(
    request: pb.DeallocateShipmentRequest, fields: Object, findings: Findings
) -> pb.DeallocateShipmentResponse:
    """Reads a ResourceResult."""
    reference = fields["shipment_reference"]
    _check_reference(request, reference, "reference", findings)
    findings.made = bool(reference)
    return pb.DeallocateShipmentResponse(**fields)


def _check_reference(request: NamesShipment, reference: str, path: str, findings: Findings) -> None:
    if reference and not is_same(reference, request.shipment_reference):
        findings.contradict(path, "is not the shipment that was asked for")

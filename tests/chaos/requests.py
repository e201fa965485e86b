"""How each step of the plan is asked for over gRPC, and what its answer says."""

from __future__ import annotations

import hashlib
from functools import cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from allocation.v1 import consignment_allocation_service_pb2 as consignments
from allocation.v1 import shipment_allocation_service_pb2 as ship
from google.rpc import error_details_pb2, status_pb2

if TYPE_CHECKING:
    import grpc.aio
    from chaos.history import Verb
    from chaos.plan import Step

SHIP_GROUP: Final = "valuableGoods"
SHIP_SERVICE: Final = "FF_DPD_Next_Day_103386"
CONSIGNMENT_GROUP: Final = "SGREF01"
CONSIGNMENT_SERVICE: Final = "CX_NDS"
_STATUS: Final = "grpc-status-details-bin"
_OUTCOMES: Final = {
    consignments.OUTCOME_DONE: "done",
    consignments.OUTCOME_REJECTED: "rejected",
}


class Asking(NamedTuple):
    """A request that can be sent.

    Attributes:
        service: `Shipment` or `Consignment`.
        method: The rpc's name.
        message: The request.
        verb: What it does.
    """

    service: str
    method: str
    message: Any
    verb: Verb

    @property
    def carrier_service(self) -> str:
        """The carrier service that it asks for; empty if it leaves that to upstream."""
        return str(getattr(self.message, "carrier_service_reference", ""))


@cache
def _fields(descriptor: Any) -> frozenset[str]:
    return frozenset(descriptor.fields_by_name)


def references_of(message: Any) -> list[str]:
    """Returns the shipments or consignments that a request names."""
    fields = _fields(message.DESCRIPTOR)
    for name in ("shipment_reference", "consignment_reference"):
        if name in fields:
            return [getattr(message, name)]
    return list(message.shipments if "shipments" in fields else message.consignments)


def asking(step: Step, references: tuple[str, ...], quote: str) -> Asking:
    """Returns the request for a step.

    Args:
        step: The step.
        references: What to write to, instead of what the step says.
        quote: The quote to use, if the step needs one.
    """
    message = (_ship if step.api == "ship" else _consignment)(step.how, references, quote)
    message.request_id = str(step.id)
    method = type(message).DESCRIPTOR.name.removesuffix("Request")
    service = "Shipment" if step.api == "ship" else "Consignment"
    if "deallocate" in step.how:
        return Asking(service, method, message, "deallocate")
    is_queued = step.api == "ship" and step.how.startswith("bulk")
    return Asking(service, method, message, "queue" if is_queued else "allocate")


def _ship(how: str, references: tuple[str, ...], quote: str) -> Any:
    one = references[0]
    match how:
        case "group":
            return ship.AllocateShipmentWithServiceGroupRequest(shipment_reference=one, service_group=SHIP_GROUP)
        case "service":
            return ship.AllocateShipmentWithCarrierServiceRequest(
                shipment_reference=one, carrier_service_reference=SHIP_SERVICE
            )
        case "quote":
            return ship.AllocateShipmentWithQuoteRequest(shipment_reference=one, quote_reference=quote)
        case "deallocate":
            return ship.DeallocateShipmentRequest(shipment_reference=one)
        case "bulk default":
            return ship.AllocateShipmentsRequest(shipments=references)
        case "bulk group":
            return ship.AllocateShipmentsWithServiceGroupRequest(shipments=references, service_group=SHIP_GROUP)
        case "bulk service":
            return ship.AllocateShipmentsWithCarrierServiceRequest(
                shipments=references, carrier_service_reference=SHIP_SERVICE
            )
        case _:
            return ship.AllocateShipmentRequest(shipment_reference=one)


def _consignment(how: str, references: tuple[str, ...], quote: str) -> Any:
    one = references[0]
    match how:
        case "group":
            return consignments.AllocateConsignmentWithServiceGroupRequest(
                consignment_reference=one, service_group=CONSIGNMENT_GROUP
            )
        case "labels":
            return consignments.AllocateConsignmentWithLabelsRequest(
                consignment_reference=one, label_format=consignments.LABEL_FORMAT_PDF
            )
        case "quote":
            return consignments.AllocateConsignmentWithQuoteRequest(consignment_reference=one, quote_reference=quote)
        case "deallocate":
            return consignments.DeallocateConsignmentRequest(consignment_reference=one)
        case "bulk default":
            return consignments.AllocateConsignmentsRequest(consignments=references)
        case "bulk group":
            return consignments.AllocateConsignmentsWithServiceGroupRequest(
                consignments=references, service_group=CONSIGNMENT_GROUP
            )
        case "bulk service":
            return consignments.AllocateConsignmentsWithCarrierServiceRequest(
                consignments=references, carrier_service_reference=CONSIGNMENT_SERVICE
            )
        case "bulk deallocate":
            return consignments.DeallocateConsignmentsRequest(consignments=references)
        case _:
            return consignments.AllocateConsignmentRequest(consignment_reference=one)


def digest(response: Any) -> str:
    """Returns what tells one response from another. Labels are left out: they are read anew each time."""
    kept = type(response)()
    kept.CopyFrom(response)
    for name in ("labels", "label_error"):
        if name in response.DESCRIPTOR.fields_by_name:
            kept.ClearField(name)
    return hashlib.sha256(kept.SerializeToString(deterministic=True)).hexdigest()[:16]


def is_reconciled(response: Any) -> bool:
    """Tells whether an allocation was adopted by reading."""
    return "allocation" in _fields(response.DESCRIPTOR) and bool(response.allocation.reconciled)


def outcomes(response: Any) -> dict[str, str]:
    """Returns what a bulk call says of each reference; nothing for a single call."""
    fields = _fields(response.DESCRIPTOR)
    if "results" in fields:
        return {one.consignment_reference: _OUTCOMES.get(one.outcome, "unknown") for one in response.results}
    if "queued" not in fields:
        return {}
    return {
        **dict.fromkeys(response.unaccounted, "unknown"),
        **{one.shipment_reference: "rejected" if one.details else "queued" for one in response.allocations},
        **{reference: "rejected" for one in response.rejected for reference in one.references},
        **dict.fromkeys(response.queued, "queued"),
    }


class Failure(NamedTuple):
    """What a failed call says: empty texts where it does not."""

    reason: str
    effect: str
    retry_after: float | None


def failure(error: grpc.aio.AioRpcError) -> Failure:
    """Returns what the status of a failed call says."""
    packed = next((value for key, value in error.trailing_metadata() or () if key == _STATUS), None)
    return failure_in(status_pb2.Status.FromString(packed) if isinstance(packed, bytes) else status_pb2.Status())


def failure_in(status: status_pb2.Status) -> Failure:
    """Returns what a status says."""
    reason, effect, retry_after = "", "", None
    for detail in status.details:
        info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
        if detail.Unpack(info):
            reason, effect = info.reason, info.metadata.get("effect", "")
        elif detail.Unpack(retry):
            retry_after = retry.retry_delay.ToNanoseconds() / 1e9
    return Failure(reason, effect, retry_after)

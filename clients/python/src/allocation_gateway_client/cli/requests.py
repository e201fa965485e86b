"""Which rpc carries out what a command asks for."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from allocation.v1 import consignment_allocation_service_pb2 as consignments
from allocation.v1 import job_pb2
from allocation.v1 import shipment_allocation_service_pb2 as shipments

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from google.protobuf.message import Message

# How many shipments or consignments a bulk call takes.
BULK_SIZE: Final = 100
_SHIPMENT: Final = re.compile(r"sp_", re.IGNORECASE)


class Api(Enum):
    """Which generation of the API something belongs to."""

    SHIP = "ship"
    CONSIGNMENTS = "consignments"

    @classmethod
    def of(cls, reference: str) -> Api:
        """Returns that of a reference: those of shipments begin with `sp_`."""
        return cls.SHIP if _SHIPMENT.match(reference) else cls.CONSIGNMENTS


class NotOfferedError(Exception):
    """No rpc does that. Its text says so."""


@dataclass(frozen=True)
class Selector:
    """By what a carrier service is chosen: the customer's default rules if nothing is set.

    Attributes:
        option: `group`, `service`, `virtual` or `quote`; empty for the default rules.
        value: Its code or reference.
    """

    option: str = ""
    value: str = ""

    @property
    def fields(self) -> dict[str, str]:
        """The field of a request that says so."""
        return {_FIELDS[self.option]: self.value} if self.option else {}


_FIELDS: Final = {
    "group": "service_group",
    "service": "carrier_service_reference",
    "virtual": "virtual_service_reference",
    "quote": "quote_reference",
}
SELECTORS: Final = tuple(_FIELDS)
_ONE: Final[Mapping[tuple[Api, str], type[Message]]] = {
    (Api.SHIP, ""): shipments.AllocateShipmentRequest,
    (Api.SHIP, "group"): shipments.AllocateShipmentWithServiceGroupRequest,
    (Api.SHIP, "service"): shipments.AllocateShipmentWithCarrierServiceRequest,
    (Api.SHIP, "virtual"): shipments.AllocateShipmentWithVirtualServiceRequest,
    (Api.SHIP, "quote"): shipments.AllocateShipmentWithQuoteRequest,
    (Api.CONSIGNMENTS, ""): consignments.AllocateConsignmentRequest,
    (Api.CONSIGNMENTS, "group"): consignments.AllocateConsignmentWithServiceGroupRequest,
    (Api.CONSIGNMENTS, "quote"): consignments.AllocateConsignmentWithQuoteRequest,
}
_MANY: Final[Mapping[tuple[Api, str], type[Message]]] = {
    (Api.SHIP, ""): shipments.AllocateShipmentsRequest,
    (Api.SHIP, "group"): shipments.AllocateShipmentsWithServiceGroupRequest,
    (Api.SHIP, "service"): shipments.AllocateShipmentsWithCarrierServiceRequest,
    (Api.CONSIGNMENTS, ""): consignments.AllocateConsignmentsRequest,
    (Api.CONSIGNMENTS, "group"): consignments.AllocateConsignmentsWithServiceGroupRequest,
    (Api.CONSIGNMENTS, "service"): consignments.AllocateConsignmentsWithCarrierServiceRequest,
}
_READS: Final[Mapping[tuple[Api, str], type[Message]]] = {
    (Api.SHIP, "show"): shipments.GetShipmentAllocationRequest,
    (Api.SHIP, "quotes"): shipments.CreateShipmentQuotesRequest,
    (Api.CONSIGNMENTS, "show"): consignments.GetConsignmentAllocationRequest,
    (Api.CONSIGNMENTS, "quotes"): consignments.GetConsignmentQuotesRequest,
}


def _made(kind: type[Message], **fields: Any) -> Message:
    return kind(**fields)


def _reference_field(api: Api) -> str:
    return "shipment_reference" if api is Api.SHIP else "consignment_reference"


def allocation(api: Api, reference: str, selector: Selector, request_id: str) -> Message:
    """Returns the request that allocates one.

    Raises:
        NotOfferedError: The API cannot do that for one alone.
    """
    kind = _ONE.get((api, selector.option))
    if kind is None:
        raise NotOfferedError(f"--{selector.option} is not for a single consignment: use --bulk or --labels")
    return _made(kind, **{_reference_field(api): reference}, request_id=request_id, **selector.fields)


def labels(reference: str, selector: Selector, label_format: str, request_id: str) -> Message:
    """Returns the request that allocates a consignment and gets its labels.

    Raises:
        NotOfferedError: It is not offered for that selector.
    """
    if selector.option == "virtual":
        raise NotOfferedError("--virtual is for shipments")
    return consignments.AllocateConsignmentWithLabelsRequest(
        consignment_reference=reference,
        request_id=request_id,
        label_format=consignments.LabelFormat.Value(f"LABEL_FORMAT_{label_format.upper()}"),
        **selector.fields,
    )


def bulk(api: Api, references: Sequence[str], selector: Selector, request_id: str) -> Message:
    """Returns the request that allocates several in one call.

    Raises:
        NotOfferedError: It is not offered for that selector.
    """
    kind = _MANY.get((api, selector.option))
    if kind is None:
        raise NotOfferedError(
            f"--bulk goes without selectors, or with --group or --service; not with --{selector.option}"
        )
    field = "shipments" if api is Api.SHIP else "consignments"
    return _made(kind, **{field: references}, request_id=request_id, **selector.fields)


def item(api: Api, reference: str, selector: Selector) -> Message:
    """Returns the item of a stream that allocates one.

    Raises:
        NotOfferedError: It is not offered for that selector.
    """
    if (api, selector.option) not in _MANY:
        raise NotOfferedError(
            f"--stream goes without selectors, or with --group or --service; not with --{selector.option}"
        )
    kind: type[Message] = shipments.ShipmentItem if api is Api.SHIP else consignments.ConsignmentItem
    chosen = _made(job_pb2.AllocationSelector, **selector.fields) if selector.option else None
    return _made(kind, **{_reference_field(api): reference}, selector=chosen)


def deallocation(api: Api, reference: str, request_id: str) -> Message:
    """Returns the request that takes an allocation back."""
    if api is Api.SHIP:
        return shipments.DeallocateShipmentRequest(shipment_reference=reference, request_id=request_id)
    return consignments.DeallocateConsignmentRequest(consignment_reference=reference, request_id=request_id)


def read(api: Api, command: str, reference: str) -> Message:
    """Returns the request of `show` or `quotes`."""
    return _made(_READS[api, command], **{_reference_field(api): reference})

"""The rpcs as methods. Generated from the contract by protos/python_methods.py: do not edit."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, TypeVar

from allocation.v1 import consignment_allocation_service_pb2, service_group_service_pb2, shipment_allocation_service_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from allocation.v1 import core_pb2
    from google.protobuf.message import Message

R = TypeVar("R", bound="Message")


class Methods(ABC):
    """One method for each rpc.

    `timeout` is how many seconds a call may take with all its repetitions. `metadata` is sent besides that of the
    client. `account` is the account of the gateway that it is for, instead of the client's. A `request_id` is made for
    each call, unless one is given to learn what became of an earlier one.
    """

    @abstractmethod
    def _invoke(
        self,
        path: str,
        request: Message,
        response: type[R],
        timeout: float | None,
        metadata: Mapping[str, str] | None,
        account: str | None,
    ) -> R:
        """Makes a call of the rpc at a path. Raises an AllocationError if it fails."""

    def allocate_consignment(
        self,
        consignment_reference: str,
        *,
        request_id: str = "",
        timeout: float | None = None,
        metadata: Mapping[str, str] | None = None,
        account: str | None = None,
    ) -> consignment_allocation_service_pb2.AllocateConsignmentResponse:
        """Allocates a consignment to the cheapest eligible carrier service under the customer's default rules.
        Upstream answers at once with a summary, which has no price and no state: read those with
        GetConsignmentAllocation. Where upstream only says that it took the request in hand, the consignment is read
        until it is allocated, and `state` is set."""
        request = consignment_allocation_service_pb2.AllocateConsignmentRequest(
            consignment_reference=consignment_reference, request_id=request_id
        )
        return self._invoke(
            "/allocation.v1.ConsignmentAllocationService/AllocateConsignment",
            request,
            consignment_allocation_service_pb2.AllocateConsignmentResponse,
            timeout,
            metadata,
            account,
        )

    def allocate_consignment_with_service_group(
        self,
        consignment_reference: str,
        service_group: str,
        *,
        request_id: str = "",
        timeout: float | None = None,
        metadata: Mapping[str, str] | None = None,
        account: str | None = None,
    ) -> consignment_allocation_service_pb2.AllocateConsignmentWithServiceGroupResponse:
        """Allocates a consignment to the cheapest eligible carrier service of one service group. Upstream answers
        at once with a summary, which has no price and no state: read those with GetConsignmentAllocation. Where
        upstream only says that it took the request in hand, the consignment is read until it is allocated, and
        `state` is set."""
        request = consignment_allocation_service_pb2.AllocateConsignmentWithServiceGroupRequest(
            consignment_reference=consignment_reference, request_id=request_id, service_group=service_group
        )
        return self._invoke(
            "/allocation.v1.ConsignmentAllocationService/AllocateConsignmentWithServiceGroup",
            request,
            consignment_allocation_service_pb2.AllocateConsignmentWithServiceGroupResponse,
            timeout,
            metadata,
            account,
        )

    def allocate_consignment_with_quote(
        self,
        consignment_reference: str,
        quote_reference: str,
        *,
        request_id: str = "",
        timeout: float | None = None,
        metadata: Mapping[str, str] | None = None,
        account: str | None = None,
    ) -> consignment_allocation_service_pb2.AllocateConsignmentWithQuoteResponse:
        """Allocates a consignment to the carrier service of a quote that was made for it and has not expired.
        Upstream answers at once with a summary, which has no price and no state: read those with
        GetConsignmentAllocation. Where upstream only says that it took the request in hand, the consignment is read
        until it is allocated, and `state` is set."""
        request = consignment_allocation_service_pb2.AllocateConsignmentWithQuoteRequest(
            consignment_reference=consignment_reference, request_id=request_id, quote_reference=quote_reference
        )
        return self._invoke(
            "/allocation.v1.ConsignmentAllocationService/AllocateConsignmentWithQuote",
            request,
            consignment_allocation_service_pb2.AllocateConsignmentWithQuoteResponse,
            timeout,
            metadata,
            account,
        )

    def allocate_consignments(
        self,
        consignments: Iterable[str],
        *,
        request_id: str = "",
        timeout: float | None = None,
        metadata: Mapping[str, str] | None = None,
        account: str | None = None,
    ) -> consignment_allocation_service_pb2.AllocateConsignmentsResponse:
        """Allocates consignments under the customer's default rules, each to its own cheapest service. Upstream
        answers at once and for each consignment: OK means that the call was carried out, and `results` says what
        became of each."""
        request = consignment_allocation_service_pb2.AllocateConsignmentsRequest(
            consignments=consignments, request_id=request_id
        )
        return self._invoke(
            "/allocation.v1.ConsignmentAllocationService/AllocateConsignments",
            request,
            consignment_allocation_service_pb2.AllocateConsignmentsResponse,
            timeout,
            metadata,
            account,
        )

    def allocate_consignments_with_service_group(
        self,
        consignments: Iterable[str],
        service_group: str,
        *,
        request_id: str = "",
        timeout: float | None = None,
        metadata: Mapping[str, str] | None = None,
        account: str | None = None,
    ) -> consignment_allocation_service_pb2.AllocateConsignmentsWithServiceGroupResponse:
        """Allocates consignments within one service group. Upstream answers at once and for each consignment: OK
        means that the call was carried out, and `results` says what became of each. No guide of 2025 mentions this
        operation, so the setting `CONSIGNMENTS_DISABLED_OPERATIONS` can switch it off."""
        request = consignment_allocation_service_pb2.AllocateConsignmentsWithServiceGroupRequest(
            consignments=consignments, request_id=request_id, service_group=service_group
        )
        return self._invoke(
            "/allocation.v1.ConsignmentAllocationService/AllocateConsignmentsWithServiceGroup",
            request,
            consignment_allocation_service_pb2.AllocateConsignmentsWithServiceGroupResponse,
            timeout,
            metadata,
            account,
        )

    def allocate_consignments_with_carrier_service(
        self,
        consignments: Iterable[str],
        carrier_service_reference: str,
        *,
        request_id: str = "",
        timeout: float | None = None,
        metadata: Mapping[str, str] | None = None,
        account: str | None = None,
    ) -> consignment_allocation_service_pb2.AllocateConsignmentsWithCarrierServiceResponse:
        """Allocates consignments to one carrier service. One that the service cannot take becomes
        ALLOCATION_FAILED. Upstream answers at once and for each consignment: OK means that the call was carried
        out, and `results` says what became of each. No guide of 2025 mentions this operation, so the setting
        `CONSIGNMENTS_DISABLED_OPERATIONS` can switch it off."""
        request = consignment_allocation_service_pb2.AllocateConsignmentsWithCarrierServiceRequest(
            consignments=consignments, request_id=request_id, carrier_service_reference=carrier_service_reference
        )
        return self._invoke(
            "/allocation.v1.ConsignmentAllocationService/AllocateConsignmentsWithCarrierService",
            request,
            consignment_allocation_service_pb2.AllocateConsignmentsWithCarrierServiceResponse,
            timeout,
            metadata,
            account,
        )

    def allocate_consignments_with_service_filters(
        self,
        consignments: Iterable[str],
        filters: consignment_allocation_service_pb2.ConsignmentFilters,
        *,
        request_id: str = "",
        timeout: float | None = None,
        metadata: Mapping[str, str] | None = None,
        account: str | None = None,
    ) -> consignment_allocation_service_pb2.AllocateConsignmentsWithServiceFiltersResponse:
        """Allocates consignments to services that pass filters. The customer's rules still apply. Upstream answers
        at once and for each consignment: OK means that the call was carried out, and `results` says what became of
        each. No guide of 2025 mentions this operation, so the setting `CONSIGNMENTS_DISABLED_OPERATIONS` can switch
        it off."""
        request = consignment_allocation_service_pb2.AllocateConsignmentsWithServiceFiltersRequest(
            consignments=consignments, request_id=request_id, filters=filters
        )
        return self._invoke(
            "/allocation.v1.ConsignmentAllocationService/AllocateConsignmentsWithServiceFilters",
            request,
            consignment_allocation_service_pb2.AllocateConsignmentsWithServiceFiltersResponse,
            timeout,
            metadata,
            account,
        )

    def allocate_consignment_with_labels(
        self,
        consignment_reference: str,
        label_format: consignment_allocation_service_pb2.LabelFormat.ValueType,
        *,
        request_id: str = "",
        carrier_service_reference: str | None = None,
        service_group: str | None = None,
        quote_reference: str | None = None,
        timeout: float | None = None,
        metadata: Mapping[str, str] | None = None,
        account: str | None = None,
    ) -> consignment_allocation_service_pb2.AllocateConsignmentWithLabelsResponse:
        """Allocates a consignment and gets its labels in one call. A consignment that is allocated but whose label
        is not to be had is OK, with the allocation and a `label_error`. If the consignment is allocated already,
        and nothing speaks against its being this very allocation, the call allocates nothing and fetches the label:
        so a call is repeated until the label is there. No guide of 2025 mentions this operation, so the setting
        `CONSIGNMENTS_DISABLED_OPERATIONS` can switch it off."""
        request = consignment_allocation_service_pb2.AllocateConsignmentWithLabelsRequest(
            consignment_reference=consignment_reference, request_id=request_id, label_format=label_format
        )
        if carrier_service_reference is not None:
            request.carrier_service_reference = carrier_service_reference
        if service_group is not None:
            request.service_group = service_group
        if quote_reference is not None:
            request.quote_reference = quote_reference
        return self._invoke(
            "/allocation.v1.ConsignmentAllocationService/AllocateConsignmentWithLabels",
            request,
            consignment_allocation_service_pb2.AllocateConsignmentWithLabelsResponse,
            timeout,
            metadata,
            account,
        )

    def deallocate_consignment(
        self,
        consignment_reference: str,
        *,
        request_id: str = "",
        timeout: float | None = None,
        metadata: Mapping[str, str] | None = None,
        account: str | None = None,
    ) -> consignment_allocation_service_pb2.DeallocateConsignmentResponse:
        """Takes back the allocation of a consignment that is allocated, manifested, or whose manifest failed."""
        request = consignment_allocation_service_pb2.DeallocateConsignmentRequest(
            consignment_reference=consignment_reference, request_id=request_id
        )
        return self._invoke(
            "/allocation.v1.ConsignmentAllocationService/DeallocateConsignment",
            request,
            consignment_allocation_service_pb2.DeallocateConsignmentResponse,
            timeout,
            metadata,
            account,
        )

    def deallocate_consignments(
        self,
        consignments: Iterable[str],
        *,
        request_id: str = "",
        timeout: float | None = None,
        metadata: Mapping[str, str] | None = None,
        account: str | None = None,
    ) -> consignment_allocation_service_pb2.DeallocateConsignmentsResponse:
        """Takes back the allocations of consignments, one by one. Upstream answers at once and for each
        consignment: OK means that the call was carried out, and `results` says what became of each."""
        request = consignment_allocation_service_pb2.DeallocateConsignmentsRequest(
            consignments=consignments, request_id=request_id
        )
        return self._invoke(
            "/allocation.v1.ConsignmentAllocationService/DeallocateConsignments",
            request,
            consignment_allocation_service_pb2.DeallocateConsignmentsResponse,
            timeout,
            metadata,
            account,
        )

    def get_consignment_allocation(
        self,
        consignment_reference: str,
        *,
        timeout: float | None = None,
        metadata: Mapping[str, str] | None = None,
        account: str | None = None,
    ) -> consignment_allocation_service_pb2.GetConsignmentAllocationResponse:
        """Reads how a consignment stands and, if it is allocated, its allocation. A consignment that is not
        allocated is OK, with its state and no carrier service."""
        request = consignment_allocation_service_pb2.GetConsignmentAllocationRequest(
            consignment_reference=consignment_reference
        )
        return self._invoke(
            "/allocation.v1.ConsignmentAllocationService/GetConsignmentAllocation",
            request,
            consignment_allocation_service_pb2.GetConsignmentAllocationResponse,
            timeout,
            metadata,
            account,
        )

    def get_consignment_quotes(
        self,
        consignment_reference: str,
        *,
        timeout: float | None = None,
        metadata: Mapping[str, str] | None = None,
        account: str | None = None,
    ) -> consignment_allocation_service_pb2.GetConsignmentQuotesResponse:
        """Asks for what the eligible carrier services would charge for a consignment. It books nothing."""
        request = consignment_allocation_service_pb2.GetConsignmentQuotesRequest(
            consignment_reference=consignment_reference
        )
        return self._invoke(
            "/allocation.v1.ConsignmentAllocationService/GetConsignmentQuotes",
            request,
            consignment_allocation_service_pb2.GetConsignmentQuotesResponse,
            timeout,
            metadata,
            account,
        )

    def list_service_groups(
        self,
        *,
        api: service_group_service_pb2.Api.ValueType = service_group_service_pb2.API_UNSPECIFIED,
        page_size: int = 0,
        page_token: str = "",
        timeout: float | None = None,
        metadata: Mapping[str, str] | None = None,
        account: str | None = None,
    ) -> service_group_service_pb2.ListServiceGroupsResponse:
        """Lists the service groups that the gateway knows, ordered by API and code. Where it may have a list from
        upstream and has none in memory, it asks for it first; without an answer it lists what it knows
        otherwise."""
        request = service_group_service_pb2.ListServiceGroupsRequest(
            api=api, page_size=page_size, page_token=page_token
        )
        return self._invoke(
            "/allocation.v1.ServiceGroupService/ListServiceGroups",
            request,
            service_group_service_pb2.ListServiceGroupsResponse,
            timeout,
            metadata,
            account,
        )

    def get_service_group(
        self,
        service_group: str,
        *,
        api: service_group_service_pb2.Api.ValueType = service_group_service_pb2.API_UNSPECIFIED,
        timeout: float | None = None,
        metadata: Mapping[str, str] | None = None,
        account: str | None = None,
    ) -> service_group_service_pb2.GetServiceGroupResponse:
        """Tells which service group a code or a name stands for, as in an allocation. NOT_FOUND means that the
        gateway does not know it; with Ship, which has no list of groups, it may exist all the same."""
        request = service_group_service_pb2.GetServiceGroupRequest(service_group=service_group, api=api)
        return self._invoke(
            "/allocation.v1.ServiceGroupService/GetServiceGroup",
            request,
            service_group_service_pb2.GetServiceGroupResponse,
            timeout,
            metadata,
            account,
        )

    def refresh_service_groups(
        self,
        *,
        api: service_group_service_pb2.Api.ValueType = service_group_service_pb2.API_UNSPECIFIED,
        timeout: float | None = None,
        metadata: Mapping[str, str] | None = None,
        account: str | None = None,
    ) -> service_group_service_pb2.RefreshServiceGroupsResponse:
        """Reads the catalogue file anew, forgets what was listed by upstream or observed in use, in every replica
        that shares a cache, and asks upstream for its list anew. It has to be switched on by the setting
        `SERVICE_GROUP_REFRESH`."""
        request = service_group_service_pb2.RefreshServiceGroupsRequest(api=api)
        return self._invoke(
            "/allocation.v1.ServiceGroupService/RefreshServiceGroups",
            request,
            service_group_service_pb2.RefreshServiceGroupsResponse,
            timeout,
            metadata,
            account,
        )

    def allocate_shipment(
        self,
        shipment_reference: str,
        *,
        request_id: str = "",
        timeout: float | None = None,
        metadata: Mapping[str, str] | None = None,
        account: str | None = None,
    ) -> shipment_allocation_service_pb2.AllocateShipmentResponse:
        """Allocates a shipment to the cheapest eligible carrier service under the customer's default rules.
        Upstream answers at once: the allocation is in the answer. Where upstream only takes the request in hand,
        the shipment is read until it is allocated."""
        request = shipment_allocation_service_pb2.AllocateShipmentRequest(
            shipment_reference=shipment_reference, request_id=request_id
        )
        return self._invoke(
            "/allocation.v1.ShipmentAllocationService/AllocateShipment",
            request,
            shipment_allocation_service_pb2.AllocateShipmentResponse,
            timeout,
            metadata,
            account,
        )

    def allocate_shipment_with_service_group(
        self,
        shipment_reference: str,
        service_group: str,
        *,
        request_id: str = "",
        timeout: float | None = None,
        metadata: Mapping[str, str] | None = None,
        account: str | None = None,
    ) -> shipment_allocation_service_pb2.AllocateShipmentWithServiceGroupResponse:
        """Allocates a shipment to the cheapest eligible carrier service of one service group. Upstream answers at
        once: the allocation is in the answer. Where upstream only takes the request in hand, the shipment is read
        until it is allocated."""
        request = shipment_allocation_service_pb2.AllocateShipmentWithServiceGroupRequest(
            shipment_reference=shipment_reference, request_id=request_id, service_group=service_group
        )
        return self._invoke(
            "/allocation.v1.ShipmentAllocationService/AllocateShipmentWithServiceGroup",
            request,
            shipment_allocation_service_pb2.AllocateShipmentWithServiceGroupResponse,
            timeout,
            metadata,
            account,
        )

    def allocate_shipment_with_carrier_service(
        self,
        shipment_reference: str,
        carrier_service_reference: str,
        *,
        request_id: str = "",
        timeout: float | None = None,
        metadata: Mapping[str, str] | None = None,
        account: str | None = None,
    ) -> shipment_allocation_service_pb2.AllocateShipmentWithCarrierServiceResponse:
        """Allocates a shipment to the cheapest option of one carrier service. The customer's rules still apply.
        Upstream answers at once: the allocation is in the answer. Where upstream only takes the request in hand,
        the shipment is read until it is allocated."""
        request = shipment_allocation_service_pb2.AllocateShipmentWithCarrierServiceRequest(
            shipment_reference=shipment_reference,
            request_id=request_id,
            carrier_service_reference=carrier_service_reference,
        )
        return self._invoke(
            "/allocation.v1.ShipmentAllocationService/AllocateShipmentWithCarrierService",
            request,
            shipment_allocation_service_pb2.AllocateShipmentWithCarrierServiceResponse,
            timeout,
            metadata,
            account,
        )

    def allocate_shipment_with_virtual_service(
        self,
        shipment_reference: str,
        virtual_service_reference: str,
        *,
        request_id: str = "",
        timeout: float | None = None,
        metadata: Mapping[str, str] | None = None,
        account: str | None = None,
    ) -> shipment_allocation_service_pb2.AllocateShipmentWithVirtualServiceResponse:
        """Allocates a shipment by a reference that is either that of a carrier service or that of a service group.
        One that is both is INVALID_ARGUMENT. Upstream answers at once: the allocation is in the answer. Where
        upstream only takes the request in hand, the shipment is read until it is allocated. The sources disagree on
        whether upstream still offers this operation, so the setting `SHIP_DISABLED_OPERATIONS` can switch it
        off."""
        request = shipment_allocation_service_pb2.AllocateShipmentWithVirtualServiceRequest(
            shipment_reference=shipment_reference,
            request_id=request_id,
            virtual_service_reference=virtual_service_reference,
        )
        return self._invoke(
            "/allocation.v1.ShipmentAllocationService/AllocateShipmentWithVirtualService",
            request,
            shipment_allocation_service_pb2.AllocateShipmentWithVirtualServiceResponse,
            timeout,
            metadata,
            account,
        )

    def allocate_shipment_with_quote(
        self,
        shipment_reference: str,
        quote_reference: str,
        *,
        request_id: str = "",
        timeout: float | None = None,
        metadata: Mapping[str, str] | None = None,
        account: str | None = None,
    ) -> shipment_allocation_service_pb2.AllocateShipmentWithQuoteResponse:
        """Allocates a shipment to the carrier service of a quote that was made for it and has not expired. Upstream
        answers at once: the allocation is in the answer. Where upstream only takes the request in hand, the
        shipment is read until it is allocated. The sources disagree on whether upstream still offers this
        operation, so the setting `SHIP_DISABLED_OPERATIONS` can switch it off."""
        request = shipment_allocation_service_pb2.AllocateShipmentWithQuoteRequest(
            shipment_reference=shipment_reference, request_id=request_id, quote_reference=quote_reference
        )
        return self._invoke(
            "/allocation.v1.ShipmentAllocationService/AllocateShipmentWithQuote",
            request,
            shipment_allocation_service_pb2.AllocateShipmentWithQuoteResponse,
            timeout,
            metadata,
            account,
        )

    def allocate_shipments(
        self,
        shipments: Iterable[str],
        *,
        request_id: str = "",
        capabilities: Iterable[core_pb2.ServiceCapability] = (),
        timeout: float | None = None,
        metadata: Mapping[str, str] | None = None,
        account: str | None = None,
    ) -> shipment_allocation_service_pb2.AllocateShipmentsResponse:
        """Queues shipments for allocation under the customer's default rules. Upstream only queues: OK means that
        upstream took the request in hand, not that any shipment is allocated: `queued`, `rejected` and
        `unaccounted` say what is known of each. Read each of them with GetShipmentAllocation to learn what became
        of it. The sources disagree on whether upstream still offers this operation, so the setting
        `SHIP_DISABLED_OPERATIONS` can switch it off."""
        request = shipment_allocation_service_pb2.AllocateShipmentsRequest(
            shipments=shipments, request_id=request_id, capabilities=capabilities
        )
        return self._invoke(
            "/allocation.v1.ShipmentAllocationService/AllocateShipments",
            request,
            shipment_allocation_service_pb2.AllocateShipmentsResponse,
            timeout,
            metadata,
            account,
        )

    def allocate_shipments_with_service_group(
        self,
        shipments: Iterable[str],
        service_group: str,
        *,
        request_id: str = "",
        capabilities: Iterable[core_pb2.ServiceCapability] = (),
        timeout: float | None = None,
        metadata: Mapping[str, str] | None = None,
        account: str | None = None,
    ) -> shipment_allocation_service_pb2.AllocateShipmentsWithServiceGroupResponse:
        """Queues shipments for allocation within one service group. Upstream only queues: OK means that upstream
        took the request in hand, not that any shipment is allocated: `queued`, `rejected` and `unaccounted` say
        what is known of each. Read each of them with GetShipmentAllocation to learn what became of it."""
        request = shipment_allocation_service_pb2.AllocateShipmentsWithServiceGroupRequest(
            shipments=shipments, request_id=request_id, service_group=service_group, capabilities=capabilities
        )
        return self._invoke(
            "/allocation.v1.ShipmentAllocationService/AllocateShipmentsWithServiceGroup",
            request,
            shipment_allocation_service_pb2.AllocateShipmentsWithServiceGroupResponse,
            timeout,
            metadata,
            account,
        )

    def allocate_shipments_with_carrier_service(
        self,
        shipments: Iterable[str],
        carrier_service_reference: str,
        *,
        request_id: str = "",
        capabilities: Iterable[core_pb2.ServiceCapability] = (),
        timeout: float | None = None,
        metadata: Mapping[str, str] | None = None,
        account: str | None = None,
    ) -> shipment_allocation_service_pb2.AllocateShipmentsWithCarrierServiceResponse:
        """Queues shipments for allocation to one carrier service. Upstream only queues: OK means that upstream took
        the request in hand, not that any shipment is allocated: `queued`, `rejected` and `unaccounted` say what is
        known of each. Read each of them with GetShipmentAllocation to learn what became of it."""
        request = shipment_allocation_service_pb2.AllocateShipmentsWithCarrierServiceRequest(
            shipments=shipments,
            request_id=request_id,
            carrier_service_reference=carrier_service_reference,
            capabilities=capabilities,
        )
        return self._invoke(
            "/allocation.v1.ShipmentAllocationService/AllocateShipmentsWithCarrierService",
            request,
            shipment_allocation_service_pb2.AllocateShipmentsWithCarrierServiceResponse,
            timeout,
            metadata,
            account,
        )

    def allocate_shipments_with_filters(
        self,
        shipments: Iterable[str],
        filters: core_pb2.AllocationFilters,
        *,
        request_id: str = "",
        timeout: float | None = None,
        metadata: Mapping[str, str] | None = None,
        account: str | None = None,
    ) -> shipment_allocation_service_pb2.AllocateShipmentsWithFiltersResponse:
        """Queues shipments for allocation to services that pass filters. Upstream answers with links to shipments,
        and does not say which shipments it rejected. OK means that they were queued, not that any is allocated. The
        sources disagree on whether upstream still offers this operation, so the setting `SHIP_DISABLED_OPERATIONS`
        can switch it off."""
        request = shipment_allocation_service_pb2.AllocateShipmentsWithFiltersRequest(
            shipments=shipments, request_id=request_id, filters=filters
        )
        return self._invoke(
            "/allocation.v1.ShipmentAllocationService/AllocateShipmentsWithFilters",
            request,
            shipment_allocation_service_pb2.AllocateShipmentsWithFiltersResponse,
            timeout,
            metadata,
            account,
        )

    def deallocate_shipment(
        self,
        shipment_reference: str,
        *,
        request_id: str = "",
        timeout: float | None = None,
        metadata: Mapping[str, str] | None = None,
        account: str | None = None,
    ) -> shipment_allocation_service_pb2.DeallocateShipmentResponse:
        """Takes back the allocation of a shipment. The sources disagree on whether upstream still offers this
        operation, so the setting `SHIP_DISABLED_OPERATIONS` can switch it off."""
        request = shipment_allocation_service_pb2.DeallocateShipmentRequest(
            shipment_reference=shipment_reference, request_id=request_id
        )
        return self._invoke(
            "/allocation.v1.ShipmentAllocationService/DeallocateShipment",
            request,
            shipment_allocation_service_pb2.DeallocateShipmentResponse,
            timeout,
            metadata,
            account,
        )

    def get_shipment_allocation(
        self,
        shipment_reference: str,
        *,
        timeout: float | None = None,
        metadata: Mapping[str, str] | None = None,
        account: str | None = None,
    ) -> shipment_allocation_service_pb2.GetShipmentAllocationResponse:
        """Reads how a shipment stands and, if it is allocated, its allocation. A shipment that is not allocated is
        OK, with its state and no carrier."""
        request = shipment_allocation_service_pb2.GetShipmentAllocationRequest(shipment_reference=shipment_reference)
        return self._invoke(
            "/allocation.v1.ShipmentAllocationService/GetShipmentAllocation",
            request,
            shipment_allocation_service_pb2.GetShipmentAllocationResponse,
            timeout,
            metadata,
            account,
        )

    def create_shipment_quotes(
        self,
        shipment_reference: str,
        *,
        timeout: float | None = None,
        metadata: Mapping[str, str] | None = None,
        account: str | None = None,
    ) -> shipment_allocation_service_pb2.CreateShipmentQuotesResponse:
        """Asks for what the eligible carrier services would charge for a shipment. It books nothing."""
        request = shipment_allocation_service_pb2.CreateShipmentQuotesRequest(shipment_reference=shipment_reference)
        return self._invoke(
            "/allocation.v1.ShipmentAllocationService/CreateShipmentQuotes",
            request,
            shipment_allocation_service_pb2.CreateShipmentQuotesResponse,
            timeout,
            metadata,
            account,
        )


class AsyncMethods(ABC):
    """One method for each rpc.

    `timeout` is how many seconds a call may take with all its repetitions. `metadata` is sent besides that of the
    client. `account` is the account of the gateway that it is for, instead of the client's. A `request_id` is made for
    each call, unless one is given to learn what became of an earlier one.
    """

    @abstractmethod
    async def _invoke(
        self,
        path: str,
        request: Message,
        response: type[R],
        timeout: float | None,
        metadata: Mapping[str, str] | None,
        account: str | None,
    ) -> R:
        """Makes a call of the rpc at a path. Raises an AllocationError if it fails."""

    async def allocate_consignment(
        self,
        consignment_reference: str,
        *,
        request_id: str = "",
        timeout: float | None = None,
        metadata: Mapping[str, str] | None = None,
        account: str | None = None,
    ) -> consignment_allocation_service_pb2.AllocateConsignmentResponse:
        """Allocates a consignment to the cheapest eligible carrier service under the customer's default rules.
        Upstream answers at once with a summary, which has no price and no state: read those with
        GetConsignmentAllocation. Where upstream only says that it took the request in hand, the consignment is read
        until it is allocated, and `state` is set."""
        request = consignment_allocation_service_pb2.AllocateConsignmentRequest(
            consignment_reference=consignment_reference, request_id=request_id
        )
        return await self._invoke(
            "/allocation.v1.ConsignmentAllocationService/AllocateConsignment",
            request,
            consignment_allocation_service_pb2.AllocateConsignmentResponse,
            timeout,
            metadata,
            account,
        )

    async def allocate_consignment_with_service_group(
        self,
        consignment_reference: str,
        service_group: str,
        *,
        request_id: str = "",
        timeout: float | None = None,
        metadata: Mapping[str, str] | None = None,
        account: str | None = None,
    ) -> consignment_allocation_service_pb2.AllocateConsignmentWithServiceGroupResponse:
        """Allocates a consignment to the cheapest eligible carrier service of one service group. Upstream answers
        at once with a summary, which has no price and no state: read those with GetConsignmentAllocation. Where
        upstream only says that it took the request in hand, the consignment is read until it is allocated, and
        `state` is set."""
        request = consignment_allocation_service_pb2.AllocateConsignmentWithServiceGroupRequest(
            consignment_reference=consignment_reference, request_id=request_id, service_group=service_group
        )
        return await self._invoke(
            "/allocation.v1.ConsignmentAllocationService/AllocateConsignmentWithServiceGroup",
            request,
            consignment_allocation_service_pb2.AllocateConsignmentWithServiceGroupResponse,
            timeout,
            metadata,
            account,
        )

    async def allocate_consignment_with_quote(
        self,
        consignment_reference: str,
        quote_reference: str,
        *,
        request_id: str = "",
        timeout: float | None = None,
        metadata: Mapping[str, str] | None = None,
        account: str | None = None,
    ) -> consignment_allocation_service_pb2.AllocateConsignmentWithQuoteResponse:
        """Allocates a consignment to the carrier service of a quote that was made for it and has not expired.
        Upstream answers at once with a summary, which has no price and no state: read those with
        GetConsignmentAllocation. Where upstream only says that it took the request in hand, the consignment is read
        until it is allocated, and `state` is set."""
        request = consignment_allocation_service_pb2.AllocateConsignmentWithQuoteRequest(
            consignment_reference=consignment_reference, request_id=request_id, quote_reference=quote_reference
        )
        return await self._invoke(
            "/allocation.v1.ConsignmentAllocationService/AllocateConsignmentWithQuote",
            request,
            consignment_allocation_service_pb2.AllocateConsignmentWithQuoteResponse,
            timeout,
            metadata,
            account,
        )

    async def allocate_consignments(
        self,
        consignments: Iterable[str],
        *,
        request_id: str = "",
        timeout: float | None = None,
        metadata: Mapping[str, str] | None = None,
        account: str | None = None,
    ) -> consignment_allocation_service_pb2.AllocateConsignmentsResponse:
        """Allocates consignments under the customer's default rules, each to its own cheapest service. Upstream
        answers at once and for each consignment: OK means that the call was carried out, and `results` says what
        became of each."""
        request = consignment_allocation_service_pb2.AllocateConsignmentsRequest(
            consignments=consignments, request_id=request_id
        )
        return await self._invoke(
            "/allocation.v1.ConsignmentAllocationService/AllocateConsignments",
            request,
            consignment_allocation_service_pb2.AllocateConsignmentsResponse,
            timeout,
            metadata,
            account,
        )

    async def allocate_consignments_with_service_group(
        self,
        consignments: Iterable[str],
        service_group: str,
        *,
        request_id: str = "",
        timeout: float | None = None,
        metadata: Mapping[str, str] | None = None,
        account: str | None = None,
    ) -> consignment_allocation_service_pb2.AllocateConsignmentsWithServiceGroupResponse:
        """Allocates consignments within one service group. Upstream answers at once and for each consignment: OK
        means that the call was carried out, and `results` says what became of each. No guide of 2025 mentions this
        operation, so the setting `CONSIGNMENTS_DISABLED_OPERATIONS` can switch it off."""
        request = consignment_allocation_service_pb2.AllocateConsignmentsWithServiceGroupRequest(
            consignments=consignments, request_id=request_id, service_group=service_group
        )
        return await self._invoke(
            "/allocation.v1.ConsignmentAllocationService/AllocateConsignmentsWithServiceGroup",
            request,
            consignment_allocation_service_pb2.AllocateConsignmentsWithServiceGroupResponse,
            timeout,
            metadata,
            account,
        )

    async def allocate_consignments_with_carrier_service(
        self,
        consignments: Iterable[str],
        carrier_service_reference: str,
        *,
        request_id: str = "",
        timeout: float | None = None,
        metadata: Mapping[str, str] | None = None,
        account: str | None = None,
    ) -> consignment_allocation_service_pb2.AllocateConsignmentsWithCarrierServiceResponse:
        """Allocates consignments to one carrier service. One that the service cannot take becomes
        ALLOCATION_FAILED. Upstream answers at once and for each consignment: OK means that the call was carried
        out, and `results` says what became of each. No guide of 2025 mentions this operation, so the setting
        `CONSIGNMENTS_DISABLED_OPERATIONS` can switch it off."""
        request = consignment_allocation_service_pb2.AllocateConsignmentsWithCarrierServiceRequest(
            consignments=consignments, request_id=request_id, carrier_service_reference=carrier_service_reference
        )
        return await self._invoke(
            "/allocation.v1.ConsignmentAllocationService/AllocateConsignmentsWithCarrierService",
            request,
            consignment_allocation_service_pb2.AllocateConsignmentsWithCarrierServiceResponse,
            timeout,
            metadata,
            account,
        )

    async def allocate_consignments_with_service_filters(
        self,
        consignments: Iterable[str],
        filters: consignment_allocation_service_pb2.ConsignmentFilters,
        *,
        request_id: str = "",
        timeout: float | None = None,
        metadata: Mapping[str, str] | None = None,
        account: str | None = None,
    ) -> consignment_allocation_service_pb2.AllocateConsignmentsWithServiceFiltersResponse:
        """Allocates consignments to services that pass filters. The customer's rules still apply. Upstream answers
        at once and for each consignment: OK means that the call was carried out, and `results` says what became of
        each. No guide of 2025 mentions this operation, so the setting `CONSIGNMENTS_DISABLED_OPERATIONS` can switch
        it off."""
        request = consignment_allocation_service_pb2.AllocateConsignmentsWithServiceFiltersRequest(
            consignments=consignments, request_id=request_id, filters=filters
        )
        return await self._invoke(
            "/allocation.v1.ConsignmentAllocationService/AllocateConsignmentsWithServiceFilters",
            request,
            consignment_allocation_service_pb2.AllocateConsignmentsWithServiceFiltersResponse,
            timeout,
            metadata,
            account,
        )

    async def allocate_consignment_with_labels(
        self,
        consignment_reference: str,
        label_format: consignment_allocation_service_pb2.LabelFormat.ValueType,
        *,
        request_id: str = "",
        carrier_service_reference: str | None = None,
        service_group: str | None = None,
        quote_reference: str | None = None,
        timeout: float | None = None,
        metadata: Mapping[str, str] | None = None,
        account: str | None = None,
    ) -> consignment_allocation_service_pb2.AllocateConsignmentWithLabelsResponse:
        """Allocates a consignment and gets its labels in one call. A consignment that is allocated but whose label
        is not to be had is OK, with the allocation and a `label_error`. If the consignment is allocated already,
        and nothing speaks against its being this very allocation, the call allocates nothing and fetches the label:
        so a call is repeated until the label is there. No guide of 2025 mentions this operation, so the setting
        `CONSIGNMENTS_DISABLED_OPERATIONS` can switch it off."""
        request = consignment_allocation_service_pb2.AllocateConsignmentWithLabelsRequest(
            consignment_reference=consignment_reference, request_id=request_id, label_format=label_format
        )
        if carrier_service_reference is not None:
            request.carrier_service_reference = carrier_service_reference
        if service_group is not None:
            request.service_group = service_group
        if quote_reference is not None:
            request.quote_reference = quote_reference
        return await self._invoke(
            "/allocation.v1.ConsignmentAllocationService/AllocateConsignmentWithLabels",
            request,
            consignment_allocation_service_pb2.AllocateConsignmentWithLabelsResponse,
            timeout,
            metadata,
            account,
        )

    async def deallocate_consignment(
        self,
        consignment_reference: str,
        *,
        request_id: str = "",
        timeout: float | None = None,
        metadata: Mapping[str, str] | None = None,
        account: str | None = None,
    ) -> consignment_allocation_service_pb2.DeallocateConsignmentResponse:
        """Takes back the allocation of a consignment that is allocated, manifested, or whose manifest failed."""
        request = consignment_allocation_service_pb2.DeallocateConsignmentRequest(
            consignment_reference=consignment_reference, request_id=request_id
        )
        return await self._invoke(
            "/allocation.v1.ConsignmentAllocationService/DeallocateConsignment",
            request,
            consignment_allocation_service_pb2.DeallocateConsignmentResponse,
            timeout,
            metadata,
            account,
        )

    async def deallocate_consignments(
        self,
        consignments: Iterable[str],
        *,
        request_id: str = "",
        timeout: float | None = None,
        metadata: Mapping[str, str] | None = None,
        account: str | None = None,
    ) -> consignment_allocation_service_pb2.DeallocateConsignmentsResponse:
        """Takes back the allocations of consignments, one by one. Upstream answers at once and for each
        consignment: OK means that the call was carried out, and `results` says what became of each."""
        request = consignment_allocation_service_pb2.DeallocateConsignmentsRequest(
            consignments=consignments, request_id=request_id
        )
        return await self._invoke(
            "/allocation.v1.ConsignmentAllocationService/DeallocateConsignments",
            request,
            consignment_allocation_service_pb2.DeallocateConsignmentsResponse,
            timeout,
            metadata,
            account,
        )

    async def get_consignment_allocation(
        self,
        consignment_reference: str,
        *,
        timeout: float | None = None,
        metadata: Mapping[str, str] | None = None,
        account: str | None = None,
    ) -> consignment_allocation_service_pb2.GetConsignmentAllocationResponse:
        """Reads how a consignment stands and, if it is allocated, its allocation. A consignment that is not
        allocated is OK, with its state and no carrier service."""
        request = consignment_allocation_service_pb2.GetConsignmentAllocationRequest(
            consignment_reference=consignment_reference
        )
        return await self._invoke(
            "/allocation.v1.ConsignmentAllocationService/GetConsignmentAllocation",
            request,
            consignment_allocation_service_pb2.GetConsignmentAllocationResponse,
            timeout,
            metadata,
            account,
        )

    async def get_consignment_quotes(
        self,
        consignment_reference: str,
        *,
        timeout: float | None = None,
        metadata: Mapping[str, str] | None = None,
        account: str | None = None,
    ) -> consignment_allocation_service_pb2.GetConsignmentQuotesResponse:
        """Asks for what the eligible carrier services would charge for a consignment. It books nothing."""
        request = consignment_allocation_service_pb2.GetConsignmentQuotesRequest(
            consignment_reference=consignment_reference
        )
        return await self._invoke(
            "/allocation.v1.ConsignmentAllocationService/GetConsignmentQuotes",
            request,
            consignment_allocation_service_pb2.GetConsignmentQuotesResponse,
            timeout,
            metadata,
            account,
        )

    async def list_service_groups(
        self,
        *,
        api: service_group_service_pb2.Api.ValueType = service_group_service_pb2.API_UNSPECIFIED,
        page_size: int = 0,
        page_token: str = "",
        timeout: float | None = None,
        metadata: Mapping[str, str] | None = None,
        account: str | None = None,
    ) -> service_group_service_pb2.ListServiceGroupsResponse:
        """Lists the service groups that the gateway knows, ordered by API and code. Where it may have a list from
        upstream and has none in memory, it asks for it first; without an answer it lists what it knows
        otherwise."""
        request = service_group_service_pb2.ListServiceGroupsRequest(
            api=api, page_size=page_size, page_token=page_token
        )
        return await self._invoke(
            "/allocation.v1.ServiceGroupService/ListServiceGroups",
            request,
            service_group_service_pb2.ListServiceGroupsResponse,
            timeout,
            metadata,
            account,
        )

    async def get_service_group(
        self,
        service_group: str,
        *,
        api: service_group_service_pb2.Api.ValueType = service_group_service_pb2.API_UNSPECIFIED,
        timeout: float | None = None,
        metadata: Mapping[str, str] | None = None,
        account: str | None = None,
    ) -> service_group_service_pb2.GetServiceGroupResponse:
        """Tells which service group a code or a name stands for, as in an allocation. NOT_FOUND means that the
        gateway does not know it; with Ship, which has no list of groups, it may exist all the same."""
        request = service_group_service_pb2.GetServiceGroupRequest(service_group=service_group, api=api)
        return await self._invoke(
            "/allocation.v1.ServiceGroupService/GetServiceGroup",
            request,
            service_group_service_pb2.GetServiceGroupResponse,
            timeout,
            metadata,
            account,
        )

    async def refresh_service_groups(
        self,
        *,
        api: service_group_service_pb2.Api.ValueType = service_group_service_pb2.API_UNSPECIFIED,
        timeout: float | None = None,
        metadata: Mapping[str, str] | None = None,
        account: str | None = None,
    ) -> service_group_service_pb2.RefreshServiceGroupsResponse:
        """Reads the catalogue file anew, forgets what was listed by upstream or observed in use, in every replica
        that shares a cache, and asks upstream for its list anew. It has to be switched on by the setting
        `SERVICE_GROUP_REFRESH`."""
        request = service_group_service_pb2.RefreshServiceGroupsRequest(api=api)
        return await self._invoke(
            "/allocation.v1.ServiceGroupService/RefreshServiceGroups",
            request,
            service_group_service_pb2.RefreshServiceGroupsResponse,
            timeout,
            metadata,
            account,
        )

    async def allocate_shipment(
        self,
        shipment_reference: str,
        *,
        request_id: str = "",
        timeout: float | None = None,
        metadata: Mapping[str, str] | None = None,
        account: str | None = None,
    ) -> shipment_allocation_service_pb2.AllocateShipmentResponse:
        """Allocates a shipment to the cheapest eligible carrier service under the customer's default rules.
        Upstream answers at once: the allocation is in the answer. Where upstream only takes the request in hand,
        the shipment is read until it is allocated."""
        request = shipment_allocation_service_pb2.AllocateShipmentRequest(
            shipment_reference=shipment_reference, request_id=request_id
        )
        return await self._invoke(
            "/allocation.v1.ShipmentAllocationService/AllocateShipment",
            request,
            shipment_allocation_service_pb2.AllocateShipmentResponse,
            timeout,
            metadata,
            account,
        )

    async def allocate_shipment_with_service_group(
        self,
        shipment_reference: str,
        service_group: str,
        *,
        request_id: str = "",
        timeout: float | None = None,
        metadata: Mapping[str, str] | None = None,
        account: str | None = None,
    ) -> shipment_allocation_service_pb2.AllocateShipmentWithServiceGroupResponse:
        """Allocates a shipment to the cheapest eligible carrier service of one service group. Upstream answers at
        once: the allocation is in the answer. Where upstream only takes the request in hand, the shipment is read
        until it is allocated."""
        request = shipment_allocation_service_pb2.AllocateShipmentWithServiceGroupRequest(
            shipment_reference=shipment_reference, request_id=request_id, service_group=service_group
        )
        return await self._invoke(
            "/allocation.v1.ShipmentAllocationService/AllocateShipmentWithServiceGroup",
            request,
            shipment_allocation_service_pb2.AllocateShipmentWithServiceGroupResponse,
            timeout,
            metadata,
            account,
        )

    async def allocate_shipment_with_carrier_service(
        self,
        shipment_reference: str,
        carrier_service_reference: str,
        *,
        request_id: str = "",
        timeout: float | None = None,
        metadata: Mapping[str, str] | None = None,
        account: str | None = None,
    ) -> shipment_allocation_service_pb2.AllocateShipmentWithCarrierServiceResponse:
        """Allocates a shipment to the cheapest option of one carrier service. The customer's rules still apply.
        Upstream answers at once: the allocation is in the answer. Where upstream only takes the request in hand,
        the shipment is read until it is allocated."""
        request = shipment_allocation_service_pb2.AllocateShipmentWithCarrierServiceRequest(
            shipment_reference=shipment_reference,
            request_id=request_id,
            carrier_service_reference=carrier_service_reference,
        )
        return await self._invoke(
            "/allocation.v1.ShipmentAllocationService/AllocateShipmentWithCarrierService",
            request,
            shipment_allocation_service_pb2.AllocateShipmentWithCarrierServiceResponse,
            timeout,
            metadata,
            account,
        )

    async def allocate_shipment_with_virtual_service(
        self,
        shipment_reference: str,
        virtual_service_reference: str,
        *,
        request_id: str = "",
        timeout: float | None = None,
        metadata: Mapping[str, str] | None = None,
        account: str | None = None,
    ) -> shipment_allocation_service_pb2.AllocateShipmentWithVirtualServiceResponse:
        """Allocates a shipment by a reference that is either that of a carrier service or that of a service group.
        One that is both is INVALID_ARGUMENT. Upstream answers at once: the allocation is in the answer. Where
        upstream only takes the request in hand, the shipment is read until it is allocated. The sources disagree on
        whether upstream still offers this operation, so the setting `SHIP_DISABLED_OPERATIONS` can switch it
        off."""
        request = shipment_allocation_service_pb2.AllocateShipmentWithVirtualServiceRequest(
            shipment_reference=shipment_reference,
            request_id=request_id,
            virtual_service_reference=virtual_service_reference,
        )
        return await self._invoke(
            "/allocation.v1.ShipmentAllocationService/AllocateShipmentWithVirtualService",
            request,
            shipment_allocation_service_pb2.AllocateShipmentWithVirtualServiceResponse,
            timeout,
            metadata,
            account,
        )

    async def allocate_shipment_with_quote(
        self,
        shipment_reference: str,
        quote_reference: str,
        *,
        request_id: str = "",
        timeout: float | None = None,
        metadata: Mapping[str, str] | None = None,
        account: str | None = None,
    ) -> shipment_allocation_service_pb2.AllocateShipmentWithQuoteResponse:
        """Allocates a shipment to the carrier service of a quote that was made for it and has not expired. Upstream
        answers at once: the allocation is in the answer. Where upstream only takes the request in hand, the
        shipment is read until it is allocated. The sources disagree on whether upstream still offers this
        operation, so the setting `SHIP_DISABLED_OPERATIONS` can switch it off."""
        request = shipment_allocation_service_pb2.AllocateShipmentWithQuoteRequest(
            shipment_reference=shipment_reference, request_id=request_id, quote_reference=quote_reference
        )
        return await self._invoke(
            "/allocation.v1.ShipmentAllocationService/AllocateShipmentWithQuote",
            request,
            shipment_allocation_service_pb2.AllocateShipmentWithQuoteResponse,
            timeout,
            metadata,
            account,
        )

    async def allocate_shipments(
        self,
        shipments: Iterable[str],
        *,
        request_id: str = "",
        capabilities: Iterable[core_pb2.ServiceCapability] = (),
        timeout: float | None = None,
        metadata: Mapping[str, str] | None = None,
        account: str | None = None,
    ) -> shipment_allocation_service_pb2.AllocateShipmentsResponse:
        """Queues shipments for allocation under the customer's default rules. Upstream only queues: OK means that
        upstream took the request in hand, not that any shipment is allocated: `queued`, `rejected` and
        `unaccounted` say what is known of each. Read each of them with GetShipmentAllocation to learn what became
        of it. The sources disagree on whether upstream still offers this operation, so the setting
        `SHIP_DISABLED_OPERATIONS` can switch it off."""
        request = shipment_allocation_service_pb2.AllocateShipmentsRequest(
            shipments=shipments, request_id=request_id, capabilities=capabilities
        )
        return await self._invoke(
            "/allocation.v1.ShipmentAllocationService/AllocateShipments",
            request,
            shipment_allocation_service_pb2.AllocateShipmentsResponse,
            timeout,
            metadata,
            account,
        )

    async def allocate_shipments_with_service_group(
        self,
        shipments: Iterable[str],
        service_group: str,
        *,
        request_id: str = "",
        capabilities: Iterable[core_pb2.ServiceCapability] = (),
        timeout: float | None = None,
        metadata: Mapping[str, str] | None = None,
        account: str | None = None,
    ) -> shipment_allocation_service_pb2.AllocateShipmentsWithServiceGroupResponse:
        """Queues shipments for allocation within one service group. Upstream only queues: OK means that upstream
        took the request in hand, not that any shipment is allocated: `queued`, `rejected` and `unaccounted` say
        what is known of each. Read each of them with GetShipmentAllocation to learn what became of it."""
        request = shipment_allocation_service_pb2.AllocateShipmentsWithServiceGroupRequest(
            shipments=shipments, request_id=request_id, service_group=service_group, capabilities=capabilities
        )
        return await self._invoke(
            "/allocation.v1.ShipmentAllocationService/AllocateShipmentsWithServiceGroup",
            request,
            shipment_allocation_service_pb2.AllocateShipmentsWithServiceGroupResponse,
            timeout,
            metadata,
            account,
        )

    async def allocate_shipments_with_carrier_service(
        self,
        shipments: Iterable[str],
        carrier_service_reference: str,
        *,
        request_id: str = "",
        capabilities: Iterable[core_pb2.ServiceCapability] = (),
        timeout: float | None = None,
        metadata: Mapping[str, str] | None = None,
        account: str | None = None,
    ) -> shipment_allocation_service_pb2.AllocateShipmentsWithCarrierServiceResponse:
        """Queues shipments for allocation to one carrier service. Upstream only queues: OK means that upstream took
        the request in hand, not that any shipment is allocated: `queued`, `rejected` and `unaccounted` say what is
        known of each. Read each of them with GetShipmentAllocation to learn what became of it."""
        request = shipment_allocation_service_pb2.AllocateShipmentsWithCarrierServiceRequest(
            shipments=shipments,
            request_id=request_id,
            carrier_service_reference=carrier_service_reference,
            capabilities=capabilities,
        )
        return await self._invoke(
            "/allocation.v1.ShipmentAllocationService/AllocateShipmentsWithCarrierService",
            request,
            shipment_allocation_service_pb2.AllocateShipmentsWithCarrierServiceResponse,
            timeout,
            metadata,
            account,
        )

    async def allocate_shipments_with_filters(
        self,
        shipments: Iterable[str],
        filters: core_pb2.AllocationFilters,
        *,
        request_id: str = "",
        timeout: float | None = None,
        metadata: Mapping[str, str] | None = None,
        account: str | None = None,
    ) -> shipment_allocation_service_pb2.AllocateShipmentsWithFiltersResponse:
        """Queues shipments for allocation to services that pass filters. Upstream answers with links to shipments,
        and does not say which shipments it rejected. OK means that they were queued, not that any is allocated. The
        sources disagree on whether upstream still offers this operation, so the setting `SHIP_DISABLED_OPERATIONS`
        can switch it off."""
        request = shipment_allocation_service_pb2.AllocateShipmentsWithFiltersRequest(
            shipments=shipments, request_id=request_id, filters=filters
        )
        return await self._invoke(
            "/allocation.v1.ShipmentAllocationService/AllocateShipmentsWithFilters",
            request,
            shipment_allocation_service_pb2.AllocateShipmentsWithFiltersResponse,
            timeout,
            metadata,
            account,
        )

    async def deallocate_shipment(
        self,
        shipment_reference: str,
        *,
        request_id: str = "",
        timeout: float | None = None,
        metadata: Mapping[str, str] | None = None,
        account: str | None = None,
    ) -> shipment_allocation_service_pb2.DeallocateShipmentResponse:
        """Takes back the allocation of a shipment. The sources disagree on whether upstream still offers this
        operation, so the setting `SHIP_DISABLED_OPERATIONS` can switch it off."""
        request = shipment_allocation_service_pb2.DeallocateShipmentRequest(
            shipment_reference=shipment_reference, request_id=request_id
        )
        return await self._invoke(
            "/allocation.v1.ShipmentAllocationService/DeallocateShipment",
            request,
            shipment_allocation_service_pb2.DeallocateShipmentResponse,
            timeout,
            metadata,
            account,
        )

    async def get_shipment_allocation(
        self,
        shipment_reference: str,
        *,
        timeout: float | None = None,
        metadata: Mapping[str, str] | None = None,
        account: str | None = None,
    ) -> shipment_allocation_service_pb2.GetShipmentAllocationResponse:
        """Reads how a shipment stands and, if it is allocated, its allocation. A shipment that is not allocated is
        OK, with its state and no carrier."""
        request = shipment_allocation_service_pb2.GetShipmentAllocationRequest(shipment_reference=shipment_reference)
        return await self._invoke(
            "/allocation.v1.ShipmentAllocationService/GetShipmentAllocation",
            request,
            shipment_allocation_service_pb2.GetShipmentAllocationResponse,
            timeout,
            metadata,
            account,
        )

    async def create_shipment_quotes(
        self,
        shipment_reference: str,
        *,
        timeout: float | None = None,
        metadata: Mapping[str, str] | None = None,
        account: str | None = None,
    ) -> shipment_allocation_service_pb2.CreateShipmentQuotesResponse:
        """Asks for what the eligible carrier services would charge for a shipment. It books nothing."""
        request = shipment_allocation_service_pb2.CreateShipmentQuotesRequest(shipment_reference=shipment_reference)
        return await self._invoke(
            "/allocation.v1.ShipmentAllocationService/CreateShipmentQuotes",
            request,
            shipment_allocation_service_pb2.CreateShipmentQuotesResponse,
            timeout,
            metadata,
            account,
        )

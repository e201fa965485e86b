"""The rows of the Consignments API. Its paths are spelt in several cases by the sources, and mean the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from allocation.v1 import consignment_allocation_service_pb2 as pb
from allocation.v1 import service_group_service_pb2

from allocation_gateway.codecs import consignment_requests
from allocation_gateway.codecs.consignment_allocation import allocation, consignment, deallocation
from allocation_gateway.codecs.consignment_bulk import allocations, deallocations
from allocation_gateway.codecs.consignment_groups import groups
from allocation_gateway.codecs.consignment_labels import label, with_labels, without_labels
from allocation_gateway.codecs.consignment_quotes import quote_result
from allocation_gateway.operations.allocations import CONSIGNMENTS
from allocation_gateway.operations.consignment_answers import CONSIGNMENT_RESULTS
from allocation_gateway.operations.model import Action, Api, FollowUp, Operation, Route, RouteByOneof

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from allocation_gateway.operations.model import Decode

_SERVICE: Final = pb.DESCRIPTOR.services_by_name["ConsignmentAllocationService"].full_name
# Upstream's documentation lists 202 for every allocation and for a de-allocation, and no body for it.
_ACCEPTED: Final = frozenset({202})
_EMPTY: Final = frozenset({200, 202})


def _row(request: type[Message], action: Action, route: Route, decode: Decode, **more: Any) -> Operation:
    return Operation(
        name=request.DESCRIPTOR.name.removesuffix("Request"),
        service=_SERVICE,
        request=request,
        api=Api.CONSIGNMENTS,
        action=action,
        allocations=CONSIGNMENTS,
        routes={"default": route},
        decode=decode,
        **{"encode": None, **more},
    )


ROWS: Final = (
    _row(
        pb.AllocateConsignmentRequest,
        Action.ALLOCATE,
        Route("PUT", "/allocation/{consignment_reference}/allocatewithcheapestquote"),
        allocation(pb.AllocateConsignmentResponse),
        bodiless_statuses=_ACCEPTED,
        follow_up=FollowUp.CONSIGNMENT,
    ),
    _row(
        pb.AllocateConsignmentWithServiceGroupRequest,
        Action.ALLOCATE,
        Route("PUT", "/allocation/{consignment_reference}/allocatewithservicegroup/{service_group}"),
        allocation(pb.AllocateConsignmentWithServiceGroupResponse),
        bodiless_statuses=_ACCEPTED,
        follow_up=FollowUp.CONSIGNMENT,
    ),
    _row(
        pb.AllocateConsignmentWithQuoteRequest,
        Action.ALLOCATE,
        Route("PUT", "/allocation/{consignment_reference}/allocatewithquote/{quote_reference}"),
        allocation(pb.AllocateConsignmentWithQuoteResponse),
        bodiless_statuses=_ACCEPTED,
        follow_up=FollowUp.CONSIGNMENT,
    ),
    _row(
        pb.AllocateConsignmentsRequest,
        Action.ALLOCATE_BULK,
        Route("PUT", "/allocation/allocate"),
        allocations(pb.AllocateConsignmentsResponse),
        encode=consignment_requests.consignments(),
        bodiless_statuses=_ACCEPTED,
        follow_up=FollowUp.CONSIGNMENTS,
        bulk=CONSIGNMENT_RESULTS,
    ),
    _row(
        pb.AllocateConsignmentsWithServiceGroupRequest,
        Action.ALLOCATE_BULK,
        Route("PUT", "/allocation/allocatewithservicegroup"),
        allocations(pb.AllocateConsignmentsWithServiceGroupResponse),
        encode=consignment_requests.consignments(MpdCarrierServiceGroupReference="service_group"),
        bodiless_statuses=_ACCEPTED,
        follow_up=FollowUp.CONSIGNMENTS,
        bulk=CONSIGNMENT_RESULTS,
    ),
    _row(
        pb.AllocateConsignmentsWithCarrierServiceRequest,
        Action.ALLOCATE_BULK,
        Route("PUT", "/allocation/allocatewithcarrierservice"),
        allocations(pb.AllocateConsignmentsWithCarrierServiceResponse),
        encode=consignment_requests.consignments(MpdCarrierServiceReference="carrier_service_reference"),
        bodiless_statuses=_ACCEPTED,
        follow_up=FollowUp.CONSIGNMENTS,
        bulk=CONSIGNMENT_RESULTS,
    ),
    _row(
        pb.AllocateConsignmentsWithServiceFiltersRequest,
        Action.ALLOCATE_BULK,
        Route("PUT", "/allocation/allocateConsignmentsWithServiceFilters"),
        allocations(pb.AllocateConsignmentsWithServiceFiltersResponse),
        encode=consignment_requests.with_filters,
        bodiless_statuses=_ACCEPTED,
        follow_up=FollowUp.CONSIGNMENTS,
        bulk=CONSIGNMENT_RESULTS,
    ),
    _row(
        pb.AllocateConsignmentWithLabelsRequest,
        Action.ALLOCATE,
        RouteByOneof(
            "PUT",
            "/allocation/{consignment_reference}/labels/{label_format}",
            "selector",
            carrier_service_reference=(
                "/allocation/{consignment_reference}/carrierservice/{carrier_service_reference}/labels/{label_format}"
            ),
            service_group="/allocation/{consignment_reference}/servicegroup/{service_group}/labels/{label_format}",
            quote_reference="/allocation/{consignment_reference}/quote/{quote_reference}/labels/{label_format}",
        ),
        with_labels,
        follow_up=FollowUp.LABELS,
        without_bulky_parts=without_labels,
    ),
    _row(
        pb.DeallocateConsignmentRequest,
        Action.DEALLOCATE,
        Route("PUT", "/consignments/{consignment_reference}/deallocate"),
        deallocation,
        bodiless_statuses=_EMPTY,
        sole_resource="consignment_reference",
        follow_up=FollowUp.CONSIGNMENT,
    ),
    _row(
        pb.DeallocateConsignmentsRequest,
        Action.DEALLOCATE_BULK,
        Route("PUT", "/consignments/deallocatelist"),
        deallocations(pb.DeallocateConsignmentsResponse),
        encode=consignment_requests.references,
        bodiless_statuses=_ACCEPTED,
        follow_up=FollowUp.CONSIGNMENTS,
        bulk=CONSIGNMENT_RESULTS,
    ),
    _row(
        pb.GetConsignmentAllocationRequest,
        Action.READ,
        Route("GET", "/consignments/{consignment_reference}"),
        consignment,
        sole_resource="consignment_reference",
    ),
    _row(
        pb.GetConsignmentQuotesRequest,
        Action.READ,
        Route("GET", "/quotes/consignment/{consignment_reference}"),
        quote_result,
        sole_resource="consignment_reference",
    ),
)

READ: Final = next(row for row in ROWS if row.request is pb.GetConsignmentAllocationRequest)
# No rpc of its own: it completes an allocation whose label did not come with it.
LABEL: Final = Operation(
    name="GetConsignmentLabel",
    service=_SERVICE,
    request=pb.AllocateConsignmentWithLabelsRequest,
    api=Api.CONSIGNMENTS,
    action=Action.READ,
    allocations=CONSIGNMENTS,
    routes={"default": Route("GET", "/labels/{consignment_reference}/{label_format}")},
    encode=None,
    decode=label,
)
# No rpc of its own either: what it lists is kept, and told together with what is known otherwise.
GROUPS: Final = Operation(
    name="ReadConsignmentServiceGroups",
    service=_SERVICE,
    request=service_group_service_pb2.ListServiceGroupsRequest,
    api=Api.CONSIGNMENTS,
    action=Action.READ,
    allocations=CONSIGNMENTS,
    routes={"default": Route("GET", "/servicegroups")},
    encode=None,
    decode=groups,
)

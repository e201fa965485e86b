"""Single consignments: the summary of an allocation, the consignment itself, a de-allocation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from allocation.v1 import consignment_allocation_service_pb2 as pb

from allocation_gateway.codecs import consignment_common as common
from allocation_gateway.codecs import json
from allocation_gateway.codecs.consignment_summaries import summaries
from allocation_gateway.codecs.findings import Findings
from allocation_gateway.codecs.json import string
from allocation_gateway.codecs.time import timestamp
from allocation_gateway.references import is_same

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.protobuf.message import Message

    from allocation_gateway.codecs.json import Object


class NamesConsignment(Protocol):
    """A request for one consignment."""

    consignment_reference: str


def allocation(response: Callable[..., Message]) -> Callable[[NamesConsignment, Any, Findings], Message]:
    """Makes the decoder of an rpc whose response holds the `allocation` of a summary.

    An answer without a body gives an empty allocation, and so does one that says no more than the empty one: upstream
    took the request in hand and says nothing of it.
    """

    def decode(request: NamesConsignment, body: object, findings: Findings) -> Message:
        reference = request.consignment_reference
        summary = None if body is None else summaries(body, [reference], findings).get(reference)
        if body is None or (summary is not None and summary.is_accepted):
            return response(allocation={"consignment_reference": reference})
        if summary is None or summary.done is None:
            findings.decide("body", "does not say what became of the consignment")
            return response()
        findings.made = summary.done
        findings.refused = not summary.done
        unreadable = [*summary.unreadable, *findings.claim()]
        fields = {**(summary.allocation or {}), "consignment_reference": reference, "unreadable": unreadable}
        return response(allocation=fields)

    return decode


def consignment(
    request: pb.GetConsignmentAllocationRequest, body: object, findings: Findings
) -> pb.GetConsignmentAllocationResponse:
    """Reads how a consignment stands, and its allocation if it has one, from a Consignment."""
    source = json.whole(body, findings)
    if not isinstance(body, dict):
        return pb.GetConsignmentAllocationResponse()
    reference = json.required(source, "Reference", "", findings.decisive)
    if reference and not is_same(reference, request.consignment_reference):
        findings.contradict("Reference", "is not the consignment that was asked for")
    fields: Object = {
        "consignment_reference": reference,
        **common.state(source, findings),
        **(json.child(source, "Allocation", "", findings.decisive, _allocation) or {}),
        "legs": common.legs(source, "", findings),
        "links": common.links(source, "", findings),
        "failed_allocation": json.child(source, "FailedAllocation", "", findings, common.failed_allocation),
    }
    fields["unreadable"] = findings.claim()
    return pb.GetConsignmentAllocationResponse(allocation=pb.ConsignmentAllocation(**fields))


def _allocation(source: Object, path: str, findings: Findings) -> Object:
    """Reads an Allocation. With which service and which group it was made decides; the booking stands at any price."""
    other = findings.descriptive
    # One client in production calls the date AllocateDate; the SDK says AllocationDate.
    date = json.either(source, "AllocationDate", "AllocateDate")
    return {
        # What cannot be read of the price is named before all else.
        "price": json.child(source, "Price", path, other, common.rate),
        "service_group": string(source, "CarrierServiceGroupReference", path, findings),
        "carrier_service_reference": string(source, "MpdCarrierServiceReference", path, findings),
        "carrier_service_name": string(source, "MpdCarrierServiceName", path, other),
        "allocation_date": timestamp(source, date, path, other),
    }


def deallocation(
    request: pb.DeallocateConsignmentRequest, body: object, findings: Findings
) -> pb.DeallocateConsignmentResponse:
    """Upstream says nothing but its status. If there is a body all the same, it must not say the contrary."""
    reference = request.consignment_reference
    summary = summaries(body, [reference], Findings()).get(reference)
    findings.refused = summary is not None and summary.done is False
    findings.made = not findings.refused
    return pb.DeallocateConsignmentResponse(consignment_reference=reference)

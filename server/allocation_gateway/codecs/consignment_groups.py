"""Service groups of the Consignments API: an array of MpdCarrierServiceGroup."""

from __future__ import annotations

from typing import TYPE_CHECKING

from allocation.v1 import service_group_service_pb2 as pb

from allocation_gateway.codecs.json import required, string

if TYPE_CHECKING:
    from allocation_gateway.codecs.json import Findings


def groups(_: pb.ListServiceGroupsRequest, body: object, findings: Findings) -> pb.ListServiceGroupsResponse:
    """Reads code and name of every group, of one that is disabled too: it exists."""
    found = []
    if not isinstance(body, list):
        findings.note("body", "an array", body)
        body = []
    for item in body:
        if not isinstance(item, dict):
            findings.note("[]", "an object", item)
            continue
        group = pb.ServiceGroup(
            code=required(item, "Reference", "[].", findings),
            display_name=string(item, "Name", "[].", findings),
            api=pb.API_CONSIGNMENTS,
        )
        found.append(group)
    return pb.ListServiceGroupsResponse(service_groups=found)

"""Service groups of the Consignments API: an array of MpdCarrierServiceGroup."""

from __future__ import annotations

from typing import TYPE_CHECKING

from allocation.v1 import service_group_service_pb2 as pb

from allocation_gateway.codecs import json
from allocation_gateway.codecs.json import required, string

if TYPE_CHECKING:
    from allocation_gateway.codecs.findings import Findings
    from allocation_gateway.codecs.json import Object


def groups(_: pb.ListServiceGroupsRequest, body: object, findings: Findings) -> pb.ListServiceGroupsResponse:
    """Reads code and name of every group, of one that is disabled too: it exists."""
    if not isinstance(body, list):
        findings.decisive.note("body", "an array", body)
        return pb.ListServiceGroupsResponse()
    # A list without one of its groups would be taken for complete.
    found = [
        pb.ServiceGroup(code=item["code"], display_name=item["display_name"], api=pb.API_CONSIGNMENTS)
        for item in json.objects(body, "", findings.decisive, _group)
    ]
    return pb.ListServiceGroupsResponse(service_groups=found)


def _group(source: Object, path: str, findings: Findings) -> Object:
    return {
        "code": required(source, "Reference", path, findings),
        "display_name": string(source, "Name", path, findings.descriptive),
    }

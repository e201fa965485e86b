"""How the Ship API is spoken to, and how it says that something is wrong.

Codes are those of its error pages. The body of a failed allocation is an ApiError in one source and an AllocateResult
in another: both are read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from allocation.v1 import core_pb2

from allocation_gateway.codecs import json
from allocation_gateway.codecs import ship_common as common
from allocation_gateway.codecs.findings import Findings
from allocation_gateway.codecs.schema import spelled
from allocation_gateway.codecs.states import SHIP, Stage
from allocation_gateway.upstream import error_table
from allocation_gateway.upstream.api_management import managed
from allocation_gateway.upstream.dialect import Complaint, Dialect, ErrorBody, objects, text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from allocation_gateway.operations.model import Action
    from allocation_gateway.settings import ApiSettings
    from allocation_gateway.upstream.error_table import ErrorEntry

BY_CODE: Final[Mapping[str, ErrorEntry]] = {
    "validation_error": error_table.INVALID,
    "invalid_request": error_table.INVALID,
    "invalid_state_for_operation": error_table.STATE,
    "invalid_shipment_state": error_table.STATE,
    "virtual_service_not_found": error_table.NO_VIRTUAL,
    "version_header_error": error_table.MISCONFIGURED,
    "version_header_missing": error_table.MISCONFIGURED,
    "unauthorised": error_table.CREDENTIALS,
    "invalid_api_key": error_table.CREDENTIALS,
    "missing_api_key_header": error_table.CREDENTIALS,
    "not_found": error_table.NOT_FOUND,
    "shipment_not_found": error_table.NO_SHIPMENT,
    "service_group_not_found": error_table.NO_GROUP,
    "processing": error_table.PROCESSING,
    "method_not_supported": error_table.MISCONFIGURED,
    "gone": error_table.GONE,
    "resource_quarantined": error_table.GONE,
    "resource_removed": error_table.GONE,
    "rule_conflict": error_table.CONFLICT,
    "allocation_failed": error_table.FAILED,
    "carrier_service_not_found": error_table.NO_SERVICE,
    "carrier_service_shipment_mismatch": error_table.MISMATCH,
    "shipment_invalid_state": error_table.STATE,
    "no_quotes_available": error_table.NO_QUOTES,
    "internal_server_error": error_table.UPSTREAM_FAILED,
}
_STATE: Final = spelled(common.STATES)
# What an answer has of a shipment that is allocated, or queued to be.
_OF_ALLOCATION: Final = ("price", "carrier", "tracking_details", "allocation")
_OF_QUEUE: Final = ("queued", "shipments")


# Our field for what upstream complains about, where its own name or none is given.
FIELDS: Final[Mapping[str, tuple[str, ...]]] = {
    "duplicate_references": ("shipments",),
    "too_few_elements": ("shipments",),
    "too_many_elements": ("shipments",),
    "invalid_carrier_service": ("carrier_service_reference", "virtual_service_reference"),
    "non_unique_reference": ("virtual_service_reference",),
    "invalid_reference_format": ("shipment_reference",),
}


def headers(api: ApiSettings, key: str) -> list[tuple[str, str]]:
    """Returns the headers that every request needs."""
    return [
        ("x-api-key", key),
        ("x-api-version", api.api_version),
        # The OpenAPI document requires it of every request, also of those that have no body.
        ("content-type", "application/json"),
    ]


def error_body(source: json.Object) -> ErrorBody:
    """Reads an ApiError, or the ApiErrors in an AllocateResult."""
    complaints: list[Complaint] = []
    for item in objects(source.get("details")):
        complaints += [_complaint(inner) for inner in objects(item.get("details"))]
        complaints.append(_complaint(item))
    is_own = (
        bool(text(source, "code") or any(complaint.code for complaint in complaints))
        or isinstance(source.get("excluded_services"), list)
        or "shipment_reference" in source
    )
    told = managed(source, is_own=is_own)
    return ErrorBody(
        code=text(source, "code"),
        complaints=complaints,
        correlation_id=text(source, "correlation_id"),
        excluded=_excluded(source),
        is_own=is_own,
        is_quota=told.is_quota,
        retry_after=told.retry_after,
    )


def contradicts(source: json.Object, action: Action) -> bool:
    """See Dialect. The state decides where there is one, as it does in every AllocateResult and Shipment."""
    if any(source.get(key) for key in _OF_QUEUE):
        return True
    if source.get("state") is None:
        if action.allocates:
            return any(source.get(key) for key in _OF_ALLOCATION)
        # A ResourceResult is what a de-allocation that was carried out is answered with.
        return source.get("reference") is not None and not (source.get("code") or source.get("errors"))
    state = _STATE.read(source, "state", "", Findings())
    stage = SHIP.stage(state)
    # A refusal to de-allocate something is contradicted by whatever is not allocated.
    return stage not in {Stage.UNALLOCATED, Stage.GONE} if action.allocates else stage is not Stage.ALLOCATED


def _complaint(source: json.Object) -> Complaint:
    return Complaint(text(source, "code"), text(source, "property"), text(source, "message"))


def _excluded(source: json.Object) -> list[core_pb2.ExcludedService]:
    fields = json.children(source, "excluded_services", "", Findings(), common.EXCLUDED_SERVICE.read)
    return [core_pb2.ExcludedService(**item) for item in fields]


DIALECT: Final = Dialect(
    headers=headers,
    error_body=error_body,
    contradicts=contradicts,
    by_code=BY_CODE,
    fields=FIELDS,
    probe="/shipments/sp_00000000000000000000000000000000",
)

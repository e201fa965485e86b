"""How the Consignments API is spoken to, and how it says that something is wrong.

No list of its error codes is published. Its SDK suggests that codes are the names of exception classes: those that
would matter are known here, and for all others the HTTP status decides. The API management in front of it has a shape
of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from allocation.v1 import consignment_allocation_service_pb2 as pb

from allocation_gateway.codecs import consignment_common as common
from allocation_gateway.codecs.consignment_labels import LABEL_RESULTS, NOT_ALLOCATED
from allocation_gateway.codecs.findings import Findings
from allocation_gateway.codecs.states import CONSIGNMENTS, Stage
from allocation_gateway.upstream import error_table
from allocation_gateway.upstream.api_management import managed
from allocation_gateway.upstream.dialect import Complaint, Dialect, ErrorBody, objects, text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from allocation_gateway.codecs.json import Object
    from allocation_gateway.operations.model import Action
    from allocation_gateway.settings import ApiSettings
    from allocation_gateway.upstream.error_table import ErrorEntry

BY_CODE: Final[Mapping[str, ErrorEntry]] = {
    "ServiceGroupNotFoundException": error_table.NO_GROUP,
    "CarrierServiceGroupNotFoundForCustomerException": error_table.NO_GROUP,
    "MpdCarrierServiceNotFoundException": error_table.NO_SERVICE,
    "ServiceProfileNotFoundException": error_table.NO_SERVICE,
    "InvalidApiKeyException": error_table.CREDENTIALS,
}


# Our fields by upstream's names for them: those of the bodies that are sent, and of the parts of the documented paths.
PROPERTIES: Final[Mapping[str, str]] = {
    "consignmentreferences": "consignments",
    "consignmentreference": "consignment_reference",
    "mpdcarrierservicegroupreference": "service_group",
    "servicegroupreference": "service_group",
    "mpdcarrierservicereference": "carrier_service_reference",
    "serviceref": "carrier_service_reference",
    "quotereference": "quote_reference",
    "labelformat": "label_format",
    "filters": "filters",
}


def headers(api: ApiSettings, key: str) -> list[tuple[str, str]]:
    """Returns the headers that every request needs."""
    return [
        ("ocp-apim-subscription-key", key),
        ("electio-api-version", api.api_version),
        ("content-type", "application/json"),
    ]


def error_body(source: Object) -> ErrorBody:
    """Reads an ApiError, or what the API management says: `{"statusCode": 401, "message": ...}`."""
    complaints = [
        Complaint(text(item, "Code"), text(item, "Target"), text(item, "Message"))
        for item in objects(source.get("Details"))
    ]
    own = text(source, "Code")
    correlation_id = text(source, "CorrelationId")
    said = text(source, "Message")
    if not complaints and (message := said or text(source, "message")):
        complaints = [Complaint(own, "", message)]
    # What the API management says by itself begins with small letters.
    is_own = bool(own or correlation_id or said)
    told = managed(source, is_own=is_own)
    return ErrorBody(
        code=own,
        complaints=complaints,
        correlation_id=correlation_id,
        is_own=is_own,
        is_quota=told.is_quota,
        retry_after=told.retry_after,
    )


def contradicts(source: Object, action: Action) -> bool:
    """See Dialect. Answers of every shape are looked for, since nobody promises which one comes with an error."""
    if any(_says_done(item) for item in (source, *objects(source.get("Responses")))):
        return True
    has_state = source.get("ConsignmentState") is not None
    stage = CONSIGNMENTS.stage(common.state(source, Findings())["state"]) if has_state else None
    if action.allocates:
        return bool(source.get("Allocation")) or stage in {Stage.PENDING, Stage.ALLOCATED}
    return has_state and stage is not Stage.ALLOCATED


def _says_done(source: Object) -> bool:
    """Tells whether an AllocationSummary, a WithMessage or one of a labels response says that it was carried out."""
    result = LABEL_RESULTS.get(common.name_or_number(source, "Result", "", Findings()).lower())
    if result in NOT_ALLOCATED:
        return False
    status = common.integer(source, "StatusCode", "", Findings())
    return (
        200 <= status < 300
        or source.get("IsSuccess") is True
        or bool(source.get("CarrierServiceReference") or source.get("LabelContent"))
        or result == pb.LABEL_RESULT_CONSIGNMENT_ALLOCATED
    )


DIALECT: Final = Dialect(
    headers=headers,
    error_body=error_body,
    contradicts=contradicts,
    by_code=BY_CODE,
    properties=PROPERTIES,
    probe="/consignments/EC-000-000-000",
)

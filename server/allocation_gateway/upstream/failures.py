"""The error table: from what upstream did to one gRPC status. It is total: whatever upstream does has a row.

The codes in the JSON decide first, a child before its parent; the HTTP status decides if no code is known; the text of
a message never does. Codes are those of the Ship API's error pages. docs/errors.md has the table as callers read it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final, NamedTuple

from allocation.v1 import core_pb2
from allocation.v1.error_reason_pb2 import ErrorReason
from grpc import StatusCode

from allocation_gateway import errors
from allocation_gateway.codecs import json, nouns
from allocation_gateway.errors import GatewayError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from google.protobuf.message import Message

    from allocation_gateway.operations.model import Operation
    from allocation_gateway.upstream.http import Answer

DEFAULT_RETRY_SECONDS: Final = 1.0
LONGEST_RETRY_SECONDS: Final = 3600.0
NONE: Final = "none"
MADE: Final = "made"
UNKNOWN: Final = "unknown"


class Verdict(NamedTuple):
    """A row of the table.

    Attributes:
        code: The gRPC status code.
        reason: The reason in the ErrorInfo.
        message: What callers read.
        missing: The fields that may name what was not found, the first that a request has; none if that is unknown.
        kind: The noun for what was not found.
    """

    code: StatusCode
    reason: ErrorReason.ValueType
    message: str
    missing: tuple[str, ...] = ()
    kind: str = ""


_INVALID = Verdict(
    StatusCode.INVALID_ARGUMENT,
    ErrorReason.ERROR_REASON_INVALID_REQUEST,
    "Upstream finds the request invalid.",
)
_STATE = Verdict(
    StatusCode.FAILED_PRECONDITION,
    ErrorReason.ERROR_REASON_INVALID_STATE,
    "The state of the shipment does not allow this.",
)
_FAILED = Verdict(
    StatusCode.FAILED_PRECONDITION,
    ErrorReason.ERROR_REASON_ALLOCATION_FAILED,
    "No carrier service in scope could take the shipment.",
)
_MISMATCH = _FAILED._replace(message="The carrier service does not take shipments of this type.")
_NO_QUOTES = Verdict(
    StatusCode.FAILED_PRECONDITION,
    ErrorReason.ERROR_REASON_NO_QUOTES_AVAILABLE,
    "There is no quote for the shipment.",
)
_CONFLICT = Verdict(
    StatusCode.FAILED_PRECONDITION,
    ErrorReason.ERROR_REASON_UPSTREAM_CONFLICT,
    "The request conflicts with how things stand upstream.",
)
_GONE = _CONFLICT._replace(message="What the request needs is gone for good.")
_NO_SHIPMENT = Verdict(
    StatusCode.NOT_FOUND,
    ErrorReason.ERROR_REASON_SHIPMENT_NOT_FOUND,
    "Upstream does not know the shipment.",
    ("shipment_reference", "shipments"),
    "Shipment",
)
_NO_SERVICE = Verdict(
    StatusCode.NOT_FOUND,
    ErrorReason.ERROR_REASON_CARRIER_SERVICE_NOT_FOUND,
    "Upstream does not know the carrier service.",
    ("carrier_service_reference", "virtual_service_reference"),
    "CarrierService",
)
_NO_GROUP = Verdict(
    StatusCode.NOT_FOUND,
    ErrorReason.ERROR_REASON_SERVICE_GROUP_NOT_FOUND,
    "Upstream does not know the service group.",
    ("service_group", "virtual_service_reference"),
    "ServiceGroup",
)
_NO_VIRTUAL = Verdict(
    StatusCode.NOT_FOUND,
    ErrorReason.ERROR_REASON_VIRTUAL_SERVICE_NOT_FOUND,
    "Upstream knows neither a carrier service nor a service group of this reference.",
    ("virtual_service_reference",),
    "VirtualService",
)
_NOT_FOUND = Verdict(
    StatusCode.NOT_FOUND,
    ErrorReason.ERROR_REASON_RESOURCE_NOT_FOUND,
    "Upstream does not know something that the request names, and does not say what.",
)
_PROCESSING = Verdict(
    StatusCode.UNAVAILABLE,
    ErrorReason.ERROR_REASON_RESOURCE_PROCESSING,
    "Upstream is still working on the resource.",
)
_CREDENTIALS = Verdict(
    StatusCode.INTERNAL,
    ErrorReason.ERROR_REASON_UPSTREAM_CREDENTIALS_REJECTED,
    "Upstream does not accept the gateway's key.",
)
_MISCONFIGURED = Verdict(
    StatusCode.INTERNAL,
    ErrorReason.ERROR_REASON_GATEWAY_MISCONFIGURED,
    "Upstream refuses how the gateway calls it.",
)
_THROTTLED = Verdict(
    StatusCode.RESOURCE_EXHAUSTED,
    ErrorReason.ERROR_REASON_UPSTREAM_THROTTLED,
    "Upstream limits the rate of calls.",
)
_UPSTREAM_FAILED = Verdict(
    StatusCode.INTERNAL,
    ErrorReason.ERROR_REASON_UPSTREAM_FAILED,
    "Upstream failed on its own account.",
)
_UNAVAILABLE = Verdict(
    StatusCode.UNAVAILABLE,
    ErrorReason.ERROR_REASON_UPSTREAM_UNAVAILABLE,
    "Upstream is not available.",
)
_BROKEN = Verdict(
    StatusCode.INTERNAL,
    ErrorReason.ERROR_REASON_UPSTREAM_CONTRACT_BROKEN,
    "Upstream's answer is not as documented",
)

BY_CODE: Final[Mapping[str, Verdict]] = {
    "validation_error": _INVALID,
    "invalid_request": _INVALID,
    "invalid_state_for_operation": _STATE,
    "invalid_shipment_state": _STATE,
    "virtual_service_not_found": _NO_VIRTUAL,
    "version_header_error": _MISCONFIGURED,
    "version_header_missing": _MISCONFIGURED,
    "unauthorised": _CREDENTIALS,
    "invalid_api_key": _CREDENTIALS,
    "missing_api_key_header": _CREDENTIALS,
    "not_found": _NOT_FOUND,
    "shipment_not_found": _NO_SHIPMENT,
    "service_group_not_found": _NO_GROUP,
    "processing": _PROCESSING,
    "method_not_supported": _MISCONFIGURED,
    "gone": _GONE,
    "resource_quarantined": _GONE,
    "resource_removed": _GONE,
    "rule_conflict": _CONFLICT,
    "allocation_failed": _FAILED,
    "carrier_service_not_found": _NO_SERVICE,
    "carrier_service_shipment_mismatch": _MISMATCH,
    "shipment_invalid_state": _STATE,
    "no_quotes_available": _NO_QUOTES,
}

BY_STATUS: Final[Mapping[int, Verdict]] = {
    400: _INVALID,
    401: _CREDENTIALS,
    403: _CREDENTIALS,
    404: _NOT_FOUND,
    405: _MISCONFIGURED,
    407: _MISCONFIGURED,
    409: _CONFLICT,
    410: _GONE,
    429: _THROTTLED,
    500: _UPSTREAM_FAILED,
    502: _UNAVAILABLE,
    503: _UNAVAILABLE,
    504: _UNAVAILABLE,
    521: _FAILED,
    531: _NO_QUOTES,
}
# A proxy in between can give these in upstream's place, so that they mean the same without a body of upstream's.
_WITHOUT_BODY: Final = frozenset({401, 403, 405, 407, 429, 500, 502, 503, 504})
# CDNs use these for an origin that does not answer; only upstream's own JSON makes 521 an answer.
_CDN: Final = range(520, 531)
# Our field for what upstream complains about, where its own name or none is given.
_FIELDS: Final[Mapping[str, tuple[str, ...]]] = {
    "duplicate_references": ("shipments",),
    "too_few_elements": ("shipments",),
    "too_many_elements": ("shipments",),
    "invalid_carrier_service": ("carrier_service_reference", "virtual_service_reference"),
    "non_unique_reference": ("virtual_service_reference",),
    "invalid_reference_format": ("shipment_reference",),
}


class Complaint(NamedTuple):
    """One code in an error body, with the property it is about and its text."""

    code: str
    property: str
    message: str


def failure(operation: Operation, request: Message, answer: Answer, body: object) -> GatewayError:
    """Returns the error for an answer that is not a success.

    Args:
        operation: The row that was called.
        request: The caller's request.
        answer: The answer.
        body: Its JSON; None if it is not JSON.
    """
    source = body if isinstance(body, dict) else None
    parent, complaints = _codes(source) if source is not None else ("", [])
    code, verdict = _decide(answer.status, source, parent, complaints)
    if verdict is _BROKEN:
        return broken(operation, answer, _what_is_wrong(answer, body))
    return _error(operation, request, answer, source, (code, verdict), complaints)


def allocation_failed(operation: Operation, request: Message, answer: Answer, body: json.Object) -> GatewayError:
    """Returns the error for a successful status whose body reports that the allocation failed."""
    parent, complaints = _codes(body)
    decision = _decide(521, body, parent or "allocation_failed", complaints)
    return _error(operation, request, answer, body, decision, complaints)


def _error(
    operation: Operation,
    request: Message,
    answer: Answer,
    source: json.Object | None,
    decision: tuple[str, Verdict],
    complaints: list[Complaint],
) -> GatewayError:
    code, verdict = decision
    metadata = {"upstream_status": str(answer.status)}
    if code:
        metadata["upstream_code"] = code
    correlation_id = _text(source or {}, "correlation_id")
    if correlation_id:
        metadata["upstream_correlation_id"] = correlation_id
    if operation.effect.writes:
        metadata["effect"] = NONE if source is not None and _is_refusal(answer.status, verdict) else UNKNOWN
    return GatewayError(
        verdict.code,
        verdict.reason,
        verdict.message,
        metadata=metadata,
        details=list(_details(verdict, request, answer, complaints)),
        excluded=_excluded(source) if verdict.code is StatusCode.FAILED_PRECONDITION else (),
    )


def broken(
    operation: Operation,
    answer: Answer,
    what: str,
    *,
    effect: str = UNKNOWN,
    allocation: core_pb2.Allocation | None = None,
) -> GatewayError:
    """Returns the error for an answer that is not as documented. If the allocation was made, the error carries it."""
    metadata = {"upstream_status": str(answer.status)}
    if operation.effect.writes:
        metadata["effect"] = effect
    suffix = " The operation was carried out." if effect == MADE else ""
    return GatewayError(
        _BROKEN.code,
        _BROKEN.reason,
        f"{_BROKEN.message}: {what}.{suffix}",
        metadata=metadata,
        allocation=allocation,
    )


def no_answer(operation: Operation, how: str, *, sent: bool) -> GatewayError:
    """Returns the error for a request without an answer. A write that was sent may have been carried out."""
    if operation.effect.writes and sent:
        return outcome_unknown(f"Upstream did not answer: {how}. The operation may have been carried out.")
    metadata = {"effect": NONE} if operation.effect.writes else {}
    return GatewayError(
        _UNAVAILABLE.code,
        _UNAVAILABLE.reason,
        f"{_UNAVAILABLE.message[:-1]}: {how}.",
        metadata=metadata,
        details=[errors.retry_after(DEFAULT_RETRY_SECONDS)],
    )


def outcome_unknown(message: str) -> GatewayError:
    """Returns the error for a write of which nobody can say whether it was carried out."""
    return GatewayError(
        StatusCode.UNKNOWN,
        ErrorReason.ERROR_REASON_OUTCOME_UNKNOWN,
        message,
        metadata={"effect": UNKNOWN},
        details=[errors.retry_after(DEFAULT_RETRY_SECONDS)],
    )


def _decide(status: int, source: json.Object | None, parent: str, complaints: list[Complaint]) -> tuple[str, Verdict]:
    """Returns the code that is told to callers, and the row."""
    for complaint in complaints:
        if complaint.code in BY_CODE:
            return complaint.code, BY_CODE[complaint.code]
    told = next((complaint.code for complaint in complaints if complaint.code), parent)
    if parent in BY_CODE:
        return told, BY_CODE[parent]
    if status in _CDN and not (status == 521 and source is not None and _is_allocation_failure(source, told)):
        return told, _UNAVAILABLE
    if source is None and status not in _WITHOUT_BODY:
        return told, _BROKEN
    if status not in BY_STATUS:
        return told, _UPSTREAM_FAILED if status > 500 else _BROKEN
    return told, BY_STATUS[status]


def _is_allocation_failure(source: json.Object, code: str) -> bool:
    """Tells upstream's own 521 from that of a proxy: by a code, or by being an AllocateResult."""
    return bool(code) or isinstance(source.get("excluded_services"), list) or "shipment_reference" in source


def _is_refusal(status: int, verdict: Verdict) -> bool:
    """Tells whether upstream itself says that nothing was done."""
    return verdict not in (_UPSTREAM_FAILED, _UNAVAILABLE) and status not in (500, 502, 503, 504)


def _codes(source: json.Object) -> tuple[str, list[Complaint]]:
    """Returns the parent code and its children: of an ApiError, or of the ApiErrors in an AllocateResult."""
    parent = _text(source, "code")
    complaints: list[Complaint] = []
    for item in _objects(source.get("details")):
        nested = [_complaint(inner) for inner in _objects(item.get("details"))]
        complaints += [*nested, _complaint(item)] if nested else [_complaint(item)]
    return parent, complaints


def codes_of(source: json.Object) -> list[str]:
    """Returns every code in an error body, children first."""
    parent, complaints = _codes(source)
    return [*(complaint.code for complaint in complaints), parent]


def _objects(value: object) -> Iterator[json.Object]:
    if isinstance(value, list):
        yield from (item for item in value if isinstance(item, dict))


def _complaint(source: json.Object) -> Complaint:
    return Complaint(_text(source, "code"), _text(source, "property"), _text(source, "message"))


def _text(source: json.Object, key: str) -> str:
    value = source.get(key)
    return value if isinstance(value, str) else ""


def _what_is_wrong(answer: Answer, body: object) -> str:
    if answer.problem:
        return f"{answer.problem}, with HTTP status {answer.status}"
    if 300 <= answer.status < 400:
        return f"a redirect, HTTP status {answer.status}"
    if isinstance(body, dict):
        return f"HTTP status {answer.status}"
    shape = "not JSON" if body is None else json.kind_of(body)
    return f"the body is {shape}, with HTTP status {answer.status}"


def _details(verdict: Verdict, request: Message, answer: Answer, complaints: list[Complaint]) -> Iterator[Message]:
    if verdict is _INVALID:
        yield errors.bad_request(
            (our_field(request, complaint), complaint.message or complaint.code) for complaint in complaints
        )
    if name := _missing(verdict, request):
        yield errors.resource(verdict.kind, name)
    if verdict.code in (StatusCode.UNAVAILABLE, StatusCode.RESOURCE_EXHAUSTED):
        yield errors.retry_after(retry_seconds(answer.headers))


def _missing(verdict: Verdict, request: Message) -> str:
    """Returns the reference of what was not found; empty if the request does not tell which one it is."""
    for field in verdict.missing:
        if field in request.DESCRIPTOR.fields_by_name:
            value = getattr(request, field)
            if isinstance(value, str):
                return value
            return str(value[0]) if len(value) == 1 else ""
    return ""


def our_field(request: Message, complaint: Complaint) -> str:
    """Returns the path of the field of the request that upstream complains about; empty if it is none of them."""
    known = request.DESCRIPTOR.fields_by_name
    path = complaint.property.strip().removeprefix("$.")
    root = path.partition("[")[0].partition(".")[0]
    if root in known:
        return path
    return next((field for field in _FIELDS.get(complaint.code, ()) if field in known), "")


def _excluded(source: json.Object | None) -> list[core_pb2.ExcludedService]:
    if source is None:
        return []
    fields = json.children(source, "excluded_services", "", json.Defects(), nouns.excluded_service)
    return [core_pb2.ExcludedService(**item) for item in fields]


def retry_seconds(headers: Mapping[str, str]) -> float:
    """Returns how long upstream asks to wait, from Retry-After in either of its forms, within an hour."""
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return min(float(text), LONGEST_RETRY_SECONDS)
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):  # not a date, or one beyond the calendar
        return DEFAULT_RETRY_SECONDS
    wait = (moment - datetime.now(UTC)).total_seconds() if moment.tzinfo else DEFAULT_RETRY_SECONDS
    return min(max(wait, DEFAULT_RETRY_SECONDS), LONGEST_RETRY_SECONDS)

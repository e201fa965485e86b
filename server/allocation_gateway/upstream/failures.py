"""The error table: from what upstream did to one gRPC status. It is total: whatever upstream does has a row.

The codes in the JSON decide first, a child before its parent; the HTTP status decides if no code is known; the text of
a message never does, but for one of Azure API Management's. docs/errors.md has the table as callers read it.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final

from allocation.v1.error_reason_pb2 import ErrorReason
from grpc import StatusCode

from allocation_gateway import errors
from allocation_gateway.codecs.values import kind_of
from allocation_gateway.errors import GatewayError, WriteEffect
from allocation_gateway.operations.model import Api
from allocation_gateway.upstream import consignments, error_table, ship, write_effect
from allocation_gateway.upstream.dialect import ErrorBody
from allocation_gateway.upstream.error_table import BY_STATUS, BY_STATUS_ALONE
from allocation_gateway.upstream.write_effect import InferredEffect

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from google.protobuf.message import Message

    from allocation_gateway.errors import AnyAllocation
    from allocation_gateway.operations.model import Operation
    from allocation_gateway.upstream.dialect import Complaint, Dialect
    from allocation_gateway.upstream.error_table import ErrorEntry
    from allocation_gateway.upstream.http import Answer

DIALECTS: Final[Mapping[Api, Dialect]] = {Api.SHIP: ship.DIALECT, Api.CONSIGNMENTS: consignments.DIALECT}
DEFAULT_RETRY_SECONDS: Final = 1.0
LONGEST_RETRY_SECONDS: Final = 3600.0
# CDNs use these for an origin that does not answer; only upstream's own JSON makes 521 an answer.
_CDN: Final = range(520, 531)
_PLACE: Final = re.compile(r"\[\d{1,9}\]", re.ASCII)
_ALLOCATION_FAILED: Final = 521
_FORBIDDEN: Final = 403
_NOT_FOUND: Final = 404
_PROXY_CREDENTIALS: Final = 407
_SERVER_ERROR: Final = 500


def failure(operation: Operation, request: Message, answer: Answer, body: object) -> GatewayError:
    """Returns the error for an answer that is not a success.

    Args:
        operation: The row that was called.
        request: The caller's request.
        answer: The answer.
        body: Its JSON; None if it is not JSON.
    """
    dialect = DIALECTS[operation.api]
    error = dialect.error_body(body) if isinstance(body, dict) else None
    code, entry = _decide(operation, dialect, answer.status, error)
    contradicts = isinstance(body, dict) and operation.action.writes and dialect.contradicts(body, operation.action)
    inferred = write_effect.infer(operation, request, answer, body, error, entry, contradicts=contradicts)
    if entry is error_table.BROKEN:
        return broken(operation, answer, _what_is_wrong(answer, body), likely_unprocessed=inferred.likely_unprocessed)
    return _error(operation, request, answer, error, code, entry, inferred)


def refused(operation: Operation, request: Message, answer: Answer, body: object) -> GatewayError:
    """Returns the error for a successful status whose body reports that the operation was not carried out."""
    dialect = DIALECTS[operation.api]
    error = dialect.error_body(body) if isinstance(body, dict) else ErrorBody()
    known = _known(dialect, error)
    code, entry = known or ("", error_table.FAILED if operation.action.allocates else error_table.STATE)
    inferred = InferredEffect(WriteEffect.NONE if operation.action.writes else None)
    return _error(operation, request, answer, error, code, entry, inferred)


def _error(
    operation: Operation,
    request: Message,
    answer: Answer,
    error: ErrorBody | None,
    code: str,
    entry: ErrorEntry,
    inferred: InferredEffect,
) -> GatewayError:
    said = error or ErrorBody()
    is_throttled = entry.code is StatusCode.RESOURCE_EXHAUSTED
    return GatewayError(
        entry.code,
        entry.reason,
        entry.message,
        effect=inferred.effect,
        upstream_status=answer.status,
        upstream_code=code,
        metadata={"upstream_correlation_id": said.correlation_id} if said.correlation_id else {},
        details=list(_details(operation, request, answer, said, entry)),
        excluded=said.excluded if entry.code is StatusCode.FAILED_PRECONDITION else (),
        likely_unprocessed=inferred.likely_unprocessed,
        retry_after=(_asked(answer, said) or 0.0) if is_throttled else 0.0,
    )


def _asked(answer: Answer, error: ErrorBody) -> float | None:
    """Returns for how many seconds upstream asks to be left alone; None if it does not."""
    if "retry-after" in answer.headers:
        return retry_seconds(answer.headers)
    return min(error.retry_after, LONGEST_RETRY_SECONDS) if error.retry_after else None


def broken(
    operation: Operation,
    answer: Answer,
    what: str,
    *,
    effect: WriteEffect = WriteEffect.UNKNOWN,
    allocation: AnyAllocation | None = None,
    likely_unprocessed: bool = False,
) -> GatewayError:
    """Returns the error for an answer that is not as documented. If the allocation was made, the error carries it."""
    suffix = " The operation was carried out." if effect is WriteEffect.MADE else ""
    return GatewayError(
        error_table.BROKEN.code,
        error_table.BROKEN.reason,
        f"{error_table.BROKEN.message}: {what}.{suffix}",
        effect=effect if operation.action.writes else None,
        upstream_status=answer.status,
        allocation=allocation,
        likely_unprocessed=likely_unprocessed,
    )


def no_answer(operation: Operation, how: str, *, sent: bool) -> GatewayError:
    """Returns the error for a request without an answer. A write that was sent may have been carried out."""
    if operation.action.writes and sent:
        return outcome_unknown(f"Upstream did not answer: {how}. The operation may have been carried out.")
    return GatewayError(
        error_table.UNAVAILABLE.code,
        error_table.UNAVAILABLE.reason,
        f"{error_table.UNAVAILABLE.message[:-1]}: {how}.",
        effect=WriteEffect.NONE if operation.action.writes else None,
        details=[errors.retry_after(DEFAULT_RETRY_SECONDS)],
    )


def outcome_unknown(message: str) -> GatewayError:
    """Returns the error for a write of which nobody can say whether it was carried out."""
    return GatewayError(
        StatusCode.UNKNOWN,
        ErrorReason.ERROR_REASON_OUTCOME_UNKNOWN,
        message,
        effect=WriteEffect.UNKNOWN,
        details=[errors.retry_after(DEFAULT_RETRY_SECONDS)],
    )


def unconfirmed() -> GatewayError:
    """Returns the error for a write that upstream has taken in hand without a word of how it ended."""
    return outcome_unknown("Upstream accepted the request and has not said how it ended.")


def _known(dialect: Dialect, error: ErrorBody) -> tuple[str, ErrorEntry] | None:
    """Returns the first code that decides by itself, and its row."""
    for complaint in error.complaints:
        if complaint.code in dialect.by_code:
            return complaint.code, dialect.by_code[complaint.code]
    if error.code in dialect.by_code:
        told = next((complaint.code for complaint in error.complaints if complaint.code), error.code)
        return told, dialect.by_code[error.code]
    return None


def _decide(operation: Operation, dialect: Dialect, status: int, error: ErrorBody | None) -> tuple[str, ErrorEntry]:
    """Returns the code that is told to callers, and the row."""
    if error is None:
        return "", error_table.UNAVAILABLE if status in _CDN else BY_STATUS_ALONE.get(status, error_table.BROKEN)
    if error.is_quota and status == _FORBIDDEN:
        return "", error_table.THROTTLED
    if known := _known(dialect, error):
        return known
    told = next((complaint.code for complaint in error.complaints if complaint.code), error.code)
    if status == _ALLOCATION_FAILED and error.is_own:
        return told, error_table.FAILED
    return told, _by_status(operation, status, error)


def _by_status(operation: Operation, status: int, error: ErrorBody) -> ErrorEntry:
    if status in _CDN:
        return error_table.UNAVAILABLE
    # Whoever stands in front of upstream can say 404 too, of a path that leads nowhere.
    if status == _NOT_FOUND and operation.sole_resource and error.is_own:
        return error_table.BY_RESOURCE[operation.sole_resource]
    # In upstream's own words it says that some of several were allocated, and should say which.
    if status == _PROXY_CREDENTIALS and error.is_own:
        return error_table.BROKEN
    return BY_STATUS.get(status) or (error_table.UPSTREAM_FAILED if status >= _SERVER_ERROR else error_table.BROKEN)


def _what_is_wrong(answer: Answer, body: object) -> str:
    if answer.problem:
        return f"{answer.problem}, with HTTP status {answer.status}"
    if 300 <= answer.status < 400:
        return f"a redirect, HTTP status {answer.status}"
    if isinstance(body, dict):
        return f"HTTP status {answer.status}"
    found = "not JSON" if body is None else kind_of(body)
    return f"the body is {found}, with HTTP status {answer.status}"


def _details(
    operation: Operation, request: Message, answer: Answer, error: ErrorBody, entry: ErrorEntry
) -> Iterator[Message]:
    if entry is error_table.INVALID:
        yield errors.bad_request(
            (_our_field(operation, request, complaint), complaint.message or complaint.code)
            for complaint in error.complaints
        )
    if name := _missing(entry, request):
        yield errors.resource(entry.kind, name)
    if entry.code in (StatusCode.UNAVAILABLE, StatusCode.RESOURCE_EXHAUSTED):
        asked = _asked(answer, error)
        yield errors.retry_after(DEFAULT_RETRY_SECONDS if asked is None else asked)


def _missing(entry: ErrorEntry, request: Message) -> str:
    """Returns the reference of what was not found; empty if the request does not tell which one it is."""
    for field in entry.missing:
        value = getattr(request, field, "")
        if value:
            return value if isinstance(value, str) else str(value[0]) if len(value) == 1 else ""
    return ""


def _our_field(operation: Operation, request: Message, complaint: Complaint) -> str:
    """Returns the path of the field of the request that upstream complains about; empty if it is none of them."""
    known = request.DESCRIPTOR.fields_by_name
    path = complaint.property.strip().removeprefix("$.")
    root = path.partition("[")[0].partition(".")[0]
    if root in known:
        return path
    dialect = DIALECTS[operation.api]
    if (named := dialect.properties.get(root.lower(), "")) in known:
        # What comes after a place in a list is upstream's own.
        place = _PLACE.match(path, len(root))
        return named + (place[0] if place else "")
    return next((field for field in dialect.fields.get(complaint.code, ()) if field in known), "")


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

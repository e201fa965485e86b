"""What has become of an item of a job: from what its write, or a reading, has told."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from allocation.v1.error_reason_pb2 import ErrorReason
from google.rpc import error_details_pb2
from grpc import StatusCode

from allocation_gateway import errors
from allocation_gateway.account_api import TRANSIENT
from allocation_gateway.errors import GatewayError, WriteEffect
from allocation_gateway.operations.bulk import ItemAnswer
from allocation_gateway.operations.validation import Violation
from allocation_gateway.rpc.base import invalid
from allocation_gateway.rpc.streams.belief import Standing
from allocation_gateway.upstream import error_table
from allocation_gateway.upstream.failures import DIALECTS, outcome_unknown
from allocation_gateway.writes.errors import never_known

if TYPE_CHECKING:
    from collections.abc import Sequence

    from allocation.v1.core_pb2 import ExcludedService
    from google.protobuf.message import Message

    from allocation_gateway.errors import AnyAllocation
    from allocation_gateway.operations.bulk import Rejection
    from allocation_gateway.operations.model import Api, Operation
    from allocation_gateway.upstream.error_table import ErrorEntry
    from allocation_gateway.writes.clocks import Interval
    from allocation_gateway.writes.request import WriteResult


class OutcomeKind(enum.Enum):
    """What is known of an item."""

    QUEUED = "queued"
    """Upstream has taken it in hand."""
    ALLOCATED = "allocated"
    """It is allocated."""
    REFUSED = "refused"
    """It will not be allocated by this job."""
    UNKNOWN = "unknown"
    """It is not known, and another call with its id may tell."""
    LATER = "later"
    """Nothing was done for it, and that may be over in a moment: it is asked for again."""


# Looked up once for all who ask for every item: in Python 3.11, each access to a member of an enum is a function call.
QUEUED: Final = OutcomeKind.QUEUED
ALLOCATED: Final = OutcomeKind.ALLOCATED
REFUSED: Final = OutcomeKind.REFUSED
UNKNOWN: Final = OutcomeKind.UNKNOWN
LATER: Final = OutcomeKind.LATER


class Found(NamedTuple):
    """What is known of an item.

    Attributes:
        kind: What.
        allocation: Its allocation, if it is allocated and that is told.
        error: Why it was refused, is unknown, or has to wait.
        taken: When upstream has taken it in hand, if a claim remembers that; None if that was just now.
    """

    kind: OutcomeKind
    allocation: AnyAllocation | None = None
    error: GatewayError | None = None
    taken: Interval | None = None


LATE_JOB: Final = Violation("job", "may only be set in the first message")

# What keeps everything from being sent, not just one item.
HINDRANCES: Final = frozenset(
    {
        ErrorReason.ERROR_REASON_UPSTREAM_UNAVAILABLE,
        ErrorReason.ERROR_REASON_UPSTREAM_THROTTLED,
        ErrorReason.ERROR_REASON_GATEWAY_OVERLOADED,
        ErrorReason.ERROR_REASON_CLAIM_STORE_UNAVAILABLE,
        ErrorReason.ERROR_REASON_UPSTREAM_CREDENTIALS_REJECTED,
        ErrorReason.ERROR_REASON_GATEWAY_MISCONFIGURED,
    }
)
_LATER: Final = (
    TRANSIENT | HINDRANCES | {ErrorReason.ERROR_REASON_WRITE_IN_PROGRESS, ErrorReason.ERROR_REASON_DEADLINE_EXCEEDED}
)
_BY_REASON: Final = {entry.reason: entry for dialect in DIALECTS.values() for entry in dialect.by_code.values()} | {
    entry.reason: entry for entry in (error_table.STATE, error_table.FAILED, error_table.NO_CONSIGNMENT)
}


def of_error(error: GatewayError) -> Found:
    """Returns what the error of a write tells of its item."""
    if error.effect is WriteEffect.MADE:
        # It was carried out, and only the answer cannot be read.
        return Found(QUEUED)
    if error.reason == ErrorReason.ERROR_REASON_OUTCOME_UNKNOWN or error.effect is WriteEffect.UNKNOWN:
        return Found(UNKNOWN, error=error)
    if error.reason in _LATER:
        return Found(LATER, error=error)
    return Found(REFUSED, error=error)


def is_hindrance(error: GatewayError) -> bool:
    """Tells whether an error is about what keeps everything from being sent: also if it has left an item in doubt."""
    return error.reason in HINDRANCES or error.cause in HINDRANCES


def too_large(limit: int) -> GatewayError:
    """Returns the error for a message of a stream that is larger than allowed."""
    violation = Violation("items", f"must be fewer, or shorter: the message is larger than {limit} bytes")
    return invalid(f"The message is larger than {limit} bytes.", [violation])


def of_selector(refusal: GatewayError) -> GatewayError:
    """Returns a refusal as it is told for items that were refused with others, of which their selector is the cause."""
    return refusal.retold(
        refusal.code,
        refusal.reason,
        f"{refusal.message} It was refused together with others, and so was all else that was asked for in this way.",
        effect=refusal.effect,
        details=refusal.details,
    )


def wants_explanation(found: Found) -> bool:
    """Tells whether an item is told an error for how it stands, and nothing shows yet how that is."""
    error = found.error
    if error is None or error.allocation is not None:
        return False
    if found.kind is UNKNOWN:
        return is_final(error)
    return found.kind is REFUSED and error.reason == ErrorReason.ERROR_REASON_INVALID_STATE


def is_final(error: GatewayError) -> bool:
    """Tells whether it can never be known what became of an item: then it is not said when to ask again."""
    return error.reason == ErrorReason.ERROR_REASON_OUTCOME_UNKNOWN and not retry_seconds(error)


def retry_seconds(error: GatewayError) -> float:
    """Returns after how many seconds it is worth asking again; 0 if the error does not say."""
    for detail in error.details:
        if isinstance(detail, error_details_pb2.RetryInfo):
            return float(detail.retry_delay.ToNanoseconds()) / 1e9
    return 0.0


def of_result(operation: Operation, result: WriteResult, reference: str) -> Found:
    """Returns what has come of a write of an item, which is the only one of that call."""
    response: Any = result.response
    told = ItemAnswer() if operation.bulk is None else operation.bulk.item(response, reference)
    if told.rejection is not None:
        return Found(REFUSED, error=_rejected(operation.api, told.rejection, reference))
    if told.is_allocated:
        return Found(ALLOCATED, told.allocation)
    if told.allocation is not None:
        return _of_answer(operation, told.allocation, result.answered)
    if told.is_taken:
        return Found(QUEUED, taken=result.answered)
    # What a claim has recorded without a word of the item is all that there will ever be.
    return Found(UNKNOWN, error=_UNDECIDED if result.is_recorded else _SILENT)


def _of_answer(operation: Operation, allocation: AnyAllocation, answered: Interval | None) -> Found:
    """Returns what it means for an item that was taken in hand how it stands by the answer to its write."""
    if operation.allocations.is_allocated(allocation):
        return Found(ALLOCATED, allocation)
    # Whatever its state is, it may be left from before: reading tells what becomes of the item.
    return Found(QUEUED, taken=answered)


def of_reading(standing: Standing, found: AnyAllocation | GatewayError) -> Found:
    """Returns what it means for an item that was queued how it stands in the end.

    Args:
        standing: How: in a way that lasts.
        found: What was read.
    """
    if isinstance(found, GatewayError):
        # It was there when it was queued. Only what was cancelled can be removed, and may have been allocated before.
        message = f"It was queued, and is not there any more: {found.message}"
        return Found(UNKNOWN, error=never_known(message))
    if standing is Standing.ALLOCATED:
        return Found(ALLOCATED, found)
    if standing is Standing.FAILED:
        return Found(REFUSED, error=_refusal(error_table.FAILED))
    return Found(
        UNKNOWN,
        error=never_known("It was queued, and was cancelled after that. It may have been allocated before.", found),
    )


def _rejected(api: Api, rejection: Rejection, reference: str) -> GatewayError:
    known = DIALECTS[api].by_code.get(rejection.code) if rejection.reason is None else _BY_REASON.get(rejection.reason)
    details = () if rejection.allocation is None else (rejection.allocation,)
    return _refusal(
        known or error_table.CONFLICT, rejection.message, reference, rejection.code, details, rejection.excluded
    )


def _refusal(
    entry: ErrorEntry,
    message: str = "",
    reference: str = "",
    code: str = "",
    details: Sequence[Message] = (),
    excluded: Sequence[ExcludedService] = (),
) -> GatewayError:
    return GatewayError(
        entry.code,
        entry.reason,
        message or entry.message,
        effect=WriteEffect.NONE,
        upstream_code=code,
        details=[*([errors.resource(entry.kind, reference)] if entry.kind and reference else ()), *details],
        excluded=excluded if entry.code is StatusCode.FAILED_PRECONDITION else (),
    )


_SILENT: Final = outcome_unknown("Upstream has answered, and not said what became of it.")
_UNDECIDED: Final = never_known(
    "It cannot be known whether this request was carried out: somebody else has allocated the shipment or consignment "
    "at about the same time, or has cancelled it since."
)

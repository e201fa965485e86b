"""What callers are told of a write that is not made, or of which it is not known what became of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from allocation.v1.error_reason_pb2 import ErrorReason
from grpc import StatusCode

from allocation_gateway import errors
from allocation_gateway.errors import GatewayError, WriteEffect
from allocation_gateway.upstream import failures

if TYPE_CHECKING:
    from google.protobuf.message import Message

UNCONFIRMED: Final = failures.outcome_unknown("Upstream took the request in hand and has not said how it ended.")
EARLIER: Final = failures.outcome_unknown("An earlier call with this request_id is not resolved yet.")
NOT_LOOKED_UP: Final = failures.outcome_unknown(
    "The deadline passed before it was known whether this request_id was used before."
)


def reused() -> GatewayError:
    """Returns the error for an id that names another request."""
    return GatewayError(
        StatusCode.INVALID_ARGUMENT,
        ErrorReason.ERROR_REASON_REQUEST_ID_REUSED,
        "The request_id names another request already.",
        effect=WriteEffect.NONE,
    )


def in_progress() -> GatewayError:
    """Returns the error for a write that another one was in the way of for too long."""
    return GatewayError(
        StatusCode.ABORTED,
        ErrorReason.ERROR_REASON_WRITE_IN_PROGRESS,
        "Another allocation or de-allocation of this shipment or consignment has not ended yet.",
        effect=WriteEffect.NONE,
        details=[_soon()],
    )


def full() -> GatewayError:
    """Returns the error for a write whose claim finds no room."""
    return GatewayError(
        StatusCode.RESOURCE_EXHAUSTED,
        ErrorReason.ERROR_REASON_GATEWAY_OVERLOADED,
        "The gateway has as many writes in doubt as it can keep.",
        effect=WriteEffect.NONE,
        details=[_soon()],
    )


def no_store(*, is_named: bool) -> GatewayError:
    """Returns the error for a write that cannot be claimed. Of an id that is the caller's own, nobody knows more."""
    return GatewayError(
        StatusCode.UNAVAILABLE,
        ErrorReason.ERROR_REASON_CLAIM_STORE_UNAVAILABLE,
        "The store of claims cannot be reached. Nothing was sent.",
        effect=None if is_named else WriteEffect.NONE,
        details=[_soon()],
    )


def too_late() -> GatewayError:
    """Returns the error for a write that was not sent in its caller's time."""
    return GatewayError(
        StatusCode.DEADLINE_EXCEEDED,
        ErrorReason.ERROR_REASON_DEADLINE_EXCEEDED,
        "The deadline passed before anything was sent.",
        effect=WriteEffect.NONE,
    )


def _soon() -> Message:
    retry: Message = errors.retry_after(failures.DEFAULT_RETRY_SECONDS)
    return retry

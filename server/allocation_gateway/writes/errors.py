"""What callers are told of a write that is not made, or of which it is not known what became of it.

That nothing was done under a `request_id` can only be said by whoever holds its claim: until then the same id may be
sent by another process. So an error of a write that does not hold its claim yet says nothing of its effect if the id is
the caller's own. An id that the gateway has made for this call is nobody else's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from allocation.v1.error_reason_pb2 import ErrorReason
from grpc import StatusCode

from allocation_gateway import errors
from allocation_gateway.errors import GatewayError, WriteEffect
from allocation_gateway.upstream import failures
from allocation_gateway.upstream.error_table import STATE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from google.protobuf.message import Message

    from allocation_gateway.errors import AnyAllocation
    from allocation_gateway.operations.model import Operation

UNCONFIRMED: Final = failures.unconfirmed()
UNANSWERED: Final = failures.outcome_unknown("Upstream has not answered yet.")
EARLIER: Final = failures.outcome_unknown("An earlier call with this request_id is not resolved yet.")
NOT_LOOKED_UP: Final = failures.outcome_unknown(
    "The deadline passed before it was known whether this request_id was used before."
)

REST_NOT_MADE: Final = GatewayError(
    StatusCode.UNAVAILABLE,
    ErrorReason.ERROR_REASON_UPSTREAM_UNAVAILABLE,
    "This part of the call was not carried out, and will not be under this request_id. Repeat it with another one.",
    effect=WriteEffect.NONE,
)


def reused() -> GatewayError:
    """Returns the error for an id that names another request."""
    return GatewayError(
        StatusCode.INVALID_ARGUMENT,
        ErrorReason.ERROR_REASON_REQUEST_ID_REUSED,
        "The request_id was used for another request before. Use a new one for this request.",
        effect=WriteEffect.NONE,
    )


def in_progress(*, is_named: bool) -> GatewayError:
    """Returns the error for a write that another one was in the way of for too long."""
    return GatewayError(
        StatusCode.ABORTED,
        ErrorReason.ERROR_REASON_WRITE_IN_PROGRESS,
        "Another allocation or de-allocation of this shipment or consignment has not ended yet. Repeat the call with "
        "the same request_id.",
        effect=_unclaimed(is_named=is_named),
        details=[_soon()],
    )


def full(*, is_named: bool) -> GatewayError:
    """Returns the error for a write whose claim finds no room."""
    return GatewayError(
        StatusCode.RESOURCE_EXHAUSTED,
        ErrorReason.ERROR_REASON_GATEWAY_OVERLOADED,
        "The gateway has reached the limit of writes in doubt that it can remember. Repeat the call later with the "
        "same request_id.",
        effect=_unclaimed(is_named=is_named),
        details=[_soon()],
    )


def no_store(*, is_named: bool) -> GatewayError:
    """Returns the error for a write that cannot be claimed."""
    return GatewayError(
        StatusCode.UNAVAILABLE,
        ErrorReason.ERROR_REASON_CLAIM_STORE_UNAVAILABLE,
        "The store of claims cannot be reached. Nothing was sent. Repeat the call with the same request_id.",
        effect=_unclaimed(is_named=is_named),
        details=[_soon()],
    )


def unclaimed(error: GatewayError, *, is_named: bool) -> GatewayError:
    """Returns an error as it is told for a write that does not hold its claim."""
    return error.with_effect(None) if is_named and error.effect is not None else error


def too_late(*, is_claimed: bool) -> GatewayError:
    """Returns the error for a write that was not sent in its caller's time.

    Args:
        is_claimed: Whether nobody else can have sent it: it holds its claim, or its id is not the caller's own.
    """
    return GatewayError(
        StatusCode.DEADLINE_EXCEEDED,
        ErrorReason.ERROR_REASON_DEADLINE_EXCEEDED,
        "The deadline passed before anything was sent. Repeat the call with the same request_id and more time.",
        effect=WriteEffect.NONE if is_claimed else None,
    )


def not_own(operation: Operation, found: AnyAllocation) -> GatewayError:
    """Returns the error for a shipment or consignment that is not the write's to allocate, with how it stands."""
    is_allocated = operation.allocations.is_allocated(found)
    return GatewayError(
        STATE.code,
        STATE.reason,
        "The shipment or consignment is allocated already, and not by this request." if is_allocated else STATE.message,
        effect=WriteEffect.NONE,
        allocation=found if is_allocated else None,
    )


def never_known(
    message: str, allocation: AnyAllocation | None = None, *, details: Sequence[Message] = ()
) -> GatewayError:
    """Returns the error for a write of which nobody will ever know what became of it: asking again is of no use."""
    return GatewayError(
        StatusCode.UNKNOWN,
        ErrorReason.ERROR_REASON_OUTCOME_UNKNOWN,
        message,
        effect=WriteEffect.UNKNOWN,
        allocation=allocation,
        details=details,
    )


def undecided(operation: Operation, found: AnyAllocation) -> GatewayError:
    """Returns the error for a write of which it can never be known whether what is there is its doing."""
    is_allocated = operation.allocations.is_allocated(found)
    if not is_allocated:
        message = (
            "The shipment or consignment was cancelled, and it cannot be known whether this request was carried out "
            "before that."
        )
    elif operation.action.allocates:
        message = (
            "The shipment or consignment is allocated, but it cannot be known whether by this request or by another "
            "at about the same time. The details show the allocation."
        )
    else:
        message = (
            "The shipment or consignment has been allocated since, and it cannot be known whether this request was "
            "carried out before that. The details show the allocation."
        )
    return never_known(message, found if is_allocated else None)


def undecided_in_part(detail: Message) -> GatewayError:
    """Returns the error for a bulk call of which it can never be known whether some parts are its doing.

    Args:
        detail: What is known of each reference.
    """
    message = "It cannot be known of some shipments whether this request has allocated them. The details show which."
    return never_known(message, details=[detail])


def none_own(detail: Message) -> GatewayError:
    """Returns the error for a bulk call of which every part was allocated by somebody else.

    Args:
        detail: What is known of each reference.
    """
    return GatewayError(
        STATE.code,
        STATE.reason,
        "All of the shipments are allocated already, and none of them by this request.",
        effect=WriteEffect.NONE,
        details=[detail],
    )


def in_doubt(cause: GatewayError, detail: Message | None = None) -> GatewayError:
    """Returns the error for a write of which it is not known yet whether it was carried out.

    Args:
        cause: With what the doubt began.
        detail: What is known of the references of a bulk call.
    """
    is_doubt = cause.code is StatusCode.UNKNOWN
    return cause.retold(
        StatusCode.UNKNOWN,
        ErrorReason.ERROR_REASON_OUTCOME_UNKNOWN,
        f"{cause.message} Repeat the call with the same request_id to learn what became of it."
        if is_doubt
        else f"It is not known yet whether this was carried out: {cause.message} Repeat the call with the same "
        "request_id to learn what became of it.",
        effect=WriteEffect.UNKNOWN,
        cause=None if is_doubt else cause.reason,
        details=[_soon()] if detail is None else [_soon(), detail],
    )


def _unclaimed(*, is_named: bool) -> WriteEffect | None:
    return None if is_named else WriteEffect.NONE


def _soon() -> Any:
    return errors.retry_after(failures.DEFAULT_RETRY_SECONDS)

"""The errors with which calls that last end before they are done, whatever becomes of single items."""

from __future__ import annotations

from typing import Final

from allocation.v1.error_reason_pb2 import ErrorReason
from grpc import StatusCode

from allocation_gateway import errors
from allocation_gateway.errors import GatewayError
from allocation_gateway.rpc.streams import outcomes

# How to go on, for the caller of a job and for one that watches.
JOB: Final = "Begin the job again with the same job_id."
WATCH: Final = "Watch again."
_RETRY_SECONDS: Final = 1.0


def too_late(again: str) -> GatewayError:
    """Returns the error for a call whose caller's time is up.

    Args:
        again: How to go on.
    """
    return GatewayError(
        StatusCode.DEADLINE_EXCEEDED,
        ErrorReason.ERROR_REASON_DEADLINE_EXCEEDED,
        f"The deadline passed before all was done. {again}",
    )


def stopping(again: str) -> GatewayError:
    """Returns the error for a call that ends since the gateway does."""
    return _another(f"The gateway is shutting down. {again}")


def aged(again: str) -> GatewayError:
    """Returns the error for a call that ends since its connection has come of age."""
    return _another(f"The connection has reached its maximum age, and is being closed. {again}")


def _another(message: str) -> GatewayError:
    return GatewayError(
        StatusCode.UNAVAILABLE,
        ErrorReason.ERROR_REASON_GATEWAY_STOPPING,
        message,
        details=[errors.retry_after(_RETRY_SECONDS)],
    )


def given_up(cause: GatewayError) -> GatewayError:
    """Returns the error for a job for which nothing could be sent for too long."""
    is_unknown = cause.code is StatusCode.UNKNOWN
    return cause.retold(
        StatusCode.UNAVAILABLE if is_unknown else cause.code,
        ErrorReason.ERROR_REASON_UPSTREAM_UNAVAILABLE if is_unknown else cause.reason,
        f"Nothing could be sent for too long: {cause.message} {JOB}",
        details=[errors.retry_after(max(outcomes.retry_seconds(cause), _RETRY_SECONDS))],
    )

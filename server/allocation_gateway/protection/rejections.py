"""How callers are told that a policy does not let a request pass."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from allocation.v1.error_reason_pb2 import ErrorReason
from grpc import StatusCode

from allocation_gateway import errors
from allocation_gateway.errors import GatewayError, WriteEffect
from allocation_gateway.protection.model import RequestKind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from allocation_gateway.protection.model import RejectedError

# Shorter waits would bring a client back before anything can have changed.
_LEAST_SECONDS: Final = 0.1
_ROWS: Final[Mapping[str, tuple[StatusCode, ErrorReason.ValueType, str]]] = {
    "breaker": (
        StatusCode.UNAVAILABLE,
        ErrorReason.ERROR_REASON_UPSTREAM_UNAVAILABLE,
        "Upstream has failed too often lately: the circuit breaker is open. Nothing was sent.",
    ),
    "queue": (
        StatusCode.RESOURCE_EXHAUSTED,
        ErrorReason.ERROR_REASON_GATEWAY_OVERLOADED,
        "The limit of concurrent requests to upstream is reached, and this one could not be sent in time.",
    ),
    "rate": (
        StatusCode.RESOURCE_EXHAUSTED,
        ErrorReason.ERROR_REASON_GATEWAY_OVERLOADED,
        "The rate limit of requests to upstream is reached, and this one could not be sent in time.",
    ),
    "throttle": (
        StatusCode.RESOURCE_EXHAUSTED,
        ErrorReason.ERROR_REASON_UPSTREAM_THROTTLED,
        "Upstream has asked for no further request for a while (Retry-After). Nothing was sent.",
    ),
}


def rejection(kind: RequestKind, refused: RejectedError) -> GatewayError:
    """Returns the error for a request that a policy has refused."""
    code, reason, message = _ROWS[refused.policy]
    return GatewayError(
        code,
        reason,
        message,
        effect=WriteEffect.NONE if kind is RequestKind.WRITE else None,
        details=[errors.retry_after(max(refused.seconds, _LEAST_SECONDS))],
    )

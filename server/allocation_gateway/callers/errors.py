"""The errors of calls that are refused because of who makes them."""

from __future__ import annotations

from typing import Final

from allocation.v1.error_reason_pb2 import ErrorReason
from grpc import StatusCode

from allocation_gateway import errors
from allocation_gateway.errors import GatewayError

UNAUTHENTICATED: Final = ErrorReason.ERROR_REASON_CALLER_UNAUTHENTICATED
NOT_ALLOWED: Final = ErrorReason.ERROR_REASON_CALLER_NOT_ALLOWED
OVER_SHARE: Final = ErrorReason.ERROR_REASON_CALLER_OVER_SHARE
# The reasons of all of them.
CALLER_REASONS: Final = frozenset({UNAUTHENTICATED, NOT_ALLOWED, OVER_SHARE})


class IdentityError(Exception):
    """Nobody valid makes the call. The text says why: it is for the log, and never for whoever calls."""


def unauthenticated() -> GatewayError:
    """Returns the error for a call without a valid identity, which is the same whatever is wrong."""
    return GatewayError(
        StatusCode.UNAUTHENTICATED, UNAUTHENTICATED, "The call has no valid token or client certificate."
    )


def not_allowed(missing: str) -> GatewayError:
    """Returns the error for a call that the policy does not allow.

    Args:
        missing: What the caller would need.
    """
    return GatewayError(
        StatusCode.PERMISSION_DENIED,
        NOT_ALLOWED,
        f"The policy of this gateway does not allow the caller {missing}.",
        # Without an effect: nothing was looked up that an earlier call with the same id may have done.
        metadata={"missing": missing},
    )


def over_share(what: str, seconds: float) -> GatewayError:
    """Returns the error for a call beyond its caller's share.

    Args:
        what: Which limit it is.
        seconds: After how many seconds another call may fit.
    """
    return GatewayError(
        StatusCode.RESOURCE_EXHAUSTED,
        OVER_SHARE,
        f"The caller has reached its share of {what}.",
        details=[errors.retry_after(seconds)],
    )

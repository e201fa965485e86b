"""How long a caller waits. A read that nobody waits for any more is cancelled; for a write see writes/."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

from allocation.v1.error_reason_pb2 import ErrorReason
from grpc import StatusCode

from allocation_gateway.errors import GatewayError
from allocation_gateway.tasks import TimeLimit

if TYPE_CHECKING:
    from collections.abc import Coroutine

T = TypeVar("T")

# Of a deadline so short that the margin would eat it up, a part is left to work with.
_LARGEST_MARGIN: Final = 0.25


def seconds_to_wait(remaining: float | None, default: float, margin: float) -> float:
    """Returns how long a caller can be kept waiting so that the answer still reaches it in time.

    Args:
        remaining: Seconds until the caller's deadline; None if it has set none.
        default: Seconds for a caller that has set none.
        margin: Seconds that the answer takes to arrive.
    """
    whole = default if remaining is None else max(remaining, 0.0)
    return whole - min(margin, whole * _LARGEST_MARGIN)


async def limited(work: Coroutine[None, None, T], deadline: float) -> T:
    """Waits for work that changes nothing; cancels it when the time is up.

    Args:
        work: What is waited for.
        deadline: Until when, by the event loop's clock.

    Raises:
        GatewayError: DEADLINE_EXCEEDED, the time is up. Or whatever the work raises.
    """
    try:
        with TimeLimit(deadline):
            return await work
    except TimeoutError:
        raise GatewayError(
            StatusCode.DEADLINE_EXCEEDED,
            ErrorReason.ERROR_REASON_DEADLINE_EXCEEDED,
            "Upstream did not answer before the deadline.",
        ) from None

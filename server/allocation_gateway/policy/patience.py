"""How long a caller waits, and what becomes of the work when it no longer does.

A read that nobody waits for is cancelled. A write that has not been sent is dropped. A write that may have reached
upstream is never cut: it goes on under upstream's own time-out, and a shutdown waits for it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, TypeVar

from allocation.v1.error_reason_pb2 import ErrorReason
from grpc import StatusCode

from allocation_gateway.errors import GatewayError
from allocation_gateway.upstream.failures import outcome_unknown

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from google.protobuf.message import Message

    from allocation_gateway.upstream.http import Attempt

# Of a deadline so short that the margin would eat it up, a part is left to work with.
_LARGEST_MARGIN: Final = 0.25

T = TypeVar("T")


def seconds_to_wait(remaining: float | None, default: float, margin: float) -> float:
    """Returns how long a caller can be kept waiting so that the answer still reaches it in time.

    Args:
        remaining: Seconds until the caller's deadline; None if it has set none.
        default: Seconds for a caller that has set none.
        margin: Seconds that the answer takes to arrive.
    """
    whole = default if remaining is None else max(remaining, 0.0)
    return whole - min(margin, whole * _LARGEST_MARGIN)


async def read(work: Coroutine[None, None, Message], seconds: float) -> Message:
    """Waits for work that changes nothing; cancels it when the time is up.

    Raises:
        GatewayError: DEADLINE_EXCEEDED, the time is up. Or whatever the work raises.
    """
    try:
        async with asyncio.timeout(seconds):
            return await work
    except TimeoutError:
        raise _too_late("Upstream did not answer before the deadline.", {}) from None


class Writes:
    """The writes under way, whether or not somebody waits for them."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Message]] = set()

    async def carry_out(
        self,
        work: Coroutine[None, None, Message],
        attempt: Attempt,
        seconds: float,
        on_detached: Callable[[asyncio.Task[Message]], None],
    ) -> Message:
        """Waits for a write. If nobody can wait any more, drops it if it was not sent, and else lets it go on alone.

        Args:
            work: The write.
            attempt: Knows whether it was sent, and keeps it from being sent.
            seconds: How long its caller can be kept waiting.
            on_detached: Is told of a write that goes on alone, before this returns.

        Raises:
            GatewayError: DEADLINE_EXCEEDED, the time is up and nothing was sent; UNKNOWN, the time is up and nobody
                knows what became of it. Or whatever the work raises.
        """
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        try:
            await asyncio.wait({task}, timeout=seconds)
        except asyncio.CancelledError:
            self._let_go(task, attempt, on_detached)
            raise
        if task.done():
            return task.result()
        if self._let_go(task, attempt, on_detached):
            raise outcome_unknown("Upstream had not answered by the deadline. The operation may still be carried out.")
        raise _too_late("The deadline passed before anything was sent.", {"effect": "none"})

    @staticmethod
    def _let_go(
        task: asyncio.Task[Message], attempt: Attempt, on_detached: Callable[[asyncio.Task[Message]], None]
    ) -> bool:
        """Drops a write that was not sent; returns whether it was."""
        if task.done():
            return attempt.sent
        if attempt.call_off():
            task.cancel()
            return False
        on_detached(task)
        return True

    def _done(self, task: asyncio.Task[Message]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # seen: whoever let go of the write has no use for it

    async def drain(self, seconds: float) -> int:
        """Waits for the writes under way, within a bound. Returns how many were given up."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)
        left = list(self._tasks)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        return len(left)


def _too_late(message: str, metadata: dict[str, str]) -> GatewayError:
    return GatewayError(
        StatusCode.DEADLINE_EXCEEDED, ErrorReason.ERROR_REASON_DEADLINE_EXCEEDED, message, metadata=metadata
    )

"""What is closed at the end of a `with`, and what becomes of calls whose client is closed."""

from __future__ import annotations

import asyncio
import sys
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Final, TypeVar

import grpc
from grpc import StatusCode

from allocation_gateway_client.failure import Failure

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable
    from types import TracebackType

    from typing_extensions import Self

T = TypeVar("T")

# How an attempt has ended that the end of its client has cut off. What was sent may have been done.
CUT_OFF: Final = Failure(StatusCode.CANCELLED, "The client was closed.")


class Closing(ABC):
    """A context manager that closes itself."""

    @abstractmethod
    def close(self) -> None:
        """Closes it."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def closed_client() -> RuntimeError:
    """Returns the error for a call of a client that is closed, unless it may have had an effect."""
    return RuntimeError("The client is closed")


def is_cut_off(failure: Failure) -> bool:
    """Returns whether an attempt may have ended so because its client was closed, if it was."""
    return failure.code is StatusCode.CANCELLED and not failure.is_of_gateway


class CutOffError(Exception):
    """The client that awaits was closed while it awaited something."""


class AsyncClosed:
    """Whether a client that awaits is closed, and what tells its calls.

    gRPC cancels whoever awaits a call of a channel that is closed, as if it were the task that was cancelled.

    Attributes:
        is_set: Whether it is.
    """

    def __init__(self) -> None:
        self.is_set = False
        self._pausing: set[asyncio.Future[None]] = set()

    def set(self) -> None:
        """Says that it is."""
        self.is_set = True
        for one in self._pausing:
            _wake(one)

    async def pause(self, seconds: float) -> bool:
        """Waits, and ends early if the client is closed meanwhile. Returns whether it is closed."""
        if not self.is_set:
            loop = asyncio.get_running_loop()
            over = loop.create_future()
            self._pausing.add(over)
            timer = loop.call_later(seconds, _wake, over)
            try:
                await over
            finally:
                timer.cancel()
                self._pausing.discard(over)
        return self.is_set

    async def awaited(self, call: Awaitable[T]) -> T:
        """Awaits something of gRPC's.

        Raises:
            CutOffError: The client was closed meanwhile.
        """
        before = _cancellations()
        try:
            return await call
        except asyncio.CancelledError:
            if not self.is_set or _cancellations() > before:
                raise
            raise CutOffError from None
        except grpc.aio.UsageError:
            # An interceptor had it wait until the channel was closed.
            if not self.is_set:
                raise
            raise CutOffError from None

    async def next(self, messages: AsyncIterator[T]) -> T | None:
        """Returns the next message of a stream; None if it has ended.

        Raises:
            CutOffError: The client was closed meanwhile.
        """
        try:
            return await self.awaited(anext(messages))
        except StopAsyncIteration:
            return None


def _wake(waiting: asyncio.Future[None]) -> None:
    if not waiting.done():
        waiting.set_result(None)


def _cancellations() -> int:
    """Returns how often somebody has cancelled the task that runs.

    Python 3.10 does not tell: there, a task that is cancelled in the very moment in which its client is closed learns
    only of the latter.
    """
    if sys.version_info < (3, 11):
        return 0
    task = asyncio.current_task()
    return 0 if task is None else task.cancelling()

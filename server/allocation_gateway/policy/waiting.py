"""Waiting for work that goes on, whoever stops waiting for it."""

from __future__ import annotations

import asyncio
import contextvars
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine

T = TypeVar("T")

# What only wakes somebody needs no copy of the context that it was asked for in.
_NO_CONTEXT: Final = contextvars.Context()


class SharedTask(Generic[T]):
    """A task that several wait for, each until a moment of their own. None of them ends it by going.

    It does what asyncio.wait() does for one task, at two thirds of the cost: one future and one timer for each that
    waits, and one callback for all of them.

    Attributes:
        task: The task. What it raises counts as seen, also if nobody waits any more.
    """

    __slots__ = ("_waiting", "task")

    def __init__(self, work: Coroutine[Any, Any, T]) -> None:
        self._waiting: list[asyncio.Future[None]] = []
        self.task = asyncio.get_running_loop().create_task(work)
        self.task.add_done_callback(self._ended, context=_NO_CONTEXT)

    async def wait(self, until: float) -> bool:
        """Waits until the task is done, or until a moment by the event loop's clock. Cancelled, it leaves the task be.

        Returns:
            Whether the task is done.
        """
        if not self.task.done():
            loop = asyncio.get_running_loop()
            waiting = loop.create_future()
            self._waiting.append(waiting)
            timer = loop.call_at(until, _wake, waiting, context=_NO_CONTEXT)
            try:
                await waiting
            finally:
                timer.cancel()
                if not self.task.done():
                    self._waiting.remove(waiting)
        return self.task.done()

    def _ended(self, task: asyncio.Task[T]) -> None:
        if not task.cancelled():
            task.exception()
        for waiting in self._waiting:
            _wake(waiting)


def _wake(waiting: asyncio.Future[None]) -> None:
    if not waiting.done():
        waiting.set_result(None)

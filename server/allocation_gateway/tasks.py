"""Waiting as every call does it: for work that outlives its callers, and for no longer than a time.

Both are what asyncio has, at two thirds of its cost or less: a timer and a future each, and none of them with a copy
of the context that it was asked for in.
"""

from __future__ import annotations

import asyncio
import contextvars
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Collection, Coroutine
    from types import TracebackType

T = TypeVar("T")

# Of what only wakes or cancels somebody.
_NO_CONTEXT: Final = contextvars.Context()


class SharedTask(Generic[T]):
    """A task that several wait for, as by asyncio.wait(), each until a moment of their own. None ends it by going.

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


class TimeLimit:
    """What asyncio.timeout_at() is, for a block that is entered once: it raises TimeoutError when the time is up.

    Whatever else has cancelled the task meanwhile comes before that.
    """

    __slots__ = ("_before", "_is_up", "_task", "_timer", "_until")

    def __init__(self, until: float) -> None:
        """Makes a limit.

        Args:
            until: The moment, by the event loop's clock.
        """
        self._until = until
        self._is_up = False

    def __enter__(self) -> None:
        loop = asyncio.get_running_loop()
        task: asyncio.Task[Any] | None = asyncio.current_task(loop)
        if task is None:
            raise RuntimeError("only what runs in a task can be limited")
        self._task = task
        self._before = task.cancelling()
        self._timer = loop.call_at(self._until, self._time_up, context=_NO_CONTEXT)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._timer.cancel()
        if self._is_up and self._task.uncancel() <= self._before and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def _time_up(self) -> None:
        self._is_up = True
        self._task.cancel()


async def end(tasks: Collection[asyncio.Task[Any]], *, again: float = 1.0) -> None:
    """Cancels tasks until they have ended.

    Once is not enough: before Python 3.13, a group of tasks of which one fails while it is cancelled tells of the
    failure alone, and whoever goes on after failures goes on.

    Args:
        tasks: The tasks.
        again: Seconds after which those that have not ended are cancelled anew.
    """
    every = left = {*tasks}
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=again)
    for task in every:
        if not task.cancelled():
            task.exception()

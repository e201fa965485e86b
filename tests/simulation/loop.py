"""The event loop of a simulated world: its clock jumps to the next timer when nobody has anything to do."""

from __future__ import annotations

import asyncio
import contextvars
from heapq import heappop
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Coroutine

# Where time begins, in seconds.
_START: Final = 1_000.0
# What tasks are a process's, so that they can all be ended with it; None outside of any process.
OWNER: Final[contextvars.ContextVar[list[asyncio.Task[Any]] | None]] = contextvars.ContextVar("owner", default=None)


class SimulatedLoop(asyncio.BaseEventLoop):
    """An event loop without sockets, threads and waiting.

    What is ready runs in the order in which it became so, and timers in that of their moments, as in any loop of
    asyncio's. It is a base event loop with another turn: nobody can be waited for but timers.

    Attributes:
        tasks: All tasks that were made.
    """

    _ready: Any
    _scheduled: list[Any]

    def __init__(self) -> None:
        super().__init__()
        self._now = _START
        self.tasks: list[asyncio.Task[Any]] = []
        self.set_task_factory(self._made)

    def time(self) -> float:
        """Returns the time."""
        return self._now

    def _made(self, _: asyncio.AbstractEventLoop, work: Any, **more: Any) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = asyncio.Task(work, loop=self, **more)
        self.tasks.append(task)
        if (owned := OWNER.get()) is not None:
            owned.append(task)
        return task

    def _run_once(self) -> None:
        ready, scheduled = self._ready, self._scheduled
        while scheduled and scheduled[0]._cancelled:
            heappop(scheduled)._scheduled = False
        if not ready:
            if not scheduled:
                raise RuntimeError("everybody waits, and nothing can happen any more")
            self._now = max(self._now, scheduled[0]._when)
        while scheduled and scheduled[0]._when <= self._now:
            handle = heappop(scheduled)
            handle._scheduled = False
            ready.append(handle)
        for _ in range(len(ready)):
            handle = ready.popleft()
            if not handle._cancelled:
                handle._run()

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Leaves it where it is: it is passed over when its time comes."""

    def _process_events(self, event_list: object) -> None:
        """Does nothing: there are no sockets."""

    def _write_to_self(self) -> None:
        """Does nothing: there are no other threads."""


def simulated(work: Coroutine[Any, Any, None]) -> None:
    """Runs a world to its end. Whatever is left then is thrown away."""
    loop = SimulatedLoop()
    try:
        loop.run_until_complete(work)
    finally:
        left = [task for task in loop.tasks if not task.done()]
        for task in left:
            task.cancel()
        if left:
            loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        loop.close()

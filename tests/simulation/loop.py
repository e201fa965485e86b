"""The event loop of a simulated world: its clock jumps to the next timer when nobody has anything to do."""

from __future__ import annotations

import asyncio
import contextvars
from typing import TYPE_CHECKING, Any, Final

from support.virtual import VirtualLoop

if TYPE_CHECKING:
    from collections.abc import Coroutine


class SimulatedLoop(VirtualLoop):
    """A virtual loop that looks at no socket, since there is none."""

    def __init__(self) -> None:
        super().__init__()
        self.tasks: list[asyncio.Task[Any]] = []
        self.set_task_factory(self._made)
        selector: Any = self._selector  # type: ignore[attr-defined]

        def select(timeout: float | None) -> list[object]:
            if timeout is None:
                raise RuntimeError("everybody waits, and nothing can happen any more")
            if timeout > 0:
                self._now += timeout
            return []

        selector.select = select

    def _made(self, _: asyncio.AbstractEventLoop, work: Any, **more: Any) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = asyncio.Task(work, loop=self, **more)
        self.tasks.append(task)
        if (owned := OWNER.get()) is not None:
            owned.append(task)
        return task


# What tasks are a process's, so that they can all be ended with it; None outside of any process.
OWNER: Final[contextvars.ContextVar[list[asyncio.Task[Any]] | None]] = contextvars.ContextVar("owner", default=None)


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

"""The event loop of a simulated world: its clock jumps to the next timer when nobody has anything to do."""

from __future__ import annotations

import asyncio
import contextvars
from typing import TYPE_CHECKING, Any, Final

from support.virtual import VirtualLoop

if TYPE_CHECKING:
    from collections.abc import Coroutine

# What tasks are a process's, so that they can all be ended with it; None outside of any process.
OWNER: Final[contextvars.ContextVar[list[asyncio.Task[Any]] | None]] = contextvars.ContextVar("owner", default=None)


def simulated(work: Coroutine[Any, Any, None]) -> None:
    """Runs a world to its end. Whatever is left then is thrown away."""
    loop = VirtualLoop()
    loop.set_task_factory(_owned_task)
    try:
        loop.run_until_complete(work)
    finally:
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        loop.close()


def _owned_task(loop: asyncio.AbstractEventLoop, work: Any, **more: Any) -> asyncio.Task[Any]:
    task: asyncio.Task[Any] = asyncio.Task(work, loop=loop, **more)
    if (owned := OWNER.get()) is not None:
        owned.append(task)
    return task

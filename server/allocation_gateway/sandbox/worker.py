"""The background process of an API: it allocates what requests have only queued."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

J = TypeVar("J")

logger = logging.getLogger(__name__)


class Worker(Generic[J]):
    """Processes jobs in the order in which they came, each not before `delay` seconds after it was queued."""

    def __init__(self, name: str, delay: float) -> None:
        self._name = name
        self._delay = delay
        self._jobs: deque[tuple[float, J]] = deque()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def enqueue(self, job: J) -> None:
        """Take a job."""
        self._jobs.append((asyncio.get_running_loop().time() + self._delay, job))
        self._wake.set()

    def start(self, process: Callable[[J], None]) -> None:
        """Begin to process jobs."""
        self._task = asyncio.create_task(self._run(process), name=self._name)

    def clear(self) -> None:
        """Forget every job that has not begun."""
        self._jobs.clear()

    async def stop(self) -> None:
        """Stop at once; jobs that have not begun are lost with the world they belong to."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _run(self, process: Callable[[J], None]) -> None:
        while True:
            await self._next_due()
            # The queue may have been cleared during the wait.
            if self._jobs and self._jobs[0][0] <= asyncio.get_running_loop().time():
                self._do(process, self._jobs.popleft()[1])
                # Requests that wait for an answer go first.
                await asyncio.sleep(0)

    def _do(self, process: Callable[[J], None], job: J) -> None:
        """Process a job; a defect in one must not end the processing of all others."""
        try:
            process(job)
        except Exception:
            logger.exception("the sandbox failed on a queued job: %r", job)

    async def _next_due(self) -> None:
        while not self._jobs:
            self._wake.clear()
            await self._wake.wait()
        await asyncio.sleep(max(0.0, self._jobs[0][0] - asyncio.get_running_loop().time()))

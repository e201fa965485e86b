"""An event loop whose time passes only when there is nothing else to do, and then at once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine

T = TypeVar("T")


class VirtualLoop(asyncio.SelectorEventLoop):
    """Runs tasks and timers as any loop does. A wait that nothing can end is an error instead of a test that hangs."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 1_000.0
        selector: Any = self._selector  # type: ignore[attr-defined]
        look = selector.select

        def select(timeout: float | None) -> object:
            if timeout is None:
                raise RuntimeError("everybody waits, and nothing can happen any more")
            self._now += max(timeout, 0.0)
            return look(0)

        selector.select = select

    def time(self) -> float:
        """Returns the time."""
        return self._now

    def leap(self, seconds: float) -> None:
        """Has time pass at once, as if the process had been held up."""
        self._now += seconds


def run(work: Coroutine[Any, Any, T]) -> T:
    """Runs a coroutine in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(work)

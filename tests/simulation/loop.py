"""The event loop of a simulated world: its clock jumps to the next timer when nobody has anything to do."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections import deque
from contextvars import copy_context
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any, Final, TypeVarTuple, Unpack

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from allocation_gateway.upstream.http import HttpEngine

# Where time begins, in seconds.
_START: Final = 1_000.0
_Ts = TypeVarTuple("_Ts")
_log: Final = logging.getLogger("asyncio")


class Owner:
    """A process, as far as its tasks have to know it.

    Attributes:
        tasks: What it does: it all ends with the process.
        engine: Its way to upstream.
    """

    __slots__ = ("engine", "tasks")

    def __init__(self, engine: HttpEngine) -> None:
        self.tasks: list[asyncio.Task[Any]] = []
        self.engine = engine


# Whose tasks are made; None outside of any process.
OWNER: Final[contextvars.ContextVar[Owner | None]] = contextvars.ContextVar("owner", default=None)


class _Timer:
    """Something that is called later, unless it is cancelled."""

    __slots__ = ("arguments", "callback", "context", "is_cancelled", "moment")

    def __init__(
        self, moment: float, callback: Callable[..., object], arguments: Any, context: contextvars.Context
    ) -> None:
        self.moment = moment
        self.callback = callback
        self.arguments = arguments
        self.context = context
        self.is_cancelled = False

    def cancel(self) -> None:
        """Keeps it from being called. It stays where it is, and is passed over when its time comes."""
        self.is_cancelled = True

    def cancelled(self) -> bool:
        """Tells whether it was cancelled."""
        return self.is_cancelled

    def when(self) -> float:
        """Returns its moment, by the loop's clock."""
        return self.moment


class SimulatedLoop(asyncio.BaseEventLoop):
    """An event loop without sockets, threads and waiting.

    What is ready runs in the order in which it became so, and timers in that of their moments, as in any loop of
    asyncio's; of the same moment, those first that were set first. It has no more than what worlds need of a loop.
    """

    # A call of it costs nothing, and there is one for each future and task: nothing is looked at more closely.
    get_debug = bool

    _ready: Any

    def __init__(self) -> None:
        super().__init__()
        self._now = _START
        self._has_ended = False
        # What is called with which arguments in which context; or nothing, a timer that is due, and nothing.
        self._ready = deque[tuple[Any, Any, Any]]()
        self._timers: list[tuple[float, int, _Timer]] = []
        self._count = 0
        self._tasks: list[asyncio.Task[Any]] = []

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Runs a world to its end. Whatever is left then is thrown away."""
        asyncio._set_running_loop(self)
        try:
            self._run(self.create_task(work)).result()
        finally:
            left = [task for task in self._tasks if not task.done()]
            for task in left:
                task.cancel()
            if left:
                self._run(asyncio.gather(*left, return_exceptions=True))
            asyncio._set_running_loop(None)
            self.close()

    def _run(self, end: asyncio.Future[Any]) -> asyncio.Future[Any]:
        self._has_ended = False
        end.add_done_callback(self._end)
        ready, timers = self._ready, self._timers
        while not self._has_ended:
            if not ready:
                while timers and timers[0][2].is_cancelled:
                    heappop(timers)
                if not timers:
                    raise RuntimeError("everybody waits, and nothing can happen any more")
                # What was due before, the turn before would have had.
                self._now = timers[0][0]
            now = self._now
            while timers and timers[0][0] <= now:
                timer = heappop(timers)[2]
                if not timer.is_cancelled:
                    ready.append((None, timer, None))
            for _ in range(len(ready)):
                callback, arguments, context = ready.popleft()
                if callback is not None:
                    context.run(callback, *arguments)
                elif not arguments.is_cancelled:
                    # It was not cancelled by what was ready before it either.
                    arguments.context.run(arguments.callback, *arguments.arguments)
        return end

    def _end(self, _: asyncio.Future[Any]) -> None:
        self._has_ended = True

    # What asyncio asks of a loop.

    def time(self) -> float:
        """Returns the time."""
        return self._now

    def create_future(self) -> asyncio.Future[Any]:
        """Makes a future."""
        return asyncio.Future(loop=self)

    def create_task(
        self, coro: Any, *, name: Any = None, context: contextvars.Context | None = None
    ) -> asyncio.Task[Any]:
        """Makes a task, which is a process's if one makes it."""
        task: asyncio.Task[Any] = asyncio.Task(coro, loop=self, name=name, context=context)
        self._tasks.append(task)
        if (owner := OWNER.get()) is not None:
            owner.tasks.append(task)
        return task

    def call_soon(
        self, callback: Callable[[Unpack[_Ts]], object], *args: *_Ts, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        """Has something called in the next turn. Nobody cancels that."""
        self._ready.append((callback, args, copy_context() if context is None else context))
        return _NOBODYS

    def call_later(
        self,
        delay: float,
        callback: Callable[[Unpack[_Ts]], object],
        *args: *_Ts,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        """Has something called after some time."""
        return self.call_at(self._now + delay, callback, *args, context=context)

    def call_at(
        self,
        when: float,
        callback: Callable[[Unpack[_Ts]], object],
        *args: *_Ts,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        """Has something called at a moment."""
        timer: Any = _Timer(when, callback, args, copy_context() if context is None else context)
        self._count += 1
        heappush(self._timers, (when, self._count, timer))
        return timer  # type: ignore[no-any-return]

    def call_exception_handler(self, context: Any) -> None:
        """Tells of what nobody has asked for the outcome of."""
        _log.error("%s: %r", context.get("message"), context.get("exception"))


class _NobodysHandle(asyncio.Handle):
    """What is returned of something that nobody cancels."""

    def __init__(self) -> None:
        """Is no handle of anything."""

    def cancel(self) -> None:
        """Cannot be done.

        Raises:
            NotImplementedError: Always.
        """
        raise NotImplementedError


_NOBODYS: Final = _NobodysHandle()


def simulated(work: Coroutine[Any, Any, None]) -> None:
    """Runs a world to its end. Whatever is left then is thrown away."""
    SimulatedLoop().run(work)

"""What all writes of a process have in common: limits, counters, and work for the store that nobody waits for."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import structlog

from allocation_gateway.claims.model import StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from allocation_gateway.operations.model import Operation
    from allocation_gateway.telemetry.telemetry import Telemetry

# Pauses between attempts to record what could not be recorded at once, in seconds.
_RECORDING_PAUSES: Final = (0.1, 0.3, 1.0, 3.0, 10.0)
_log = structlog.get_logger()


class Afterwork:
    """What is still to be told to the store when the callers of a write have their answer."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def tell(self, step: Coroutine[Any, Any, Any]) -> None:
        """Carries out a step of the store that nobody waits for. If it fails, a lease runs out instead."""
        self._start(_tell(step))

    def record(self, step: Callable[[], Awaitable[None]], operation: Operation) -> None:
        """Goes on trying to record what is known of a write whose caller has its answer already."""
        self._start(_record(step, operation))

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        self._tasks.add(task := asyncio.create_task(work))
        task.add_done_callback(self._tasks.discard)

    async def end(self, seconds: float) -> None:
        """Waits for what is under way, within a bound, and gives up the rest."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def _tell(step: Coroutine[Any, Any, Any]) -> None:
    try:
        await step
    except StoreUnavailableError:
        _log.warning("claim_not_ended")


async def _record(step: Callable[[], Awaitable[None]], operation: Operation) -> None:
    for pause in _RECORDING_PAUSES:
        await asyncio.sleep(pause)
        try:
            await step()
        except StoreUnavailableError:
            continue
        return
    _log.error("write_not_recorded", rpc=operation.name)


@dataclass(slots=True)
class Environment:
    """What all writes of one process share.

    Attributes:
        lease: Seconds for which a claim is held at a time.
        lock_wait: Seconds for which a write waits for another one of the same shipment or consignment.
        telemetry: Where metrics go.
        process: A name of the process that no other one has. Tokens of claims begin with it.
        afterwork: What is still to be told to the store when callers have their answer.
        is_draining: Whether the process is about to end, so that nothing is sent again.
    """

    lease: float
    lock_wait: float
    telemetry: Telemetry
    process: str
    afterwork: Afterwork
    is_draining: bool = False
    _tokens: int = 0

    def token(self) -> str:
        """Returns a name for the holder of one claim. No other attempt to hold one has it."""
        self._tokens += 1
        return f"{self.process}-{self._tokens}"

    def count(self, event: str, operation: Operation) -> None:
        """Counts something that happened to a write on its way."""
        self.telemetry.write_event(event, operation.full_name)

"""What all writes of a process have in common: limits, counters, and work for the store that nobody waits for."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, TypeAlias

import structlog

from allocation_gateway import tasks
from allocation_gateway.claims.model import StoreUnavailableError
from allocation_gateway.claims.queued import StepQueue

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence

    from allocation_gateway.operations.model import Operation
    from allocation_gateway.telemetry.telemetry import Telemetry

    Step: TypeAlias = Callable[[], Awaitable[Any]]

# Pauses before each further attempt at a step that the store did not answer, in seconds.
_PAUSES: Final = (0.1, 0.3, 1.0, 3.0, 10.0)
# Steps that end a claim and are under way at once. Further ones are left to the lease, which ends what is held: while
# the store is away, each write that is refused has one, for a quarter of a minute.
_MOST_ENDING: Final = 1_000
_log = structlog.get_logger()


class Named(Protocol):
    """A claim, as log lines name the write that it is of.

    Attributes:
        request_id: The id of the request.
        operation: The full name of the rpc.
    """

    @property
    def request_id(self) -> str:
        """The id."""

    @property
    def operation(self) -> str:
        """The full name."""


class NamedWrite(NamedTuple):
    """A write of which it is not known whether there is a claim. See Named."""

    request_id: str
    operation: str


class BackgroundSteps:
    """Steps of the store that nobody waits for: what is left to do when the callers of a write have their answer."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        self._ending = 0

    def run(self, step: Step, of: Named) -> None:
        """Carries out a step of the store that ends a claim. If it cannot be, a lease runs out instead."""
        self._end_claim(step, (0.0, *_PAUSES), of)

    def retry(self, step: Step, of: Named) -> None:
        """Carries out a step, in the same way, that has just failed."""
        self._end_claim(step, _PAUSES, of)

    def _end_claim(self, step: Step, pauses: Sequence[float], of: Named) -> None:
        if self._ending < _MOST_ENDING:
            self._ending += 1
            self._start(self._ended(step, pauses, of))

    async def _ended(self, step: Step, pauses: Sequence[float], of: Named) -> None:
        try:
            if not await _repeated(step, pauses):
                _log.warning("claim_not_ended", **_fields(of))
        finally:
            self._ending -= 1

    def record(self, step: Step, of: Named) -> None:
        """Goes on trying to record what is known of a write whose caller has its answer already."""
        self._start(_recorded(step, of))

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        self._tasks.add(task := asyncio.create_task(work))
        task.add_done_callback(self._tasks.discard)

    async def end(self, seconds: float) -> None:
        """Waits for what is under way, within a bound, and gives up the rest."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)
        await tasks.end(self._tasks)


async def _recorded(step: Step, of: Named) -> None:
    if not await _repeated(step, _PAUSES):
        _log.error("write_not_recorded", **_fields(of))


def _fields(of: Named) -> Mapping[str, str]:
    """Returns what log lines say of a write."""
    return {"rpc": of.operation.rpartition("/")[2], "request_id": of.request_id}


async def _repeated(step: Step, pauses: Sequence[float]) -> bool:
    """Carries out a step of the store, after one pause after the other until it succeeds. Returns whether it has."""
    for pause in pauses:
        if pause:
            await asyncio.sleep(pause)
        try:
            await step()
        except StoreUnavailableError:
            continue
        return True
    return False


@dataclass(slots=True)
class Environment:
    """What all writes of one process share.

    Attributes:
        lease: Seconds for which a claim is held at a time.
        lock_wait: Seconds for which a write waits for another one of the same shipment or consignment.
        telemetry: Where metrics go.
        process: A name of the process that no other one has. Tokens of claims begin with it.
        background: Steps of the store that nobody waits for.
        is_draining: Whether the process is about to end, so that nothing is sent again.
        batched_steps: Where steps of the store wait that are for writes that are sent together.
    """

    lease: float
    lock_wait: float
    telemetry: Telemetry
    process: str
    background: BackgroundSteps
    is_draining: bool = False
    batched_steps: StepQueue = field(default_factory=StepQueue)
    _tokens: int = 0

    def token(self) -> str:
        """Returns a name for the holder of one claim. No other attempt to hold one has it."""
        self._tokens += 1
        return f"{self.process}-{self._tokens}"

    def count(self, event: str, operation: Operation) -> None:
        """Counts something that happened to a write on its way."""
        self.telemetry.metrics.write_event(event, operation.full_name)

"""The writes under way, whether or not somebody waits for them.

Calls with the same id share one. A write that was not sent is called off when nobody waits for it any more. One that
may have been sent goes on alone until it is known what became of it, or until it is for the next caller to find out.
"""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import structlog

from allocation_gateway.errors import GatewayError, status_names
from allocation_gateway.tasks import SharedTask
from allocation_gateway.writes.batch import may_be_anothers_fault
from allocation_gateway.writes.environment import BackgroundSteps, Environment
from allocation_gateway.writes.errors import reused
from allocation_gateway.writes.pace import Pace
from allocation_gateway.writes.phases import Phase
from allocation_gateway.writes.write import Write

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from typing import TypeAlias

    from allocation_gateway.account_api import AccountApi
    from allocation_gateway.claims.model import ClaimStore
    from allocation_gateway.settings import Settings
    from allocation_gateway.telemetry.observation import Observation
    from allocation_gateway.telemetry.telemetry import Telemetry
    from allocation_gateway.writes.request import WriteRequest, WriteResult

    # Whose claims they are, and the request id: the same id is another request in another account.
    _Key: TypeAlias = tuple[ClaimStore, str]

# A lease is renewed so many times before it runs out.
_RENEWALS: Final = 3
# Seconds for the steps of the store that are left when everything else has ended.
_FINAL_STEPS_SECONDS: Final = 1.0
_log = structlog.get_logger()


class _Running(SharedTask["WriteResult"]):
    """A write under way, and the task that it runs in."""

    __slots__ = ("_all", "_key", "fields", "is_detached", "write")

    def __init__(
        self,
        running: dict[_Key, _Running],
        key: _Key,
        write: Write,
        fields: Mapping[str, Any],
    ) -> None:
        super().__init__(write.run())
        self.write = write
        self.fields = fields
        self.is_detached = False
        self._all = running
        self._key = key
        running[key] = self

    def _ended(self, task: asyncio.Task[WriteResult]) -> None:
        del self._all[self._key]
        super()._ended(task)


class WriteCaller:
    """One caller of a write, who has no task that waits for it: whoever looks after several is told of each.

    Attributes:
        until: Until when it waits, by the event loop's clock. It is not told when that has come.
    """

    __slots__ = ("_let_go", "_observation", "_running", "until")

    def __init__(
        self, running: _Running, observation: Observation, until: float, let_go: Callable[[_Running, Observation], None]
    ) -> None:
        self._running = running
        self._observation = observation
        self._let_go = let_go
        self.until = until

    def on_end(self, tell: Callable[[object], None]) -> None:
        """Calls something when the write has ended, also if nobody waits for it any more."""
        self._running.task.add_done_callback(tell)

    def leave(self) -> None:
        """Waits no more. It has to be called once, whether or not the write has ended."""
        running = self._running
        running.write.callers.leave()
        if not running.task.done():
            self._let_go(running, self._observation)

    def outcome(self) -> WriteResult | GatewayError:
        """Returns what came of the write; if it has not ended, the error for a caller whose time is up."""
        task = self._running.task
        if not task.done() or task.cancelled():
            return self._running.write.deadline_error()
        error = task.exception()
        if error is None:
            return task.result()
        if isinstance(error, GatewayError):
            return error
        raise error


def _end_detached(observation: Observation, done: asyncio.Task[WriteResult]) -> None:
    """Ends what is observed of a write beyond the call that began it."""
    if done.cancelled():
        observation.end_detached("CANCELLED")
    elif (error := done.exception()) is None:
        observation.end_detached("OK")
    elif isinstance(error, GatewayError):
        observation.end_detached(*status_names(error))
    else:
        observation.end_detached("INTERNAL")


def write_key(api: AccountApi, request_id: str) -> _Key:
    """Returns what a write is known by while it is under way: its id, in the account and the API that it is of."""
    return api.store, request_id


class Coordinator:
    """All writes of one process: one task for each request id.

    Attributes:
        pace: By which those that are sent together are begun, and told what came of them.
    """

    def __init__(
        self, settings: Settings, telemetry: Telemetry, process: str = "", has_calls: Callable[[], bool] = bool
    ) -> None:
        """Starts without any.

        Args:
            settings: The configuration.
            telemetry: Where metrics go.
            process: A name of the process that no other one has; by default one is made.
            has_calls: See Pace.
        """
        self._environment = Environment(
            lease=settings.claim_lease,
            lock_wait=settings.lock_wait,
            telemetry=telemetry,
            process=process or uuid.uuid4().hex,
            background=BackgroundSteps(),
        )
        self.pace = Pace(has_calls)
        self._telemetry = telemetry
        self._running: dict[_Key, _Running] = {}
        self._keeper: asyncio.Task[None] | None = None

    async def carry_out(
        self,
        request: WriteRequest,
        api: AccountApi,
        observation: Observation,
        deadline: float,
        fields: Mapping[str, Any],
    ) -> WriteResult:
        """Carries out a write, or waits for the one with the same id that is under way.

        Args:
            request: What is asked for.
            api: Where it is sent.
            observation: The call, as telemetry sees it.
            deadline: Until when its caller waits, by the event loop's clock.
            fields: What log lines say of it.

        Raises:
            GatewayError: INVALID_ARGUMENT, the id names another request; DEADLINE_EXCEEDED, the time is up and nothing
                was sent; UNKNOWN, nobody knows yet what became of it. Or whatever else the write comes to.
        """
        running = self._under_way(request, api, observation, deadline, fields)
        write, task = running.write, running.task
        try:
            await running.wait(deadline)
        finally:
            write.callers.leave()
            if not task.done():
                self._let_go(running, observation)
        if task.done() and not task.cancelled():
            try:
                return task.result()
            except GatewayError as error:
                if request.batch is not None or not may_be_anothers_fault(error):
                    raise
            finally:
                # An error that it holds would hold on to it by this frame.
                del running, task
            # It had joined an item of a stream, and that was refused with others: one of them may be at fault. What has
            # just ended may not be out of the table yet.
            await asyncio.sleep(0)
            return await self.carry_out(request, api, observation, deadline, fields)
        raise write.deadline_error()

    def begin(
        self,
        request: WriteRequest,
        api: AccountApi,
        observation: Observation,
        deadline: float,
        fields: Mapping[str, Any],
    ) -> WriteCaller:
        """Begins a write, or joins the one with the same id that is under way, without waiting for it.

        It is for what is sent together. See carry_out() for its parameters.

        Raises:
            GatewayError: INVALID_ARGUMENT, the id names another request.
        """
        running = self._under_way(request, api, observation, deadline, fields)
        return WriteCaller(running, observation, deadline, self._let_go)

    def _under_way(
        self,
        request: WriteRequest,
        api: AccountApi,
        observation: Observation,
        deadline: float,
        fields: Mapping[str, Any],
    ) -> _Running:
        """Returns the write that a caller is to wait for, as one who does: the one with its id, or one that is begun.

        Raises:
            GatewayError: The id names another request.
        """
        key = write_key(api, request.message.request_id)
        running = self._running.get(key)
        if running is None:
            return self._start(key, Write(self._environment, api, request, observation, deadline), fields)
        if running.write.request.fingerprint != request.fingerprint:
            self._environment.count("reused", request.operation)
            raise reused()
        self._environment.count("joined", request.operation)
        observation.mark("joined")
        observation.joins(running.write.observation)
        running.write.callers.join(deadline)
        return running

    def _start(self, key: _Key, write: Write, fields: Mapping[str, Any]) -> _Running:
        protection = write.api.protection
        protection.retry_budget.deposit()
        protection.read_budget.deposit()
        running = _Running(self._running, key, write, fields)
        if self._keeper is None:
            self._keeper = asyncio.create_task(self._keep())
        return running

    def _let_go(self, running: _Running, observation: Observation) -> None:
        # As they are now: the call that began it may be this one, and adds how it ended for itself.
        running.fields = dict(running.fields)
        write = running.write
        if not write.callers.count and write.call_off():
            running.task.cancel()
            return
        if observation is write.observation:
            # What becomes of the write is told in its trace, whoever waits for it from now on.
            observation.detach()
            running.task.add_done_callback(partial(_end_detached, observation))
        if write.callers.count:
            return
        if running.is_detached:
            return
        running.is_detached = True
        method = write.request.operation.full_name
        self._telemetry.metrics.write_detached(method)
        _log.warning("write_detached", **running.fields)

        def log(done: asyncio.Task[WriteResult]) -> None:
            if done.cancelled():
                _log.warning("detached_write_given_up", **running.fields)
            elif (error := done.exception()) is None:
                _log.info("detached_write_done", **running.fields)
            else:
                reason = error.reason_name if isinstance(error, GatewayError) else type(error).__name__
                _log.warning("detached_write_failed", **{**running.fields, "reason": reason})

        running.task.add_done_callback(log)

    async def _keep(self) -> None:
        """Renews the claims of the writes under way: of those that last longer than a part of a lease."""
        while self._running:
            before = [running.write for running in self._running.values()]
            await asyncio.sleep(self._environment.lease / _RENEWALS)
            still = {id(running.write) for running in self._running.values()}
            await asyncio.gather(*(write.renew() for write in before if id(write) in still))
        self._keeper = None

    def is_at_work_for(self, apis: Collection[AccountApi]) -> bool:
        """Returns whether a write of one of several APIs is under way, whether or not somebody waits for it."""
        return any(running.write.api in apis for running in self._running.values())

    def by_phase(self) -> dict[str, int]:
        """Returns how many writes are in each phase. Any thread may call it."""
        found = {phase.value: 0 for phase in Phase if phase is not Phase.ENDED}
        return found | Counter(running.write.phase.value for running in list(self._running.values()))

    def longest_doubt(self) -> float:
        """Returns for how many seconds the oldest of the writes in doubt has been. Any thread may call it."""
        writes = [running.write for running in list(self._running.values())]
        return max((write.seconds_in_doubt() for write in writes), default=0.0)

    # The end.

    async def drain(self, seconds: float) -> int:
        """Waits for the writes under way, within a bound. Returns how many were given up that may have been sent.

        One that is only being read, for nobody, is left at once to the next caller, wherever that is.
        """
        self._environment.is_draining = True
        for running in self._running.values():
            if not running.write.callers.count and running.write.phase is Phase.IN_DOUBT:
                running.task.cancel()
        tasks = [running.task for running in self._running.values()]
        if tasks:
            await asyncio.wait(tasks, timeout=seconds)
        left = [task for task in tasks if not task.done()]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        if self._keeper is not None:
            self._keeper.cancel()
        await self._environment.background.end(_FINAL_STEPS_SECONDS)
        return len(left)

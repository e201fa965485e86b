"""Worlds whose writes are items of streams: sent together, each under a claim of its own, and put together anew.

They are the same worlds in all else. A bulk request has one trace and names several items; what is seen of it is taken
apart in the end, so that the checker's rules are for each item as for any other write.
"""

from __future__ import annotations

import asyncio
import uuid
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import msgspec
from allocation_gateway.errors import GatewayError
from allocation_gateway.operations.table import routes
from allocation_gateway.writes.batch import Batch
from allocation_gateway.writes.fingerprint import fingerprint
from allocation_gateway.writes.request import WriteRequest
from chaos.check import conclusive
from chaos.history import OUTSIDE, Call, Operation
from chaos.plan import Step
from chaos.requests import asking, outcomes
from google.rpc import error_details_pb2

from simulation.dice import spread
from simulation.loop import OWNER
from simulation.process import ROWS, DiedError, Process, settings
from simulation.upstream import TRACE, known_as
from simulation.world import PROCESSES, World, spelled

if TYPE_CHECKING:
    import random
    from collections.abc import Mapping, Sequence

    from allocation_gateway.operations.model import Route
    from chaos import plan
    from chaos.history import Effect, Request
    from chaos.requests import Asking
    from google.protobuf.message import Message

_SIZES: Final = (2, 7)
_MOST_CALLS: Final = 10
# How many bulk calls lose their caller, and after how many seconds: not while the store is asked for the claims, since
# the next call is told *unknown* then as long as it cannot find out whether it took them.
_BROKEN_OFF: Final = 0.3
_PATIENCE: Final = (0.3, 60.0)
_ITEM_SECONDS: Final = (20.0, 120.0)
# Of the shipments, so many are wanted by another job too, or touched by somebody outside the gateway.
_CONTESTED: Final = 0.1
_OUTSIDE: Final = 0.1
_RETRY: Final = error_details_pb2.RetryInfo


@cache
def _routes(more: tuple[tuple[str, str], ...]) -> Mapping[str, Route]:
    return routes(settings(more))


class BatchProcess(Process):
    """A gateway that is asked for the items of a stream, too."""

    def batch(self, message: Message, deadline: float) -> Batch:
        """Begins a bulk call of items like this one."""
        row = ROWS[type(message)]
        route = _routes(self._more)[row.full_name]
        return Batch(
            self._accounts[row.api], row, route, self._observation, deadline - self._margin, self._coordinator.pace
        )

    async def item(self, message: Message, deadline: float, trace: str, batch: Batch) -> Message:
        """Carries out one item of a bulk call.

        Raises:
            GatewayError: It failed.
            DiedError: The process ended meanwhile.
        """
        row = ROWS[type(message)]
        copy = type(message)()
        copy.CopyFrom(message)
        route, made = _routes(self._more)[row.full_name], fingerprint(row.full_name, message)
        request = WriteRequest(row, route, copy, True, made, None, batch=batch)
        owner, traced = OWNER.set(self._owner), TRACE.set(trace)
        try:
            account, until = self._accounts[row.api], deadline - self._margin
            result = await self._coordinator.carry_out(request, account, self._observation, until, {})
        except (asyncio.CancelledError, GatewayError):
            if self.power.is_on:
                raise
            raise DiedError from None
        finally:
            OWNER.reset(owner)
            TRACE.reset(traced)
        if not self.power.is_on:
            raise DiedError
        return result.response


class BatchWorld(World):
    """One world of items: each session is a job."""

    _processes: list[Process]

    def _start(self, number: int) -> Process:
        self._numbers += 1
        return BatchProcess(
            f"p{number}.{self._numbers}", number, self._surroundings, self._dice.of(-100 - self._numbers)
        )

    async def _live(self) -> None:
        # By the id of any item of a job: the ids of all of them by reference.
        self._jobs: dict[str, dict[str, str]] = {}
        await super()._live()
        history = self.history
        history.requests[:] = [part for one in history.requests for part in self._parts(one)]
        history.effects[:] = [self._attributed(one) for one in history.effects]

    def _parts(self, request: Request) -> list[Request]:
        return [
            msgspec.structs.replace(request, trace=self._jobs[request.trace][name], references=(name,))
            for name in request.references
        ]

    def _attributed(self, effect: Effect) -> Effect:
        if effect.trace.startswith(OUTSIDE):
            return effect
        return msgspec.structs.replace(effect, trace=self._jobs[effect.trace][effect.reference])

    async def _session(self, number: int, dice: random.Random) -> None:
        api: plan.Api = "ship" if dice.random() < 0.6 else "consignments"
        references = []
        await asyncio.sleep(dice.uniform(0.0, 30.0))
        for index in range(dice.randint(*_SIZES)):
            references.append(f"sp_{number * 8 + index:032d}" if api == "ship" else f"EC-000-{number:03d}-{index:03d}")
            self._model.add(references[-1], dice, self._mask.faults, self._rate)
        touched = [one for one in references if dice.random() < _OUTSIDE]
        rivals = [one for one in references if dice.random() < _CONTESTED]
        await asyncio.gather(
            self._job(api, references, dice),
            *([self._job(api, rivals, dice, spread(dice, 0.001, 60.0))] if rivals else []),
            *(self._outside(one, one, dice.randint(1, 4), dice) for one in touched),
        )

    async def _job(self, api: plan.Api, references: Sequence[str], dice: random.Random, after: float = 0.0) -> None:
        pending = {}
        names: dict[str, str] = {}
        await asyncio.sleep(after)
        for reference in references:
            name = uuid.UUID(int=dice.getrandbits(128), version=4)
            step = Step(name, api, "bulk default", (reference,), "patient", spread(dice, *_ITEM_SECONDS))
            asked = asking(step, spelled(dice, step.references), "")
            pending[name.hex] = (step, asked)
            names[reference] = name.hex
            self._jobs[name.hex] = names
            self._steps.append((step, asked, dice))
            self.writes += 1
            self.history.operations.append(Operation(name.hex, asked.verb, asked.method, step.references, step.fate))
        for attempt in range(_MOST_CALLS):
            # Each time they are put together in another way.
            left = dice.sample(list(pending.values()), len(pending))
            cut = dice.randint(1, len(left))
            role = "retry" if attempt else "first"
            await asyncio.gather(*(self._bulk(some, role, dice) for some in (left[:cut], left[cut:]) if some))
            pending = {name: item for name, item in pending.items() if not conclusive(self._last[name])}
            if not pending:
                return
            await asyncio.sleep(spread(dice, 0.05, 60.0))

    async def _bulk(self, items: Sequence[tuple[Step, Asking]], role: str, dice: random.Random) -> None:
        """Asks for some items together, and writes down what became of each."""
        process = self._processes[dice.randrange(PROCESSES)]
        replica = self._processes.index(process)
        patience = spread(dice, *_PATIENCE) if dice.random() < _BROKEN_OFF else None
        assert isinstance(process, BatchProcess)
        deadline = self._clock() + min(step.timeout for step, _ in items)
        batch = process.batch(items[0][1].message, deadline)
        calls = [
            asyncio.create_task(self._item(process, replica, step, asked, role, deadline, batch))
            for step, asked in items
        ]
        await asyncio.sleep(0)
        batch.seal()
        try:
            await asyncio.wait(calls, timeout=patience)
        finally:
            for call in calls:
                call.cancel()
            await asyncio.gather(*calls, return_exceptions=True)

    async def _item(
        self,
        process: BatchProcess,
        replica: int,
        step: Step,
        asked: Asking,
        role: str,
        deadline: float,
        batch: Batch,
    ) -> None:
        self._numbers += 1
        started = self._clock()
        call = Call(
            number=self._numbers,
            id=step.id.hex,
            references=step.references,
            role=role,
            replica=replica,
            started=started,
            ended=started,
            deadline=deadline,
            code="OK",
        )
        try:
            response: Any = await process.item(asked.message, deadline, call.id, batch)
            call.digest = response.SerializeToString(deterministic=True).hex()
            call.outcomes = {known_as(name): outcome for name, outcome in outcomes(response).items()}
        except GatewayError as error:
            call.code, call.reason = error.code.name, error.reason_name
            call.effect = error.info.get("effect", "")
            call.retry_after = next(
                (one.retry_delay.ToNanoseconds() / 1e9 for one in error.details if isinstance(one, _RETRY)), None
            )
        except DiedError:
            call.code = "UNAVAILABLE"
        except asyncio.CancelledError:
            call.code = "CANCELLED"
        call.ended = self._clock()
        self.history.calls.append(call)
        self._last[call.id] = call

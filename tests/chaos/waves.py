"""The callers of streams: jobs that are broken off and begun again, at any gateway, until each item has its outcome.

Some callers lose patience and cancel; others are processes that are killed while they send and are told, and all that
the next one knows is what they had written down. Meanwhile other systems write to some of the items.

A stream has one trace, and its bulk calls name many items. What the wire and the journal have seen of a job is taken
apart, so that each item is one operation of the history, with its own request id: the checker's rules are for it as for
any other write.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import grpc.aio
import msgspec
from allocation.v1 import consignment_allocation_service_pb2 as consignments
from allocation.v1 import job_pb2
from allocation.v1 import shipment_allocation_service_pb2 as ship
from allocation_gateway.sandbox.consignments.seed import numbered as consignment
from chaos import outside
from chaos.clients import OPTIONS
from chaos.history import CALLER_KILLED, STREAM, TOLD_AGAIN, UNTOLD, Call, Incident, Operation
from chaos.plan import shipment, spread
from chaos.stream_call import Sent, StreamCall, Told, Word, converse, converse_in_a_process, request_of
from google.protobuf.duration_pb2 import Duration

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from chaos.history import Effect, History, Request, Verb
    from chaos.plan import Api, Deed, Plan
    from chaos.processes import Witness
    from chaos.stream_call import Event

JOBS: Final = 4
# Of so many items nobody knows the shipment: they have to be told from the others of their bulk call.
_STRANGERS: Final = 0.08
_STRANGER: Final = 9_000_000
# Items of one message.
_CHUNK: Final = 20
# How many calls lose their caller, and after how many seconds; of so many of those it is a process that is killed.
_BROKEN_OFF: Final = 0.5
_PATIENCE: Final = (0.1, 6.0)
_KILLED: Final = 0.4
_MOST_CALLS: Final = 60
_PAUSE: Final = (0.05, 1.0)
# Seconds for which an item is worked on: longer than any fault lasts.
_ITEM_SECONDS: Final = 60
# Of what was told, so much is asked for again when it is begun again.
_ASKED_AGAIN: Final = 0.3
# What other systems do to an item, one after the other, each after some seconds; a de-allocation is tried until there
# is something to take away. What is taken away for good is never allocated, and who waits for it waits to the end.
_DEEDS: Final[Sequence[tuple[Deed, ...]]] = (
    ("allocate",),
    ("allocate", "deallocate"),
    ("deallocate", "allocate"),
    ("deallocate",),
    ("cancel",),
)
_FIRST_DEED: Final = (0.1, 12.0)
_NEXT_DEED: Final = (0.1, 5.0)
_MOST_TRIES: Final = 40
_BETWEEN_TRIES: Final = 0.25


class _Job:
    """One job, and what is known of its items.

    Attributes:
        taken_away: The items that another system has de-allocated, or cancelled, for good.
        callers: Who has called for it now.
    """

    def __init__(self, number: int, name: uuid.UUID, references: Sequence[str], strangers: frozenset[str]) -> None:
        self.number = number
        self.name = name
        self.is_ship = number % 2 == 0
        self.waits = number < JOBS // 2
        self.references = references
        self.strangers = strangers
        self.pending = dict.fromkeys(references)
        self.taken_away: set[str] = set()
        self.callers: list[_Caller] = []

    @property
    def api(self) -> Api:
        """The API of its items."""
        return "ship" if self.is_ship else "consignments"

    @property
    def trace(self) -> str:
        """The trace of its calls."""
        return self.name.hex

    def item(self, reference: str) -> str:
        """Returns the request id of an item: as it is documented, whatever the gateway makes of it."""
        return uuid.uuid5(self.name, reference).hex

    def is_last_word(self, word: Word) -> bool:
        """Tells whether an item is not asked for any more after an outcome."""
        never_known = word.kind == "unknown" and word.retry_after is None
        if word.kind in {"allocation", "refusal"} or never_known:
            return True
        return word.reference in self.taken_away or (word.kind == "queued" and not self.waits)

    @property
    def is_done(self) -> bool:
        """Whether nothing is left to be told but what was taken away for good: of that there is nothing to wait for."""
        return self.taken_away.issuperset(self.pending)

    def messages(self, references: Sequence[str], seconds: float) -> list[bytes]:
        """Returns the messages of a call, whose items are worked on for so many seconds."""
        made: Any = request_of(is_ship=self.is_ship)
        item, field = (
            (ship.ShipmentItem, "shipment_reference")
            if self.is_ship
            else (consignments.ConsignmentItem, "consignment_reference")
        )
        one: Any = item
        job = job_pb2.AllocationJob(
            job_id=str(self.name),
            wait_for=job_pb2.WAIT_FOR_ALLOCATED if self.waits else job_pb2.WAIT_FOR_QUEUED,
            item_deadline=Duration(nanos=int(seconds % 1 * 1e9), seconds=int(seconds)),
        )
        messages = [
            made(job=job),
            *(
                made(items=[one(**{field: name}) for name in references[start : start + _CHUNK]])
                for start in range(0, len(references), _CHUNK)
            ),
        ]
        return [message.SerializeToString() for message in messages]


class _Caller:
    """The caller of one call: what it has heard so far, and when it leaves.

    Attributes:
        begun: The items that were sent and are without a word, and when they were sent.
    """

    def __init__(
        self,
        job: _Job,
        role: str,
        replica: int,
        seconds: float,
        patience: float | None,
        write_down: Callable[[_Job, Call, Word], None],
    ) -> None:
        """Has heard nothing yet. See Waves._call for what it is given."""
        self.begun: dict[str, float] = {}
        self._job = job
        self._role = role
        self._replica = replica
        self._seconds = seconds
        self._patience = patience
        self._write_down = write_down
        # What an item is told that the call leaves without a word: as long as it goes on, there is nobody to hear one.
        self._left = Word("", "", "CANCELLED")
        self._limit = asyncio.timeout(None)

    @property
    def replica(self) -> int:
        """The gateway that it has called."""
        return self._replica

    async def stay(self, made: Coroutine[Any, Any, None]) -> bool:
        """Has the call made. Returns whether the caller has left it."""
        with suppress(TimeoutError):
            async with self._limit:
                await made
        return self._limit.expired()

    def _leave_in(self, seconds: float) -> None:
        if not self._limit.expired():
            self._limit.reschedule(asyncio.get_running_loop().time() + seconds)

    def look(self) -> None:
        """Leaves if there is nothing to wait for but what was taken away."""
        job = self._job
        waits_in_vain = job.waits and job.is_done and bool(job.pending or self.begun)
        if waits_in_vain and self._role != "settling" and self.begun.keys() <= job.taken_away:
            self._leave_in(0.0)

    def note(self, event: Event) -> None:
        """Takes what happens in the call."""
        match event:
            case Sent():
                self.begun.update(dict.fromkeys(event.references, event.time))
                if self._patience is not None:
                    self._leave_in(self._patience)
                    self._patience = None
            case Told():
                for word in event.words:
                    self._hear(word, event.time)
                self.look()
            case _:
                code = UNTOLD if event.code == "OK" else event.code
                self._left = Word("", "", code, event.reason, event.effect, event.retry_after)

    def end(self, now: float) -> None:
        """Says of the items without a word why they have none."""
        for reference in tuple(self.begun):
            self._hear(msgspec.structs.replace(self._left, reference=reference), now)

    def _hear(self, word: Word, now: float) -> None:
        reference, role = word.reference, self._role
        started = self.begun.pop(reference, None)
        if started is None:
            started, role = now, TOLD_AGAIN
        elif reference not in self._job.pending and role != "settling":
            role = "repeat"
        call = Call(
            number=0,
            id=self._job.item(reference),
            references=(reference,),
            role=role,
            replica=self._replica,
            started=started,
            ended=now,
            deadline=started + self._seconds,
            code=word.code,
            reason=word.reason,
            effect=word.effect,
            retry_after=word.retry_after,
            digest="done" if word.code == "OK" else "",
            reconciled=word.reconciled,
            outcomes={reference: "queued"} if word.kind == "queued" else {},
        )
        self._write_down(self._job, call, word)


class Waves:
    """The callers of all jobs of a phase, and the other systems."""

    def __init__(
        self, plan: Plan, history: History, addresses: Sequence[str], items: int, witness: Witness, others: float
    ) -> None:
        """Plans the jobs.

        Args:
            plan: The plan.
            history: Where everything is written down.
            addresses: Where the gateways listen.
            items: How many items all jobs have together.
            witness: Upstream.
            others: To how many of the items other systems write.
        """
        self._plan = plan
        self._history = history
        self._addresses = addresses
        self._witness = witness
        self._others = others
        self._channels = [grpc.aio.insecure_channel(address, options=OPTIONS) for address in addresses]
        self._numbers = 0
        self._jobs = [self._planned(number, items // JOBS) for number in range(JOBS)]

    @property
    def in_flight(self) -> list[int]:
        """The items that each gateway has in hand."""
        callers = [caller for job in self._jobs for caller in job.callers]
        return [
            sum(len(caller.begun) for caller in callers if caller.replica == replica)
            for replica in range(len(self._addresses))
        ]

    def _planned(self, number: int, items: int) -> _Job:
        dice = self._plan.generator("job", number)
        name = shipment if number % 2 == 0 else consignment
        first = 1 + (number // 2) * items
        numbers = [index + _STRANGER * (dice.random() < _STRANGERS) for index in range(first, first + items)]
        references = [name(index) for index in numbers]
        strangers = frozenset(name(index) for index in numbers if index >= _STRANGER)
        return _Job(number, uuid.UUID(int=dice.getrandbits(128), version=4), references, strangers)

    async def close(self) -> None:
        """Closes all connections."""
        await asyncio.gather(*(channel.close() for channel in self._channels))

    async def run(self) -> None:
        """Has all jobs done."""
        for job in self._jobs:
            verb: Verb = "allocate" if job.waits else "queue"
            for reference in job.references:
                self._history.add(Operation(job.item(reference), verb, STREAM, (reference,), "patient"))
        await asyncio.gather(*map(self._pursue, self._jobs), *map(self._meddle_with, self._jobs))

    async def _pursue(self, job: _Job) -> None:
        """Begins a job again and again, until each of its items has its outcome."""
        for number in range(_MOST_CALLS):
            dice = self._plan.generator("call", job.name, number)
            asked = [name for name in job.references if name in job.pending or dice.random() < _ASKED_AGAIN]
            # The first caller of each job is always killed.
            patience = spread(dice.random(), *_PATIENCE) if not number or dice.random() < _BROKEN_OFF else None
            is_killed = patience is not None and (not number or dice.random() < _KILLED)
            role, replica = ("retry" if number else "first"), dice.randrange(len(self._channels))
            await self._call(job, asked, replica, role, _ITEM_SECONDS, patience, is_killed=is_killed)
            if job.is_done:
                return
            await asyncio.sleep(spread(dice.random(), *_PAUSE))

    async def settle(self) -> None:
        """After all faults: asks for everything again. There is time for what may have to be waited for."""
        seconds = self._history.run.recovery
        await asyncio.gather(
            *(
                self._call(job, job.references, job.number % len(self._channels), "settling", seconds, None)
                for job in self._jobs
            )
        )

    # What other systems do.

    async def _meddle_with(self, job: _Job) -> None:
        """Has other systems write to some items of a job."""
        chosen = []
        for reference in job.references:
            dice = self._plan.generator("others", job.name, reference)
            if reference not in job.strangers and dice.random() < self._others:
                chosen.append(self._meddle(job, reference))
        await asyncio.gather(*chosen)

    async def _meddle(self, job: _Job, reference: str) -> None:
        dice = self._plan.generator("deeds", job.name, reference)
        pauses = _FIRST_DEED
        deeds = dice.choice(_DEEDS)
        for what in deeds:
            await asyncio.sleep(spread(dice.random(), *pauses))
            pauses = _NEXT_DEED
            is_carried_out = await self._write(job, what, reference)
        if is_carried_out and what != "allocate":
            job.taken_away.add(reference)
            for caller in job.callers:
                caller.look()

    async def _write(self, job: _Job, what: Deed, reference: str) -> bool:
        for _ in range(_MOST_TRIES if what == "deallocate" else 1):
            if await outside.write(self._witness.http, job.api, what, reference, job.item(reference)):
                return True
            await asyncio.sleep(_BETWEEN_TRIES)
        return False

    # What the callers of a job do.

    async def _call(
        self,
        job: _Job,
        asked: Sequence[str],
        replica: int,
        role: str,
        seconds: float,
        patience: float | None,
        *,
        is_killed: bool = False,
    ) -> None:
        """Makes one call, and writes down what it tells of each item.

        Args:
            job: The job.
            asked: The items that are asked for.
            replica: The gateway.
            role: See Call.
            seconds: For how long an item is worked on.
            patience: For how many seconds the caller stays after it has begun to send; None for as long as it takes.
            is_killed: Whether the caller is a process, which is killed then.
        """
        caller = _Caller(job, role, replica, seconds, patience, self._write_down)
        self._numbers += 1
        call = StreamCall(job.is_ship, f"00-{job.trace}-{self._numbers:016x}-00", job.messages(asked, seconds))
        if is_killed:
            made = converse_in_a_process(self._addresses[replica], call, caller.note)
        else:
            made = converse(self._channels[replica], call, caller.note)
        job.callers.append(caller)
        has_left = await caller.stay(made)
        job.callers.remove(caller)
        ended = time.time()
        if is_killed and has_left:
            self._history.add(Incident(CALLER_KILLED, ended, ended, touched=len(caller.begun)))
        caller.end(ended)

    def _write_down(self, job: _Job, call: Call, word: Word) -> None:
        """Writes down what an item was told, or that nobody was there to hear it."""
        self._numbers += 1
        call.number = self._numbers
        self._history.add(call)
        if job.is_last_word(word):
            job.pending.pop(word.reference, None)

    def take_apart(self) -> None:
        """Has the history say of each item what it says of jobs."""
        jobs = {job.trace: job for job in self._jobs}

        def requests(one: Request) -> list[Request]:
            job = jobs.get(one.trace)
            if job is None:
                return [one]
            return [msgspec.structs.replace(one, trace=job.item(name), references=(name,)) for name in one.references]

        def effect(one: Effect) -> Effect:
            job = jobs.get(one.trace)
            return one if job is None else msgspec.structs.replace(one, trace=job.item(one.reference))

        history = self._history
        history.requests[:] = [part for one in history.requests for part in requests(one)]
        history.effects[:] = [effect(one) for one in history.effects]

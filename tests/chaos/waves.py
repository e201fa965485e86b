"""The callers of streams: jobs that are broken off and begun again, at any gateway, until each item has its outcome.

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
from allocation.v1.consignment_allocation_service_pb2_grpc import ConsignmentAllocationServiceStub
from allocation.v1.shipment_allocation_service_pb2_grpc import ShipmentAllocationServiceStub
from allocation_gateway.sandbox.consignments.seed import numbered as consignment
from chaos.clients import OPTIONS
from chaos.history import Call, Operation
from chaos.plan import shipment, spread
from chaos.requests import failure, failure_in
from google.protobuf.duration_pb2 import Duration

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from chaos.history import Effect, History, Request
    from chaos.plan import Plan
    from chaos.requests import Failure

JOBS: Final = 4
_CODES: Final = {code.value[0]: code.name for code in grpc.StatusCode}
# Of so many items nobody knows the shipment: they have to be told from the others of their bulk call.
_STRANGERS: Final = 0.08
_STRANGER: Final = 9_000_000
# Items of one message, and seconds between two: so that there are many bulk calls, and something is always under way.
_CHUNK: Final = 20
_BETWEEN: Final = 0.1
# How many calls lose their caller, and after how many seconds.
_BROKEN_OFF: Final = 0.5
_PATIENCE: Final = (0.1, 6.0)
_MOST_CALLS: Final = 60
_PAUSE: Final = (0.05, 1.0)
# Seconds for which an item is worked on: longer than any fault lasts.
_ITEM_SECONDS: Final = 60
# Of what was told, so much is asked for again when it is begun again.
_ASKED_AGAIN: Final = 0.3


class _Job:
    """One job, and what is known of its items."""

    def __init__(self, number: int, name: uuid.UUID, references: Sequence[str]) -> None:
        self.number = number
        self.name = name
        self.is_ship = number % 2 == 0
        self.waits = number < JOBS // 2
        self.references = references
        self.pending = dict.fromkeys(references)

    @property
    def trace(self) -> str:
        """The trace of its calls."""
        return self.name.hex

    def item(self, reference: str) -> str:
        """Returns the request id of an item: as it is documented, whatever the gateway makes of it."""
        return uuid.uuid5(self.name, reference).hex

    @property
    def last_words(self) -> frozenset[str]:
        """The outcomes after which an item is not asked for any more."""
        return frozenset({"allocation", "refusal"} if self.waits else {"allocation", "refusal", "queued"})

    def reference(self, one: Any) -> str:
        """Returns the reference of an item, or of an outcome."""
        return str(one.shipment_reference if self.is_ship else one.consignment_reference)

    def messages(self, references: Sequence[str]) -> list[Any]:
        """Returns the messages of a call."""
        kind, item, field = (
            (ship.AllocateShipmentStreamRequest, ship.ShipmentItem, "shipment_reference")
            if self.is_ship
            else (consignments.AllocateConsignmentStreamRequest, consignments.ConsignmentItem, "consignment_reference")
        )
        made: Any = kind
        one: Any = item
        job = job_pb2.AllocationJob(
            job_id=str(self.name),
            wait_for=job_pb2.WAIT_FOR_ALLOCATED if self.waits else job_pb2.WAIT_FOR_QUEUED,
            item_deadline=Duration(seconds=_ITEM_SECONDS),
        )
        return [
            made(job=job),
            *(
                made(items=[one(**{field: name}) for name in references[start : start + _CHUNK]])
                for start in range(0, len(references), _CHUNK)
            ),
        ]


class Waves:
    """The callers of all jobs of a phase.

    Attributes:
        in_flight: The items that each gateway has in hand.
    """

    def __init__(self, plan: Plan, history: History, addresses: Sequence[str], items: int) -> None:
        """Plans the jobs.

        Args:
            plan: The plan.
            history: Where everything is written down.
            addresses: Where the gateways listen.
            items: How many items all jobs have together.
        """
        self._plan = plan
        self._history = history
        self._channels = [grpc.aio.insecure_channel(address, options=OPTIONS) for address in addresses]
        self._numbers = 0
        self._jobs = [self._planned(number, items // JOBS) for number in range(JOBS)]
        self.in_flight = [0 for _ in addresses]

    def _planned(self, number: int, items: int) -> _Job:
        dice = self._plan.generator("job", number)
        name = shipment if number % 2 == 0 else consignment
        first = 1 + (number // 2) * items
        references = [
            name(index + _STRANGER if dice.random() < _STRANGERS else index) for index in range(first, first + items)
        ]
        return _Job(number, uuid.UUID(int=dice.getrandbits(128), version=4), references)

    async def close(self) -> None:
        """Closes all connections."""
        await asyncio.gather(*(channel.close() for channel in self._channels))

    async def run(self) -> None:
        """Has all jobs done."""
        for job in self._jobs:
            verb, method = ("allocate" if job.waits else "queue"), "Stream"
            for reference in job.references:
                self._history.add(Operation(job.item(reference), verb, method, (reference,), "patient"))  # type: ignore[arg-type] # it is one of these
        await asyncio.gather(*map(self._pursue, self._jobs))

    async def _pursue(self, job: _Job) -> None:
        """Begins a job again and again, until each of its items has its outcome."""
        for number in range(_MOST_CALLS):
            dice = self._plan.generator("call", job.name, number)
            asked = [name for name in job.references if name in job.pending or dice.random() < _ASKED_AGAIN]
            patience = spread(dice.random(), *_PATIENCE) if dice.random() < _BROKEN_OFF else None
            await self._call(job, asked, dice.randrange(len(self._channels)), "retry" if number else "first", patience)
            if not job.pending:
                return
            await asyncio.sleep(spread(dice.random(), *_PAUSE))

    async def settle(self) -> None:
        """After all faults: asks for everything again."""
        for job in self._jobs:
            await self._call(job, job.references, job.number % len(self._channels), "settling", None)

    async def _call(self, job: _Job, asked: Sequence[str], replica: int, role: str, patience: float | None) -> None:
        """Makes one call, and writes down what it tells of each item."""
        begun: dict[str, float] = {}

        async def messages() -> AsyncIterator[Any]:
            for message in job.messages(asked):
                begun.update({job.reference(item): time.time() for item in message.items})
                self.in_flight[replica] += len(message.items)
                yield message
                await asyncio.sleep(_BETWEEN)

        def told(reference: str, code: str, said: Failure | None = None, *, reconciled: bool = False) -> None:
            self.in_flight[replica] -= 1
            is_new = reference in job.pending
            self._write_down(
                job, reference, begun.pop(reference), replica, role if is_new else "repeat", code, said, reconciled
            )

        stub: Any = ShipmentAllocationServiceStub if job.is_ship else ConsignmentAllocationServiceStub
        service = stub(self._channels[replica])
        method = service.AllocateShipmentStream if job.is_ship else service.AllocateConsignmentStream
        self._numbers += 1
        call = method(messages(), metadata=(("traceparent", f"00-{job.trace}-{self._numbers:016x}-00"),))
        broken: tuple[str, Failure | None] = ("CANCELLED", None)
        try:
            async with asyncio.timeout(patience):
                async for response in call:
                    for one in response.results.results:
                        reference, kind = job.reference(one), one.WhichOneof("outcome")
                        if kind in {"allocation", "queued"}:
                            told(reference, "OK", reconciled=kind == "allocation" and one.allocation.reconciled)
                        else:
                            status = getattr(one, kind)
                            told(reference, _CODES[status.code], failure_in(status))
                        if kind in job.last_words:
                            job.pending.pop(reference, None)
        except grpc.aio.AioRpcError as error:
            broken = error.code().name, failure(error)
        except TimeoutError:
            call.cancel()
        with suppress(grpc.aio.AioRpcError, asyncio.CancelledError):
            await call.code()
        for reference in tuple(begun):
            told(reference, *broken)

    def _write_down(
        self,
        job: _Job,
        reference: str,
        begun: float,
        replica: int,
        role: str,
        code: str,
        said: Failure | None,
        reconciled: bool,
    ) -> None:
        self._numbers += 1
        self._history.add(
            Call(
                number=self._numbers,
                id=job.item(reference),
                references=(reference,),
                role=role,
                replica=replica,
                started=begun,
                ended=time.time(),
                deadline=begun + _ITEM_SECONDS,
                code=code,
                reason=said.reason if said else "",
                effect=said.effect if said else "",
                retry_after=said.retry_after if said else None,
                digest="done" if code == "OK" else "",
                reconciled=reconciled,
            )
        )

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

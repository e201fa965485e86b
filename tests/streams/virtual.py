"""Jobs and watches in virtual time: the gateway's own parts, from a stream to the HTTP engine, before a model of Ship.

There are no sockets, threads or waits. What takes an hour takes a moment, and each thing has its second.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections import Counter
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from allocation.v1 import shipment_allocation_service_pb2 as pb
from allocation_gateway.account_api import AccountApi
from allocation_gateway.claims.memory import MemoryClaims
from allocation_gateway.operations.model import Api
from allocation_gateway.operations.streams import STREAMS, WATCHES
from allocation_gateway.operations.table import routes
from allocation_gateway.rpc.streams.audit import ItemAudit
from allocation_gateway.rpc.streams.job import Items, job_of
from allocation_gateway.rpc.streams.readings import Readings
from allocation_gateway.rpc.streams.run import AllocationRun
from allocation_gateway.rpc.streams.sending import Sending
from allocation_gateway.rpc.streams.teller import Teller
from allocation_gateway.rpc.streams.watch import WatchRun
from allocation_gateway.settings import PREFIX, load
from allocation_gateway.telemetry.telemetry import Telemetry
from allocation_gateway.upstream.client import Upstream
from allocation_gateway.upstream.http import Answer
from allocation_gateway.writes.coordinator import Coordinator
from allocation_gateway.writes.fingerprint import fingerprint
from allocation_gateway.writes.request import WriteRequest
from streams.waves import CHUNK, QUEUED, Wave, messages

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from allocation_gateway.upstream.http import Attempt

    Document = Mapping[str, Any] | Sequence[Mapping[str, Any]]
    # What upstream answers in place of what it would: the status and the document; None leaves it as it is.
    Refuse = Callable[[Mapping[str, Any]], tuple[int, Document] | None]

ROW: Final = STREAMS[0]
_GIVEN: Final = {"SHIP_API_KEY": "key", "SHIP_BASE_URL": "http://127.0.0.1:1/pro", "ALLOW_PLAINTEXT": "true"}
_BULK: Final = ROW.bulk[""]


def error(parent: str, **detail: str) -> dict[str, Any]:
    """Returns an error as Ship tells it."""
    return {"correlation_id": "c", "code": parent, "message": "m", "details": [detail] if detail else []}


@dataclass
class Shipment:
    """How one stands upstream.

    Attributes:
        state: In which state.
        bookings: How often it was allocated.
        ends_as: In which state it is when its turn in the queue has come.
    """

    state: str = "unallocated"
    bookings: int = 0
    ends_as: str = "allocated"


class Service(NamedTuple):
    """One bulk call that upstream has carried out.

    Attributes:
        begun: When that began.
        ended: When it ended.
        references: What it was for.
    """

    begun: float
    ended: float
    references: Sequence[str]


class Ship:
    """A model of the Ship API, as an HTTP engine.

    Attributes:
        shipments: The shipments; what is not there is made.
        missing: Those that are not there, when they are read.
        write_seconds: How long a bulk call takes; the like for a reading, and for the queue.
        is_shown_when_queued: Whether what is queued is `allocating` at once, or stands as before until its turn comes.
        answers_by_results: Whether a bulk call is answered by a list of results, as OpenAPI has it.
        refuse: Answers a bulk call in place of the model.
        writes: The bulk calls, each with its moment.
        reads: The readings, each with its moment.
        most_reads: How many readings were under way at once at most, of all and of one.
        places: How many bulk calls it carries out at once; others wait.
        services: What it has done in them.
    """

    def __init__(self) -> None:
        """Starts empty."""
        self.shipments: dict[str, Shipment] = {}
        self.missing: set[str] = set()
        self.write_seconds = 0.1
        self.read_seconds = 0.02
        self.queue_seconds = 0.5
        self.is_shown_when_queued = True
        self.answers_by_results = False
        self.refuse: Refuse = lambda _: None
        self.writes: list[tuple[float, list[str]]] = []
        self.reads: list[tuple[float, str]] = []
        self.most_reads = (0, 0)
        self.places = asyncio.Semaphore(1_000)
        self.services: list[Service] = []
        self._reading: Counter[str] = Counter()
        self._loop = asyncio.get_running_loop()

    def shipment(self, reference: str) -> Shipment:
        """Returns a shipment."""
        return self.shipments.setdefault(reference, Shipment())

    async def exchange(self, method: str, path: str, *, body: bytes | None, headers: Any, attempt: Attempt) -> Answer:
        """See HttpEngine."""
        del headers
        attempt.begin()
        document: Document
        if method == "PUT" and body is not None:
            status, document = await self._write(json.loads(body))
        else:
            status, document = await self._read(path.rpartition("/")[2])
        return Answer(status, {"content-type": "application/json"}, json.dumps(document).encode())

    async def _write(self, asked: Mapping[str, Any]) -> tuple[int, Document]:
        references = asked["shipments"]
        self.writes.append((self._loop.time(), references))
        refused = self.refuse(asked)
        async with self.places:
            begun = self._loop.time()
            await asyncio.sleep(self.write_seconds)
            self.services.append(Service(begun, self._loop.time(), references))
        if refused is not None:
            return refused
        for reference in references:
            shipment = self.shipment(reference)
            if self.is_shown_when_queued:
                shipment.state = "allocating"
            self._loop.call_later(self.queue_seconds, self._process, shipment)
        if self.answers_by_results:
            return 202, [{"shipment_reference": name, "state": self.shipment(name).state} for name in references]
        return 202, {"message": "m", "queued": references, "rejected": [], "_links": []}

    @staticmethod
    def _process(shipment: Shipment) -> None:
        shipment.state = shipment.ends_as
        shipment.bookings += shipment.ends_as == "allocated"

    async def _read(self, reference: str) -> tuple[int, Mapping[str, Any]]:
        self.reads.append((self._loop.time(), reference))
        self._reading[reference] += 1
        most, most_of_one = self.most_reads
        self.most_reads = (max(most, self._reading.total()), max(most_of_one, self._reading[reference]))
        await asyncio.sleep(self.read_seconds)
        self._reading[reference] -= 1
        if reference in self.missing:
            return 404, error("shipment_not_found")
        state = self.shipment(reference).state
        allocation = {"carrier": {"service_reference": "s"}} if state == "allocated" else None
        return 200, {"reference": reference, "state": state, "allocation": allocation}

    def use_headers(self, headers: Any) -> None:
        """See HttpEngine."""

    def connections(self) -> Mapping[str, int]:
        """See HttpEngine."""
        return {}

    async def close(self) -> None:
        """See HttpEngine."""


class Scene:
    """A gateway before the model, with one account.

    Attributes:
        ship: The model.
        api: The account's API.
        readings: Its readings.
        told: What the caller of the last job was told, each with its moment.
        count: Counts the outcomes of items.
    """

    def __init__(
        self, store: Any = None, window: int = 4_000, has_calls: Callable[[], bool] = bool, **more: str
    ) -> None:
        """Makes one, in the loop that runs.

        Args:
            store: Its claims; by default they are in memory.
            window: How many items may be in hand.
            has_calls: Tells whether there are other calls in hand.
            more: Settings.
        """
        self.ship = Ship()
        self.told: list[tuple[float, Any]] = []
        self.count: Callable[[str, str], None] = lambda *_: None
        self.clock = asyncio.get_running_loop().time
        self._settings = load({f"{PREFIX}{name}": value for name, value in {**_GIVEN, **more}.items()})
        self._window = window
        self._telemetry = Telemetry()
        upstream = Upstream(self._settings, Api.SHIP, self._settings.key("ship"), self.ship)
        store = store or MemoryClaims(size=100_000, retention=86_400.0, clock=self.clock)
        self.api = AccountApi(self._settings, upstream, store, None, self._telemetry, now=self.clock)
        self.readings = Readings(self.api, ROW.read, self._telemetry.background)
        self._writes = Coordinator(self._settings, self._telemetry, "process", has_calls)
        self._gateway: Any = SimpleNamespace(writes=self._writes)
        # Every group is known by its code.
        resolver = SimpleNamespace(lookup=lambda _, text, __: text)
        self._account: Any = SimpleNamespace(
            routes=routes(self._settings), disabled=frozenset(), groups=SimpleNamespace(resolver=resolver)
        )

    def run(self, wave: Wave, described: Any) -> AllocationRun:
        """Returns a call of a job, which is not begun.

        Args:
            wave: Is told what the caller is told.
            described: The job.
        """

        async def write(data: bytes) -> None:
            response = ROW.response.FromString(data)
            self.told.append((self.clock(), response))
            wave.take(response)

        job = job_of(described)
        sending = Sending(self._gateway, ROW, self._account, self.api, self._telemetry.background(), {}, allowed=None)
        return AllocationRun(
            ROW,
            job,
            Items(ROW, job, self._settings),
            sending,
            self.readings,
            Teller(ROW, write, self.clock, self.count),
            ItemAudit(None, {}),
            self._settings,
            lambda: self._window,
        )

    async def allocate(
        self, references: Sequence[str], job: str = "", wait_for: Any = QUEUED, chunk: int = CHUNK, **more: Any
    ) -> Wave:
        """Has a job done. See waves.messages.

        Raises:
            GatewayError: The call has failed.
        """
        wave = Wave()
        self.told.clear()
        first, *others = messages(references, job, wait_for, chunk, **more)

        async def requests() -> AsyncIterator[bytes]:
            for message in others:
                yield message.SerializeToString()

        await self.run(wave, first.job).run(first, requests())
        return wave

    def moments(self) -> dict[str, float]:
        """Returns when the caller of the last job was told of each item."""
        return {one.shipment_reference: moment for moment, response in self.told for one in response.results.results}

    async def allocate_one(self, reference: str, job: str, seconds: float = 30.0) -> Any:
        """Asks for one item of a job without a stream, by a bulk call with its id.

        Raises:
            GatewayError: The call has failed.
        """
        request_id = str(uuid.uuid5(uuid.UUID(job), reference))
        message = pb.AllocateShipmentsRequest(shipments=[reference], request_id=request_id)
        made = fingerprint(_BULK.full_name, message)
        request = WriteRequest(_BULK, self._account.routes[_BULK.full_name], message, True, made, None)
        result = await self._writes.carry_out(
            request, self.api, self._telemetry.background(), self.clock() + seconds, {}
        )
        return result.response

    async def watch(self, references: Sequence[str], told: list[tuple[float, Any]]) -> None:
        """Watches shipments until all are final.

        Args:
            references: The shipments.
            told: What is told, each with its moment.
        """
        row = WATCHES[0]

        async def write(data: bytes) -> None:
            told.append((self.clock(), row.response.FromString(data)))

        await WatchRun(row, references, self.readings, self._telemetry.background(), write).run()


async def until(condition: Callable[[], Any], seconds: float = 3_600.0, step: float = 0.01) -> None:
    """Waits, in virtual time, until something is so."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while not condition():
        assert loop.time() < end, "it has not come to that"
        await asyncio.sleep(step)

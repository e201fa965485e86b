"""Jobs and watches of the client that awaits: streams that are begun again by themselves when they are lost."""

from __future__ import annotations

import asyncio
import uuid
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

import grpc
from allocation.v1 import job_pb2

from allocation_gateway_client.base import Base, failed
from allocation_gateway_client.closing import CUT_OFF, AsyncClosed, CutOffError, closed_client
from allocation_gateway_client.connecting import headers
from allocation_gateway_client.outcomes import A, JobSummary, Outcome, Standing
from allocation_gateway_client.streams import (
    CONSIGNMENT_JOB,
    CONSIGNMENT_WATCH,
    ENDED_EARLY,
    ITEMS_OF_MESSAGE,
    SHIPMENT_JOB,
    SHIPMENT_WATCH,
    JobState,
    MessageRefusedError,
    WatchState,
    new_job,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
    from types import TracebackType
    from typing import TypeAlias

    from allocation.v1.consignment_allocation_service_pb2 import ConsignmentAllocation, ConsignmentItem
    from allocation.v1.core_pb2 import Allocation
    from allocation.v1.shipment_allocation_service_pb2 import ShipmentItem
    from google.protobuf.message import Message
    from typing_extensions import Self

    from allocation_gateway_client.errors import AllocationError
    from allocation_gateway_client.failure import Failure
    from allocation_gateway_client.policy import Attempts
    from allocation_gateway_client.streams import JobKind, WatchKind

    Open: TypeAlias = Callable[[Any, float], Any]

# Items that were taken from their caller and wait for a stream.
_MOST_WAITING: Final = 2 * ITEMS_OF_MESSAGE


T = TypeVar("T")


class AsyncTold(AsyncIterator[T], Generic[T]):
    """What a call that lasts tells, as it comes."""

    def __init__(self, told: AsyncGenerator[T, None]) -> None:
        self._told = told

    async def __anext__(self) -> T:
        return await anext(self._told)

    async def aclose(self) -> None:
        """Leaves the call."""
        await self._told.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()


class AsyncJob(AsyncTold[Outcome[A]]):
    """A job: an asynchronous iterator over what becomes of its items, in no order, each told once.

    It begins when the first outcome is asked for. Leave it early by `aclose`, or use it as a context manager: what was
    sent goes on at the gateway, and the job begun again with the same `job_id` is told of it. A task that is cancelled
    leaves it too.

    Iterating raises UnfinishedJob when the time is over before every item has its outcome; another AllocationError if
    the job could not begin; and whatever the iterable of the items raises, when those before have their outcome. If
    they do not get it, that is the cause of the UnfinishedJob.
    """

    def __init__(self, work: _Work[A], outcomes: AsyncGenerator[Outcome[A], None]) -> None:
        super().__init__(outcomes)
        self._work = work

    @property
    def job_id(self) -> str:
        """The id of the job: keep it to go on with the job later."""
        return self._work.state.job_id

    @property
    def summary(self) -> JobSummary:
        """How far the job has come, over all of its streams."""
        return self._work.state.summary


class AsyncWatch(AsyncTold[Standing[A]]):
    """A watch: an asynchronous iterator over how shipments or consignments stand, until all are final.

    All are told at first, and then each change. One that is not final may be told again after a stream was lost. Leave
    it early by `aclose`, or use it as a context manager. Iterating raises an AllocationError when it cannot go on: a
    TryAgain when the time is over, whose `request` names those that are not final.
    """


class _Work(Generic[A]):
    """The state of a job, between the task that has its items, those that send them and the one that takes outcomes."""

    def __init__(self, state: JobState[A], items: Iterable[Any] | AsyncIterable[Any]) -> None:
        self.state = state
        self._items = items
        self._waiting: deque[Any] = deque()
        self._changed = asyncio.Event()
        self._has_all = False
        self._stream: _Messages | None = None
        self._error: Exception | None = None
        self._puller: asyncio.Task[None] | None = None

    def begin(self) -> _Messages:
        """Begins a stream, and returns its messages."""
        if self._puller is None:
            self._puller = asyncio.create_task(self._pull(), name="allocation-job-items")
        self._stream = _Messages(self, self.state.begin())
        return self._stream

    def end(self) -> None:
        """Has the stream that was begun last send no more."""
        self._stream = None
        self._change()

    async def error(self, failure: Failure, *, is_in_doubt: bool) -> AllocationError:
        """Takes no more items, and returns the error for a job that is over, which names all that were taken."""
        await self.close()
        return self.state.error(failure, self._waiting, is_in_doubt=is_in_doubt)

    async def closed(self, failure: Failure, *, is_in_doubt: bool) -> Exception:
        """Does the same for a job whose client was closed."""
        await self.close()
        return self.state.closed(failure, self._waiting, is_in_doubt=is_in_doubt)

    @property
    def raised(self) -> Exception | None:
        """What the iterable of the items has raised."""
        return self._error

    async def close(self) -> None:
        """Takes no more items."""
        if self._puller is not None:
            self._puller.cancel()
            await asyncio.wait([self._puller])

    async def next(self, stream: _Messages) -> Message | None:
        """Returns the next message of a stream; None if there is none, or the stream is over."""
        while self._stream is stream and not self._waiting and not self._has_all:
            await self._changed.wait()
        if self._stream is not stream:
            return None
        if not self._waiting:
            self.state.is_all_sent = True
            return None
        items = [self._waiting.popleft() for _ in range(min(len(self._waiting), ITEMS_OF_MESSAGE))]
        self._change()
        return self.state.send(items)

    async def _pull(self) -> None:
        # A task of its own: streams come and go while an item is waited for.
        try:
            if isinstance(self._items, AsyncIterable):
                async for given in self._items:
                    await self._put(given)
            else:
                for given in self._items:
                    await self._put(given)
        except Exception as error:  # noqa: BLE001 # it is raised where the caller is
            self._error = error
        finally:
            self._has_all = True
            self._change()

    async def _put(self, given: Any) -> None:
        self._waiting.append(self.state.item(given))
        self._change()
        # Before another one is taken: what was taken has to be known if the job is over.
        while len(self._waiting) >= _MOST_WAITING:
            await self._changed.wait()

    def _change(self) -> None:
        """Wakes whoever waits for something to change."""
        self._changed.set()
        self._changed = asyncio.Event()


class _Messages:
    """The messages of one stream. It is no generator, for gRPC does not close those that it leaves."""

    def __init__(self, work: _Work[Any], first: list[Message]) -> None:
        self._work = work
        self._first = deque(first)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Message:
        message = self._first.popleft() if self._first else await self._work.next(self)
        if message is None:
            raise StopAsyncIteration
        return message


class AsyncStreams(Base):
    """The rpcs that last, as methods of the client that awaits."""

    _channel: grpc.aio.Channel
    _closed: AsyncClosed

    def allocate_shipment_stream(
        self,
        items: Iterable[str | ShipmentItem] | AsyncIterable[str | ShipmentItem],
        *,
        timeout: float,
        job_id: str = "",
        selector: job_pb2.AllocationSelector | None = None,
        wait_for: job_pb2.WaitFor.ValueType = job_pb2.WAIT_FOR_UNSPECIFIED,
        item_deadline: float | None = None,
        on_progress: Callable[[job_pb2.AllocationProgress], None] | None = None,
        on_lost: Callable[[AllocationError], None] | None = None,
        metadata: Mapping[str, str] | None = None,
        account: str | None = None,
    ) -> AsyncJob[Allocation]:
        """Allocates any number of shipments, and tells of each what became of it: a job, docs/waves.md.

        A stream that is lost is begun again under the same id, with the items that have no outcome. Nothing is kept of
        those that have theirs.

        Args:
            items: References, or items with a selector of their own. If they have to be waited for, an asynchronous
                iterable of them.
            timeout: The seconds that all of it may take.
            job_id: A UUID that names the job: that of an earlier one, to go on with it. Empty, one is made.
            selector: That of items without one of their own; None for the customer's default rules.
            wait_for: When an item has its outcome; by default when it is allocated.
            item_deadline: For how many seconds an item is worked on: 1 to 3,600, by default 300.
            on_progress: Is told how far a stream has come, at most once a second. Each stream counts anew.
            on_lost: Is told how a stream was lost that is about to be begun again.
            metadata: Sent besides that of the client.
            account: The account that it is for, instead of the client's.
        """
        job = new_job(job_id or str(uuid.uuid4()), selector, wait_for, item_deadline)
        return self._job(SHIPMENT_JOB, job, items, timeout, on_progress, on_lost, metadata, account)

    def allocate_consignment_stream(
        self,
        items: Iterable[str | ConsignmentItem] | AsyncIterable[str | ConsignmentItem],
        *,
        timeout: float,
        job_id: str = "",
        selector: job_pb2.AllocationSelector | None = None,
        wait_for: job_pb2.WaitFor.ValueType = job_pb2.WAIT_FOR_UNSPECIFIED,
        item_deadline: float | None = None,
        on_progress: Callable[[job_pb2.AllocationProgress], None] | None = None,
        on_lost: Callable[[AllocationError], None] | None = None,
        metadata: Mapping[str, str] | None = None,
        account: str | None = None,
    ) -> AsyncJob[ConsignmentAllocation]:
        """Allocates any number of consignments, as allocate_shipment_stream does shipments."""
        job = new_job(job_id or str(uuid.uuid4()), selector, wait_for, item_deadline)
        return self._job(CONSIGNMENT_JOB, job, items, timeout, on_progress, on_lost, metadata, account)

    def watch_shipment_allocations(
        self,
        shipment_references: Iterable[str],
        *,
        timeout: float,
        metadata: Mapping[str, str] | None = None,
        account: str | None = None,
    ) -> AsyncWatch[Allocation]:
        """Tells how up to 1,000 shipments stand: all of them at once, then each change, until all are final.

        A stream that is lost is begun again with those that are not final.

        Args:
            shipment_references: What is watched.
            timeout: The seconds that all of it may take.
            metadata: Sent besides that of the client.
            account: The account that it is for, instead of the client's.
        """
        return self._watch(SHIPMENT_WATCH, shipment_references, timeout, metadata, account)

    def watch_consignment_allocations(
        self,
        consignment_references: Iterable[str],
        *,
        timeout: float,
        metadata: Mapping[str, str] | None = None,
        account: str | None = None,
    ) -> AsyncWatch[ConsignmentAllocation]:
        """Tells how up to 1,000 consignments stand, as watch_shipment_allocations does of shipments."""
        return self._watch(CONSIGNMENT_WATCH, consignment_references, timeout, metadata, account)

    def _job(
        self,
        kind: JobKind,
        job: job_pb2.AllocationJob,
        items: Iterable[Any] | AsyncIterable[Any],
        timeout: float,
        on_progress: Callable[[job_pb2.AllocationProgress], None] | None,
        on_lost: Callable[[AllocationError], None] | None,
        metadata: Mapping[str, str] | None,
        account: str | None,
    ) -> AsyncJob[Any]:
        own = headers(metadata)
        chosen = self._account_of(own, account)
        method: Any = self._channel.stream_stream(kind.path, kind.request.SerializeToString, kind.response.FromString)
        work: _Work[Any] = _Work(JobState(kind, job, chosen), items)
        attempts = self._lasting(kind.request(job=job), timeout, chosen)

        def open_stream(messages: Any, seconds: float) -> Any:
            return method(messages, timeout=seconds, metadata=self._sent(own, chosen))

        return AsyncJob(work, _outcomes(work, open_stream, attempts, self._closed, on_progress, on_lost))

    def _watch(
        self,
        kind: WatchKind,
        references: Iterable[str],
        timeout: float,
        metadata: Mapping[str, str] | None,
        account: str | None,
    ) -> AsyncWatch[Any]:
        own = headers(metadata)
        chosen = self._account_of(own, account)
        method: Any = self._channel.unary_stream(kind.path, kind.request.SerializeToString, kind.response.FromString)
        state: WatchState[Any] = WatchState(kind, references, chosen)
        attempts = self._lasting(state.request(), timeout, chosen)

        def open_stream(request: Any, seconds: float) -> Any:
            return method(request, timeout=seconds, metadata=self._sent(own, chosen))

        return AsyncWatch(_standings(state, open_stream, attempts, self._closed))


async def _outcomes(
    work: _Work[A],
    open_stream: Open,
    attempts: Attempts,
    closed: AsyncClosed,
    on_progress: Callable[[job_pb2.AllocationProgress], None] | None,
    on_lost: Callable[[AllocationError], None] | None,
) -> AsyncGenerator[Outcome[A], None]:
    if closed.is_set:
        raise closed_client()
    state = work.state
    try:
        while True:
            failure: Failure = ENDED_EARLY
            cause: grpc.RpcError | None = None
            stream = open_stream(work.begin(), attempts.timeout())
            messages = aiter(stream)
            try:
                while (response := await closed.next(messages)) is not None:
                    if on_progress is not None and response.HasField("progress"):
                        on_progress(response.progress)
                    for outcome in state.take(response):
                        attempts.come_on()
                        yield outcome
            except grpc.RpcError as error:
                failure, cause = failed(error), error
            except CutOffError:
                failure = CUT_OFF
            except MessageRefusedError as refused:
                failure = refused.failure
            finally:
                stream.cancel()
                work.end()
            if state.is_done:
                attempts.succeed()
                if work.raised is not None:
                    raise work.raised
                return
            over = await _over(work, attempts, closed, failure, on_lost)
            if over is not None:
                raise over from (work.raised or cause)
    finally:
        await work.close()


async def _over(
    work: _Work[A],
    attempts: Attempts,
    closed: AsyncClosed,
    failure: Failure,
    on_lost: Callable[[AllocationError], None] | None,
) -> Exception | None:
    """Waits until the next stream may begin. Returns the error of the job if there can be none."""
    pause = attempts.pause_after(failure, was_let_in=work.state.was_let_in)
    if pause is None:
        return await work.error(failure, is_in_doubt=attempts.is_in_doubt)
    if on_lost is not None and not closed.is_set:
        on_lost(attempts.lost(failure))
    return await work.closed(failure, is_in_doubt=attempts.is_in_doubt) if await closed.pause(pause) else None


async def _standings(
    state: WatchState[A], open_stream: Open, attempts: Attempts, closed: AsyncClosed
) -> AsyncGenerator[Standing[A], None]:
    if closed.is_set:
        raise closed_client()
    while not state.is_done:
        failure: Failure = ENDED_EARLY
        cause: grpc.RpcError | None = None
        stream = open_stream(state.begin(), attempts.timeout())
        messages = aiter(stream)
        try:
            while (response := await closed.next(messages)) is not None:
                standings = state.take(response)
                if state.has_come_on:
                    attempts.come_on()
                for standing in standings:
                    yield standing
        except CutOffError:
            raise closed_client() from None
        except grpc.RpcError as error:
            failure, cause = failed(error), error
        finally:
            stream.cancel()
        if state.is_done:
            break
        pause = attempts.pause_after(failure, was_let_in=state.was_let_in)
        if pause is None:
            raise state.error(failure) from cause
        if await closed.pause(pause):
            raise closed_client() from cause
    attempts.succeed()

"""Jobs and watches of the client that blocks: streams that are begun again by themselves when they are lost."""

from __future__ import annotations

import threading
import uuid
from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

import grpc
from allocation.v1 import job_pb2

from allocation_gateway_client.base import Base, failed
from allocation_gateway_client.closing import CUT_OFF, Closing, closed_client, is_cut_off
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
    from collections.abc import Callable, Generator, Iterable, Mapping
    from typing import TypeAlias

    from allocation.v1.consignment_allocation_service_pb2 import ConsignmentAllocation, ConsignmentItem
    from allocation.v1.core_pb2 import Allocation
    from allocation.v1.shipment_allocation_service_pb2 import ShipmentItem
    from google.protobuf.message import Message

    from allocation_gateway_client.errors import AllocationError
    from allocation_gateway_client.failure import Failure
    from allocation_gateway_client.policy import Attempts
    from allocation_gateway_client.streams import JobKind, WatchKind

    Open: TypeAlias = Callable[[Any, float], Any]

# Items that were taken from their caller and wait for a stream.
_MOST_WAITING: Final = 2 * ITEMS_OF_MESSAGE
# Seconds for which a job that is over waits for the item that is being taken: a thread cannot be called off.
_LAST_ITEM: Final = 1.0


T = TypeVar("T")


class Told(Iterator[T], Closing, Generic[T]):
    """What a call that lasts tells, as it comes."""

    def __init__(self, told: Generator[T, None, None]) -> None:
        self._told = told

    def __next__(self) -> T:
        return next(self._told)

    def close(self) -> None:
        """Leaves the call."""
        self._told.close()


class Job(Told[Outcome[A]]):
    """A job: an iterator over what becomes of its items, in no order, each told once.

    It begins when the first outcome is asked for. Leave it early by `close`, or use it as a context manager: what was
    sent goes on at the gateway, and the job begun again with the same `job_id` is told of it.

    An iterable of items that waits for more of them has to end with the job: an item that it gives more than a second
    later is lost.

    Iterating raises UnfinishedJob when the time is over before every item has its outcome; another AllocationError if
    the job could not begin; and whatever the iterable of the items raises, when those before have their outcome. If
    they do not get it, that is the cause of the UnfinishedJob.
    """

    def __init__(self, work: _Work[A], outcomes: Generator[Outcome[A], None, None]) -> None:
        super().__init__(outcomes)
        self._work = work

    @property
    def job_id(self) -> str:
        """The id of the job: keep it to go on with the job later."""
        return self._work.job_id

    @property
    def summary(self) -> JobSummary:
        """How far the job has come, over all of its streams."""
        return self._work.summary()


class Watch(Told[Standing[A]]):
    """A watch: an iterator over how shipments or consignments stand, until all are final.

    All are told at first, and then each change. One that is not final may be told again after a stream was lost. Leave
    it early by `close`, or use it as a context manager. Iterating raises an AllocationError when it cannot go on: a
    TryAgain when the time is over, whose `request` names those that are not final.
    """


class _Work(Generic[A]):
    """The state of a job, between the thread with its items, those that send them and the one that takes outcomes."""

    def __init__(self, state: JobState[A], items: Iterable[Any]) -> None:
        self._state = state
        self._items = items
        self._changed = threading.Condition()
        self._waiting: deque[Any] = deque()
        self._has_all = False
        self._is_taking = False
        self._is_closed = False
        self._error: BaseException | None = None
        self._streams = 0
        self._puller = threading.Thread(target=self._pull, name="allocation-job-items", daemon=True)

    @property
    def job_id(self) -> str:
        return self._state.job_id

    def summary(self) -> JobSummary:
        with self._changed:
            return self._state.summary

    @property
    def is_done(self) -> bool:
        return self._state.is_done

    @property
    def was_let_in(self) -> bool:
        return self._state.was_let_in

    def begin(self) -> Iterator[Message]:
        """Begins a stream, and has the one before send no more. Returns its messages."""
        with self._changed:
            if self._puller.ident is None:
                self._puller.start()
            self._streams += 1
            self._changed.notify_all()
            return self._messages(self._streams, self._state.begin())

    def end(self) -> None:
        """Has the stream that was begun last send no more."""
        with self._changed:
            self._streams += 1
            self._changed.notify_all()

    def take(self, response: Message) -> list[Outcome[A]]:
        """Returns the outcomes that a message of the gateway's tells."""
        with self._changed:
            return self._state.take(response)

    def error(self, failure: Failure, *, is_in_doubt: bool) -> AllocationError:
        """Takes no more items, and returns the error for a job that is over, which names all that were taken."""
        with self._changed:
            self._stop()
            return self._state.error(failure, self._waiting, is_in_doubt=is_in_doubt)

    def closed(self, failure: Failure, *, is_in_doubt: bool) -> Exception:
        """Does the same for a job whose client was closed."""
        with self._changed:
            self._stop()
            return self._state.closed(failure, self._waiting, is_in_doubt=is_in_doubt)

    @property
    def raised(self) -> BaseException | None:
        """What the iterable of the items has raised."""
        return self._error

    def close(self) -> None:
        """Takes no more items."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def _stop(self) -> None:
        """Takes no more items, and waits for one that is being taken, to be able to name it."""
        self._is_closed = True
        self._changed.notify_all()
        self._changed.wait_for(lambda: not self._is_taking, _LAST_ITEM)

    def _pull(self) -> None:
        # In a thread of its own: streams come and go while an item is waited for.
        try:
            items = iter(self._items)
            while self._may_take():
                for given in items:
                    self._put(self._state.item(given))
                    break
                else:
                    return
        except BaseException as error:  # noqa: BLE001 # it is raised where the caller is
            self._error = error
        finally:
            with self._changed:
                self._has_all = True
                self._is_taking = False
                self._changed.notify_all()

    def _may_take(self) -> bool:
        """Waits until there is room for an item. Returns whether one may be taken: what was has to be known then."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_closed or len(self._waiting) < _MOST_WAITING)
            self._is_taking = not self._is_closed
            return self._is_taking

    def _put(self, item: Any) -> None:
        with self._changed:
            self._waiting.append(item)
            self._is_taking = False
            self._changed.notify_all()

    def _messages(self, stream: int, first: list[Message]) -> Iterator[Message]:
        yield from first
        while (message := self._next(stream)) is not None:
            yield message

    def _next(self, stream: int) -> Message | None:
        """Returns the next message of a stream; None if there is none, or the stream is over."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._has_all or self._streams != stream)
            if self._streams != stream:
                return None
            if not self._waiting:
                self._state.is_all_sent = True
                return None
            items = [self._waiting.popleft() for _ in range(min(len(self._waiting), ITEMS_OF_MESSAGE))]
            self._changed.notify_all()
            return self._state.send(items)


class Streams(Base):
    """The rpcs that last, as methods of the client that blocks."""

    _channel: grpc.Channel
    _closed: threading.Event

    def allocate_shipment_stream(
        self,
        items: Iterable[str | ShipmentItem],
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
    ) -> Job[Allocation]:
        """Allocates any number of shipments, and tells of each what became of it: a job, docs/waves.md.

        A stream that is lost is begun again under the same id, with the items that have no outcome. Nothing is kept of
        those that have theirs.

        Args:
            items: References, or items with a selector of their own. A thread takes them as they come.
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
        items: Iterable[str | ConsignmentItem],
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
    ) -> Job[ConsignmentAllocation]:
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
    ) -> Watch[Allocation]:
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
    ) -> Watch[ConsignmentAllocation]:
        """Tells how up to 1,000 consignments stand, as watch_shipment_allocations does of shipments."""
        return self._watch(CONSIGNMENT_WATCH, consignment_references, timeout, metadata, account)

    def _job(
        self,
        kind: JobKind,
        job: job_pb2.AllocationJob,
        items: Iterable[Any],
        timeout: float,
        on_progress: Callable[[job_pb2.AllocationProgress], None] | None,
        on_lost: Callable[[AllocationError], None] | None,
        metadata: Mapping[str, str] | None,
        account: str | None,
    ) -> Job[Any]:
        own = headers(metadata)
        chosen = self._account_of(own, account)
        method = self._channel.stream_stream(kind.path, kind.request.SerializeToString, kind.response.FromString)
        work: _Work[Any] = _Work(JobState(kind, job, chosen), items)
        attempts = self._lasting(kind.request(job=job), timeout, chosen)

        def open_stream(messages: Any, seconds: float) -> Any:
            return method(messages, timeout=seconds, metadata=self._sent(own, chosen))

        return Job(work, _outcomes(work, open_stream, attempts, self._closed, on_progress, on_lost))

    def _watch(
        self,
        kind: WatchKind,
        references: Iterable[str],
        timeout: float,
        metadata: Mapping[str, str] | None,
        account: str | None,
    ) -> Watch[Any]:
        own = headers(metadata)
        chosen = self._account_of(own, account)
        method = self._channel.unary_stream(kind.path, kind.request.SerializeToString, kind.response.FromString)
        state: WatchState[Any] = WatchState(kind, references, chosen)
        attempts = self._lasting(state.request(), timeout, chosen)

        def open_stream(request: Any, seconds: float) -> Any:
            return method(request, timeout=seconds, metadata=self._sent(own, chosen))

        return Watch(_standings(state, open_stream, attempts, self._closed))


def _outcomes(
    work: _Work[A],
    open_stream: Open,
    attempts: Attempts,
    closed: threading.Event,
    on_progress: Callable[[job_pb2.AllocationProgress], None] | None,
    on_lost: Callable[[AllocationError], None] | None,
) -> Generator[Outcome[A], None, None]:
    if closed.is_set():
        raise closed_client()
    try:
        while True:
            stream = _opened(open_stream, work.begin(), attempts, closed)
            failure: Failure = CUT_OFF if stream is None else ENDED_EARLY
            cause: grpc.RpcError | None = None
            try:
                for response in stream or ():
                    if on_progress is not None and response.HasField("progress"):
                        on_progress(response.progress)
                    for outcome in work.take(response):
                        attempts.come_on()
                        yield outcome
            except grpc.RpcError as error:
                failure, cause = failed(error), error
            except MessageRefusedError as refused:
                failure = refused.failure
            finally:
                _cancel(stream)
                work.end()
            if work.is_done:
                attempts.succeed()
                if work.raised is not None:
                    raise work.raised
                return
            over = _over(work, attempts, closed, failure, on_lost)
            if over is not None:
                raise over from (work.raised or cause)
    finally:
        work.close()


def _over(
    work: _Work[A],
    attempts: Attempts,
    closed: threading.Event,
    failure: Failure,
    on_lost: Callable[[AllocationError], None] | None,
) -> Exception | None:
    """Waits until the next stream may begin. Returns the error of the job if there can be none."""
    pause = attempts.pause_after(failure, was_let_in=work.was_let_in)
    if pause is None:
        return work.error(failure, is_in_doubt=attempts.is_in_doubt)
    if on_lost is not None and not closed.is_set():
        on_lost(attempts.lost(failure))
    return work.closed(failure, is_in_doubt=attempts.is_in_doubt) if closed.wait(pause) else None


def _standings(
    state: WatchState[A], open_stream: Open, attempts: Attempts, closed: threading.Event
) -> Generator[Standing[A], None, None]:
    while not state.is_done:
        stream = _opened(open_stream, state.begin(), attempts, closed)
        failure: Failure = CUT_OFF if stream is None else ENDED_EARLY
        cause: grpc.RpcError | None = None
        try:
            for response in stream or ():
                standings = state.take(response)
                if state.has_come_on:
                    attempts.come_on()
                yield from standings
        except grpc.RpcError as error:
            failure, cause = failed(error), error
        finally:
            _cancel(stream)
        if state.is_done:
            break
        pause = attempts.pause_after(failure, was_let_in=state.was_let_in)
        if closed.is_set() and is_cut_off(failure):
            raise closed_client() from cause
        if pause is None:
            raise state.error(failure) from cause
        if closed.wait(pause):
            raise closed_client() from cause
    attempts.succeed()


def _opened(open_stream: Open, sent: Any, attempts: Attempts, closed: threading.Event) -> Any:
    """Opens a stream; returns None if its client is closed."""
    try:
        return open_stream(sent, attempts.timeout())
    except ValueError:
        # So says gRPC that the channel is closed.
        if not closed.is_set():
            raise
        return None


def _cancel(stream: Any) -> None:
    if stream is not None:
        # An interceptor may have made a generator of it.
        (getattr(stream, "cancel", None) or stream.close)()

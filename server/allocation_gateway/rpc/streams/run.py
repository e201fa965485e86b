"""One call of a job: reads its items, has them sent in bulk calls, waits for what becomes of each, and tells it.

No more than a window of items is in hand at once: those that were read and of which the caller has not taken the
result. As long as it is full nothing more is read, so that a caller that does not read, or an upstream that is slow,
holds up nobody but itself.

It is longer than the other modules since what an item may come to, from its reading to its end, is to be read in one
place. What decides on the way is elsewhere: hindrance.py, trials.py, send_queue.py, pending_items.py and outcomes.py.
"""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any, Final

from google.protobuf.message import DecodeError

from allocation_gateway import tasks
from allocation_gateway.errors import GatewayError, WriteEffect
from allocation_gateway.operations.validation import rules_of, violations
from allocation_gateway.rpc.base import invalid
from allocation_gateway.rpc.streams import ends, outcomes
from allocation_gateway.rpc.streams.hindrance import Hindrance
from allocation_gateway.rpc.streams.outcomes import LATER, QUEUED, REFUSED, UNKNOWN, Found
from allocation_gateway.rpc.streams.pending_items import PendingItems
from allocation_gateway.rpc.streams.send_queue import SendQueue
from allocation_gateway.rpc.streams.trials import Trials
from allocation_gateway.wire.message import Oversized
from allocation_gateway.writes import errors

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Sequence

    from allocation_gateway.operations.streams import AllocationStream
    from allocation_gateway.rpc.streams.audit import ItemAudit
    from allocation_gateway.rpc.streams.job import Item, Items, Job
    from allocation_gateway.rpc.streams.readings import Readings
    from allocation_gateway.rpc.streams.sending import Sending, Sent
    from allocation_gateway.rpc.streams.teller import Teller
    from allocation_gateway.settings import Settings

# In which an item in hand is: it waits to be sent, is in a write, is read, or waits for the caller.
STATES: Final = ("waiting", "sending", "followed", "untold")
# Items of a message that are taken in hand in one turn of the event loop.
_TAKEN_AT_ONCE: Final = 32
# Bulk calls under way at once.
_BATCHES: Final = 8
# Seconds for which a batch that is not full waits for more.
_LINGER: Final = 0.02
# Seconds before an item is asked for again of which it is not known what became of it, and the most that they become.
_PAUSE: Final = 0.5
_LONGEST_PAUSE: Final = 10.0
# Seconds after which it is looked at again which items wait that are worked on no more.
_LOOK: Final = 0.5
# Of an item that was refused with others, and could not be asked for again in time: its claim was held meanwhile.
_NOT_SENT_AGAIN: Final = errors.too_late(is_claimed=True)
# Seconds before the end of its time at which a job that is to end soon, and is not done, is told so.
_MARGIN: Final = 1.0


class AllocationRun:
    """One call of a job."""

    def __init__(
        self,
        row: AllocationStream,
        job: Job,
        items: Items,
        sending: Sending,
        readings: Readings,
        teller: Teller,
        audit: ItemAudit,
        settings: Settings,
        window: Callable[[], int],
    ) -> None:
        """Keeps the parts that it is made of.

        Args:
            row: The rpc.
            job: The job.
            items: Makes its items.
            sending: Sends them.
            readings: Reads them.
            teller: Tells the caller what became of them.
            audit: Is told which writes were made for them.
            settings: The configuration.
            window: Returns how many items may be in hand for now.
        """
        self._job = job
        self._items = items
        self._sending = sending
        self._teller = teller
        self._audit = audit
        self._settings = settings
        self._window = window
        self._request: Any = row.request
        self._rules = rules_of(row.request)
        self._clock = asyncio.get_running_loop().time
        self._queue = SendQueue(row.most_together(settings))
        self._pending = PendingItems(readings, row.read, sending.observation)
        self._hindrance = Hindrance(settings.stream_outage_time, self._clock)
        self._trials = Trials()
        # When each was received: the oldest is the first.
        self._in_hand: dict[object, float] = {}
        self._sending_items = 0
        self._has_room = asyncio.Event()
        self._has_read_all = False
        # With what it ends when what is under way has ended; None as long as it goes on.
        self._ending: GatewayError | None = None
        self._last_moments: list[asyncio.TimerHandle] = []
        self._failures: list[BaseException] = []
        self._workers: set[asyncio.Task[None]] = set()
        self._sends: set[asyncio.Task[None]] = set()
        self._places = asyncio.Semaphore(_BATCHES)
        self._bulk_calls = 0

    async def run(self, first: Any, requests: AsyncIterator[bytes]) -> None:
        """Carries it out.

        Args:
            first: Its first message.
            requests: The further ones.

        Raises:
            GatewayError: It could not be carried out to its end. Nothing is said of single items by that.
        """
        await self._teller.begin(self._job.told())
        if self._ending is None:
            self._start(self._read(first, requests))
            self._start(self._send_all())
            self._start(self._end_overdue())
        try:
            while not self._is_over():
                await self._teller.wait()
                for key in await self._teller.tell():
                    self._in_hand.pop(key, None)
                self._has_room.set()
                # What is told without waiting must not keep others from their turn.
                await asyncio.sleep(0)
        finally:
            for last_moment in self._last_moments:
                last_moment.cancel()
            self._pending.close()
            try:
                await tasks.end({*self._workers, *self._sends})
            finally:
                self._audit.close()
        if self._failures:
            raise self._failures[0]
        if self._ending is not None and not self._is_done:
            raise self._ending
        await self._teller.end(str(self._job.name), self._bulk_calls, self._pending.readings)

    def end_soon(self, error: GatewayError, seconds: float) -> None:
        """See Run. Sends nothing more."""
        self._ending = error
        for worker in self._workers:
            worker.cancel()
        seconds -= min(_MARGIN, seconds / 2)
        self._last_moments.append(asyncio.get_running_loop().call_later(seconds, self.fail, error))
        self._teller.wake()

    def items(self) -> dict[str, int]:
        """Returns how many of the items in hand are in which state. Any thread may call it."""
        sending, followed, untold = self._sending_items, len(self._pending), self._teller.untold
        waiting = max(len(self._in_hand) - sending - followed - untold, 0)
        return dict(zip(STATES, (waiting, sending, followed, untold), strict=True))

    def lag(self) -> float:
        """Returns for how many seconds the oldest item has been in hand. Any thread may call it."""
        received = list(self._in_hand.values())[:1]
        return max(self._clock() - received[0], 0.0) if received else 0.0

    @property
    def _is_done(self) -> bool:
        return self._has_read_all and not self._in_hand and not self._sends and not self._teller.backlog

    def _is_over(self) -> bool:
        if self._failures or self._is_done:
            return True
        return self._ending is not None and not self._sends and not self._teller.backlog

    def fail(self, error: BaseException) -> None:
        """See Run. A defect ends it so, too."""
        self._failures.append(error)
        self._teller.wake()

    def _start(self, work: Coroutine[Any, Any, None], *, sends: bool = False) -> None:
        task = asyncio.create_task(work)
        started = self._sends if sends else self._workers
        started.add(task)

        def ended(task: asyncio.Task[None]) -> None:
            started.discard(task)
            if not task.cancelled() and (error := task.exception()) is not None:
                self.fail(error)
            self._teller.wake()

        task.add_done_callback(ended)

    # What is read.

    async def _read(self, first: Any, requests: AsyncIterator[bytes]) -> None:
        await self._take(first, 0)
        index = 0
        async for data in requests:
            index += 1
            if isinstance(data, Oversized):
                self._teller.refuse(index, outcomes.too_large(self._settings.max_request_bytes))
            else:
                try:
                    message = self._request.FromString(data)
                except DecodeError:
                    self._teller.refuse(index, invalid("The message is not of the type that the rpc takes.", []))
                else:
                    await self._take(message, index)
            await self._wait_for_room()
        self._has_read_all = True

    async def _wait_for_room(self) -> None:
        while not self._room():
            self._has_room.clear()
            await self._has_room.wait()

    def _room(self) -> int:
        """Returns how many more items may be taken in hand, or told of, before others have their turn."""
        return max(self._window() - max(len(self._in_hand), self._teller.backlog), 0)

    async def _take(self, message: Any, index: int) -> None:
        """Takes the items of a message, or refuses all of it."""
        found = violations(message, self._rules, self._settings)
        if index and message.HasField("job"):
            found.append(outcomes.LATE_JOB)
        if found:
            self._teller.refuse(index, invalid("The message is not valid.", found))
            return
        taken: list[Item] = []
        now, room = self._clock(), self._room()
        for place, item in enumerate(message.items):
            if place and not place % _TAKEN_AT_ONCE:
                # A message may have a thousand: others have their turn in between.
                await asyncio.sleep(0)
                now, room = self._clock(), self._room()
            if not room and not (room := self._room()):
                self._queue.add(taken)
                taken.clear()
                await self._wait_for_room()
                now, room = self._clock(), self._room()
            room -= 1
            made = self._items.make(item, place, now)
            self._teller.tally.received += 1
            if isinstance(made, GatewayError):
                key = object()
                self._in_hand[key] = now
                self._teller.outcome(key, self._items.reference(item), "", Found(REFUSED, error=made))
            elif made.name in self._in_hand:
                self._teller.repeat(made.reference)
            else:
                self._in_hand[made.name] = now
                taken.append(made)
        self._queue.add(taken)

    # What is sent.

    async def _send_all(self) -> None:
        while True:
            await self._queue.wait()
            self._teller.paused = self._hindrance.error
            await asyncio.sleep(self._hindrance.seconds())
            if not self._has_read_all and not self._queue.fills_a_batch:
                await asyncio.sleep(_LINGER)
            await self._places.acquire()
            items = self._queue.take()
            if items:
                self._start(self._send(items), sends=True)
            else:
                # The time of all was up meanwhile.
                self._places.release()

    async def _send(self, items: Sequence[Item]) -> None:
        """Sends items with the place that was taken for them, and sees to those that were refused with each other."""
        sent = await self._send_together(items)
        if not sent.rejected:
            return
        rejected = list(sent.rejected)
        for item in rejected:
            item.waits_for = _NOT_SENT_AGAIN
        refusal, key, selector = sent.refusal, rejected[0].key, rejected[0].selector
        trial = self._trials.of(key)
        async with trial.turn:
            while refusal is not None and rejected and self._ending is None:
                if not trial.needs_another(refusal, selector):
                    break
                # Which one does not matter, but for that those next to each other may be alike.
                item = rejected.pop(random.randrange(len(rejected)))  # noqa: S311 - it is no secret
                await self._places.acquire()
                alone = await self._send_together([item])
                self._queue.add_batch(alone.rejected)
                if alone.refusal is None and not alone.is_let_through:
                    # Something else was in the way, which says nothing of the selector.
                    break
        if refusal is not None and trial.blames_selector(refusal, selector):
            told = Found(REFUSED, error=outcomes.of_selector(refusal))
            for item in rejected:
                self._count_as_sent(item)
                self._end(item, told)
            self._audit.leave_lines()
            return
        # The half without the one that is at fault is let through.
        half = (len(rejected) + 1) // 2
        self._queue.add_batch(rejected[:half])
        self._queue.add_batch(rejected[half:])

    async def _send_together(self, items: Sequence[Item]) -> Sent:
        place = Place(self._places)
        self._audit.begun(items)
        self._sending_items += len(items)
        try:
            sent = await self._sending.send(items, self._settle, place.give_back)
        finally:
            place.give_back()
            self._audit.leave_lines()
        self._sending_items -= len(sent.rejected)
        self._bulk_calls += sent.is_sent
        trial = self._trials.of(items[0].key)
        if sent.is_let_through:
            trial.passed()
        elif sent.refusal is not None and not sent.rejected:
            trial.refused_alone(sent.refusal)
        return sent

    # What is not sent in time.

    async def _end_overdue(self) -> None:
        """Tells of items as they stand whose time is up while they wait to be sent."""
        while True:
            await self._queue.wait()
            self._tell_overdue(self._queue.take_overdue(self._clock()))
            await asyncio.sleep(_LOOK)

    def _tell_overdue(self, items: Sequence[Item]) -> None:
        for item in items:
            error = item.waits_for
            if error is None:
                # An earlier call of a job whose id the caller has chosen may have sent it.
                is_new = self._job.is_new
                error = errors.too_late(is_claimed=True) if is_new else errors.in_doubt(errors.NOT_LOOKED_UP)
            self._end_as_it_stands(item, error)
        if items:
            self._audit.leave_lines()

    def _note(self, item: Item, found: Found) -> bool:
        """Records what keeps everything from being sent, or that nothing does. Returns whether something does."""
        kind, error = found.kind, found.error
        is_doubt = kind is UNKNOWN
        if error is not None and outcomes.is_hindrance(error) and (not is_doubt or self._hindrance.is_shown_by(item)):
            if not self._hindrance.note(error, outcomes.retry_seconds(error)):
                self.fail(ends.given_up(error))
        elif kind is not LATER and not is_doubt:
            self._hindrance.clear()
        self._teller.paused = self._hindrance.error
        return kind is LATER and self._hindrance.error is error

    # What becomes of an item.

    def _settle(self, item: Item, found: Found) -> None:
        """Is called with what the write of an item has come to."""
        self._sending_items -= 1
        if self._note(item, found):
            # It goes by itself when its time is up.
            self._wait(item, found)
            self._queue.add([item])
            return
        if found.kind is LATER:
            self._later(item, found)
            return
        self._count_as_sent(item)
        if found.kind is UNKNOWN and found.error is not None and not outcomes.is_final(found.error):
            self._later(item, found)
            return
        self._audit.ended(item, found)
        if found.kind is QUEUED and self._job.waits_for_allocation:
            self._pending.add(item, self._conclude, found)
            self._teller.tally.queued += 1
        elif outcomes.wants_explanation(found):
            self._pending.add(item, self._tell, found)
        else:
            self._tell(item, found)

    def _count_as_sent(self, item: Item) -> None:
        if not item.is_sent:
            item.is_sent = True
            self._teller.tally.sent += 1

    def _later(self, item: Item, found: Found) -> None:
        """Asks for an item again in a while, or tells how it stands if its time is up."""
        error = found.error
        if error is None:
            raise ValueError("an item to be retried must have an error")
        now = self._clock()
        item.tries += 1
        pause = max(outcomes.retry_seconds(error), min(_PAUSE * item.tries, _LONGEST_PAUSE))
        if now + pause < item.until:
            self._wait(item, found)
            asyncio.get_running_loop().call_later(pause, self._queue.add, [item])
        else:
            self._end_as_it_stands(item, error)

    def _wait(self, item: Item, found: Found) -> None:
        item.waits_for = found.error
        self._audit.waits(item, found)

    def _end_as_it_stands(self, item: Item, error: GatewayError) -> None:
        """Tells of an item whose time is up before its write has come to an end."""
        kind = REFUSED if error.effect is WriteEffect.NONE else UNKNOWN
        self._end(item, Found(kind, error=error))

    def _end(self, item: Item, found: Found) -> None:
        self._audit.ended(item, found)
        self._tell(item, found)

    def _conclude(self, item: Item, found: Found) -> None:
        """Is called with what became of an item that was queued."""
        self._teller.tally.queued -= 1
        self._tell(item, found)

    def _tell(self, item: Item, found: Found) -> None:
        self._teller.outcome(item.name, item.reference, item.request_id, found)


class Place:
    """A place of a semaphore, which is given back once."""

    __slots__ = ("_places",)

    def __init__(self, places: asyncio.Semaphore) -> None:
        self._places: asyncio.Semaphore | None = places

    def give_back(self) -> None:
        """Gives it back, unless it was."""
        places, self._places = self._places, None
        if places is not None:
            places.release()

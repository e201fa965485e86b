"""The account of work: how much is done for each connection in one turn of the event loop.

Work is counted in units: one for a frame, and more for what costs more. A connection that sends more than its share
waits in line, and nothing more is read of it meanwhile, so that TCP slows it down. Others are served in between: the
line is in the order of start-time fair queueing, so that a connection that has had little work done comes before those
that have had much, however many these are. What many calls have coming at the same moment, such as their end or an
answer that may go out at last, is dealt out over turns too.
"""

from __future__ import annotations

import logging
from collections import deque
from heapq import heappop, heappush
from itertools import count
from typing import TYPE_CHECKING, Final, Protocol

from allocation_gateway.wire import frames

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterable

_log = logging.getLogger(__name__)

# Units that all connections whose bytes have just come share in a turn, and that each of them has in any case: a call.
# Beyond so many in all the others wait in line, however little they ask for.
_FRESH_UNITS: Final = 1024
_LEAST_UNITS: Final = 20
_MOST_FRESH_UNITS: Final = 2 * _FRESH_UNITS
# Units that a connection is reckoned to have had before its first work: what a large message takes. Many that are new
# would else come before all that have had any.
_NEWCOMER_UNITS: Final = 512
NEWCOMER: Final = -1
"""Where the last work of a connection ends that has had none yet."""
# Units in a turn for all connections that wait in line, and for one of them.
_WAITING_UNITS: Final = 256
_QUANTUM: Final = 64
# Calls that are ended in a turn because their time was up, or because their connection was.
_ENDED_CALLS: Final = 200
# Units of a message of a stream beside its size.
_MESSAGE_UNITS: Final = 16
# Units of a field block beside its size; of a handler that begins, or ends since its request does; and of one that is
# woken. Headers are not charged with the handler: calls may be opened one by one, and all become whole in one turn.
_FIELD_BLOCK_UNITS: Final = 3
HANDLER_UNITS: Final = 10
WAKING_UNITS: Final = 4
# Bytes of frames for a unit, and bytes that are unpacked, or calls that are looked through, for a unit.
FIELD_BYTES_PER_UNIT: Final = 32
DATA_BYTES_PER_UNIT: Final = 1024
UNPACKED_BYTES_PER_UNIT: Final = 512
CALLS_PER_UNIT: Final = 4
# Fields that stand for no more than so many bytes are part of what a field block costs. So many more are a unit.
USUAL_LIST_SIZE: Final = 4096
_LIST_BYTES_PER_UNIT: Final = 64


def units(kind: int, flags: int, length: int) -> int:
    """Returns what a frame costs, with the handler that begins if the frame ends a request."""
    if kind == frames.DATA:
        cost = 1 + length // DATA_BYTES_PER_UNIT
    elif kind == frames.HEADERS:
        cost = _FIELD_BLOCK_UNITS + length // FIELD_BYTES_PER_UNIT
    else:
        return 1 + length // FIELD_BYTES_PER_UNIT
    return cost + HANDLER_UNITS if flags & frames.END_STREAM else cost


def message_units(size: int) -> int:
    """Returns what it costs to read a message of a stream that becomes so many bytes."""
    return _MESSAGE_UNITS + size // UNPACKED_BYTES_PER_UNIT


def units_of_fields(size: int) -> int:
    """Returns what fields cost beside the bytes that they came in: a byte may stand for much that the table has."""
    return max(size - USUAL_LIST_SIZE, 0) // _LIST_BYTES_PER_UNIT


class TurnTaker(Protocol):
    """What waits in line: a connection of which something is to be read, or that has something to send.

    Attributes:
        work_end: Where its last work ends on the scale of the line, see Turns. NEWCOMER before it has had any.
    """

    work_end: int

    def take_turn(self, share: int) -> int:
        """Works for as many units as its share. Returns how many it took. It lines up again if something is left."""

    def abort(self) -> None:
        """Closes its connection at once, since its work has failed by a defect."""


class Turns:
    """Shares the turns of one event loop out.

    The line has a scale, in units of work. A connection stands where its last work ends, or where the line is by now if
    that is further on: then it comes before the others there, since it has had less. The line goes on to where the one
    stands whose turn it is.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        # Where they stand, whether others there come first, the order in which they came, and who they are. Each has
        # one place, however often it lines up: that with the number here. Others of it are those that it has left.
        self._line: list[tuple[int, bool, int, TurnTaker]] = []
        self._waiting: dict[TurnTaker, int] = {}
        self._numbers = count()
        self._reached = 0
        # Whose turn it is, and whether it has lined up again meanwhile.
        self._served: TurnTaker | None = None
        self._lines_up_again = False
        self._ends: deque[Callable[[], None]] = deque()
        self._is_scheduled = False
        self._fresh_units = _FRESH_UNITS

    def share(self) -> int:
        """Returns how many units of work may be done at once for bytes that have just come."""
        left = self._fresh_units
        if left > _LEAST_UNITS:
            return left
        return _LEAST_UNITS if left > _FRESH_UNITS - _MOST_FRESH_UNITS else 0

    def worked(self, connection: TurnTaker, done: int) -> None:
        """Records that so much work was done for bytes of a connection that had just come."""
        if self._fresh_units == _FRESH_UNITS:
            self._loop.call_soon(self._begin)
        if done < 1:
            done = 1
        self._fresh_units -= done
        begin, reached = connection.work_end, self._reached
        if begin < reached:
            begin = reached if begin != NEWCOMER else reached + _NEWCOMER_UNITS
        if not self._waiting:
            self._reached = reached = begin  # nobody waits who stands before it
        # No further than a new one: that of a proxy is for many callers, who must not wait for long.
        connection.work_end = min(begin + done, reached + _NEWCOMER_UNITS)

    def _begin(self) -> None:
        """Begins a turn."""
        self._fresh_units = _FRESH_UNITS

    def line_up(self, connection: TurnTaker) -> None:
        """Lines a connection up for its turn."""
        if connection is self._served:
            self._lines_up_again = True  # where, is known when its turn has ended
        elif connection not in self._waiting:
            self._take_place(connection)
            self._schedule()

    def _take_place(self, connection: TurnTaker) -> None:
        end, reached = self._work_end(connection), self._reached
        self._waiting[connection] = number = next(self._numbers)
        heappush(self._line, (max(end, reached), end >= reached, number, connection))

    def refund(self, connection: TurnTaker, units: int) -> None:
        """Takes back what a connection was charged for its last work beyond what that has cost."""
        connection.work_end -= units
        if connection in self._waiting:
            self._take_place(connection)  # further in front

    def _work_end(self, connection: TurnTaker) -> int:
        if connection.work_end == NEWCOMER:
            connection.work_end = self._reached + _NEWCOMER_UNITS
        return connection.work_end

    def end(self, ends: Iterable[Callable[[], None]]) -> None:
        """Ends calls, of which many may be over at the same moment: in turns to come."""
        self._ends.extend(ends)
        if self._ends:
            self._schedule()

    def _schedule(self) -> None:
        if not self._is_scheduled:
            self._is_scheduled = True
            self._loop.call_soon(self._run)

    def _run(self) -> None:
        left = _WAITING_UNITS
        try:
            for _ in range(len(self._line)):
                if left <= 0:
                    break
                left -= self._take_turn(min(left, _QUANTUM))
            self._end_some()
        finally:
            # Only now: what has its turn is done before the next one begins, and what it has cost is known.
            self._is_scheduled = False
            if self._line or self._ends:
                self._schedule()

    def _take_turn(self, share: int) -> int:
        place, _, number, connection = heappop(self._line)
        if self._waiting.get(connection) != number:
            return 0  # it has left this place for one further in front
        del self._waiting[connection]
        self._reached = place
        self._served, self._lines_up_again = connection, False
        try:
            done = connection.take_turn(share)
        except Exception:  # noqa: BLE001 - a defect with one of them must not keep all others waiting
            _log.exception("the turn of a connection failed: the connection was aborted")
            connection.abort()
            done = share
        self._served = None
        connection.work_end = self._reached + max(done, 1)
        if self._lines_up_again:
            self.line_up(connection)
        return done

    def _end_some(self) -> None:
        for _ in range(min(len(self._ends), _ENDED_CALLS)):
            end = self._ends.popleft()
            try:
                end()
            except Exception:  # noqa: BLE001 - see _take_turn()
                _log.exception("a call could not be ended")


class TurnQueue:
    """A queue of tasks that wait for turns of the line, each to begin a piece of work with a cost of its own.

    They read the messages of one connection's streams. What a message costs is known when it is unpacked: it is charged
    with the most that it can be before, so that a turn never has more than it may, and what was too much is given back
    for the place in the line.

    Attributes:
        work_end: See TurnTaker.
    """

    __slots__ = ("_loop", "_turns", "_waiting", "work_end")

    def __init__(self, turns: Turns, loop: asyncio.AbstractEventLoop) -> None:
        self._turns = turns
        self._loop = loop
        # Those that wait, and what each is charged with.
        self._waiting: deque[tuple[asyncio.Future[None], int]] = deque()
        self.work_end = NEWCOMER

    async def turn(self, cost: int) -> None:
        """Waits until work may begin that costs so many units at most."""
        turn: asyncio.Future[None] = self._loop.create_future()
        self._waiting.append((turn, cost))
        self._turns.line_up(self)
        await turn

    def refund(self, units: int) -> None:
        """Records that work which has had its turn has cost so many units less than it was charged with."""
        self._turns.refund(self, units)

    def take_turn(self, share: int) -> int:
        """See TurnTaker."""
        done = 0
        while self._waiting and done < share:
            turn, cost = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                done += cost
        if self._waiting:
            self._turns.line_up(self)
        return done

    def abort(self) -> None:
        """See TurnTaker. Who waits goes on waiting until its call or its connection ends."""

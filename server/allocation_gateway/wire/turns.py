"""The account of work: how much is done for each connection in one turn of the event loop.

Work is counted in units: one for a frame, and more for what costs more. A connection that sends more than its share
waits in line, and nothing more is read of it meanwhile, so that TCP slows it down. Others are served in between. What
many calls have coming at the same moment, such as their end or an answer that may go out at last, is dealt out over
turns too.
"""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING, Final, Protocol

from allocation_gateway.wire import frames

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterable

_log = logging.getLogger(__name__)

# Units that all connections whose bytes have just come share in a turn, and that each of them has in any case: a call.
# Beyond so many in all the others wait in line, however little they ask for.
_FRESH_UNITS: Final = 1024
_LEAST_UNITS: Final = 16
_MOST_FRESH_UNITS: Final = 2 * _FRESH_UNITS
# Units in a turn for all connections that wait in line, and for one of them.
_WAITING_UNITS: Final = 256
_QUANTUM: Final = 64
# Messages of streams that are read in a turn, and calls that are ended in a turn because their time was up, or because
# their connection was.
_MESSAGES: Final = 16
_ENDED_CALLS: Final = 200
# Units of a field block beside its size, bytes of frames for a unit, and bytes that are unpacked, or calls that are
# looked through, for a unit.
_FIELD_BLOCK_UNITS: Final = 8
FIELD_BYTES_PER_UNIT: Final = 32
DATA_BYTES_PER_UNIT: Final = 1024
UNPACKED_BYTES_PER_UNIT: Final = 512
CALLS_PER_UNIT: Final = 4
# Fields that stand for no more than so many bytes are part of what a field block costs. So many more are a unit.
USUAL_LIST_SIZE: Final = 4096
_LIST_BYTES_PER_UNIT: Final = 64


def units(kind: int, length: int) -> int:
    """Returns what a frame costs."""
    if kind == frames.DATA:
        return 1 + length // DATA_BYTES_PER_UNIT
    if kind == frames.HEADERS:
        return _FIELD_BLOCK_UNITS + length // FIELD_BYTES_PER_UNIT
    return 1 + length // FIELD_BYTES_PER_UNIT


def units_of_fields(size: int) -> int:
    """Returns what fields cost beside the bytes that they came in: a byte may stand for much that the table has."""
    return max(size - USUAL_LIST_SIZE, 0) // _LIST_BYTES_PER_UNIT


class TurnTaker(Protocol):
    """What waits in line: a connection of which something is to be read, or that has something to send."""

    def take_turn(self, share: int) -> int:
        """Works for as many units as its share. Returns how many it took. It lines up again if something is left."""

    def abort(self) -> None:
        """Closes its connection at once, since its work has failed by a defect."""


class Turns:
    """Shares the turns of one event loop out."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        # In order. A connection is in it once, however often it lines up.
        self._line: dict[TurnTaker, None] = {}
        # By whose they are, in the order in which it is their turn: who has many readers has no more turns for that.
        self._readers: dict[object, deque[asyncio.Future[None]]] = {}
        self._ends: deque[Callable[[], None]] = deque()
        self._is_scheduled = False
        self._fresh_units = _FRESH_UNITS

    def share(self) -> int:
        """Returns how many units of work may be done at once for bytes that have just come."""
        left = self._fresh_units
        if left > _LEAST_UNITS:
            return left
        return _LEAST_UNITS if left > _FRESH_UNITS - _MOST_FRESH_UNITS else 0

    def worked(self, done: int) -> None:
        """Records that so much work was done for bytes that had just come."""
        if self._fresh_units == _FRESH_UNITS:
            self._loop.call_soon(self._begin)
        self._fresh_units -= max(done, 1)

    def _begin(self) -> None:
        """Begins a turn."""
        self._fresh_units = _FRESH_UNITS

    def line_up(self, connection: TurnTaker) -> None:
        """Lines a connection up for its turn."""
        self._line[connection] = None
        self._schedule()

    async def message(self, owner: object) -> None:
        """Waits until a message of a stream may be read. Owners, which are connections, take turns."""
        reader: asyncio.Future[None] = self._loop.create_future()
        self._readers.setdefault(owner, deque()).append(reader)
        self._schedule()
        await reader

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
        self._is_scheduled = False
        left = _WAITING_UNITS
        for _ in range(len(self._line)):
            if left <= 0:
                break
            left -= self._take_turn(min(left, _QUANTUM))
        self._read_some()
        self._end_some()
        if self._line or self._readers or self._ends:
            self._schedule()

    def _take_turn(self, share: int) -> int:
        connection = next(iter(self._line))
        del self._line[connection]
        try:
            return connection.take_turn(share)
        except Exception:  # noqa: BLE001 - a defect with one of them must not keep all others waiting
            _log.exception("the turn of a connection failed: the connection was aborted")
            connection.abort()
            return share

    def _read_some(self) -> None:
        readers, left = self._readers, _MESSAGES
        while readers and left:
            owner = next(iter(readers))
            own = readers.pop(owner)
            reader = own.popleft()
            if own:
                readers[owner] = own  # at the end
            if not reader.done():
                reader.set_result(None)
                left -= 1

    def _end_some(self) -> None:
        for _ in range(min(len(self._ends), _ENDED_CALLS)):
            end = self._ends.popleft()
            try:
                end()
            except Exception:  # noqa: BLE001 - see _take_turn()
                _log.exception("a call could not be ended")

"""The account of work: how much is done for each connection in one turn of the event loop.

Work is counted in units: one for a frame, and more for what costs more. A connection that sends more than its share
waits in line, and nothing more is read of it meanwhile, so that TCP slows it down. Others are served in between.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, Protocol

from allocation_gateway.wire import frames

if TYPE_CHECKING:
    import asyncio

    from allocation_gateway.wire.call import Call

# Units that all connections whose bytes have just come share in a turn, and that each of them has in any case: a call.
_FRESH_UNITS: Final = 1024
_LEAST_UNITS: Final = 16
# Units in a turn for all connections that wait in line, and for one of them.
_WAITING_UNITS: Final = 256
_QUANTUM: Final = 64
# Messages of streams that are read in a turn, and calls that are ended in a turn because their connection was.
_MESSAGES: Final = 16
_ENDED_CALLS: Final = 200
# Units of a field block beside its size, bytes of frames for a unit, and bytes that are unpacked, or calls that are
# looked through, for a unit.
_FIELD_BLOCK_UNITS: Final = 8
_FIELD_BYTES_PER_UNIT: Final = 32
_DATA_BYTES_PER_UNIT: Final = 1024
UNPACKED_BYTES_PER_UNIT: Final = 512
CALLS_PER_UNIT: Final = 4


def units(kind: int, length: int) -> int:
    """Returns what a frame costs."""
    if kind == frames.DATA:
        return 1 + length // _DATA_BYTES_PER_UNIT
    if kind == frames.HEADERS:
        return _FIELD_BLOCK_UNITS + length // _FIELD_BYTES_PER_UNIT
    return 1 + length // _FIELD_BYTES_PER_UNIT


class TurnTaker(Protocol):
    """A connection that waits in line."""

    def take_turn(self, share: int) -> int:
        """Works for as many units as its share. Returns how many it took. It lines up again if something is left."""


class Turns:
    """Shares the turns of one event loop out."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        # In order. A connection is in it once, however often it lines up.
        self._line: dict[TurnTaker, None] = {}
        self._readers: deque[asyncio.Future[None]] = deque()
        self._ended: deque[Call] = deque()
        self._is_scheduled = False
        self._fresh_units = _FRESH_UNITS

    def share(self) -> int:
        """Returns how many units of work may be done at once for bytes that have just come."""
        return max(self._fresh_units, _LEAST_UNITS)

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

    async def message(self) -> None:
        """Waits until a message of a stream may be read."""
        reader: asyncio.Future[None] = self._loop.create_future()
        self._readers.append(reader)
        self._schedule()
        await reader

    def end(self, calls: list[Call]) -> None:
        """Ends calls whose connection was ended: some at once, and the others in turns to come."""
        self._ended.extend(calls)
        self._end_some()
        if self._ended:
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
            connection = next(iter(self._line))
            del self._line[connection]
            left -= connection.take_turn(min(left, _QUANTUM))
        for _ in range(min(len(self._readers), _MESSAGES)):
            reader = self._readers.popleft()
            if not reader.done():
                reader.set_result(None)
        self._end_some()
        if self._line or self._readers or self._ended:
            self._schedule()

    def _end_some(self) -> None:
        for _ in range(min(len(self._ended), _ENDED_CALLS)):
            self._ended.popleft().end()

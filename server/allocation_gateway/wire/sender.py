"""What a connection sends: no more than the windows of its peer allow, and all of one turn of the loop at once.

Windows say what a peer is willing to take, and not that it takes anything: one that has opened them wide and does not
read would have the transport hold all that they allow. So a turn of the loop hands over little, and what the
transport has not got rid of stays in the account of bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from allocation_gateway.wire import frames
from allocation_gateway.wire.memory import Buffer
from allocation_gateway.wire.turns import DATA_BYTES_PER_UNIT, NEWCOMER

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from allocation_gateway.wire.call import Call
    from allocation_gateway.wire.memory import ConnectionMemory
    from allocation_gateway.wire.turns import Turns

# Bytes that are handed over in a turn, before what windows hold up has to wait for the next one.
_MOST_IN_A_TURN: Final = 65_536
# Bytes in the transport that are on no account: each answer is there for a moment.
_LITTLE: Final = 16_384


class FrameSender:
    """The sending side of one connection, with the windows that the other side has opened.

    Attributes:
        window: How much may be sent over all calls, in bytes.
        stream_window: How much may be sent on a new call. Negative windows are what was taken back.
        work_end: See TurnTaker.
    """

    __slots__ = (
        "_blocked",
        "_buffer",
        "_finished",
        "_is_full",
        "_is_unread",
        "_loop",
        "_memory",
        "_narrow",
        "_out",
        "_size",
        "_transport",
        "_turns",
        "stream_window",
        "window",
        "work_end",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        turns: Turns,
        memory: ConnectionMemory,
        finished: Callable[[Call], None],
    ) -> None:
        """Starts without a transport.

        Args:
            loop: The loop that it works in.
            turns: Has the turns in which what was held up is sent.
            memory: The account that has what the peer does not take.
            finished: Is told of each call whose last frame is on its way.
        """
        self._loop = loop
        self._turns = turns
        self._memory = memory
        self._finished = finished
        self._transport: asyncio.Transport | None = None
        # What is handed over at the end of this turn, and its size.
        self._out: list[bytes] = []
        self._size = 0
        # Whether no answers are sent for now: since the peer does not read, or since this turn has handed over enough.
        self._is_unread = False
        self._is_full = False
        # What the transport has.
        self._buffer = Buffer(memory, _LITTLE)
        # Calls that wait for the window of all, or for a turn, and those that wait for their own.
        self._blocked: dict[int, Call] = {}
        self._narrow: dict[int, Call] = {}
        self.window = frames.DEFAULT_WINDOW
        self.stream_window = frames.DEFAULT_WINDOW
        self.work_end = NEWCOMER

    def open(self, transport: asyncio.Transport) -> None:
        """Starts to send through a transport."""
        self._transport = transport

    def close(self) -> None:
        """Sends what there is. From now on nothing else is sent."""
        self._hand_over()
        self._transport = None
        self._blocked.clear()
        self._narrow.clear()

    def let_go(self) -> None:
        """Tells nobody any more which calls are over: the connection is lost."""
        self._finished = _nothing

    def pause(self) -> None:
        """Sends no more answers for now: the peer does not read, and they would pile up in the transport."""
        self._is_unread = True

    def resume(self) -> None:
        """Sends answers again."""
        self._is_unread = False
        self.take_account()
        self._line_up()

    @property
    def _is_paused(self) -> bool:
        return self._is_unread or self._is_full

    def _line_up(self) -> None:
        """Sends what is held up no longer, when it is this connection's turn."""
        if self._blocked and not self._is_paused and self.window > 0:
            self._turns.line_up(self)

    def take_turn(self, share: int) -> int:
        """See TurnTaker."""
        left = share
        while left > 0 and self._blocked and self.window > 0 and not self._is_paused:
            size = self._size
            self.send_unsent(next(iter(self._blocked.values())))
            left -= 1 + (self._size - size) // DATA_BYTES_PER_UNIT
        self._line_up()
        return share - left

    def abort(self) -> None:
        """See TurnTaker."""
        if self._transport is not None:
            self._transport.abort()

    def write(self, data: bytes) -> None:
        """Sends frames that no window holds up, at the end of this turn of the loop."""
        if self._transport is None:
            return
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out.append(data)
        self._size += len(data)
        if self._size > _MOST_IN_A_TURN:
            self._is_full = True

    def _flush(self) -> None:
        self._hand_over()
        if self._is_full:
            self._is_full = False
            self._line_up()

    def _hand_over(self) -> None:
        if self._out and self._transport is not None:
            self._transport.write(b"".join(self._out))
            self.take_account()
        self._out.clear()
        self._size = 0

    def take_account(self) -> None:
        """Records in the account what the transport holds. It is called now and then: the transport tells nobody."""
        transport = self._transport
        if transport is None:
            return  # what it had then is held until the connection is lost
        self._buffer.hold(transport.get_write_buffer_size())

    def send(self, call: Call, headers: bytes, body: bytes, trailers: bytes) -> None:
        """Sends frames of a call: the body as far as the windows allow, and then the trailers, which end the call."""
        size = len(body)
        if (
            not call.unsent
            and not (size and self._is_paused)
            and size <= frames.MAX_FRAME_SIZE
            and size <= self.window
            and size <= self.stream_window + call.window
        ):
            if size:
                self.window -= size
                call.window -= size
                call.written += size
                headers = b"".join((headers, frames.header(size, frames.DATA, 0, call.stream), body))
            self.write(headers + trailers)
            if trailers:
                self._finished(call)
            return
        self.write(headers)
        if call.unsent is None:
            call.unsent = bytearray()
        call.unsent += body
        call.trailers = trailers
        self._memory.charge(call, size)
        self.send_unsent(call)

    def send_unsent(self, call: Call) -> None:
        """Sends as much as may be sent of what waits."""
        unsent = call.unsent or bytearray()
        self.forget(call)
        while unsent:
            size = min(len(unsent), frames.MAX_FRAME_SIZE, self.window, self.stream_window + call.window)
            if size <= 0 or self._is_paused:
                waiting = self._blocked if self.window <= 0 or self._is_paused else self._narrow
                waiting[call.stream] = call
                return
            self.window -= size
            call.window -= size
            call.written += size
            self._memory.charge(call, -size)
            self.write(frames.header(size, frames.DATA, 0, call.stream) + unsent[:size])
            del unsent[:size]
        if call.trailers:
            self.write(call.trailers)
            self._finished(call)
        else:
            call.sent()

    def widen(self, increment: int) -> None:
        """Is called when the peer lets so much more be sent over all calls."""
        self.window += increment
        self._line_up()

    def resize(self, window: int) -> int:
        """Sets how much may be sent on each call, on those under way too.

        Returns:
            How many calls were looked at: those that waited for a wider window.
        """
        is_wider = window > self.stream_window
        self.stream_window = window
        if not is_wider:
            return 0
        count = len(self._narrow)
        self._blocked.update(self._narrow)
        self._narrow.clear()
        self._line_up()
        return count

    def forget(self, call: Call) -> None:
        """Waits no longer to send something of a call."""
        self._blocked.pop(call.stream, None)
        self._narrow.pop(call.stream, None)


def _nothing(_: Call) -> None:
    """Does nothing."""

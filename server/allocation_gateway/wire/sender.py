"""What a connection sends: no more than the windows of its peer allow, and all of one turn of the loop at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from allocation_gateway.wire import frames

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from allocation_gateway.wire.call import Call
    from allocation_gateway.wire.memory import ConnectionMemory


class FrameSender:
    """The sending side of one connection, with the windows that the other side has opened.

    Attributes:
        window: How much may be sent over all calls, in bytes.
        stream_window: How much may be sent on a new call. Negative windows are what was taken back.
    """

    __slots__ = (
        "_blocked",
        "_finished",
        "_is_paused",
        "_loop",
        "_memory",
        "_narrow",
        "_out",
        "_transport",
        "stream_window",
        "window",
    )

    def __init__(
        self, loop: asyncio.AbstractEventLoop, memory: ConnectionMemory, finished: Callable[[Call], None]
    ) -> None:
        """Starts without a transport.

        Args:
            loop: The loop that it works in.
            memory: The account that has what the peer does not take.
            finished: Is told of each call whose last frame is on its way.
        """
        self._loop = loop
        self._memory = memory
        self._finished = finished
        self._transport: asyncio.Transport | None = None
        self._out: list[bytes] = []
        self._is_paused = False
        # Calls that wait for the window of all, or for the transport, and those that wait for their own.
        self._blocked: dict[int, Call] = {}
        self._narrow: dict[int, Call] = {}
        self.window = frames.DEFAULT_WINDOW
        self.stream_window = frames.DEFAULT_WINDOW

    def open(self, transport: asyncio.Transport) -> None:
        """Starts to send through a transport."""
        self._transport = transport

    def close(self) -> None:
        """Sends what there is. From now on nothing else is sent."""
        self._flush()
        self._transport = None
        self._blocked.clear()
        self._narrow.clear()

    def let_go(self) -> None:
        """Tells nobody any more which calls are over: the connection is lost."""
        self._finished = _nothing

    def pause(self) -> None:
        """Sends no more answers for now: the peer does not read, and they would pile up in the transport."""
        self._is_paused = True

    def resume(self) -> None:
        """Sends answers again."""
        self._is_paused = False
        self._send_blocked()

    def write(self, data: bytes) -> None:
        """Sends frames that no window holds up, at the end of this turn of the loop."""
        if self._transport is None:
            return
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out.append(data)

    def _flush(self) -> None:
        if self._out and self._transport is not None:
            self._transport.write(b"".join(self._out))
        self._out.clear()

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
        self._send_blocked()

    def _send_blocked(self) -> None:
        while self._blocked and self.window > 0 and not self._is_paused:
            self.send_unsent(next(iter(self._blocked.values())))

    def resize(self, window: int) -> int:
        """Sets how much may be sent on each call, on those under way too.

        Returns:
            How many calls were looked at: those that waited for a wider window.
        """
        is_wider = window > self.stream_window
        self.stream_window = window
        calls = list(self._narrow.values()) if is_wider else []
        for call in calls:
            self.send_unsent(call)
        return len(calls)

    def forget(self, call: Call) -> None:
        """Waits no longer to send something of a call."""
        self._blocked.pop(call.stream, None)
        self._narrow.pop(call.stream, None)


def _nothing(_: Call) -> None:
    """Does nothing."""

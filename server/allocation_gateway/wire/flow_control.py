"""Flow control of what a peer sends (RFC 9113, section 5.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from allocation_gateway.wire import frames
from allocation_gateway.wire.errors import Http2ConnectionError, Http2StreamError

if TYPE_CHECKING:
    from allocation_gateway.wire.call import Call
    from allocation_gateway.wire.memory import ConnectionMemory

# The receive window of a connection, over all its calls.
CONNECTION_WINDOW: Final = 2**22


class ReceiveControl:
    """The receive windows of one connection and of its streams.

    Attributes:
        stream_window: The initial receive window of each stream, in bytes.
    """

    __slots__ = ("_memory", "_received", "stream_window")

    def __init__(self, stream_window: int, memory: ConnectionMemory) -> None:
        self.stream_window = stream_window
        self._memory = memory
        # Bytes that were received since the last WINDOW_UPDATE of the connection.
        self._received = 0

    def receive(self, size: int) -> int:
        """Takes the bytes of a DATA frame off the connection's window. Returns the increment to send; 0 for none.

        Raises:
            Http2ConnectionError: The peer has sent more than the window allows.
        """
        self._received += size
        if self._received > CONNECTION_WINDOW:
            raise Http2ConnectionError(
                frames.FLOW_CONTROL_ERROR, "The peer has sent more DATA than the connection's window allows."
            )
        # A peer that holds much gets its window back at the next tick of the clock, which slows it down.
        if self._received <= CONNECTION_WINDOW // 2 or self._memory.is_tight:
            return 0
        return self.increment()

    def increment(self) -> int:
        """Returns the increment that gives the peer back what it has used of the window; 0 if that is little."""
        if self._received <= CONNECTION_WINDOW // 2:
            return 0
        increment, self._received = self._received, 0
        return increment

    def hold(self, call: Call, size: int) -> bool:
        """Holds bytes of a request. Returns whether the connection may hold as many.

        Raises:
            Http2StreamError: The peer has sent more than the window of the stream allows.
        """
        call.held += size
        memory = self._memory
        memory.charge(call, size)
        if call.held > self.stream_window:
            raise Http2StreamError(call.stream, frames.FLOW_CONTROL_ERROR)
        return not memory.is_full

    def release(self, call: Call, size: int) -> None:
        """Holds so many bytes of a request no more."""
        call.held -= size
        self._memory.charge(call, -size)

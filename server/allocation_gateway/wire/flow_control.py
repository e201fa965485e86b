"""Flow control of what a peer sends (RFC 9113, section 5.2), and how many bytes of requests are held."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from allocation_gateway.wire import frames
from allocation_gateway.wire.errors import Http2ConnectionError, Http2StreamError

if TYPE_CHECKING:
    from allocation_gateway.wire.call import Call

# The receive window of a connection, over all its calls.
CONNECTION_WINDOW: Final = 2**22
# Bytes of requests that are not complete yet, over all calls of a connection.
_MAX_HELD: Final = 2**25


class ReceiveControl:
    """The receiving side of one connection: its window, and the bytes that are held of requests.

    Attributes:
        stream_window: The initial receive window of each stream, in bytes.
    """

    __slots__ = ("_held", "_received", "stream_window")

    def __init__(self, stream_window: int) -> None:
        self.stream_window = stream_window
        # Bytes that were received since the last WINDOW_UPDATE of the connection.
        self._received = 0
        self._held = 0

    def receive(self, size: int) -> int:
        """Takes the bytes of a DATA frame off the window. Returns the increment to send, which may be none.

        Raises:
            Http2ConnectionError: The peer has sent more than the window allows.
        """
        self._received += size
        if self._received > CONNECTION_WINDOW:
            raise Http2ConnectionError(
                frames.FLOW_CONTROL_ERROR, "The peer has sent more DATA than the connection's window allows."
            )
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
        self._held += size
        if call.held > self.stream_window:
            raise Http2StreamError(call.stream, frames.FLOW_CONTROL_ERROR)
        return self._held <= _MAX_HELD

    def release(self, call: Call, size: int) -> None:
        """Holds so many bytes of a request no more."""
        call.held -= size
        self._held -= size

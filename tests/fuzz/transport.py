"""A connection in memory, as asyncio gives it to a server."""

from __future__ import annotations

import asyncio
from typing import Any, Final

# How many bytes it holds unsent before it says so, and below what it no longer does.
_HIGH: Final = 65_536
# How many bytes a server may hand over of which nothing is taken: what is full, one turn's more, and what no window
# holds up.
_MOST_UNSENT: Final = 4 * _HIGH


class Transport(asyncio.Transport):
    """The server's end of a connection in memory.

    Attributes:
        given: What the client has sent.
        taken: What the client has read.
        is_read: Whether the client reads.
        has_ended: Whether the server has said that it sends nothing more.
        is_lost: Whether the server was told that the connection is no more.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, protocol: asyncio.Protocol) -> None:
        super().__init__()
        self._loop = loop
        self._protocol = protocol
        self._unsent = bytearray()
        self._unread: list[bytes] = []
        self._is_paused = False
        self._is_full = False
        self._is_closing = False
        self._ends = False
        self.given = bytearray()
        self.taken = bytearray()
        self.is_read = True
        self.has_ended = False
        self.is_lost = False

    # What the server does with it.

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """See asyncio.BaseTransport."""
        return ("192.0.2.1", 50_000) if name == "peername" else default

    def is_closing(self) -> bool:
        """See asyncio.BaseTransport."""
        return self._is_closing

    def pause_reading(self) -> None:
        """See asyncio.ReadTransport."""
        self._is_paused = True

    def resume_reading(self) -> None:
        """See asyncio.ReadTransport."""
        if self._is_paused:
            self._is_paused = False
            self._loop.call_soon(self._deliver)

    def get_write_buffer_size(self) -> int:
        """See asyncio.WriteTransport."""
        return len(self._unsent)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """See asyncio.WriteTransport."""
        if self._ends:
            raise RuntimeError("there was an end, and something after it")
        if self._is_closing:
            return
        self._unsent += data
        if self.is_read:
            self._take()
            return
        assert len(self._unsent) <= _MOST_UNSENT, f"{len(self._unsent)} bytes pile up that nobody reads"
        if len(self._unsent) > _HIGH and not self._is_full:
            self._is_full = True
            self._protocol.pause_writing()

    def write_eof(self) -> None:
        """See asyncio.WriteTransport."""
        self._ends = True
        self._take_if_read()

    def close(self) -> None:
        """See asyncio.BaseTransport."""
        if not self._is_closing:
            self._is_closing = True
            self._take_if_read()
            if not self._unsent:
                self._loop.call_soon(self._lose)

    def abort(self) -> None:
        """See asyncio.WriteTransport."""
        self._is_closing = True
        self._unsent.clear()
        self._loop.call_soon(self._lose)

    # What its client does.

    def give(self, data: bytes) -> None:
        """Has bytes arrive."""
        self.given += data
        self._unread.append(data)
        self._deliver()

    def end(self) -> None:
        """Has the client send nothing more."""
        if not self.is_lost and not self._is_closing and not self._protocol.eof_received():
            self.close()

    def cut(self) -> None:
        """Has the connection break off."""
        self.abort()

    def read(self, *, really: bool) -> None:
        """Has the client read from now on, or no more."""
        self.is_read = really
        self._take_if_read()

    def _deliver(self) -> None:
        while self._unread and not self._is_paused and not self._is_closing:
            self._protocol.data_received(self._unread.pop(0))

    def _take_if_read(self) -> None:
        if self.is_read:
            self._take()

    def _take(self) -> None:
        self.taken += self._unsent
        self._unsent.clear()
        if self._is_full:
            self._is_full = False
            self._protocol.resume_writing()
        self.has_ended |= self._ends
        if self._is_closing:
            self._loop.call_soon(self._lose)

    def _lose(self) -> None:
        if not self.is_lost:
            self.is_lost = True
            self._protocol.connection_lost(None)

"""One connection: its transport, and the frames in its bytes."""

from __future__ import annotations

import asyncio
from typing import Final, Protocol, cast

from allocation_gateway.wire import frames
from allocation_gateway.wire.errors import Http2ConnectionError
from allocation_gateway.wire.lifetime import Due
from allocation_gateway.wire.session import Session, SessionServer

_PREFACE_SIZE: Final = len(frames.PREFACE)


class ConnectionServer(SessionServer, Protocol):
    """The server, as its connections see it."""

    connections: set[Connection]
    is_stopping: bool


class Connection(asyncio.Protocol):
    """A connection that a client has made.

    Attributes:
        lost: Done when nothing is left of it.
    """

    def __init__(self, server: ConnectionServer) -> None:
        self._server = server
        self._loop = asyncio.get_running_loop()
        self.lost: asyncio.Future[None] = self._loop.create_future()
        self._session = Session(server, self._loop, self._close)
        self._lifetime = self._session.lifetime
        # What came of a frame that is not complete yet.
        self._rest = b""
        self._has_preface = False
        self._is_closing = False
        self._is_paused = False

    # The transport.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self._transport = cast("asyncio.Transport", transport)
        self._server.connections.add(self)
        tls = transport.get_extra_info("ssl_object")
        if self._server.is_stopping or (tls is not None and tls.selected_alpn_protocol() != "h2"):
            self._is_closing = True
            self._transport.abort()
            return
        self._session.sender.open(self._transport)
        self._session.start()

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        del exc
        self._is_closing = True
        self._session.sender.close()
        self._session.end_calls()
        self._server.connections.discard(self)
        self.lost.set_result(None)

    def eof_received(self) -> None:
        """See asyncio.Protocol. Who sends nothing more cannot take part in HTTP/2: the transport closes itself."""

    def pause_writing(self) -> None:
        """See asyncio.Protocol. Nothing is read from a peer that does not read: else its answers would pile up here."""
        self._is_paused = True
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        """See asyncio.Protocol."""
        self._is_paused = False
        if not self._transport.is_closing():
            self._transport.resume_reading()

    # What is received.

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        if self._is_closing:
            return
        self._lifetime.heard(self._loop.time())
        if self._rest:
            data = self._rest + data
        try:
            self._rest = data[self._read(data) :]
        except Http2ConnectionError as error:
            self._session.fail(error)
            self._close()

    def _read(self, data: bytes) -> int:
        """Reads all frames that are complete. Returns up to where."""
        position, end = 0, len(data)
        if not self._has_preface:
            position = self._read_preface(data)
            if not position:
                return 0
        read_header, receive = frames.read_header, self._session.receive
        while end - position >= frames.HEADER_SIZE:
            high, low, kind, flags, stream = read_header(data, position)
            length = high << 8 | low
            if length > frames.MAX_FRAME_SIZE:
                raise Http2ConnectionError(frames.FRAME_SIZE_ERROR, "The frame exceeds SETTINGS_MAX_FRAME_SIZE.")
            start = position + frames.HEADER_SIZE
            following = start + length
            if following > end:
                break
            receive(kind, flags, stream & frames.LARGEST_STREAM, data[start:following])
            position = following
        return position

    def _read_preface(self, data: bytes) -> int:
        if not frames.PREFACE.startswith(data[:_PREFACE_SIZE]):
            raise Http2ConnectionError(frames.PROTOCOL_ERROR, "The connection does not begin with HTTP/2's preface.")
        if len(data) < _PREFACE_SIZE + frames.HEADER_SIZE:
            return 0
        _, _, kind, flags, _ = frames.read_header(data, _PREFACE_SIZE)
        if kind != frames.SETTINGS or flags & frames.ACK:
            raise Http2ConnectionError(frames.PROTOCOL_ERROR, "The preface must be followed by SETTINGS.")
        self._has_preface = True
        return _PREFACE_SIZE

    # How it ends.

    def drain(self) -> None:
        """Has the client make no more calls here, and closes the connection when those that it made have ended."""
        if not self._is_closing:
            self._session.drain()

    def give_up(self) -> list[asyncio.Task[None]]:
        """Ends all calls, and closes the connection. Returns the work that was cancelled."""
        if self._is_closing:
            return []
        tasks = self._session.give_up()
        self._close()
        return tasks

    def abort(self) -> None:
        """Closes the connection without sending what is left."""
        self._transport.abort()

    def _close(self) -> None:
        if self._is_closing:
            return
        self._session.sender.close()
        self._is_closing = True
        self._lifetime.closing(self._loop.time())
        if self._transport.can_write_eof():
            # What the client goes on to send is read, and thrown away: the system would answer it with a reset, which
            # has the client throw away what it has not read yet.
            self._transport.write_eof()
            if self._is_paused:
                self._transport.resume_reading()
        else:
            self._transport.close()

    def tick(self, now: float) -> None:
        """Does what is due: it is called now and then, at least each second."""
        self._session.tick(now)
        match self._lifetime.due(now, self._transport.get_write_buffer_size()):
            case Due.PROBE:
                self._session.probe()
            case Due.DRAIN:
                self.drain()
            case Due.REFUSE_NEW_CALLS:
                self._session.refuse_new_calls()
            case Due.END_CALLS:
                self.give_up()
            case Due.CLOSE:
                self._transport.close()
            case Due.ABORT:
                self.abort()
            case Due.NOTHING:
                pass

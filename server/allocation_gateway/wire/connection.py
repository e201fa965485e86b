"""One connection: its transport, and the frames in its bytes."""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING, Final, Protocol, cast

from allocation_gateway.wire import frames
from allocation_gateway.wire.connection_table import counted_address
from allocation_gateway.wire.errors import Http2ConnectionError
from allocation_gateway.wire.lifetime import Due
from allocation_gateway.wire.session import Session, SessionServer
from allocation_gateway.wire.turns import NEWCOMER, units

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from allocation_gateway.wire.connection_table import ConnectionTable

# Bytes that the loop hands over at once, of which it may have more.
_MUCH: Final = 65_536
# Bytes that wait in a connection and are on no account: a frame of which not all has come.
_LITTLE: Final = 4_096
_PREFACE_SIZE: Final = len(frames.PREFACE)


class ConnectionServer(SessionServer, Protocol):
    """The server, as its connections see it."""

    connections: ConnectionTable
    is_stopping: bool


class Connection(asyncio.Protocol):
    """A connection that a client has made.

    Attributes:
        lost: Done when nothing is left of it.
        address: The IP address of the peer, or the network that counts as one; empty if it has none.
        work_end: See TurnTaker.
    """

    def __init__(self, server: ConnectionServer) -> None:
        self._server = server
        self._loop = asyncio.get_running_loop()
        self.lost: asyncio.Future[None] = self._loop.create_future()
        self.address = ""
        self._session = Session(server, self._loop, self._close, self._evict)
        self._lifetime = self._session.lifetime
        self._turns = server.turns
        self.work_end = NEWCOMER
        # What was received, and up to where it was read: the rest is no complete frame yet, or waits in line.
        self._received = b""
        self._position = 0
        self._buffer = self._session.buffer(_LITTLE)
        self._has_preface = False
        self._is_encrypted = False
        self._is_closing = False
        # Whether the peer does not read; whether more was received than this turn's share, and it waits in line.
        self._is_paused = False
        self._is_in_line = False

    # The transport.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self._transport = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername")
        self.address = counted_address(str(peer[0])) if peer else ""
        tls = transport.get_extra_info("ssl_object")
        is_spoken = tls is None or tls.selected_alpn_protocol() == "h2"
        if self._server.is_stopping or not is_spoken or not self._server.connections.admit(self):
            self._is_closing = True
            self._transport.abort()
            return
        if tls is not None:
            self._is_encrypted = True
            self._server.memory.count_tls(1)
            self._session.auth_context = _auth_context(tls)
        self._session.sender.open(self._transport)
        self._session.start()

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        del exc
        self._is_closing = True
        self._session.sender.close()
        self._session.end_calls()
        self._session.let_go()
        self._server.connections.discard(self)
        if self._is_encrypted:
            self._server.memory.count_tls(-1)
        self.lost.set_result(None)

    def eof_received(self) -> None:
        """See asyncio.Protocol. Who sends nothing more cannot take part in HTTP/2: the transport closes itself."""

    def pause_writing(self) -> None:
        """See asyncio.Protocol. Nothing is read from a peer that does not read: else its answers would pile up here."""
        self._is_paused = True
        self._session.sender.pause()
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        """See asyncio.Protocol."""
        self._is_paused = False
        if self._is_closing:
            return
        self._session.sender.resume()
        if self._is_in_line:
            self._turns.line_up(self)
        else:
            self._transport.resume_reading()

    # What is received.

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        if self._is_closing:
            return
        self._lifetime.heard(self._loop.time())
        if self._position < len(self._received):
            data = self._received[self._position :] + data
        self._received, self._position = data, 0
        if not self._is_in_line:
            # A frame that costs more than the share is for this connection's turn in line: many connections may send
            # one at once.
            self._turns.worked(self, self._work(self._turns.share(), may_exceed=False))
            if len(data) >= _MUCH:
                self._wait()  # more may be there if so much came at once: it is for another turn
            if self._is_in_line:
                self._turns.line_up(self)  # only now: its place goes by what it has had just now
        if self._received or self._buffer.charged:
            self._buffer.hold(len(self._received))

    def take_turn(self, share: int) -> int:
        """See TurnTaker."""
        if self._is_closing or self._is_paused:
            return 0
        self._is_in_line = False
        self._lifetime.heard(self._loop.time())
        done = self._work(share, may_exceed=True)
        if self._is_in_line:
            self._turns.line_up(self)
        if self._received or self._buffer.charged:
            self._buffer.hold(len(self._received))
        self._read_on()
        return done

    def _read_on(self) -> None:
        """Reads what the peer sends, unless something speaks against it."""
        if not (self._is_in_line or self._is_closing or self._is_paused):
            self._transport.resume_reading()

    def _wait(self) -> None:
        """Reads no more until it is this connection's turn, for which it is still to be lined up."""
        if self._is_closing or self._is_in_line:
            return
        self._is_in_line = True
        self._transport.pause_reading()

    def _work(self, share: int, *, may_exceed: bool) -> int:
        """Reads the frames that are complete, as many as the share is for. Returns how many units that took.

        Args:
            share: The units.
            may_exceed: Whether the last frame may cost more than what is left of them, rather than wait.
        """
        try:
            return self._read(share, may_exceed=may_exceed)
        except Http2ConnectionError as error:
            self._session.fail(error)
            self._close()
            return share

    def _read(self, share: int, *, may_exceed: bool) -> int:
        data, position, session = self._received, self._position, self._session
        end, left = len(data), share
        if not self._has_preface:
            position = self._read_preface(data)
            if not position:
                return 0
        read_header, receive = frames.read_header, session.receive
        while end - position >= frames.HEADER_SIZE:
            high, low, kind, flags, stream = read_header(data, position)
            length = high << 8 | low
            if length > frames.MAX_FRAME_SIZE:
                raise Http2ConnectionError(frames.FRAME_SIZE_ERROR, "The frame exceeds SETTINGS_MAX_FRAME_SIZE.")
            start = position + frames.HEADER_SIZE
            following = start + length
            if following > end:
                break
            cost = units(kind, flags, length)
            if kind == frames.CONTINUATION and flags & frames.END_HEADERS:
                cost += session.field_block_units()  # it is decoded as a whole, and may be a whole request
            if cost > left and (left <= 0 or not may_exceed):
                self._wait()
                break
            receive(kind, flags, stream & frames.LARGEST_STREAM, data[start:following])
            position = following
            left -= cost
            if session.extra_work:
                left -= session.extra_work
                session.extra_work = 0
        if self._is_in_line:
            self._position = position
        else:
            self._received, self._position = data[position:], 0
        return share - left

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

    @property
    def has_called(self) -> bool:
        """Whether its client has made a call."""
        return self._session.has_called

    def stop(self) -> None:
        """Tells the client to make no more calls here, and closes the connection when those that it made have ended.

        It is for the server to say how long they have.
        """
        if not self._is_closing:
            self._session.drain(is_stopping=True)

    def give_up(self) -> list[asyncio.Task[None]]:
        """Ends all calls, and closes the connection when that is done. Returns the work that is cancelled by that."""
        return [] if self._is_closing else self._session.give_up()

    def _evict(self) -> None:
        if not self._is_closing:
            text = "The server holds too many bytes, and most of them for this connection."
            self._session.fail(Http2ConnectionError(frames.ENHANCE_YOUR_CALM, text))
            self._close()
            if self._transport.get_write_buffer_size() > _MUCH:
                self.abort()  # who has not read all that reads no reason either, and it would stay meanwhile

    def abort(self) -> None:
        """Closes the connection without sending what is left."""
        self._transport.abort()

    def _close(self) -> None:
        if self._is_closing:
            return
        self._session.sender.close()
        self._is_closing = True
        # Of what was received, nothing is read any more, and the peer may take its time to close its side.
        self._received, self._position = b"", 0
        self._buffer.hold(0)
        self._lifetime.closing(self._loop.time())
        # What the client goes on to send is read, and thrown away: the system would answer it with a reset, which has
        # the client throw away what it has not read yet.
        self._transport.write_eof()
        if self._is_paused or self._is_in_line:
            self._transport.resume_reading()

    def tick(self, now: float) -> None:
        """Does what is due: it is called now and then, at least each second."""
        self._session.tick(now)
        match self._lifetime.due(now, self._transport.get_write_buffer_size(), has_called=self.has_called):
            case Due.PROBE:
                self._session.probe()
            case Due.DRAIN:
                self._session.drain()
            case Due.REFUSE_NEW_CALLS:
                self._session.refuse_new_calls()
            case Due.END_CALLS:
                self.give_up()
            case Due.CLOSE:
                self._transport.close()  # although the peer has not closed its side: what there is was sent
            case Due.ABORT:
                self.abort()
            case Due.NOTHING:
                pass


def _auth_context(tls: ssl.SSLObject) -> Mapping[str, Sequence[bytes]]:
    """Returns what grpc.aio tells of a peer with a certificate, by the name that it has there."""
    certificate = tls.getpeercert(binary_form=True)
    return {"x509_pem_cert": (ssl.DER_cert_to_PEM_cert(certificate).encode(),)} if certificate else {}

"""A transport with TLS: a connection has it above the one of its socket.

The event loop's own decrypts whatever has come in one turn, and has no bound for what brings no data.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from allocation_gateway.wire.tls_session import LARGEST_PLAINTEXT, TlsFloodError, TlsSession

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_log = logging.getLogger(__name__)

READ_SIZE: Final = 65_536
"""Bytes that are read at once. A connection keeps those that wait for another turn, and reads no more meanwhile."""
# Seconds for a client whose handshake has failed to read why, and to close its side.
_FAREWELL_TIME: Final = 1.0


class Turn(Protocol):
    """Waits for the turn in which a step of a handshake is computed. See HandshakeQueue.turn()."""

    def __call__(self, *, has_begun: bool) -> Awaitable[None]:
        """Returns what ends when the turn has come."""


class TlsTransport(asyncio.Transport, asyncio.BufferedProtocol):
    """A transport for the protocol of a connection, and the protocol of the transport below.

    The protocol learns of it when the handshake has ended. There is no half of a connection: what comes after
    write_eof() is read and thrown away.
    """

    def __init__(self, context: ssl.SSLContext, buffer: memoryview, make: Callable[[], asyncio.Protocol]) -> None:
        """Starts without a connection.

        Args:
            context: What a handshake needs.
            buffer: READ_SIZE bytes that are read into. All connections of an event loop may have the same.
            make: Makes the protocol.
        """
        super().__init__()
        self._loop = asyncio.get_running_loop()
        self._session = TlsSession(context)
        self._buffer = buffer
        self._make = make
        self._protocol: asyncio.Protocol | None = None
        # Whether nothing is sent any more, and what comes is thrown away; and whether the connection is gone.
        self._is_closing = False
        self._lost: asyncio.Future[None] = self._loop.create_future()
        # During a handshake: done as soon as there is something to be done.
        self._news: asyncio.Future[None] = self._loop.create_future()
        self._is_open = False
        # Whether the protocol wants nothing for now, whether what has come waits for another turn, and whether that
        # turn is coming.
        self._is_paused = False
        self._is_behind = False
        self._is_scheduled = False

    # The handshake.

    async def shake_hands(self, turn: Turn) -> None:
        """Makes the handshake, and the protocol of the connection if that succeeds. It is over when this returns.

        Args:
            turn: Waits for the turn in which a step of it is computed.
        """
        has_begun = is_served = False
        try:
            while True:
                await self._news
                if not self._is_closing:
                    await turn(has_begun=has_begun)
                if self._is_closing:
                    return
                has_begun = True
                is_done = self._session.shake_hands()
                self._flush()
                if is_done:
                    self._open()
                    is_served = True
                    return
                if not self._session.has_record:
                    self._news = self._loop.create_future()
                    self._below.resume_reading()
        except (ssl.SSLError, TlsFloodError) as error:
            _log.debug("a handshake of TLS failed: %s", error)
            await self._say_farewell()
        finally:
            if not is_served:
                self.abort()

    async def _say_farewell(self) -> None:
        """Tells the client why, and waits until it has closed: what it sent would else have the system drop that."""
        self._flush()
        self.write_eof()
        with suppress(TimeoutError):
            async with asyncio.timeout(_FAREWELL_TIME):
                await self._lost

    def _open(self) -> None:
        self._is_open = True
        self._protocol = self._make()
        self._protocol.connection_made(self)
        if not self._is_closing:
            self._wait()
            self._schedule()

    # What the transport below tells.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.BufferedProtocol."""
        self._below = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.BufferedProtocol."""
        self._is_closing = True
        protocol, self._protocol = self._protocol, None
        self._lost.set_result(None)
        self._tell_news()
        if protocol is not None:
            protocol.connection_lost(exc)

    def eof_received(self) -> None:
        """See asyncio.BufferedProtocol. It may have come before its time: who sends nothing more is gone."""
        self._end()

    def pause_writing(self) -> None:
        """See asyncio.BufferedProtocol."""
        if self._protocol is not None:
            self._protocol.pause_writing()

    def resume_writing(self) -> None:
        """See asyncio.BufferedProtocol."""
        if self._protocol is not None:
            self._protocol.resume_writing()

    def get_buffer(self, sizehint: int) -> memoryview:
        """See asyncio.BufferedProtocol."""
        del sizehint
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """See asyncio.BufferedProtocol."""
        if self._is_closing:
            return
        data = self._buffer[:nbytes]
        if not self._is_open:
            self._session.take(data)
            if self._session.has_record:
                self._below.pause_reading()
                self._tell_news()
            return
        try:
            found = self._session.receive(data)
        except (ssl.SSLError, TlsFloodError) as error:
            self._fail(error)
            return
        # More may be there if so much came at once: it is for another turn.
        self._pass_on(found, is_behind=self._session.has_record or nbytes == READ_SIZE)

    def _tell_news(self) -> None:
        if not self._news.done():
            self._news.set_result(None)

    # What the peer has sent.

    def _pass_on(self, found: bytes, *, is_behind: bool) -> None:
        """Gives the protocol what was decrypted, and goes on in another turn if something is left."""
        if is_behind:
            self._wait()
        if found:
            if self._protocol is not None:
                self._protocol.data_received(found)
        else:
            self._flush()  # OpenSSL may have an answer to what was no data
        if self._session.is_ended:
            self.close()
        elif is_behind:
            self._schedule()

    def _wait(self) -> None:
        """Reads no more until a turn that is still to be scheduled."""
        if not self._is_behind:
            self._is_behind = True
            self._below.pause_reading()

    def _schedule(self) -> None:
        if self._is_behind and not (self._is_scheduled or self._is_paused or self._is_closing):
            self._is_scheduled = True
            self._loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        """Goes on with what has come, unless the protocol wants nothing for now."""
        self._is_scheduled = False
        if self._is_closing or self._is_paused:
            return
        try:
            found = self._session.read()
        except (ssl.SSLError, TlsFloodError) as error:
            self._fail(error)
            return
        is_behind = self._session.has_record
        self._pass_on(found, is_behind=is_behind)
        if not is_behind:
            self._is_behind = False
            self._read_on()

    def _read_on(self) -> None:
        if not (self._is_behind or self._is_paused or self._is_closing):
            self._below.resume_reading()

    def pause_reading(self) -> None:
        """See asyncio.Transport."""
        if not (self._is_paused or self._is_closing):
            self._is_paused = True
            self._below.pause_reading()

    def resume_reading(self) -> None:
        """See asyncio.Transport."""
        self._is_paused = False
        self._schedule()
        self._read_on()

    # What is sent.

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """See asyncio.Transport."""
        if self._is_closing or not data:
            return
        below, encrypt = self._below, self._session.encrypt
        try:
            if len(data) <= LARGEST_PLAINTEXT:
                below.write(encrypt(data))
                return
            view = memoryview(data)
            for at in range(0, len(data), LARGEST_PLAINTEXT):
                below.write(encrypt(view[at : at + LARGEST_PLAINTEXT]))
        except ssl.SSLError as error:
            self._fail(error)

    def _flush(self) -> None:
        if encrypted := self._session.encrypted():
            self._below.write(encrypted)

    def get_write_buffer_size(self) -> int:
        """See asyncio.Transport. All of it is encrypted: nothing waits here."""
        return self._below.get_write_buffer_size()

    # How it ends.

    def write_eof(self) -> None:
        """Sends what there is, and says that nothing follows. What comes from now on is thrown away."""
        if not self._is_closing:
            self._end()
            self._below.write_eof()
            self._below.resume_reading()

    def close(self) -> None:
        """See asyncio.Transport."""
        self._end()
        self._below.close()

    def abort(self) -> None:
        """See asyncio.Transport."""
        self._is_closing = True
        self._below.abort()

    def is_closing(self) -> bool:
        """See asyncio.Transport."""
        return self._is_closing

    def _end(self) -> None:
        """Says that nothing follows, if nobody has yet."""
        if not self._is_closing:
            self._is_closing = True
            if self._is_open and (farewell := self._session.end()):
                self._below.write(farewell)

    def _fail(self, error: Exception) -> None:
        """Closes the connection, with what OpenSSL has to say of the reason."""
        _log.debug("a connection with TLS is closed: %s", error)
        if not self._is_closing:
            self._flush()
            self.close()

    # What is known of it.

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """See asyncio.BaseTransport."""
        if name == "ssl_object":
            return self._session.ssl_object
        return self._below.get_extra_info(name, default)

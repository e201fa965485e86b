"""Takes connections with TLS, and counts them from their first moment.

What asyncio accepts by itself it tells nobody of before the handshake has ended, so that no limit of connections would
hold for those who never end it. And it computes what the server says in a handshake as soon as it can: of many that
greet together, each has to wait for its turn, and for another one with whatever it says next.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final

from allocation_gateway.wire.connection_table import counted_address
from allocation_gateway.wire.lifetime import PREFACE_TIME
from allocation_gateway.wire.tls import READ_SIZE, TlsTransport

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from allocation_gateway.wire.connection_table import ConnectionTable
    from allocation_gateway.wire.handshakes import HandshakeQueue

_log = logging.getLogger(__name__)

# Connections that are accepted in a turn of the loop: each of them makes work at once.
_AT_ONCE: Final = 16
# Seconds until connections are accepted again where the system has no more of what they need.
_RECOVERY: Final = 1.0
_EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class TlsAcceptor:
    """Accepts connections on one socket."""

    def __init__(
        self,
        bound: socket.socket,
        tls: ssl.SSLContext,
        connections: ConnectionTable,
        queue: HandshakeQueue,
        make: Callable[[], asyncio.Protocol],
    ) -> None:
        """Begins to accept, in the loop that runs.

        Args:
            bound: The socket, which listens.
            tls: What a handshake needs.
            connections: Says how many there may be.
            queue: Says when a step of a handshake is computed.
            make: Makes the protocol of a connection.
        """
        self._loop = asyncio.get_running_loop()
        self._bound = bound
        self._tls = tls
        self._connections = connections
        self._queue = queue
        self._make = make
        # What comes is there for a moment before it is copied or decrypted: a place for all connections.
        self._buffer = memoryview(bytearray(READ_SIZE))
        self._handshakes: set[asyncio.Task[None]] = set()
        self._is_closed = False
        bound.setblocking(False)
        self._begin()

    def _begin(self) -> None:
        if not self._is_closed:
            self._loop.add_reader(self._bound.fileno(), self._accept)

    def close(self) -> None:
        """Accepts no more, and gives up the handshakes that have not ended."""
        if self._is_closed:
            return
        self._is_closed = True
        self._loop.remove_reader(self._bound.fileno())
        self._bound.close()
        for handshake in self._handshakes:
            handshake.cancel()

    def _accept(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                accepted, peer = self._bound.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                if error.errno in _EXHAUSTED:
                    _log.warning("no connection can be accepted for now: %s", error.strerror)
                    self._loop.remove_reader(self._bound.fileno())
                    self._loop.call_later(_RECOVERY, self._begin)
                    return
                continue  # that of one which has gone already
            self._take(accepted, str(peer[0]))

    def _take(self, accepted: socket.socket, address: str) -> None:
        if not self._connections.greet(address):
            accepted.close()
            return
        handshake = self._loop.create_task(self._handshake(accepted, address))
        self._handshakes.add(handshake)
        handshake.add_done_callback(self._handshakes.discard)

    async def _handshake(self, accepted: socket.socket, address: str) -> None:
        """Makes the handshake. Whoever does not end that, or fails at it, is gone."""
        is_the_transports = False
        try:
            accepted.setblocking(False)
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with suppress(OSError, asyncio.TimeoutError):
                async with asyncio.timeout(PREFACE_TIME):
                    is_the_transports = True
                    _, transport = await self._loop.connect_accepted_socket(self._transport, accepted)
                    await transport.shake_hands(partial(self._queue.turn, counted_address(address)))
        finally:
            self._connections.greeted(address)
            if not is_the_transports:
                accepted.close()

    def _transport(self) -> TlsTransport:
        return TlsTransport(self._tls, self._buffer, self._make)

"""The server: its methods, the sockets that it listens on, and how it stops."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final

from allocation_gateway.wire.acceptor import TlsAcceptor
from allocation_gateway.wire.connection import Connection
from allocation_gateway.wire.connection_table import ConnectionTable
from allocation_gateway.wire.handshakes import HandshakeQueue
from allocation_gateway.wire.memory import MemoryPool
from allocation_gateway.wire.turns import Turns

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Iterable, Mapping

    import grpc

    from allocation_gateway.wire.limits import Limits

_log = logging.getLogger(__name__)

_BACKLOG: Final = 1024
_LONGEST_TICK: Final = 1.0
# A time is kept to within such a part of it.
_PRECISION: Final = 4
# Seconds for the last bytes of connections that were closed.
_LAST_BYTES_TIME: Final = 1.0


class Server:
    """A server of gRPC. It takes the handlers that generated code makes, whose methods are coroutines.

    It has to be made where an event loop runs.

    Attributes:
        limits: What it puts up with.
        methods: Its handlers, by the paths of their methods.
        connections: Those that are open.
        memory: The account of the bytes that are held for them.
        turns: Shares the turns of the event loop out to them.
        is_stopping: Whether it takes no more of them.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.methods: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}
        self.connections = ConnectionTable(limits)
        self.memory = MemoryPool(limits.held, limits.message)
        self.turns = Turns(asyncio.get_running_loop())
        self._handshakes = HandshakeQueue(asyncio.get_running_loop())
        self.is_stopping = False
        self._listening: list[tuple[socket.socket, ssl.SSLContext | None]] = []
        self._servers: list[asyncio.Server | TlsAcceptor] = []
        self._ticker: asyncio.Task[None] | None = None

    def add_generic_rpc_handlers(self, handlers: Iterable[Any]) -> None:
        """Is there for generated code, which calls it beside add_registered_method_handlers()."""

    def add_registered_method_handlers(
        self, service: str, handlers: Mapping[str, grpc.RpcMethodHandler[Any, Any]]
    ) -> None:
        """Adds the methods of a service, by their names."""
        for name, handler in handlers.items():
            self.methods[f"/{service}/{name}"] = handler

    def listen(self, bound: socket.socket, tls: ssl.SSLContext | None) -> None:
        """Will take connections from a socket that is bound, with TLS or in plain text."""
        self._listening.append((bound, tls))

    async def start(self) -> None:
        """Begins to take connections.

        Raises:
            OSError: Another process listens on one of its addresses.
        """
        loop = asyncio.get_running_loop()
        for bound, tls in self._listening:
            bound.listen(_BACKLOG)  # uvloop would not tell that it cannot
            if tls is None:
                self._servers.append(await loop.create_server(self._connection, sock=bound, backlog=_BACKLOG))
            else:
                self._servers.append(TlsAcceptor(bound, tls, self.connections, self._handshakes, self._connection))
        self._ticker = asyncio.create_task(self._tick())

    def _connection(self) -> Connection:
        return Connection(self)

    async def _tick(self) -> None:
        limits = self.limits
        times = (limits.keepalive_time, limits.keepalive_timeout, limits.age, limits.age_grace)
        pause = min(_LONGEST_TICK, *(seconds / _PRECISION for seconds in times))
        clock = asyncio.get_running_loop().time
        refused = 0
        while True:
            await asyncio.sleep(pause)
            if self.connections.refused > refused:
                _log.warning(
                    "%d connections were refused or closed: a limit of connections was reached",
                    self.connections.refused - refused,
                )
                refused = self.connections.refused
            for connection in self.connections:
                try:
                    connection.tick(clock())
                except Exception:  # noqa: BLE001 - a defect with one of them must not keep the others from being checked
                    _log.exception("the periodic check of a connection failed: the connection was aborted")
                    connection.abort()

    async def stop(self, grace: float | None) -> None:
        """Takes no more connections and calls, and gives those there are a bound in seconds to end by themselves."""
        clock = asyncio.get_running_loop().time
        end = clock() + (grace or 0.0)
        self.is_stopping = True
        for server in self._servers:
            server.close()
        for connection in self.connections:
            connection.stop()
        await self._emptied(end)
        tasks = [task for connection in self.connections for task in connection.give_up()]
        if tasks:
            await asyncio.wait(tasks, timeout=_LAST_BYTES_TIME)
        await self._emptied(clock() + _LAST_BYTES_TIME)
        for connection in self.connections:
            connection.abort()
        if self._ticker is not None:
            self._ticker.cancel()

    async def _emptied(self, end: float) -> None:
        """Waits until no connection is left, or a moment by the event loop's clock has come."""
        while self.connections:
            left = end - asyncio.get_running_loop().time()
            if left <= 0:
                return
            lost = [connection.lost for connection in self.connections]
            await asyncio.wait(lost, timeout=left)

"""The engine that the gateway has of its own: HTTP/1.1 over kept-alive connections, without proxies.

It does less than a library, and that is its point: one write and one future for each request, no task, no timer, no
URL. docs/decisions/0001-http-engine.md tells what was compared.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections import deque
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from aiohappyeyeballs import start_connection

from allocation_gateway.upstream.engines.connection import UpstreamConnection
from allocation_gateway.upstream.engines.trust import client_context
from allocation_gateway.upstream.http import NoAnswerError

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping, Sequence

    from allocation_gateway.upstream.http import Answer, Attempt, Target

# Shorter than the idle time-out of common load balancers, so that a write seldom meets a connection being closed.
_KEEPALIVE_EXPIRY: Final = 15.0
# Seconds after which a further address of upstream's is tried beside one that does not answer, as RFC 8305 advises.
_NEXT_ADDRESS: Final = 0.25
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_WITHOUT_BODY: Final = frozenset({"GET", "HEAD", "DELETE"})
_PATH: Final = re.compile(r"[!-~]+")
_HEADER_NAME: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE: Final = re.compile(rb"[\t -~\x80-\xff]*")


class DirectHttpEngine:
    """Connections to one upstream, the last used first, so that those that are not needed grow old and go."""

    def __init__(self, target: Target) -> None:
        parts = urlsplit(target.base_url)
        default_port = _DEFAULT_PORTS[parts.scheme]
        self._host = parts.hostname or ""
        self._port = parts.port or default_port
        self._tls: ssl.SSLContext | None = client_context() if parts.scheme == "https" else None
        self._prefix = b" " + parts.path.encode("ascii")
        host = f"[{self._host}]" if ":" in self._host else self._host
        named = host if self._port == default_port else f"{host}:{self._port}"
        self._named = named.encode("ascii")
        self.use_headers(target.headers)
        self._connect_timeout = target.connect_timeout
        self._max_answer_bytes = target.max_answer_bytes
        self._places = self._free_places = target.max_connections
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._idle: deque[UpstreamConnection] = deque()
        self._connections: set[UpstreamConnection] = set()
        self._sweeping: asyncio.TimerHandle | None = None
        self._is_closed = False

    def use_headers(self, headers: Sequence[tuple[str, str]]) -> None:
        """See HttpEngine."""
        own = [(name.encode("ascii"), value.encode("ascii")) for name, value in headers]
        self._head = b" HTTP/1.1\r\n" + _lines([(b"host", self._named), *own])

    async def exchange(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None,
        headers: Sequence[tuple[bytes, bytes]],
        attempt: Attempt,
    ) -> Answer:
        """See HttpEngine."""
        request = self._request(method, path, body, headers)
        if self._free_places:
            self._free_places -= 1
        else:
            await self._place()
        connection: UpstreamConnection | None = None
        try:
            connection = self._kept_alive() or await self._connected()
            attempt.begin()
            return await connection.exchange(method, request)
        finally:
            if connection is not None:
                self._put_aside(connection)
            self._free_place()

    def _request(self, method: str, path: str, body: bytes | None, headers: Sequence[tuple[bytes, bytes]]) -> bytes:
        if not _PATH.fullmatch(path):
            raise ValueError("a path holds characters that have to be encoded")
        length = b"" if body is None and method in _WITHOUT_BODY else b"content-length: %d\r\n" % len(body or b"")
        return b"".join(
            (method.encode(), self._prefix, path.encode(), self._head, _lines(headers), length, b"\r\n", body or b"")
        )

    async def _place(self) -> None:
        """Waits for one of the places for a connection, in turn."""
        if self._is_closed:
            raise _closed()
        waiting = asyncio.get_running_loop().create_future()
        self._waiting.append(waiting)
        try:
            await waiting
        except asyncio.CancelledError:
            if waiting in self._waiting:
                self._waiting.remove(waiting)
            elif not waiting.cancelled() and waiting.exception() is None:
                self._free_place()  # it was given the place, and does not need it any more
            raise

    def _free_place(self) -> None:
        while self._waiting:
            waiting = self._waiting.popleft()
            if not waiting.done():
                waiting.set_result(None)
                return
        self._free_places += 1

    def _kept_alive(self) -> UpstreamConnection | None:
        """Returns the connection that was idle for the shortest time, if upstream has not closed it meanwhile."""
        while self._idle:
            connection = self._idle.pop()
            if connection.is_fit():
                return connection
            connection.abort()
        return None

    async def _connected(self) -> UpstreamConnection:
        if self._is_closed:
            raise _closed()
        try:
            async with asyncio.timeout(self._connect_timeout):
                connection = await self._connect()
        except TimeoutError as error:
            raise NoAnswerError("connecting took too long") from error
        except (OSError, UnicodeError) as error:  # of which the latter is a name that cannot be one
            raise NoAnswerError("no connection could be made") from error
        if self._is_closed:
            connection.abort()
            raise _closed()
        return connection

    async def _connect(self) -> UpstreamConnection:
        loop = asyncio.get_running_loop()
        addresses = await loop.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        made = await start_connection(addresses, happy_eyeballs_delay=_NEXT_ADDRESS, interleave=1, loop=loop)
        _, connection = await loop.create_connection(
            lambda: UpstreamConnection(loop, self._max_answer_bytes, on_lost=self._connections.discard),
            sock=made,
            ssl=self._tls,
            server_hostname=self._host if self._tls else None,
        )
        self._connections.add(connection)
        return connection

    def _put_aside(self, connection: UpstreamConnection) -> None:
        """Keeps a connection for the next request, if it is fit for one."""
        if not connection.is_open:
            return
        loop = asyncio.get_running_loop()
        connection.idle_since = loop.time()
        self._idle.append(connection)
        if self._sweeping is None:
            self._sweeping = loop.call_later(_KEEPALIVE_EXPIRY, self._sweep)

    def _sweep(self) -> None:
        """Closes what was idle for too long, the oldest first, and comes back when the next one is due."""
        loop = asyncio.get_running_loop()
        due = loop.time() - _KEEPALIVE_EXPIRY
        while self._idle and self._idle[0].idle_since <= due:
            self._idle.popleft().abort()
        self._sweeping = None
        if self._idle:
            self._sweeping = loop.call_at(self._idle[0].idle_since + _KEEPALIVE_EXPIRY, self._sweep)

    def connections(self) -> Mapping[str, int]:
        """See HttpEngine. One that is being made is active."""
        idle = sum(connection.is_open for connection in list(self._idle))
        return {"active": self._places - self._free_places, "idle": idle}

    async def close(self) -> None:
        """See HttpEngine."""
        self._is_closed = True
        if self._sweeping is not None:
            self._sweeping.cancel()
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_exception(_closed())
        self._waiting.clear()
        self._idle.clear()
        connections = list(self._connections)
        for connection in connections:
            connection.abort()
        for connection in connections:
            await connection.lost()


def _closed() -> NoAnswerError:
    error = NoAnswerError("the connections were closed")
    error.__cause__ = ConnectionAbortedError("closed by this side")
    return error


def _lines(headers: Sequence[tuple[bytes, bytes]]) -> bytes:
    for name, value in headers:
        if not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(value):
            raise ValueError("a header holds characters that cannot be sent")
    return b"".join(b"%s: %s\r\n" % header for header in headers)

"""The other end of connections, played by a test byte by byte in its own event loop."""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final, cast

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Awaitable, Callable

# Shorter than anything after which the other side would go by itself.
TIMEOUT: Final = 14.0
FAREWELL: Final = 0.5
OK: Final = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


class Visit:
    """One connection.

    Attributes:
        requests: What was read on it, whole requests only.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.requests: list[bytes] = []

    @property
    def is_over(self) -> bool:
        """Whether a side has closed it."""
        return self._writer.is_closing() or self._reader.at_eof() or self._reader.exception() is not None

    async def request(self) -> bytes:
        """Returns the next request: its head, and its body if it has a length."""
        async with asyncio.timeout(TIMEOUT):
            head = await self._reader.readuntil(b"\r\n\r\n")
            _, _, rest = head.lower().partition(b"\r\ncontent-length:")
            body = await self._reader.readexactly(int(rest.partition(b"\r\n")[0] or 0))
        self.requests.append(head + body)
        return head + body

    async def head(self) -> bytes:
        """Returns the head of the next request, and leaves its body unread."""
        async with asyncio.timeout(TIMEOUT):
            return await self._reader.readuntil(b"\r\n\r\n")

    async def send(self, *parts: bytes) -> None:
        """Sends bytes, each part on its own as far as that can be had."""
        for part in parts:
            self._writer.write(part)
            await self._writer.drain()
            if len(parts) > 1:
                await asyncio.sleep(0)

    async def answer(self, data: bytes = OK) -> bytes:
        """Reads a request, and answers it. Returns the request."""
        request = await self.request()
        await self.send(data)
        return request

    def half_close(self) -> None:
        """Ends this direction only."""
        self._writer.write_eof()

    async def close(self) -> None:
        """Closes the connection. Under TLS the other side is not waited for any longer than it takes to tell it."""
        self._writer.close()
        try:
            async with asyncio.timeout(FAREWELL):
                with suppress(OSError):
                    await self._writer.wait_closed()
        except TimeoutError:
            cast(asyncio.Transport, self._writer.transport).abort()

    def reset(self) -> None:
        """Breaks the connection off."""
        made: socket.socket = self._writer.get_extra_info("socket")
        made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        cast(asyncio.Transport, self._writer.transport).abort()

    async def gone(self) -> bytes:
        """Waits until the other side has closed the connection. Returns what came before."""
        rest = b""
        async with asyncio.timeout(TIMEOUT):
            with suppress(OSError):
                while part := await self._reader.read(65536):
                    rest += part
        return rest


class Peer:
    """A server whose every connection is a visit.

    Attributes:
        url: Its base URL, with a path.
        visits: All connections so far, in their order.
        most_connections: How many there were at most.
    """

    def __init__(self) -> None:
        self.url = ""
        self.port = 0
        self.visits: list[Visit] = []
        self.most_connections = 0
        self._new: asyncio.Queue[Visit] = asyncio.Queue()
        self._serving: Callable[[Visit], Awaitable[None]] | None = None
        self._release = asyncio.Event()

    @property
    def open_connections(self) -> int:
        """How many connections neither side has closed."""
        return sum(not visit.is_over for visit in self.visits)

    @property
    def requests(self) -> list[bytes]:
        """All requests so far that were read."""
        return [request for visit in self.visits for request in visit.requests]

    async def visit(self) -> Visit:
        """Returns the next connection that was not looked at, and waits for one."""
        async with asyncio.timeout(TIMEOUT):
            return await self._new.get()

    def serve(self, conversation: Callable[[Visit], Awaitable[None]]) -> None:
        """Has every further connection served by a function."""
        self._serving = conversation

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Takes a connection, and keeps it until the test is over."""
        visit = Visit(reader, writer)
        self.visits.append(visit)
        self.most_connections = max(self.most_connections, self.open_connections)
        try:
            if self._serving is None:
                self._new.put_nowait(visit)
                await self._release.wait()
            else:
                with suppress(OSError, asyncio.IncompleteReadError, TimeoutError):
                    await self._serving(visit)
        finally:
            cast(asyncio.Transport, writer.transport).abort()

    def release(self) -> None:
        """Lets go of all connections."""
        self._release.set()


async def answering(visit: Visit) -> None:
    """Serves a connection for ever."""
    while True:
        await visit.answer()


@asynccontextmanager
async def running_peer(tls: ssl.SSLContext | None = None, *, host: str = "127.0.0.1") -> AsyncIterator[Peer]:
    """Runs a peer on a free port of a loopback address."""
    peer = Peer()
    tasks: set[asyncio.Task[None]] = set()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(peer.connected(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(connected, host, 0, ssl=tls, limit=2**24, backlog=1024)
    peer.port = server.sockets[0].getsockname()[1]
    peer.url = f"{'https' if tls else 'http'}://{host}:{peer.port}/pro"
    try:
        yield peer
    finally:
        peer.release()
        server.close()
        # A connection that was accepted just before takes some turns of the loop to become a task, and then to close.
        await _turns()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await _turns()
        await server.wait_closed()


async def _turns(count: int = 8) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def until(condition: Callable[[], bool]) -> None:
    """Waits until something holds, within a bound."""
    async with asyncio.timeout(TIMEOUT):
        while not condition():  # noqa: ASYNC110 - what is waited for is the other side's doing
            await asyncio.sleep(0.002)

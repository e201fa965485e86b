"""The wire between the gateways and upstream: a proxy that does to requests what networks and machines do.

| fault | what happens |
|---|---|
| `latency` | the request or its answer is late |
| `reset before` | the request is taken, not passed on, and its connection is reset |
| `reset after` | the request has its effect, and later its connection is reset |
| `late effect` | its connection is reset, and later the request is passed on |
| `half a response` | the request has its effect, and later half of the answer arrives |
| `wrong status` | an error page arrives instead of the API's answer, in half of the cases later than the effect |
| `garbage` | the request has its effect, and later an answer arrives with status 200 and a body that is no JSON |
| `drip` | the head of the answer arrives at once, and its body slowly |
| `hang` | the request has its effect, and nothing arrives as long as the gateway waits |

*Later* is from 0.01 seconds to beyond the gateway's time-out, of each order of magnitude alike. But a request is passed
on before the end of the settle time or never, however slow the machine: the promise rests on that.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple, Self

from chaos.history import Incident, Request
from chaos.plan import REFERENCE, spread
from chaos.sockets import reset, steady_port

if TYPE_CHECKING:
    from types import TracebackType

    from chaos.history import History
    from chaos.plan import Plan, Strike

KINDS: Final = (
    "latency",
    "reset before",
    "reset after",
    "late effect",
    "half a response",
    "wrong status",
    "garbage",
    "drip",
    "hang",
)
# The part of the settle time after which a request that is held up is passed on at the latest.
_LATEST_EFFECT: Final = 0.9
# If the machine is too slow for that, the part after which it is dropped.
_DROPPED_AFTER: Final = 0.95
# Seconds by which an answer is late at least, and how much longer than the gateway's time-out it may be late.
_SHORTEST: Final = 0.01
_LONGEST: Final = 1.5
# The pieces in which a body arrives slowly.
_DRIPS: Final = 8
_PAGE: Final = b"<html><body>An error occurred.</body></html>"
_LIMIT: Final = 1_048_576


class _Message(NamedTuple):
    line: str
    head: bytes
    body: bytes

    def header(self, name: str) -> str:
        found = re.search(rb"(?im)^" + name.encode() + rb":[ \t]*([^\r\n]*)", self.head)
        return found.group(1).decode("latin-1") if found else ""


async def _message(reader: asyncio.StreamReader) -> _Message:
    """Reads a request or an answer as a whole.

    Raises:
        asyncio.IncompleteReadError: The connection ended before.
    """
    head = await reader.readuntil(b"\r\n\r\n")
    message = _Message(head.split(b"\r\n", 1)[0].decode("latin-1"), head, b"")
    size = int(message.header("content-length") or 0)
    return message._replace(body=await reader.readexactly(size)) if size else message


def _answer(status: int, body: bytes, kind: str) -> bytes:
    head = f"HTTP/1.1 {status} Injected\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


class _Connection:
    """One connection of a gateway, with one of its own to upstream."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, target: int, replica: int) -> None:
        self.reader = reader
        self.writer = writer
        self.replica = replica
        self._target = target
        self._upstream: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    @property
    def gone(self) -> bool:
        """Whether the gateway has left."""
        return self.reader.at_eof() or self.writer.is_closing()

    def send(self, data: bytes) -> bool:
        """Sends something to the gateway; returns whether it was still there."""
        if self.gone:
            return False
        self.writer.write(data)
        return True

    async def forward(self, message: _Message) -> _Message:
        """Passes a request on, and returns the answer."""
        if self._upstream is None:
            self._upstream = await asyncio.open_connection("127.0.0.1", self._target, limit=_LIMIT)
        reader, writer = self._upstream
        writer.write(message.head + message.body)
        return await _message(reader)

    async def linger(self, seconds: float) -> None:
        """Lets time pass, at most until the gateway leaves: it sends nothing while it waits for an answer."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.reader.read(1)

    def reset(self) -> None:
        """Ends the connection without a word."""
        reset(self.writer)

    def leave(self) -> None:
        """Closes the connection to upstream."""
        if self._upstream is not None:
            self._upstream[1].close()


class _TooLateError(OSError):
    """The machine was so slow that a request would have its effect later than any may."""


class Wire:
    """A proxy with a port for each gateway, which tells whose a request is and stays the same when the wire is cut.

    Attributes:
        ports: Where each gateway finds upstream.
        struck: How many requests each kind of fault has struck.
        latest_effect: Seconds after which a request is passed on at the latest.
    """

    def __init__(self, plan: Plan, history: History, target: int, longest: float = 0.0, gateways: int = 1) -> None:
        """Does not listen yet.

        Args:
            plan: What strikes requests.
            history: Where they are written down.
            target: The port of upstream.
            longest: Seconds by which an answer is late at most; 0 for somewhat more than the gateway's time-out.
            gateways: How many gateways there are.
        """
        self._plan = plan
        self._history = history
        self._target = target
        self._longest = longest or _LONGEST * history.run.timeout
        self._settle = history.run.settle
        self.latest_effect = _LATEST_EFFECT * self._settle
        self._servers: list[asyncio.Server] = []
        self._connections: set[_Connection] = set()
        self._late: set[asyncio.Task[None]] = set()
        self._handlers: set[asyncio.Task[None]] = set()
        self._seen: Counter[tuple[str, bool]] = Counter()
        self._numbers = 0
        self._outage = False
        self.calm = False
        self.ports = [steady_port() for _ in range(gateways)]
        self.struck: Counter[str] = Counter()

    async def __aenter__(self) -> Self:
        await self._listen()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._close()
        for task in (*self._late, *self._handlers):
            task.cancel()
        await asyncio.gather(*self._late, *self._handlers, return_exceptions=True)

    async def quiet(self) -> None:
        """Waits until nothing is held any more."""
        while self._late:
            await asyncio.wait(self._late)

    async def cut(self, seconds: float, touched: int) -> None:
        """Resets every connection and refuses new ones for a while, as a restart of upstream does."""
        started = time.time()
        await self._close()
        await asyncio.sleep(seconds)
        await self._listen()
        self._history.add(Incident("upstream restarted", started, time.time(), touched=touched))

    async def fail(self, seconds: float, touched: int) -> None:
        """Answers nothing for a while: every other request with an error page, and the others not at all."""
        started = time.time()
        self._outage = True
        await asyncio.sleep(seconds)
        self._outage = False
        self._history.add(Incident("outage", started, time.time(), touched=touched))

    async def _listen(self) -> None:
        self._servers = [
            await asyncio.start_server(partial(self._serve, replica), "127.0.0.1", port, limit=_LIMIT, backlog=1024)
            for replica, port in enumerate(self.ports)
        ]

    async def _close(self) -> None:
        for server in self._servers:
            server.close()
        for connection in tuple(self._connections):
            connection.reset()

    async def _serve(self, replica: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = _Connection(reader, writer, self._target, replica)
        self._connections.add(connection)
        task = asyncio.current_task()
        assert task is not None
        self._handlers.add(task)
        try:
            while await self._pass(connection):
                pass
        except (OSError, asyncio.IncompleteReadError):
            # One of the two sides has gone, and so the other one goes.
            connection.reset()
        finally:
            self._connections.discard(connection)
            self._handlers.discard(task)
            connection.leave()
            writer.close()

    async def _pass(self, connection: _Connection) -> bool:
        """Deals with one request; returns whether the connection goes on."""
        message = await _message(connection.reader)
        method, path, _ = message.line.split(" ", 2)
        trace = message.header("traceparent")[3:35]
        self._numbers += 1
        text = path + message.body.decode("latin-1")
        references = tuple(dict.fromkeys(REFERENCE.findall(text)))
        request = Exchange(self._numbers, connection.replica, trace, method, path, references)
        key = (trace, request.writes)
        strike = self._plan.strike(trace, writes=request.writes, nth=self._seen[key])
        self._seen[key] += 1
        try:
            if self._outage:
                return self._refuse(connection, request)
            if strike is None or self.calm:
                return await self._plainly(connection, message, request)
            request.fault = strike.kind
            self.struck[strike.kind] += 1
            return await self._faultily(connection, message, request, strike)
        finally:
            request.ended = request.ended or time.time()
            self._history.add(request.record())

    def _refuse(self, connection: _Connection, request: Exchange) -> bool:
        request.fault = "outage"
        self.struck["outage"] += 1
        if request.number % 2:
            connection.reset()
            return False
        return connection.send(_answer(503, _PAGE, "text/html"))

    async def _forward(self, connection: _Connection, message: _Message, request: Exchange) -> _Message:
        request.forwarded = self._departure(request)
        answer = await connection.forward(message)
        request.answered = time.time()
        request.status = int(answer.line.split(" ")[1])
        return answer

    def _departure(self, request: Exchange) -> float:
        """Returns the time at which a request is passed on.

        Raises:
            _TooLateError: Its effect would come later than any may.
        """
        now = time.time()
        # The rest of the settle time is for upstream.
        if now > request.arrived + _DROPPED_AFTER * self._settle:
            raise _TooLateError
        return now

    async def _plainly(self, connection: _Connection, message: _Message, request: Exchange, late: float = 0.0) -> bool:
        answer = await self._forward(connection, message, request)
        if late:
            await connection.linger(late)
        if not connection.send(answer.head + answer.body):
            return False
        request.delivered = request.status
        return True

    async def _drip(self, connection: _Connection, message: _Message, request: Exchange, late: float) -> bool:
        answer = await self._forward(connection, message, request)
        connection.send(answer.head)
        size = -(-len(answer.body) // _DRIPS) or 1
        for start in range(0, len(answer.body), size):
            await connection.linger(late / _DRIPS)
            if not connection.send(answer.body[start : start + size]):
                return False
        request.delivered = request.status
        return True

    async def _instead(self, connection: _Connection, message: _Message, request: Exchange, late: float) -> _Message:
        """Has a request take effect and lets time pass, for an answer that is not upstream's."""
        answer = await self._forward(connection, message, request)
        await connection.linger(late)
        return answer

    async def _faultily(self, connection: _Connection, message: _Message, request: Exchange, strike: Strike) -> bool:
        late = spread(strike.share, _SHORTEST, self._longest)
        match strike.kind:
            case "latency" if strike.early:
                # It goes its way even if the gateway has left.
                await asyncio.sleep(min(late, self.latest_effect))
                return await self._plainly(connection, message, request)
            case "latency":
                return await self._plainly(connection, message, request, late)
            case "reset before":
                connection.reset()
            case "reset after":
                await self._instead(connection, message, request, late)
                connection.reset()
            case "late effect":
                connection.reset()
                request.ended = time.time()
                # Shielded: the gateway's end of the connection may go, the request does not.
                await asyncio.shield(self._hold(min(late, self.latest_effect), message, request))
            case "half a response":
                answer = await self._instead(connection, message, request, late)
                whole, end = answer.head + answer.body, len(answer.body) or len(answer.head)
                connection.send(whole[: len(whole) - (end + 1) // 2])
                # An orderly end, so that the half really arrives.
                connection.writer.close()
            case "wrong status":
                if not strike.early:
                    await self._instead(connection, message, request, late)
                return connection.send(_answer(strike.status, _PAGE, "text/html"))
            case "garbage":
                await self._instead(connection, message, request, late)
                return connection.send(_answer(200, _PAGE, "application/json"))
            case "drip":
                return await self._drip(connection, message, request, late)
            case "hang":
                await self._instead(connection, message, request, _LONGEST * self._longest)
                connection.reset()
        return False

    def _hold(self, seconds: float, message: _Message, request: Exchange) -> asyncio.Task[None]:
        async def deliver() -> None:
            await asyncio.sleep(seconds)
            reader, writer = await asyncio.open_connection("127.0.0.1", self._target, limit=_LIMIT)
            try:
                request.forwarded = self._departure(request)
                writer.write(message.head + message.body)
                answer = await _message(reader)
            finally:
                writer.close()
            request.answered = time.time()
            request.status = int(answer.line.split(" ")[1])

        task = asyncio.create_task(deliver())
        self._late.add(task)
        task.add_done_callback(self._late.discard)
        return task


class Exchange:
    """A request while it is under way."""

    def __init__(
        self, number: int, replica: int, trace: str, method: str, path: str, references: tuple[str, ...]
    ) -> None:
        self.number = number
        self.replica = replica
        self.trace = trace
        self.method = method
        self.path = path
        self.references = references
        self.arrived = time.time()
        self.ended = 0.0
        self.fault = ""
        self.forwarded: float | None = None
        self.answered: float | None = None
        self.status = 0
        self.delivered = 0

    @property
    def writes(self) -> bool:
        """Whether it changes something upstream."""
        return self.method in {"PUT", "DELETE"}

    def record(self) -> Request:
        """Returns what the history keeps."""
        return Request(
            number=self.number,
            trace=self.trace,
            method=self.method,
            path=self.path,
            references=self.references,
            arrived=self.arrived,
            ended=self.ended,
            fault=self.fault,
            forwarded=self.forwarded,
            answered=self.answered,
            status=self.status,
            delivered=self.delivered,
            replica=self.replica,
        )

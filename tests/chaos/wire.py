"""The wire between the gateways and upstream: a proxy that does to requests what networks and machines do.

| fault | what happens |
|---|---|
| `latency` | the request or its answer is late, by up to one and a half times the gateway's time-out |
| `reset before` | the request is taken, not passed on, and its connection is reset |
| `reset after` | the request has its effect, and its connection is reset |
| `late effect` | its connection is reset, and up to 80 % of the settle time later the request is passed on |
| `half a response` | the request has its effect, and half of the answer arrives |
| `wrong status` | an error page arrives instead of the API's answer, in half of the cases after the effect |
| `garbage` | the request has its effect, and arrives with status 200 and a body that is no JSON |
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from typing import TYPE_CHECKING, Final, NamedTuple, Self

from chaos.history import Incident, Request
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
)
# The promise rests on no effect coming later than the settle time.
_LATEST_EFFECT: Final = 0.8
_EARLIEST_EFFECT: Final = 0.3
# How much longer than the gateway's time-out an answer may be late.
_LATENCY: Final = 1.5
_PAGE: Final = b"<html><body>An error occurred.</body></html>"
_REFERENCE: Final = re.compile(r"sp_\d{32}|EC-\d{3}-\d{3}-\d{3}")
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

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, target: int) -> None:
        self.reader = reader
        self.writer = writer
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

    def reset(self) -> None:
        """Ends the connection without a word."""
        reset(self.writer)

    def leave(self) -> None:
        """Closes the connection to upstream."""
        if self._upstream is not None:
            self._upstream[1].close()


class Wire:
    """A proxy on a port of its own, which stays the same when the wire is cut.

    Attributes:
        port: Where gateways find upstream.
        struck: How many requests each kind of fault has struck.
    """

    def __init__(self, plan: Plan, history: History, target: int) -> None:
        self._plan = plan
        self._history = history
        self._target = target
        self._timeout = history.run.timeout
        self._settle = history.run.settle
        self._server: asyncio.Server | None = None
        self._connections: set[_Connection] = set()
        self._late: set[asyncio.Task[None]] = set()
        self._handlers: set[asyncio.Task[None]] = set()
        self._seen: Counter[tuple[str, bool]] = Counter()
        self._numbers = 0
        self._outage = False
        self.calm = False
        self.port = steady_port()
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
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, limit=_LIMIT, backlog=1024)

    async def _close(self) -> None:
        assert self._server is not None
        self._server.close()
        for connection in tuple(self._connections):
            connection.reset()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = _Connection(reader, writer, self._target)
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
        request = Exchange(self._numbers, trace, method, path, tuple(dict.fromkeys(_REFERENCE.findall(text))))
        key = (trace, request.writes)
        strike = self._plan.strike(trace, writes=request.writes, nth=self._seen[key])
        self._seen[key] += 1
        try:
            if self._outage:
                return self._refuse(connection, request)
            if strike is None or self.calm:
                return await self._plainly(connection, message, request, 0.0)
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
        request.forwarded = time.time()
        answer = await connection.forward(message)
        request.answered = time.time()
        request.status = int(answer.line.split(" ")[1])
        return answer

    async def _plainly(self, connection: _Connection, message: _Message, request: Exchange, late: float) -> bool:
        answer = await self._forward(connection, message, request)
        if late:
            await asyncio.sleep(late)
        if not connection.send(answer.head + answer.body):
            return False
        request.delivered = request.status
        return True

    async def _faultily(self, connection: _Connection, message: _Message, request: Exchange, strike: Strike) -> bool:
        match strike.kind:
            case "latency":
                late = strike.share * _LATENCY * self._timeout
                if strike.early:
                    await asyncio.sleep(late)
                return await self._plainly(connection, message, request, 0.0 if strike.early else late)
            case "reset before":
                connection.reset()
            case "reset after":
                await self._forward(connection, message, request)
                connection.reset()
            case "late effect":
                connection.reset()
                request.ended = time.time()
                share = _EARLIEST_EFFECT + strike.share * (_LATEST_EFFECT - _EARLIEST_EFFECT)
                # Shielded: the gateway's end of the connection may go, the request does not.
                await asyncio.shield(self._hold(share * self._settle, message, request))
            case "half a response":
                answer = await self._forward(connection, message, request)
                whole, end = answer.head + answer.body, len(answer.body) or len(answer.head)
                connection.send(whole[: len(whole) - (end + 1) // 2])
                # An orderly end, so that the half really arrives.
                connection.writer.close()
            case "wrong status":
                if not strike.early:
                    await self._forward(connection, message, request)
                return connection.send(_answer(strike.status, _PAGE, "text/html"))
            case "garbage":
                await self._forward(connection, message, request)
                return connection.send(_answer(200, _PAGE, "application/json"))
        return False

    def _hold(self, seconds: float, message: _Message, request: Exchange) -> asyncio.Task[None]:
        async def deliver() -> None:
            await asyncio.sleep(seconds)
            reader, writer = await asyncio.open_connection("127.0.0.1", self._target, limit=_LIMIT)
            request.forwarded = time.time()
            writer.write(message.head + message.body)
            answer = await _message(reader)
            request.answered = time.time()
            request.status = int(answer.line.split(" ")[1])
            writer.close()

        task = asyncio.create_task(deliver())
        self._late.add(task)
        task.add_done_callback(self._late.discard)
        return task


class Exchange:
    """A request while it is under way."""

    def __init__(self, number: int, trace: str, method: str, path: str, references: tuple[str, ...]) -> None:
        self.number = number
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
        )

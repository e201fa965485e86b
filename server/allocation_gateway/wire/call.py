"""One call: what its handler is given as context, and how it is answered."""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from base64 import b64encode
from collections import deque
from typing import TYPE_CHECKING, Any, Final, NoReturn, Protocol
from urllib.parse import quote

from grpc import StatusCode
from grpc.aio import AbortError

from allocation_gateway.wire import frames, message
from allocation_gateway.wire.hpack import literal
from allocation_gateway.wire.message import UnreadableError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable

    import grpc

    from allocation_gateway.wire.request import Metadata, Request

_log = logging.getLogger(__name__)

# :status 200 by its index in the static table.
_OK_STATUS: Final = b"\x88"
_HEADERS: Final = _OK_STATUS + literal(b"content-type", b"application/grpc")
_OK: Final = literal(b"grpc-status", b"0")
_NUMBERS: Final = {code: str(code.value[0]).encode() for code in StatusCode}
# All of ASCII that can be seen, but for the sign that begins an escape.
_UNESCAPED: Final = "".join(chr(octet) for octet in range(0x20, 0x7F) if chr(octet) != "%")


class Line(Protocol):
    """The connection that a call came over, as the call sees it."""

    max_message: int

    @property
    def send(self) -> Callable[[Call, bytes, bytes, bytes], None]:
        """See Outbox.send()."""

    def prelude(self) -> bytes:
        """Returns what comes before the very first headers of a connection; nothing before all others."""

    def grant(self, call: Call, size: int) -> None:
        """Lets the caller send so many bytes more on this call, since as many are no longer held."""

    def release(self, call: Call) -> None:
        """Takes that nothing is held any more of what a caller has sent."""

    def reset(self, call: Call, code: int) -> None:
        """Ends a call at once."""


class Call(ABC):
    """A call, from its headers to its status. To its handler it is what grpc.aio.ServicerContext is.

    Attributes:
        stream: The number of its stream.
        is_received: Whether the caller has sent all that it sends.
        is_over: Whether its status was given, or nobody waits for it any more.
        received: How many bytes the caller has sent.
        held: How many of them were not given to the handler yet.
        window: How much more its caller takes than of any new call, in bytes; negative if it takes less.
        pending: What is still to be sent of its body.
        tail: What is to be sent after that.
        task: The work on it; None before it begins.
    """

    __slots__ = (
        "_deadline",
        "_is_begun",
        "_line",
        "_loop",
        "_trailing",
        "held",
        "is_over",
        "is_received",
        "method",
        "pending",
        "received",
        "request",
        "stream",
        "tail",
        "task",
        "window",
    )

    def __init__(
        self,
        line: Line,
        stream: int,
        request: Request,
        method: grpc.RpcMethodHandler[Any, Any],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.stream = stream
        self.request = request
        self.method = method
        self.is_received = False
        self.is_over = False
        self.received = 0
        self.held = 0
        self.window = 0
        self.pending: bytearray | None = None
        self.tail = b""
        self.task: asyncio.Task[None] | None = None
        self._line = line
        self._loop = loop
        self._is_begun = False
        self._trailing: Metadata = ()
        self._deadline: float | None = None
        self._open()

    @abstractmethod
    def _open(self) -> None:
        """Makes ready for what its caller sends."""

    def bound(self, seconds: float) -> None:
        """Gives it the time that its caller gives it."""
        self._deadline = self._loop.time() + seconds

    def tick(self, now: float) -> None:
        """Ends it if its time is up: handlers are expected to keep to it more exactly than that."""
        if self._deadline is None or now < self._deadline:
            return
        if self.tail:
            self._line.reset(self, frames.CANCEL)  # its answer was not taken in time
        else:
            self.fail(StatusCode.DEADLINE_EXCEEDED, "The deadline has passed.")

    # What its connection tells it.

    @abstractmethod
    def receive(self, data: bytes, *, is_last: bool) -> None:
        """Takes a part of the request's body."""

    def sent(self) -> None:  # noqa: B027 - most calls do not wait for it
        """Takes that nothing is left to be sent for now."""

    def end(self) -> None:
        """Takes that it is over, for whatever reason. Its handler is cancelled, unless it has ended."""
        self.is_over = True
        task, self.task = self.task, None
        if task is not None:
            task.cancel()

    # How it is answered.

    @property
    def _is_answered(self) -> bool:
        # With a status that waits behind what its caller does not take yet, too.
        return self.is_over or bool(self.tail)

    def fail(self, code: StatusCode, details: str, metadata: Metadata = ()) -> None:
        """Answers with a status that is not OK, unless it has one. Its handler is cancelled, unless it has ended."""
        if self._is_answered:
            return
        task = self.task
        self._finish(b"", _status(code, details), metadata)
        if task is not None and task is not asyncio.current_task():
            task.cancel()

    def _finish(self, body: bytes, status: bytes, metadata: Metadata) -> None:
        block = status + _encoded(metadata) if metadata else status
        head = b""
        if body:
            head = self._begin()
        elif not self._is_begun:
            block = self._line.prelude() + _HEADERS + block
        self.task = None  # it ends by itself
        self._line.send(self, head, body, frames.headers(self.stream, block, ends=True))

    def _begin(self, block: bytes = _HEADERS) -> bytes:
        """Returns the frames that come before all else, if they were not sent yet."""
        if self._is_begun:
            return b""
        self._is_begun = True
        return frames.headers(self.stream, self._line.prelude() + block, ends=False)

    async def run(self, *request: bytes) -> None:
        """Has the handler answer it."""
        try:
            await self._answered(*request)
        except AbortError:
            pass  # its status is given
        except asyncio.CancelledError:
            if not self._is_answered:
                self._line.reset(self, frames.CANCEL)
            raise
        except UnreadableError as error:
            self.fail(error.code, str(error))
        except Exception:  # noqa: BLE001 - whatever it is, the caller gets a status, and not its text
            _log.exception("the handler of %s failed", self.request.path)
            self.fail(StatusCode.UNKNOWN, "The handler failed.")

    @abstractmethod
    async def _answered(self, *request: bytes) -> None:
        """Calls the handler, and sends what it answers."""

    def _parsed(self, data: bytes) -> Any:
        parse = self.method.request_deserializer
        if parse is None:
            return data
        try:
            return parse(data)
        except Exception as error:
            raise UnreadableError(StatusCode.INTERNAL, "The request is not a message of its type.") from error

    def _serialised(self, response: Any) -> bytes:
        serialise = self.method.response_serializer
        return response if serialise is None else serialise(response)

    # The context of its handler.

    def invocation_metadata(self) -> Metadata:
        """Returns the caller's metadata."""
        return self.request.metadata

    def time_remaining(self) -> float | None:
        """Returns the seconds until the caller's deadline; None if there is none."""
        return None if self._deadline is None else max(self._deadline - self._loop.time(), 0.0)

    def set_trailing_metadata(self, metadata: Iterable[tuple[str, str | bytes]]) -> None:
        """Sets what is told with the status."""
        self._trailing = tuple(metadata)

    def trailing_metadata(self) -> Metadata:
        """Returns what is told with the status."""
        return self._trailing

    async def send_initial_metadata(self, metadata: Iterable[tuple[str, str | bytes]]) -> None:
        """Tells something before the answer."""
        if not self._is_begun and not self.is_over:
            self._line.send(self, self._begin(_HEADERS + _encoded(metadata)), b"", b"")

    async def abort(
        self, code: StatusCode, details: str = "", trailing_metadata: Iterable[tuple[str, str | bytes]] = ()
    ) -> NoReturn:
        """Ends the call with a status that is not OK.

        Raises:
            grpc.aio.AbortError: Always.
        """
        self.fail(code, details, tuple(trailing_metadata) or self._trailing)
        raise AbortError


class UnaryCall(Call):
    """A call of one message, answered by one."""

    __slots__ = ("_body",)

    def _open(self) -> None:
        self._body = bytearray()

    def receive(self, data: bytes, *, is_last: bool) -> None:
        """See Call. The handler begins as soon as the request is whole."""
        limit = self._line.max_message
        try:
            if is_last and not self._body:
                only = message.read_only(data, self.request.encoding, limit)
            else:
                self._body += data
                size = message.size_of_first(self._body)
                message.check_size(size or 0, limit)
                if not is_last and (size is None or len(self._body) <= size):
                    return
                only = message.read_only(bytes(self._body), self.request.encoding, limit)
                self._body.clear()
        except UnreadableError as error:
            self.fail(error.code, str(error))
            return
        self._line.release(self)
        self.task = self._loop.create_task(self.run(only))

    async def _answered(self, *request: bytes) -> None:
        response = await self.method.unary_unary(self._parsed(request[0]), self)  # type: ignore[misc, arg-type] # it is of this kind
        if not self._is_answered:
            self._finish(message.prefixed(self._serialised(response)), _OK, self._trailing)


class StreamingCall(Call):
    """A call of which at least one side is a stream. It is its own iterator over the requests."""

    __slots__ = ("_inbox", "_messages", "_reading", "_writing")

    def _open(self) -> None:
        self._inbox = bytearray()
        self._messages: deque[tuple[int, bytes]] = deque()
        # Of whoever waits for a message, and for what was written to be taken.
        self._reading = asyncio.Event()
        self._writing = asyncio.Event()
        self.task = self._loop.create_task(self.run())

    def receive(self, data: bytes, *, is_last: bool) -> None:
        """See Call."""
        inbox, limit = self._inbox, self._line.max_message
        inbox += data
        try:
            while (size := message.size_of_first(inbox)) is not None:
                message.check_size(size, limit)
                if size > len(inbox):
                    break
                self._messages.append((size, message.read(bytes(inbox[:size]), self.request.encoding, limit)))
                del inbox[:size]
            if is_last and inbox:
                raise UnreadableError(StatusCode.INTERNAL, "The request ends before its message does.")
        except UnreadableError as error:
            self.fail(error.code, str(error))
            return
        self._reading.set()

    def sent(self) -> None:
        """See Call."""
        self._writing.set()

    def end(self) -> None:
        """See Call."""
        super().end()
        self._writing.set()

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        while not self._messages:
            if self.is_received:
                raise StopAsyncIteration
            self._reading.clear()
            await self._reading.wait()
        size, data = self._messages.popleft()
        self._line.grant(self, size)
        return self._parsed(data)

    async def write(self, response: Any) -> None:
        """Sends a response, and waits until the caller has taken it. Does nothing if the call is over."""
        if self._is_answered:
            return
        self._line.send(self, self._begin(), message.prefixed(self._serialised(response)), b"")
        while self.pending and not self.is_over:
            self._writing.clear()
            await self._writing.wait()

    async def _answered(self, *request: bytes) -> None:
        del request
        method = self.method
        behaviour: Any = method.stream_stream or method.stream_unary or method.unary_stream
        given = self if method.request_streaming else await self._one()
        answer = behaviour(given, self)
        if hasattr(answer, "__aiter__"):
            async for response in answer:
                await self.write(response)
        else:
            response = await answer
            if not method.response_streaming:
                await self.write(response)
        if not self._is_answered:
            self._finish(b"", _OK, self._trailing)

    async def _one(self) -> Any:
        async for request in self:
            return request
        raise UnreadableError(StatusCode.INTERNAL, "The request has no message.")


def trailers_only(code: StatusCode, details: str, metadata: Metadata = ()) -> bytes:
    """Returns the headers that refuse a call of which nothing else was answered."""
    return _HEADERS + _status(code, details) + _encoded(metadata)


def refusal(status: int) -> bytes:
    """Returns the headers that refuse a request that is not one of gRPC."""
    return literal(b":status", str(status).encode())


def _status(code: StatusCode, details: str) -> bytes:
    block = literal(b"grpc-status", _NUMBERS[code])
    return block + literal(b"grpc-message", quote(details, safe=_UNESCAPED).encode()) if details else block


def _encoded(metadata: Iterable[tuple[str, str | bytes]]) -> bytes:
    return b"".join(
        literal(name.encode("ascii"), b64encode(value).rstrip(b"=") if isinstance(value, bytes) else value.encode())
        for name, value in metadata
    )

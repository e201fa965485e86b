"""One call: what its handler is given as context, and how it is answered."""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

from grpc import StatusCode
from grpc.aio import AbortError

from allocation_gateway.wire import frames, message, response_headers
from allocation_gateway.wire.message import UnreadableError

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Mapping, Sequence

    import grpc

    from allocation_gateway.wire.request import Metadata, Request

_log = logging.getLogger(__name__)


class CallConnection(Protocol):
    """The connection that a call came over, as the call sees it.

    Attributes:
        max_message: The largest request message, in bytes.
        auth_context: What TLS knows of the peer.
    """

    max_message: int
    auth_context: Mapping[str, Sequence[bytes]]

    @property
    def calls_end_at(self) -> float:
        """When calls that have not ended by then are ended, by the loop's clock: infinity if that is never."""

    @property
    def send(self) -> Callable[[Call, bytes, bytes, bytes], None]:
        """See FrameSender.send()."""

    def first_block_prefix(self) -> bytes:
        """Returns what comes before the very first headers of a connection; nothing before all others."""

    def grant(self, call: Call, size: int) -> None:
        """Lets the caller send so many bytes more on this call, since as many are no longer held."""

    def charge(self, call: Call, size: int) -> None:
        """Counts so many bytes more that are held for a call until it is over."""

    def unpacked(self, size: int) -> None:
        """Counts the work of unpacking a message, which has become so many bytes."""

    def worked(self, units: int) -> None:
        """Counts so many units of work, which a frame of the call has caused beside what any such frame does."""

    def written(self, size: int) -> None:
        """Records that the caller was answered with a message of so many bytes, and its call goes on."""

    def message_turn(self, most: int) -> Awaitable[None]:
        """Waits until a message of a stream may be read, so that one stream does not hold up other connections.

        Args:
            most: How many bytes it may become.
        """

    def message_read(self, size: int, most: int) -> None:
        """Corrects the account of work: a message that may have become so many bytes has become fewer."""

    def reset(self, call: Call, code: int) -> None:
        """Ends a call at once."""


class Call(ABC):
    """A call, from its headers to its status. To its handler it is what grpc.aio.ServicerContext is.

    Attributes:
        stream: The number of its stream.
        opened_at: When it was opened, by the loop's clock.
        is_received: Whether the caller has sent all that it sends.
        is_over: Whether its status was given, or nobody waits for it any more.
        received: How many bytes the caller has sent.
        held: How many of them take room in the receive window of its stream.
        charged: How many bytes the account of its connection has for it.
        written: How many bytes of its answer were sent.
        window: How much more its caller takes than of any new call, in bytes; negative if it takes less.
        unsent: What is still to be sent of its body.
        trailers: What is to be sent after that.
        task: The work on it; None before it begins.
    """

    __slots__ = (
        "_connection",
        "_deadline",
        "_is_begun",
        "_is_due",
        "_loop",
        "_trailing",
        "_writing",
        "charged",
        "held",
        "is_over",
        "is_received",
        "method",
        "opened_at",
        "received",
        "request",
        "stream",
        "task",
        "trailers",
        "unsent",
        "window",
        "written",
    )

    def __init__(
        self,
        connection: CallConnection,
        stream: int,
        request: Request,
        method: grpc.RpcMethodHandler[Any, Any],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.stream = stream
        self.request = request
        self.method = method
        self.opened_at = loop.time()
        self.is_received = False
        self.is_over = False
        self.received = 0
        self.held = 0
        self.charged = 0
        self.written = 0
        self.window = 0
        self.unsent: bytearray | None = None
        self.trailers = b""
        self.task: asyncio.Task[None] | None = None
        self._connection = connection
        self._loop = loop
        self._is_begun = False
        self._is_due = False
        self._trailing: Metadata = ()
        self._deadline: float | None = None
        # Done when what was written is taken; None as long as nobody waits for that.
        self._writing: asyncio.Future[None] | None = None
        self._open()

    @abstractmethod
    def _open(self) -> None:
        """Makes ready for what its caller sends."""

    def set_deadline(self, seconds: float) -> None:
        """Gives it the time that its caller gives it."""
        self._deadline = self._loop.time() + seconds

    def is_due(self, now: float) -> bool:
        """Returns whether its time is up, once: handlers are expected to keep to it more exactly than that."""
        if self._deadline is None or now < self._deadline or self._is_due:
            return False
        self._is_due = True
        return True

    def end_in_time(self) -> None:
        """Ends it since its time is up, unless it is over."""
        if self.trailers and not self.is_over:
            self._connection.reset(self, frames.CANCEL)  # its answer was not taken in time
        else:
            self.fail(StatusCode.DEADLINE_EXCEEDED, "The deadline has passed.")

    # What its connection tells it.

    @abstractmethod
    def receive(self, data: bytes, *, is_last: bool) -> None:
        """Is called with a part of the request's body."""

    def sent(self) -> None:
        """Is called when nothing is left to be sent for now."""
        writing, self._writing = self._writing, None
        if writing is not None and not writing.done():
            writing.set_result(None)

    def end(self) -> None:
        """Is called when it is over, for whatever reason. Cancels its handler, unless it has ended."""
        self.is_over = True
        task, self.task = self.task, None
        if task is not None:
            task.cancel()
        self.sent()

    # How it is answered.

    @property
    def _is_answered(self) -> bool:
        # With a status that waits behind what its caller does not take yet, too.
        return self.is_over or bool(self.trailers)

    def fail(self, code: StatusCode, details: str, metadata: Metadata = ()) -> None:
        """Answers with a status that is not OK, unless it has one. Its handler is cancelled, unless it has ended."""
        if self._is_answered:
            return
        task = self.task
        self._finish(b"", response_headers.status(code, details), metadata)
        if task is not None and task is not asyncio.current_task():
            task.cancel()

    def _finish(self, body: bytes, status: bytes, metadata: Metadata) -> None:
        block = status + response_headers.encoded(metadata) if metadata else status
        head = b""
        if body:
            head = self._begin()
        elif not self._is_begun:
            block = self._connection.first_block_prefix() + response_headers.RESPONSE + block
        self.task = None  # it ends by itself
        self._connection.send(self, head, body, frames.headers(self.stream, block, ends=True))

    def _begin(self, block: bytes = response_headers.RESPONSE) -> bytes:
        """Returns the frames that come before all else, if they were not sent yet."""
        if self._is_begun:
            return b""
        self._is_begun = True
        return frames.headers(self.stream, self._connection.first_block_prefix() + block, ends=False)

    async def run(self) -> None:
        """Runs the handler, and answers the call with what it returns."""
        try:
            await self._answered()
        except AbortError:
            pass  # its status is given
        except asyncio.CancelledError:
            if not self._is_answered:
                self._connection.reset(self, frames.CANCEL)
            raise
        except UnreadableError as error:
            self.fail(error.code, str(error))
        except Exception:  # noqa: BLE001 - whatever it is, the caller gets a status, and not its text
            _log.exception(
                "the handler of %s raised an exception: the call was answered with UNKNOWN", self.request.path
            )
            self.fail(StatusCode.UNKNOWN, "The handler failed.")

    @abstractmethod
    async def _answered(self) -> None:
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

    def auth_context(self) -> Mapping[str, Sequence[bytes]]:
        """Returns what TLS knows of the caller: `x509_pem_cert` if it has a certificate."""
        return self._connection.auth_context

    def time_remaining(self) -> float | None:
        """Returns the seconds until the caller's deadline; None if there is none."""
        return None if self._deadline is None else max(self._deadline - self._loop.time(), 0.0)

    def connection_remaining(self) -> float:
        """Returns the seconds until the call is ended because of its connection's age. grpc.aio does not tell that."""
        return max(self._connection.calls_end_at - self._loop.time(), 0.0)

    def set_trailing_metadata(self, metadata: Iterable[tuple[str, str | bytes]]) -> None:
        """Sets what is told with the status."""
        self._trailing = tuple(metadata)

    def trailing_metadata(self) -> Metadata:
        """Returns what is told with the status."""
        return self._trailing

    async def send_initial_metadata(self, metadata: Iterable[tuple[str, str | bytes]]) -> None:
        """Tells something before the answer."""
        if not self._is_begun and not self.is_over:
            self._connection.send(
                self, self._begin(response_headers.RESPONSE + response_headers.encoded(metadata)), b"", b""
            )

    async def write(self, response: Any) -> None:
        """Sends a response of a stream, and waits until the caller has taken it. Does nothing if the call is over."""
        size = self._put(response)
        del response  # it may be large, and the caller may take long
        await self._taken_by_caller(size)

    def _put(self, response: Any) -> int:
        """Sends a response of a stream, as far as the caller takes it. Returns its size; 0 if the call is over."""
        if self._is_answered:
            return 0
        body = message.prefixed(self._serialised(response))
        self._connection.send(self, self._begin(), body, b"")
        return len(body)

    async def _taken_by_caller(self, size: int) -> None:
        """Waits until the caller has taken a response of so many bytes."""
        if not size:
            return
        while self.unsent and not self.is_over:
            self._writing = self._loop.create_future()
            await self._writing
        self._connection.written(size)

    async def _write_all(self, responses: AsyncIterable[Any]) -> None:
        """Sends the responses of a stream, of which nothing is held beside what the caller has not taken yet."""
        async for response in responses:
            size = self._put(response)
            del response
            await self._taken_by_caller(size)

    async def abort(
        self, code: StatusCode, details: str = "", trailing_metadata: Iterable[tuple[str, str | bytes]] = ()
    ) -> NoReturn:
        """Ends the call with a status that is not OK.

        Raises:
            grpc.aio.AbortError: Always.
        """
        self.fail(code, details, tuple(trailing_metadata) or self._trailing)
        raise AbortError

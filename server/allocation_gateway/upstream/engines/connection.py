"""One connection to an upstream: one request at a time, and never another one before the last answer is complete."""

from __future__ import annotations

import asyncio
import select
from collections import deque
from typing import TYPE_CHECKING, Final, cast

from allocation_gateway.upstream.engines.reader import AnswerReader, NotHttpError
from allocation_gateway.upstream.http import NoAnswerError

if TYPE_CHECKING:
    from collections.abc import Callable

    from allocation_gateway.upstream.http import Answer

# So much is parsed in one turn of the event loop: in chunks of one byte each this takes some 10 ms.
_PARSED_AT_ONCE: Final = 16_384


class UpstreamConnection(asyncio.Protocol):
    """A connection that is made.

    Attributes:
        idle_since: When its last answer was complete, by the event loop's clock.
        is_open: Whether it may serve another request, as far as the event loop has noticed.
    """

    __slots__ = (
        "_answer",
        "_input",
        "_loop",
        "_lost",
        "_max_answer_bytes",
        "_method",
        "_on_lost",
        "_reader",
        "_transport",
        "_unparsed",
        "idle_since",
        "is_open",
    )

    def __init__(
        self, loop: asyncio.AbstractEventLoop, max_answer_bytes: int, *, on_lost: Callable[[UpstreamConnection], None]
    ) -> None:
        self._loop = loop
        self._max_answer_bytes = max_answer_bytes
        self._on_lost = on_lost
        self._lost = loop.create_future()
        self._input = select.poll()
        # Of the request whose answer is not complete; empty if there is none.
        self._method = ""
        self._reader: AnswerReader | None = None
        # What has arrived and is left for the next turns of the event loop. Meanwhile nothing more is read.
        self._unparsed: deque[bytes] = deque()
        self._answer: asyncio.Future[Answer] | None = None
        self.idle_since = 0.0
        self.is_open = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self._transport = cast(asyncio.Transport, transport)
        self._input.register(transport.get_extra_info("socket").fileno(), select.POLLIN)
        self.is_open = True

    def is_fit(self) -> bool:
        """Tells whether a request can be sent on it: nothing has come since the last answer, not even its end.

        The system is asked, since the event loop may have been too busy to notice.
        """
        return self.is_open and not self._transport.is_closing() and not self._input.poll(0)

    async def exchange(self, method: str, request: bytes) -> Answer:
        """Sends the bytes of a request, all at once, and reads what comes back.

        Raises:
            NoAnswerError: There was no answer, or none of HTTP.
        """
        self._method = method
        self._answer = self._loop.create_future()
        self._transport.write(request)
        try:
            return await self._answer
        finally:
            self._answer = None
            if self._method:
                # Cancelled: whatever comes now would be taken for the answer to the next request.
                self.abort()

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol. What would take long to parse is parsed in parts, so that others get their turns."""
        if len(data) <= _PARSED_AT_ONCE and not self._unparsed:
            self._parse(data)
            return
        is_first = not self._unparsed
        self._unparsed.extend(data[i : i + _PARSED_AT_ONCE] for i in range(0, len(data), _PARSED_AT_ONCE))
        if is_first:
            self._transport.pause_reading()
            self._parse_next()

    def _parse_next(self) -> None:
        if self._unparsed:
            self._parse(self._unparsed.popleft())
        if self._unparsed:
            self._loop.call_soon(self._parse_next)
        elif self.is_open:
            self._transport.resume_reading()

    def _parse_rest(self) -> None:
        """Parses at once what has arrived, since the connection has ended behind it."""
        while self._unparsed:
            self._parse(self._unparsed.popleft())

    def _parse(self, data: bytes) -> None:
        reader = self._reader
        if reader is None:
            if not self._method:
                self.abort()
                return
            # Each answer has one of its own, and only from here on: most of the time is spent waiting for it.
            reader = self._reader = AnswerReader(self._method, self._max_answer_bytes)
        try:
            reader.feed(data)
        except NotHttpError as error:
            self._fail("the answer is not HTTP", error)
            return
        if reader.answer is not None:
            # A part of the request that was not sent yet would run into the next one, as would what follows the answer.
            is_clean = not self._unparsed and not self._transport.get_write_buffer_size()
            self._finish(reader, keep=reader.keeps_alive and is_clean)

    def eof_received(self) -> None:
        """See asyncio.Protocol. The transport closes itself afterwards."""
        self._parse_rest()
        self._ended(None, is_orderly=True)

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        self._parse_rest()
        self._ended(exc, is_orderly=False)
        self._on_lost(self)
        if not self._lost.done():
            self._lost.set_result(None)

    def _ended(self, exc: Exception | None, *, is_orderly: bool) -> None:
        self.is_open = False
        if not self._method:
            return
        reader = self._reader
        if reader is not None and reader.end(is_orderly=is_orderly):
            self._finish(reader, keep=False)
        else:
            self._fail("the connection was lost", exc or ConnectionResetError("closed before the answer was complete"))

    def _finish(self, reader: AnswerReader, *, keep: bool) -> None:
        self._end_reading()
        if not keep:
            self.abort()
        if self._answer is not None and not self._answer.done() and reader.answer is not None:
            self._answer.set_result(reader.answer)

    def _fail(self, how: str, cause: Exception) -> None:
        self._end_reading()
        self.abort()
        if self._answer is not None and not self._answer.done():
            error = NoAnswerError(how)
            error.__cause__ = cause
            self._answer.set_exception(error)

    def _end_reading(self) -> None:
        self._method = ""
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def abort(self) -> None:
        """Closes it at once. An exchange under way ends without an answer."""
        self.is_open = False
        self._unparsed.clear()
        self._transport.abort()

    async def lost(self) -> None:
        """Waits until nothing is left of it."""
        await self._lost

"""Calls of which at least one side is a stream."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any

from grpc import StatusCode

from allocation_gateway.wire import message, response_headers
from allocation_gateway.wire.call import Call
from allocation_gateway.wire.message import UnreadableError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


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
        inbox, limit = self._inbox, self._connection.max_message
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
        self._connection.grant(self, size)
        return self._parsed(data)

    async def write(self, response: Any) -> None:
        """Sends a response, and waits until the caller has taken it. Does nothing if the call is over."""
        if self._is_answered:
            return
        self._connection.send(self, self._begin(), message.prefixed(self._serialised(response)), b"")
        while self.unsent and not self.is_over:
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
            self._finish(b"", response_headers.OK, self._trailing)

    async def _one(self) -> Any:
        async for request in self:
            return request
        raise UnreadableError(StatusCode.INTERNAL, "The request has no message.")

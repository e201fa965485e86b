"""Calls whose request is a stream of messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from grpc import StatusCode

from allocation_gateway.wire import message, response_headers
from allocation_gateway.wire.call import Call
from allocation_gateway.wire.memory import STREAM_COST
from allocation_gateway.wire.message import UnreadableError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator


class RequestStreamCall(Call):
    """A call whose request is a stream, which the call is the iterator over.

    What has come is kept as it came: a message is found and unpacked when the handler asks for it, and not before. So
    what a peer can have held is bounded by the windows of flow control, however many messages it is, and whatever they
    are when they are unpacked.
    """

    __slots__ = ("_inbox", "_reading")

    def _open(self) -> None:
        self._inbox = bytearray()
        # Done when something has come; None as long as nobody waits for it.
        self._reading: asyncio.Future[None] | None = None
        self._connection.charge(self, STREAM_COST)
        self.task = self._loop.create_task(self.run())

    def receive(self, data: bytes, *, is_last: bool) -> None:
        """See Call."""
        del is_last  # the handler finds out when it asks for a message
        self._inbox += data
        try:
            message.check_size(message.size_of_first(self._inbox) or 0, self._connection.max_message)
        except UnreadableError as error:
            self.fail(error.code, str(error))
            return
        reading, self._reading = self._reading, None
        if reading is not None and not reading.done():
            reading.set_result(None)

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        inbox, limit = self._inbox, self._connection.max_message
        while (size := message.size_of_first(inbox)) is None or size > len(inbox):
            message.check_size(size or 0, limit)
            if self.is_received:
                if inbox:
                    raise UnreadableError(StatusCode.INTERNAL, "The request ended in the middle of a message.")
                raise StopAsyncIteration
            self._reading = self._loop.create_future()
            await self._reading
        await self._connection.message_turn()
        framed = bytes(inbox[:size])
        del inbox[:size]
        data = message.read(framed, self.request.encoding, limit)
        if framed[0]:
            self._connection.unpacked(len(data))
        self._connection.grant(self, size)
        return self._parsed(data)

    async def _answered(self) -> None:
        behaviour: Any = self.method.stream_stream or self.method.stream_unary
        answer = behaviour(self, self)
        if hasattr(answer, "__aiter__"):
            async for response in answer:
                await self.write(response)
        else:
            response = await answer
            if not self.method.response_streaming:
                await self.write(response)
        if not self._is_answered:
            self._finish(b"", response_headers.OK, self._trailing)

"""Calls whose request is a stream of messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from grpc import StatusCode

from allocation_gateway.wire import message, response_headers
from allocation_gateway.wire.call import Call
from allocation_gateway.wire.memory import STREAM_COST, USUAL_SIZE
from allocation_gateway.wire.message import UnreadableError
from allocation_gateway.wire.turns import HANDLER_UNITS, WAKING_UNITS

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator


# A message that is passed over may have so many bytes: a larger one ends its call.
_MOST_SKIPPED: Final = 16_777_216
# Bytes to which a message is unpacked without a turn for the largest.
_FEW: Final = 4_096


class RequestStreamCall(Call):
    """A call whose request is a stream, which the call is the iterator over.

    What has come is kept as it came: a message is found and unpacked when the handler asks for it, and not before. So
    what a peer can have held is bounded by the windows of flow control, however many messages it is, and whatever they
    are when they are unpacked.
    """

    __slots__ = ("_in_hand", "_inbox", "_is_skipping", "_most", "_reading", "_skips")

    def _open(self) -> None:
        self._inbox = bytearray()
        # Whether a message that is larger than allowed is passed over; up to which size; and whether one is just now.
        self._skips = self.method.request_deserializer is message.unparsed
        limit = self._connection.max_message
        self._most = max(limit, _MOST_SKIPPED) if self._skips else limit
        self._is_skipping = False
        # What the account has for the message that the handler was given last.
        self._in_hand = 0
        # Done when something has come; None as long as nobody waits for it.
        self._reading: asyncio.Future[None] | None = None
        self._connection.charge(self, STREAM_COST)
        self._connection.worked(HANDLER_UNITS)
        self.task = self._loop.create_task(self.run())

    def receive(self, data: bytes, *, is_last: bool) -> None:
        """See Call."""
        self._inbox += data
        if not self._is_skipping:
            try:
                message.check_size(message.size_of_first(self._inbox) or 0, self._most)
            except UnreadableError as error:
                self._connection.worked(HANDLER_UNITS)  # to answer is work, too
                self.fail(error.code, str(error))
                return
        reading, self._reading = self._reading, None
        if reading is not None and not reading.done():
            if not is_last:  # the end of a request counts as work by itself
                self._connection.worked(WAKING_UNITS)
            reading.set_result(None)

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        inbox, limit = self._inbox, self._connection.max_message
        self._hold(0)
        while (size := message.size_of_first(inbox)) is None or size > len(inbox):
            if self._skips and size is not None and message.is_oversized(size, limit):
                await self._skip(size)
                return message.Oversized()
            message.check_size(size or 0, limit)
            if self.is_received:
                if inbox:
                    raise _in_the_middle()
                raise StopAsyncIteration
            await self._something()
        try:
            data = await self._read(size)
        except UnreadableError as error:
            if not self._skips or error.code is not StatusCode.RESOURCE_EXHAUSTED:
                raise
            # It has become larger than allowed while it was unpacked.
            del inbox[:size]
            self._connection.grant(self, size)
            return message.Oversized()
        del inbox[:size]
        self._hold(len(data))
        self._connection.grant(self, size)
        return self._parsed(data)

    async def _read(self, size: int) -> bytes:
        """Returns the first message, of which all so many bytes are there, when it is its turn."""
        limit = self._connection.max_message
        if not message.is_packed(self._inbox):
            return await self._first(size, limit, size)
        # What it becomes is not known before. To be charged with the largest would hold up those that are small: it is
        # unpacked as far as costs little first, and what is larger waits for a turn of its own.
        if size <= _FEW < limit:
            try:
                return await self._first(size, _FEW, _FEW)
            except UnreadableError as error:
                if error.code is not StatusCode.RESOURCE_EXHAUSTED:
                    raise
        return await self._first(size, limit, limit)

    async def _first(self, size: int, limit: int, most: int) -> bytes:
        """Reads the first message.

        Args:
            size: How many bytes it takes as it came.
            limit: How many bytes it may become.
            most: How many it can become within that, which it is charged with.
        """
        await self._connection.message_turn(most)
        data = message.read(bytes(self._inbox[:size]), self.request.encoding, limit)
        self._connection.message_read(len(data), most)
        return data

    def _hold(self, size: int) -> None:
        """Counts the message that the handler has now: it may keep it as long as it answers it."""
        held = size if size > USUAL_SIZE else 0
        if held != self._in_hand and not self.is_over:
            self._connection.charge(self, held - self._in_hand)
            self._in_hand = held

    async def _something(self) -> None:
        """Waits until something has come."""
        self._reading = self._loop.create_future()
        await self._reading

    async def _skip(self, size: int) -> None:
        """Passes over a message of so many bytes, without keeping any of them."""
        await self._connection.message_turn(0)
        inbox, left = self._inbox, size
        self._is_skipping = True
        while True:
            part = min(left, len(inbox))
            del inbox[:part]
            self._connection.grant(self, part)
            left -= part
            if not left:
                break
            if self.is_received:
                raise _in_the_middle()
            await self._something()
        self._is_skipping = False

    async def _answered(self) -> None:
        behaviour: Any = self.method.stream_stream or self.method.stream_unary
        answer = behaviour(self, self)
        if hasattr(answer, "__aiter__"):
            await self._write_all(answer)
        else:
            response = await answer
            if not self.method.response_streaming:
                await self.write(response)
        if not self._is_answered:
            self._finish(b"", response_headers.OK, self._trailing)


def _in_the_middle() -> UnreadableError:
    return UnreadableError(StatusCode.INTERNAL, "The request ended in the middle of a message.")

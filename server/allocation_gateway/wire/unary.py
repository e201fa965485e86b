"""Calls whose request is one message."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from typing import Any, Final

from allocation_gateway.wire import message, response_headers
from allocation_gateway.wire.call import Call
from allocation_gateway.wire.memory import TASK_COST
from allocation_gateway.wire.message import UnreadableError

_TASK: Final = "call"


class SingleRequestCall(Call):
    """A call whose request is one message. A second one is refused as soon as it begins."""

    __slots__ = ("_body",)

    def _open(self) -> None:
        self._body = bytearray()

    def receive(self, data: bytes, *, is_last: bool) -> None:
        """See Call. The handler begins as soon as the request is complete."""
        limit = self._connection.max_message
        try:
            if is_last and not self._body:
                framed = data
            else:
                self._body += data
                size = message.size_of_first(self._body)
                message.check_size(size or 0, limit)
                if not is_last and (size is None or len(self._body) <= size):
                    return
                framed = bytes(self._body)
                self._body.clear()
            only = message.read_only(framed, self.request.encoding, limit)
        except UnreadableError as error:
            self.fail(error.code, str(error))
            return
        if framed[0]:
            self._connection.unpacked(len(only))
            self._connection.charge(self, len(only))
        self._start(only)

    @abstractmethod
    def _start(self, request: bytes) -> None:
        """Runs the handler, which answers the request."""


class UnaryCall(SingleRequestCall):
    """A call of one message, answered by one."""

    __slots__ = ()

    def _start(self, request: bytes) -> None:
        # Given a name, it makes none up, which is dear for how rarely it is read.
        self.task = asyncio.Task(self.run(request), loop=self._loop, name=_TASK)

    async def _answered(self, *request: bytes) -> None:
        response = await self.method.unary_unary(self._parsed(request[0]), self)  # type: ignore[misc, arg-type] # it is of this kind
        if not self._is_answered:
            self._finish(message.prefixed(self._serialised(response)), response_headers.OK, self._trailing)


class ResponseStreamCall(SingleRequestCall):
    """A call of one message, answered by a stream of them."""

    __slots__ = ()

    def _start(self, request: bytes) -> None:
        self._connection.charge(self, TASK_COST)
        self.task = self._loop.create_task(self.run(request))

    async def _answered(self, *request: bytes) -> None:
        behaviour: Any = self.method.unary_stream
        answer = behaviour(self._parsed(request[0]), self)
        if hasattr(answer, "__aiter__"):
            async for response in answer:
                await self.write(response)
        else:
            await answer
        if not self._is_answered:
            self._finish(b"", response_headers.OK, self._trailing)

"""Calls whose request is one message."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from typing import Any, Final

from allocation_gateway.wire import message, response_headers
from allocation_gateway.wire.call import Call
from allocation_gateway.wire.memory import TASK_COST, USUAL_SIZE
from allocation_gateway.wire.message import UnreadableError
from allocation_gateway.wire.turns import HANDLER_UNITS

_TASK: Final = "call"


class SingleRequestCall(Call):
    """A call whose request is one message. A second one is refused as soon as it begins."""

    __slots__ = ("_inbox", "_only")

    def _open(self) -> None:
        # What has come as long as that is not all: None as long as it is nothing. Then the message, until its handler
        # has it.
        self._inbox: bytearray | None = None
        self._only = b""

    def receive(self, data: bytes, *, is_last: bool) -> None:
        """See Call. The handler begins as soon as the request is complete."""
        limit = self._connection.max_message
        try:
            if is_last and self._inbox is None:
                framed = data
            else:
                if self._inbox is None:
                    self._inbox = bytearray()
                self._inbox += data
                size = message.size_of_first(self._inbox)
                message.check_size(size or 0, limit)
                if not is_last and (size is None or len(self._inbox) <= size):
                    return
                framed, self._inbox = bytes(self._inbox), None
            only = message.read_only(framed, self.request.encoding, limit)
        except UnreadableError as error:
            self._connection.worked(HANDLER_UNITS)  # to answer is work, too
            self.fail(error.code, str(error))
            return
        size = len(only)
        if framed[0]:
            self._connection.unpacked(size)
            self._connection.charge(self, size)
        if size > USUAL_SIZE:
            self._connection.charge(self, size)  # for the message that it becomes
        self._only = only
        self._start()

    @abstractmethod
    def _start(self) -> None:
        """Runs the handler, which answers the request."""

    def _taken(self) -> Any:
        """Returns the request, of which the call keeps nothing: it may go on for long."""
        only, self._only = self._only, b""
        return self._parsed(only)


class UnaryCall(SingleRequestCall):
    """A call of one message, answered by one."""

    __slots__ = ()

    def _start(self) -> None:
        # Given a name, it makes none up, which is dear for how rarely it is read.
        self.task = asyncio.Task(self.run(), loop=self._loop, name=_TASK)

    async def _answered(self) -> None:
        response = await self.method.unary_unary(self._taken(), self)  # type: ignore[misc, arg-type] # it is of this kind
        if not self._is_answered:
            self._finish(message.prefixed(self._serialised(response)), response_headers.OK, self._trailing)


class ResponseStreamCall(SingleRequestCall):
    """A call of one message, answered by a stream of them."""

    __slots__ = ()

    def _start(self) -> None:
        self._connection.charge(self, TASK_COST)
        self.task = self._loop.create_task(self.run())

    async def _answered(self) -> None:
        behaviour: Any = self.method.unary_stream
        answer = behaviour(self._taken(), self)
        if hasattr(answer, "__aiter__"):
            await self._write_all(answer)
        else:
            await answer
        if not self._is_answered:
            self._finish(b"", response_headers.OK, self._trailing)

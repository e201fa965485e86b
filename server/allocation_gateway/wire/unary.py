"""Calls of one message, answered by one."""

from __future__ import annotations

from allocation_gateway.wire import message, response_headers
from allocation_gateway.wire.call import Call
from allocation_gateway.wire.message import UnreadableError


class UnaryCall(Call):
    """A call of one message, answered by one."""

    __slots__ = ("_body",)

    def _open(self) -> None:
        self._body = bytearray()

    def receive(self, data: bytes, *, is_last: bool) -> None:
        """See Call. The handler begins as soon as the request is whole."""
        limit = self._connection.max_message
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
        self._connection.release(self)
        self.task = self._loop.create_task(self.run(only))

    async def _answered(self, *request: bytes) -> None:
        response = await self.method.unary_unary(self._parsed(request[0]), self)  # type: ignore[misc, arg-type] # it is of this kind
        if not self._is_answered:
            self._finish(message.prefixed(self._serialised(response)), response_headers.OK, self._trailing)

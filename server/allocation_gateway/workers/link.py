"""The side of a process that a supervisor runs: what it was told to do, and the line back."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING, Final

from allocation_gateway.workers import messages

if TYPE_CHECKING:
    from allocation_gateway.workers.messages import Report, Task

_STANDARD_INPUT: Final = 0


class Link:
    """The line to the supervisor.

    Attributes:
        task: What to do; None if the supervisor has gone before it could say so.
    """

    def __init__(self) -> None:
        self._socket = socket.socket(fileno=_STANDARD_INPUT)
        self.task: Task | None = messages.receive_task(self._socket)
        self._writer: asyncio.StreamWriter | None = None

    def send(self, report: Report) -> None:
        """Tells the supervisor something, without ever waiting for it."""
        with contextlib.suppress(OSError):  # it has gone, which is noticed elsewhere, or is suspended
            self._socket.send(messages.encode(report), socket.MSG_DONTWAIT)

    async def lines(self) -> asyncio.StreamReader:
        """Returns what the supervisor says from now on. It ends when the supervisor does."""
        # Kept, since it closes the line when nobody has it any more.
        reader, self._writer = await asyncio.open_unix_connection(sock=self._socket.dup())
        return reader

"""Standard error, which takes several lines with one write.

A write wakes up whoever reads the other end of the pipe. One for each call is some 4 % of what the call costs.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import select
from threading import RLock
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from typing import BinaryIO

HOLD: Final = 0.01
"""Seconds for which a line waits at most for others to be written with, while an event loop runs."""
# What is longer may be torn apart by what another process writes into the same pipe.
_WHOLE: Final = select.PIPE_BUF


class Lines:
    """Lines on their way into a stream, in order and none of them torn. Any thread may write.

    What cannot be written is dropped: nothing else is to fail because nobody reads its log.
    """

    def __init__(self, stream: BinaryIO) -> None:
        """Writes into a stream. What is held at the end of the process is written then."""
        self._stream = stream
        # One that its thread may take again: the garbage collector runs anywhere, and has asyncio log what it finds.
        self._lock = RLock()
        self._held = bytearray()
        self._flushing: asyncio.AbstractEventLoop | None = None
        atexit.register(self.flush)

    def write(self, line: bytes, *, at_once: bool) -> None:
        """Writes a line, together with those before it.

        Args:
            line: The line, without its end.
            at_once: Whether it must not wait, since it may be the last thing that can be told.
        """
        with self._lock:
            if len(self._held) + len(line) >= _WHOLE:
                self._write()
            self._held += line
            self._held += b"\n"
            if at_once or not self._is_due_soon():
                self._write()

    def flush(self) -> None:
        """Writes what is held."""
        with self._lock:
            self._flushing = None
            self._write()

    def _is_due_soon(self) -> bool:
        """Returns whether what is held will be written by the event loop, which it is asked for if one runs here."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return False
        if loop is not self._flushing:
            self._flushing = loop
            loop.call_later(HOLD, self.flush)
        return True

    def _write(self) -> None:
        held, self._held = self._held, bytearray()
        if held:
            with contextlib.suppress(OSError, ValueError):
                self._stream.write(held)
                self._stream.flush()

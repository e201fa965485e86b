"""A buffer for log lines, which writes several of them to standard error at once.

Each write wakes up the process that reads the other end of the pipe. One write for each call is some 4 % of what the
call costs.
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

# Seconds for which a line waits at most for others to be written with, while an event loop runs.
_FLUSH_INTERVAL: Final = 0.01
# A longer write may be interleaved with what another process writes into the same pipe.
_MAX_ATOMIC_WRITE: Final = select.PIPE_BUF


class LineBuffer:
    """Lines that are written to a stream in order, each of them whole. Any thread may add one.

    What cannot be written is dropped: nothing else may fail because nobody reads its log.
    """

    def __init__(self, stream: BinaryIO) -> None:
        """Writes to a stream. What is buffered when the process ends is written then."""
        self._stream = stream
        # Reentrant: the garbage collector may run while the lock is held, and have asyncio log what it finds.
        self._lock = RLock()
        self._buffer = bytearray()
        self._flushing_loop: asyncio.AbstractEventLoop | None = None
        atexit.register(self.flush)

    def write(self, line: bytes, *, at_once: bool) -> None:
        """Adds a line.

        Args:
            line: The line, without its end.
            at_once: Whether it must be written before this returns, together with those before it.
        """
        with self._lock:
            if len(self._buffer) + len(line) >= _MAX_ATOMIC_WRITE:
                self._write_buffer()
            self._buffer += line
            self._buffer += b"\n"
            if at_once or not self._schedule_flush():
                self._write_buffer()

    def flush(self) -> None:
        """Writes what is buffered."""
        with self._lock:
            self._flushing_loop = None
            self._write_buffer()

    def _schedule_flush(self) -> bool:
        """Schedules a flush in the event loop. Returns False if none runs in this thread."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return False
        if loop is not self._flushing_loop:
            self._flushing_loop = loop
            loop.call_later(_FLUSH_INTERVAL, self.flush)
        return True

    def _write_buffer(self) -> None:
        data, self._buffer = self._buffer, bytearray()
        if data:
            with contextlib.suppress(OSError, ValueError):
                self._stream.write(data)
                self._stream.flush()

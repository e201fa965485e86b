"""Signals as something to wait for beside other things."""

from __future__ import annotations

import signal
import socket
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from types import TracebackType

_CHUNK: Final = 4_096


class Signals:
    """Catches signals from entering until leaving it, in the order in which they come."""

    def __init__(self, *numbers: signal.Signals) -> None:
        self._numbers = numbers
        self._previous: list[tuple[signal.Signals, object]] = []
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)

    def __enter__(self) -> Self:
        signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        for number in self._numbers:
            # Any handler will do: Python writes the number of a signal that has one to the socket.
            self._previous.append((number, signal.signal(number, lambda *_: None)))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._previous:
            signal.signal(number, handler)  # type: ignore[arg-type] # what signal() itself has returned
        signal.set_wakeup_fd(-1)
        self._reader.close()
        self._writer.close()

    def fileno(self) -> int:
        """Returns what a selector watches."""
        return self._reader.fileno()

    def take(self) -> list[int]:
        """Returns the signals that have come since the last time, without waiting."""
        try:
            return list(self._reader.recv(_CHUNK))
        except BlockingIOError:
            return []

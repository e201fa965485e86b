"""A process that a supervisor runs: spawned, spoken to and listened to."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from typing import TYPE_CHECKING, Final

from allocation_gateway.workers import messages

if TYPE_CHECKING:
    from collections.abc import Iterator

    from allocation_gateway.workers.messages import Report, Serve, Task

_SEND_TIMEOUT: Final = 10.0
_CHUNK: Final = 65_536


class Child:
    """A running process, until it has been reaped.

    It gets one end of a socket pair as its standard input, and nothing else that is open here. The other end closes
    with the supervisor, however that ends, which tells the process to end too.

    Attributes:
        pid: Its number.
        closed: Whether it has closed its end.
    """

    def __init__(self, module: str, task: Task) -> None:
        self._link, theirs = socket.socketpair()
        self._heard = b""
        self.closed = False
        try:
            self.pid = os.posix_spawn(
                sys.executable,
                # -P: the working directory is no place to import from.
                [sys.executable, "-P", "-m", module],
                os.environ,
                file_actions=[(os.POSIX_SPAWN_DUP2, theirs.fileno(), 0)],
                # A terminal signals a whole group: only the supervisor is to decide who hears of it.
                setpgroup=0,
            )
        except OSError:
            self._link.close()
            raise
        finally:
            theirs.close()
        self._send(messages.encode(task))

    def fileno(self) -> int:
        """Returns what a selector watches."""
        return self._link.fileno()

    def send(self, message: Serve) -> None:
        """Says something to the process."""
        self._send(messages.encode(message))

    def _send(self, line: bytes) -> None:
        self._link.settimeout(_SEND_TIMEOUT)
        with contextlib.suppress(OSError):  # it is ending, or stuck: both show soon
            self._link.sendall(line)
        self._link.setblocking(False)

    def reports(self) -> Iterator[Report]:
        """Returns what the process has said since the last time, without waiting."""
        try:
            while chunk := self._link.recv(_CHUNK):
                self._heard += chunk
            self.closed = True
        except BlockingIOError:
            pass
        except OSError:
            self.closed = True
        *lines, self._heard = self._heard.split(b"\n")
        yield from map(messages.report, lines)

    def signal(self, number: int) -> None:
        """Sends a signal to the process."""
        os.kill(self.pid, number)

    def end(self) -> None:
        """Tells the process that there is nothing more to come, after which it ends."""
        with contextlib.suppress(OSError):
            self._link.shutdown(socket.SHUT_WR)

    def let_go(self) -> None:
        """Closes the line to a process that has ended."""
        self._link.close()

"""A wire between a client and the gateway that loses answers: what was asked for is done, and nobody hears of it."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_CHUNK: Final = 65_536
_JOIN: Final = 5.0


class LosingWire:
    """A TCP proxy in front of a gateway.

    Attributes:
        address: Where it listens, as host:port.
        lost: How many answers it has lost so far.
    """

    def __init__(self, address: str) -> None:
        """Listens at once; what arrives goes to the address."""
        self._target = ("", 0)
        self.lead_to(address)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._text = b""
        self._times = 0
        self._threads: list[threading.Thread] = []
        self.lost = 0
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._start(self._accept)

    def lose(self, text: str, times: int = 1) -> None:
        """Ends the connection in place of passing on what has a text in it, which the answer of a call has."""
        with self._lock:
            self._text, self._times = text.encode(), times

    def cut(self) -> None:
        """Ends every connection, whatever is on its way."""
        with self._lock:
            ends = list(self._open)
        for end in ends:
            self._end(end)

    def lead_to(self, address: str) -> None:
        """Has what connects from now on reach another address."""
        host, _, port = address.rpartition(":")
        self._target = (host, int(port))

    def close(self) -> None:
        """Ends everything."""
        # A listener that is only closed would leave its thread waiting for the next connection.
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        for thread in list(self._threads):
            thread.join(_JOIN)

    def _start(self, work: object, *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)  # type: ignore[arg-type] # any callable
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(self._target)
            except OSError:
                near.close()
                continue
            with self._lock:
                self._open |= {near, far}
            self._start(self._pass_on, near, far, False)
            self._start(self._pass_on, far, near, True)

    def _pass_on(self, source: socket.socket, sink: socket.socket, is_answer: bool) -> None:
        with suppress(OSError):
            while data := source.recv(_CHUNK):
                if is_answer and self._loses(data):
                    break
                sink.sendall(data)
        self._end(source)
        self._end(sink)

    def _loses(self, data: bytes) -> bool:
        with self._lock:
            if not self._times or self._text not in data:
                return False
            self._times -= 1
            self.lost += 1
            return True

    def _end(self, end: socket.socket) -> None:
        with self._lock:
            self._open.discard(end)
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
        end.close()


@contextmanager
def losing_wire(address: str) -> Iterator[LosingWire]:
    """Runs a wire in front of a gateway."""
    wire = LosingWire(address)
    try:
        yield wire
    finally:
        wire.close()

"""A real Valkey or Redis server on a free port of the loopback, and a proxy that makes it slow."""

from __future__ import annotations

import shutil
import socket
import socketserver
import subprocess
import tempfile
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_PROGRAMS: Final = ("valkey-server", "redis-server")
_START: Final = 10.0
_CHUNK: Final = 65_536


def program() -> str:
    """Returns the path of a server."""
    found = next(filter(None, map(shutil.which, _PROGRAMS)), None)
    if found is None:
        pytest.fail("valkey-server or redis-server is missing: install one of them", pytrace=False)
    return found


def free_port() -> int:
    """Returns a port of the loopback that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class CacheServer:
    """A server that keeps everything in memory and can be killed and started again.

    Attributes:
        port: Where it listens.
        host: At which address of the loopback.
    """

    options: Sequence[str] = ()
    port: int = field(default_factory=free_port)
    tls: bool = False
    host: str = "127.0.0.1"
    _process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts it, empty, and waits until it accepts connections."""
        ports = ("--port", "0", "--tls-port", str(self.port)) if self.tls else ("--port", str(self.port))
        memory = ("--bind", self.host, "--save", "", "--appendonly", "no")
        self._process = subprocess.Popen([program(), *ports, *memory, *self.options], stdout=subprocess.DEVNULL)
        end = time.monotonic() + _START
        while True:
            try:
                with socket.create_connection((self.host, self.port)):
                    return
            except OSError:
                assert self._process.poll() is None, "the cache server has ended"
                assert time.monotonic() < end, "the cache server does not listen"

    @property
    def runs(self) -> bool:
        """Whether it has been started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def signal(self, number: int) -> None:
        """Sends it a signal, such as one that stops it without ending it."""
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """Ends it at once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()


@contextmanager
def running_cache(
    *options: str, tls: bool = False, host: str = "127.0.0.1", port: int | None = None
) -> Iterator[CacheServer]:
    """Runs a server, on a free port if none is given. What it writes to disk goes with it, unless options say where."""
    with tempfile.TemporaryDirectory() as directory:
        server = CacheServer(("--dir", directory, *options), tls=tls, host=host, port=port or free_port())
        server.start()
        try:
            yield server
        finally:
            server.kill()


class _Proxy(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, target: int) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self.target = target
        self.delay = 0.0
        self.open = threading.Event()
        self.open.set()


class _Connection(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        proxy = self.server
        assert isinstance(proxy, _Proxy)
        try:
            with socket.create_connection(("127.0.0.1", proxy.target)) as other:
                back = threading.Thread(target=self._pump, args=(other, self.request, proxy), daemon=True)
                back.start()
                self._pump(self.request, other, proxy)
                back.join()
        except OSError:
            pass

    @staticmethod
    def _pump(source: socket.socket, target: socket.socket, proxy: _Proxy) -> None:
        try:
            while data := source.recv(_CHUNK):
                proxy.open.wait()
                if proxy.delay:
                    time.sleep(proxy.delay)
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            target.close()


@dataclass(frozen=True)
class SlowPath:
    """A way to a server that can be made slow or stopped."""

    port: int
    _proxy: _Proxy

    def delay(self, seconds: float) -> None:
        """Holds up everything that passes, in either direction."""
        self._proxy.delay = seconds

    def stop(self) -> None:
        """Lets nothing pass, without closing anything."""
        self._proxy.open.clear()

    def go_on(self) -> None:
        """Lets everything pass again."""
        self._proxy.open.set()


@contextmanager
def slow_path(port: int) -> Iterator[SlowPath]:
    """Runs a proxy in front of a server."""
    with _Proxy(port) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield SlowPath(proxy.server_address[1], proxy)
        finally:
            proxy.open.set()
            proxy.shutdown()
            thread.join()

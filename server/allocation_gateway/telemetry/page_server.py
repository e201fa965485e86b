"""Serves the page of metrics that Prometheus scrapes: that of all workers, whichever of them is asked.

Workers share the port, as they do that of gRPC. The one that is asked asks the others for theirs, over sockets in the
abstract namespace of Linux, which need no directory that can be written to. One that does not answer in time is left
out: a worker that has ended or hangs must not hide the others.
"""

from __future__ import annotations

import contextlib
import socket
import socketserver
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import structlog

from allocation_gateway import ports

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from allocation_gateway.telemetry.pages import SharedPage

# Seconds for which the page of another worker is waited for. A thousand histograms take a worker two thirds of a
# second, and several times that while it is busy; who scrapes waits for ten seconds.
_PAGE_TIMEOUT: Final = 3.0
# Seconds for which a connection may be silent.
_SILENCE: Final = 10.0
_LONGEST_LINE: Final = 65_536
_PATHS: Final = frozenset({"/", "/metrics"})
_END: Final = "# EOF"
_log = structlog.get_logger()


class PageServer:
    """Serves the page of this process, and those of the other workers with it.

    Attributes:
        address: Where, as host:port.
    """

    def __init__(
        self,
        sockets: Sequence[socket.socket],
        page: Callable[[str], tuple[bytes, str]],
        shared: SharedPage | None = None,
        worker: int = 0,
    ) -> None:
        """Begins to answer.

        Args:
            sockets: Where to listen.
            page: Returns the page of this process and its content type, for the header that says what is accepted.
            shared: The page that it is a part of; None if there are no other workers.
            worker: The number of this one.
        """
        host, port = sockets[0].getsockname()[:2]
        self.address = f"{ports.bracketed(host)}:{port}"
        others: list[str] = []
        self._servers: list[socketserver.BaseServer] = []
        if shared is not None:
            others = [shared.socket_of(number) for number in range(1, shared.workers + 1) if number != worker]
            self._servers.append(_SiblingServer(shared.socket_of(worker), page))
        whole = partial(_whole, page, others) if others else page
        self._servers += [_HttpServer(bound, whole) for bound in sockets]
        self._threads = [threading.Thread(target=server.serve_forever, daemon=True) for server in self._servers]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Answers no more."""
        for server in self._servers:
            server.shutdown()
            server.server_close()
        for thread in self._threads:
            thread.join()


def _whole(page: Callable[[str], tuple[bytes, str]], others: Sequence[str], accepted: str) -> tuple[bytes, str]:
    """Returns the pages of all workers as one, and its content type."""
    with ThreadPoolExecutor(len(others)) as pool:
        asked = pool.map(partial(_page_of, accepted=accepted), others)
        own, content_type = page(accepted)
        return merged([own, *(found for found in asked if found is not None)]), content_type


def _page_of(name: str, *, accepted: str) -> bytes | None:
    """Returns the page of another worker; None if it does not answer in time, or not wholly."""
    with contextlib.suppress(OSError, ValueError), socket.socket(socket.AF_UNIX) as link:
        link.settimeout(_PAGE_TIMEOUT)
        link.connect(name)
        link.sendall(accepted.encode() + b"\n")
        with link.makefile("rb") as answer:
            length = int(answer.readline())
            found = answer.read(length)
        return found if len(found) == length else None
    return None


def merged(pages: Iterable[bytes]) -> bytes:
    """Returns pages as one, in which what is said of a metric stands once, and all its samples below it.

    The samples of each page need a label that no other page has.
    """
    families: dict[str, tuple[list[str], list[str]]] = {}
    has_end = False
    for page in pages:
        head: list[str] = []
        samples: list[str] = []
        is_known = False
        for line in page.decode().split("\n"):
            if line.startswith("# HELP "):
                name = line.split(" ", 3)[2]
                is_known = name in families
                head, samples = families.setdefault(name, ([], []))
            if line == _END:
                has_end = True
            elif not line.startswith("#"):
                samples += [line] if line else []
            elif not is_known:
                head.append(line)
    lines = [line for head, samples in families.values() for line in (*head, *samples)]
    return "".join(f"{line}\n" for line in (*lines, *([_END] if has_end else []))).encode()


class _ErrorsLogged:
    """Keeps what goes wrong with one connection from standard error, where only log lines belong."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Logs what nobody foresaw. That whoever has asked is gone is nothing to tell of."""
        del request, client_address
        if not isinstance(sys.exception(), OSError):
            _log.exception("defect", part="metrics")


class _HttpServer(_ErrorsLogged, ThreadingHTTPServer):
    """Serves the page over HTTP, at a socket that is bound."""

    def __init__(self, bound: socket.socket, page: Callable[[str], tuple[bytes, str]]) -> None:
        self.address_family = bound.family
        super().__init__(bound.getsockname()[:2], _HttpHandler, bind_and_activate=False)
        self.socket.close()
        self.socket = bound
        self.page = page
        self.server_activate()


class _HttpHandler(BaseHTTPRequestHandler):
    timeout = _SILENCE
    server: _HttpServer

    def do_GET(self) -> None:
        if urlsplit(self.path).path not in _PATHS:
            self.send_error(404)
            return
        # A header that is no text of one line ends here, and not in the line that another worker reads.
        accepted = self.headers.get("accept", "").replace("\n", " ")
        page, content_type = self.server.page(accepted)
        self.send_response(200)
        self.send_header("content-type", content_type)
        self.send_header("content-length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)

    def log_message(self, *_: Any) -> None:
        """Logs nothing: the library would write to standard error."""


class _SiblingServer(_ErrorsLogged, socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """Gives the page of this process to other workers."""

    daemon_threads = True

    def __init__(self, name: str, page: Callable[[str], tuple[bytes, str]]) -> None:
        super().__init__(name, _SiblingHandler)
        self.page = page


class _SiblingHandler(socketserver.StreamRequestHandler):
    timeout = _SILENCE
    server: _SiblingServer

    def handle(self) -> None:
        """Answers with the length of the page, and the page."""
        # Whoever asks may have gone.
        with contextlib.suppress(OSError):
            page, _ = self.server.page(self.rfile.readline(_LONGEST_LINE).decode().strip())
            self.wfile.write(b"%d\n%b" % (len(page), page))

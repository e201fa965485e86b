"""Servers that quote whatever they are told: the keys, passwords and headers of who talks to them."""

from __future__ import annotations

import socketserver
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from support.upstream import Reply, shipped

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.upstream import Received


def quoting(received: Received) -> Reply:
    """Answers as a Ship API that refuses every write, and quotes the headers of it."""
    if received.line.startswith("GET "):
        return shipped(received)
    detail = {"property": "reference", "code": "validation_error", "message": f"{received.headers}"}
    return Reply(400, {"code": "validation_error", "message": detail["message"], "details": [detail]})


class Collector:
    """Refuses whatever is exported.

    Attributes:
        port: Where it listens.
        received: The bodies of requests, as text.
        asked: The headers of requests.
    """

    def __init__(self) -> None:
        self.port = 0
        self.received: list[str] = []
        self.asked: list[str] = []


@contextmanager
def collector() -> Iterator[Collector]:
    """Runs a collector that takes OTLP over HTTP, and tells everybody who they have said that they are."""
    running = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            running.received.append(self.rfile.read(int(self.headers["content-length"])).decode("latin-1"))
            running.asked.append(str(self.headers))
            body = f"unknown: {self.headers}".encode()
            # What libraries log of an answer is its reason phrase.
            self.send_response(401, f"unknown: {' '.join(str(self.headers).split())}")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        running.port = server.server_address[1]
        with _served(server):
            yield running


class _Store(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        while line := self.rfile.readline():
            words = []
            for _ in range(int(line[1:])):
                size = int(self.rfile.readline()[1:])
                words.append(self.rfile.read(size + 2)[:-2].decode("latin-1"))
            name, *given = words
            quoted = " ".join(f"'{word}'" for word in given)
            told = f"-ERR unknown command '{name}', with args beginning with: {quoted} \r\n"
            self.wfile.write(told.encode("latin-1"))


@contextmanager
def store() -> Iterator[int]:
    """Runs what looks like a Valkey or Redis server all of whose commands were renamed. Yields the port."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Store) as server, _served(server):
        server.daemon_threads = True
        yield server.server_address[1]


@contextmanager
def _served(server: Any) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()

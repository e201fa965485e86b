"""An upstream over real HTTP whose every answer a test dictates, byte for byte, and whose every request it can read."""

from __future__ import annotations

import json
import queue
import socketserver
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator, Mapping

TIMEOUT: Final = 20.0
UNREADABLE: Final = "unreadable"
"""What has this in its reference cannot be read: a GET of it is refused out of turn, and not received."""


@dataclass
class Received:
    """A request as it came over the wire."""

    line: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Reply:
    """What to answer.

    Attributes:
        status: The HTTP status.
        body: Bytes, or anything that becomes JSON.
        headers: Further headers; a `content-length` or a `date` here replaces the true one.
        raw: If set, sent instead of all that.
        close: Whether the connection is closed afterwards, as the answer then says, or before anything was sent if
            `raw` is empty.
        chunks: If not 0, the body is sent in chunks of so many bytes.
        wait: If set, is waited for before anything is sent.
        to: What the request line has to begin with for it to be the answer. Until such a request comes, others get the
            default: in a gateway that several tests share, what one of them left in doubt is read while the next runs.
    """

    status: int = 200
    body: object = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    raw: bytes | None = None
    close: bool = False
    chunks: int = 0
    wait: threading.Event | None = None
    to: str = ""

    def encoded(self) -> bytes:
        """Returns the bytes of the answer."""
        if self.raw is not None:
            return self.raw
        body = self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()
        headers = {
            "content-type": "application/json",
            "content-length": str(len(body)),
            "date": formatdate(usegmt=True),
            **self.headers,
        }
        if self.chunks:
            del headers["content-length"]
            headers["transfer-encoding"] = "chunked"
            parts = (body[i : i + self.chunks] for i in range(0, len(body), self.chunks))
            body = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (*parts, b""))
        if self.close:
            headers.setdefault("connection", "close")  # unsaid, it would meet the next request
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return f"HTTP/1.1 {self.status} Whatever\r\n{head}\r\n".encode() + body


class Hold(threading.Event):
    """What a request waits for until it is set.

    Attributes:
        gone: Is set if the other side goes away meanwhile.
    """

    def __init__(self) -> None:
        super().__init__()
        self.gone = threading.Event()


class Upstream:
    """The server. What is scripted is answered in order; then the default is."""

    def __init__(self) -> None:
        self.received: queue.Queue[Received] = queue.Queue()
        self.default: Callable[[Received], Reply] = lambda _: Reply(500, {"code": "nothing_scripted"})
        self.script: queue.Queue[Reply] = queue.Queue()
        self.open_connections = 0
        self.most_connections = 0
        self.changed = threading.Condition()
        self.port = 0
        self.tls: ssl.SSLContext | None = None

    @property
    def url(self) -> str:
        """The base URL."""
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}/pro"

    def answer(self, status: int = 200, body: object = b"", **more: Any) -> None:
        """Scripts the answer to the next request."""
        self.script.put(Reply(status, body, **more))

    def scripted(self, line: str) -> Reply | None:
        """Takes the next scripted answer, if it is for a request with this line."""
        with self.script.mutex:
            following = self.script.queue
            return following.popleft() if following and line.startswith(following[0].to) else None

    def next_request(self, to: str = "") -> Received:
        """Returns the oldest request that was not looked at and whose line begins so, and waits for one."""
        while True:
            received = self.received.get(timeout=TIMEOUT)
            if received.line.startswith(to):
                return received

    def hold(self, status: int = 200, body: object = b"", **more: Any) -> Hold:
        """Scripts an answer to the next request that is not given before what this returns is set."""
        release = Hold()
        self.answer(status, body, wait=release, **more)
        return release

    def connected(self, change: int) -> None:
        """Counts a connection that came or went."""
        with self.changed:
            self.open_connections += change
            self.most_connections = max(self.most_connections, self.open_connections)
            self.changed.notify_all()

    def wait_for_connections(self, most: int) -> None:
        """Waits until no more connections than so many are open."""
        with self.changed:
            assert self.changed.wait_for(lambda: self.open_connections <= most, TIMEOUT), self.open_connections

    def forget(self) -> None:
        """Drops what is scripted and what was received."""
        for pending in (self.received, self.script):
            while not pending.empty():
                pending.get_nowait()


class _Connection(socketserver.StreamRequestHandler):
    def setup(self) -> None:
        tls = self.server.upstream.tls  # type: ignore[attr-defined]
        if tls is not None:
            self.request = tls.wrap_socket(self.request, server_side=True)
        super().setup()

    def handle(self) -> None:
        upstream: Upstream = self.server.upstream  # type: ignore[attr-defined]
        upstream.connected(1)
        try:
            while self._exchange(upstream):
                pass
        except OSError:
            pass
        finally:
            upstream.connected(-1)

    def finish(self) -> None:
        super().finish()
        if self.server.upstream.tls is not None:  # type: ignore[attr-defined]
            self.request.close()

    def _exchange(self, upstream: Upstream) -> bool:
        line = self.rfile.readline().decode("latin-1").strip()
        if not line:
            return False
        headers: dict[str, str] = {}
        while text := self.rfile.readline().decode("latin-1").strip():
            name, _, value = text.partition(":")
            headers[name.lower()] = value.strip()
        received = Received(line, headers, self.rfile.read(int(headers.get("content-length", "0"))))
        if line.startswith("GET ") and UNREADABLE in line:
            self.wfile.write(Reply(503).encoded())
            return True
        reply = upstream.scripted(line) or upstream.default(received)
        upstream.received.put(received)
        if reply.wait is not None:
            self._wait(reply.wait)
        self.wfile.write(reply.encoded())
        self.wfile.flush()
        return not reply.close

    def _wait(self, event: threading.Event) -> None:
        """Waits for an event, and notices when the other side goes away meanwhile."""
        self.connection.settimeout(0.05)
        while not event.wait(0.0):
            try:
                if not self.connection.recv(1):
                    if isinstance(event, Hold):
                        event.gone.set()
                    raise ConnectionError
            except TimeoutError:
                continue
        self.connection.settimeout(None)


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 512

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Takes a handshake that failed: which one should is for the test to say."""


def shipped(received: Received) -> Reply:
    """Answers as a Ship API that knows every shipment and can always do what it is asked."""
    method, path, _ = received.line.split(" ")
    parts = path.partition("/shipments/")[2].split("/")
    if method == "GET":
        return Reply(200, {"reference": parts[0], "state": "unallocated"})
    if method == "DELETE":
        return Reply(200, {"reference": parts[0], "message": "done"})
    return Reply(200, {"shipment_reference": parts[0], "state": "allocated"})


def shipped_before(received: Received) -> Reply:
    """Answers as a Ship API in which every shipment was allocated long ago."""
    method, path, _ = received.line.split(" ")
    if method != "GET":
        return shipped(received)
    reference = path.partition("/shipments/")[2].split("/")[0]
    allocation = {"allocation_date": "2019-06-14T10:41:05+00:00"}
    return Reply(200, {"reference": reference, "state": "allocated", "allocation": allocation})


@contextmanager
def running_upstream(tls: ssl.SSLContext | None = None) -> Iterator[Upstream]:
    """Runs an upstream on a free port of the loopback."""
    upstream = Upstream()
    upstream.tls = tls
    with _Server(("127.0.0.1", 0), _Connection) as server:
        server.upstream = upstream  # type: ignore[attr-defined]
        upstream.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield upstream
        finally:
            server.shutdown()
            thread.join()

"""One HTTP exchange with an upstream, over httpx: bounded in size, and sure of whether anything was sent."""

from __future__ import annotations

import asyncio
import zlib
from http.cookiejar import DefaultCookiePolicy
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import urlsplit

import httpx

from allocation_gateway.settings import LOOPBACK

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# What the documentation calls it, and what the standard does.
_GZIP: Final = frozenset({"gzip", "x-gzip", "gzipped"})
_GZIP_WINDOW: Final = 31
# Shorter than the idle time-out of common load balancers, so that a write seldom meets a connection being closed.
_KEEPALIVE_EXPIRY: Final = 15.0


class Answer(NamedTuple):
    """What upstream answered.

    Attributes:
        status: The HTTP status.
        headers: The headers, by any spelling of their names.
        body: The decompressed body; empty if it could not be read.
        problem: Why the body could not be read; empty if it could.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    problem: str = ""


class NoAnswerError(Exception):
    """Upstream did not answer. The text says in which way; whether anything was sent is for the Attempt to tell."""


class CalledOffError(Exception):
    """An attempt was called off before anything was sent. Nobody waits for it any more."""


class Attempt:
    """One try at a request, followed and called off from outside.

    Attributes:
        sent: True from just before the first byte of the request may leave this process.
        closing: True from just before its connection is handed back or closed.
    """

    __slots__ = ("_called_off", "closing", "sent")

    def __init__(self) -> None:
        self.sent = False
        self.closing = False
        self._called_off = False

    def call_off(self) -> bool:
        """Sees to it that nothing is ever sent. Returns False if that is too late."""
        self._called_off = not self.sent
        return self._called_off

    async def trace(self, event: str, info: Mapping[str, Any]) -> None:
        """Takes the events of httpx's transport.

        Raises:
            CalledOffError: It was called off.
        """
        # What is sent to a proxy so that it connects is not the request yet.
        if event.endswith(".send_request_headers.started") and info["request"].method != b"CONNECT":
            if self._called_off:
                raise CalledOffError
            self.sent = True
        elif event.endswith(".response_closed.started"):
            self.closing = True


class HttpEngine:
    """Connections to one base URL."""

    def __init__(
        self,
        base_url: str,
        *,
        headers: Sequence[tuple[str, str]],
        connect_timeout: float,
        max_connections: int,
        max_answer_bytes: int,
    ) -> None:
        self._base = httpx.URL(base_url.rstrip("/"))
        self._prefix = self._base.raw_path.rstrip(b"/")
        self._headers = [(name.encode(), value.encode()) for name, value in headers]
        self._max_answer_bytes = max_answer_bytes
        self._timeout = {"connect": connect_timeout, "read": None, "write": None, "pool": None}
        # httpcore leaks a place in its pool if a request is cancelled while it waits for one (its issue 1093), while it
        # connects, or while it hands a connection back. So the waiting is done here, and the rest is not cancelled.
        self._places = asyncio.Semaphore(max_connections)
        self._exchanges: set[asyncio.Task[Answer]] = set()
        self._client = httpx.AsyncClient(
            # Also of an upstream on this host, for which httpx would not look at SSL_CERT_FILE below.
            verify=httpx.create_ssl_context(),
            limits=httpx.Limits(
                max_connections=max_connections,
                max_keepalive_connections=max_connections,
                keepalive_expiry=_KEEPALIVE_EXPIRY,
            ),
            follow_redirects=False,
            trust_env=urlsplit(base_url).hostname not in LOOPBACK,
        )
        # Callers of different services share this client: a cookie would carry state from one call into another.
        self._client.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=[]))

    async def exchange(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None,
        headers: Sequence[tuple[bytes, bytes]],
        attempt: Attempt,
    ) -> Answer:
        """Sends a request and reads its answer, whatever its status.

        Raises:
            NoAnswerError: There was no answer, because the connection could not be made or was lost.
        """
        request = httpx.Request(
            method,
            self._base.copy_with(raw_path=self._prefix + path.encode("ascii")),
            headers=[*self._headers, *headers],
            content=body,
            extensions={"timeout": self._timeout, "trace": attempt.trace},
        )
        await self._places.acquire()
        task = asyncio.create_task(self._carry_out(request))
        self._exchanges.add(task)
        task.add_done_callback(self._ended)
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            # Not sent yet, it goes on to the point where it would be, and ends there.
            if not attempt.call_off() and not attempt.closing:
                task.cancel()
            raise
        return task.result()

    async def _carry_out(self, request: httpx.Request) -> Answer:
        try:
            response = await self._client.send(request, stream=True)
        except httpx.TransportError as error:
            raise NoAnswerError(_how(error)) from error
        try:
            content, problem = await self._read(response)
        finally:
            await response.aclose()
        return Answer(response.status_code, response.headers, content, problem)

    async def _read(self, response: httpx.Response) -> tuple[bytes, str]:
        """Reads a body up to the limit, whatever it would decompress to. Returns it, and what is wrong with it."""
        encoding = response.headers.get("content-encoding", "identity").strip().lower()
        unzip = zlib.decompressobj(_GZIP_WINDOW) if encoding in _GZIP else None
        if unzip is None and encoding != "identity":
            return b"", "the body has an encoding that was not asked for"
        body = bytearray()
        try:
            async for chunk in response.aiter_raw():
                room = self._max_answer_bytes + 1 - len(body)
                body += chunk if unzip is None else unzip.decompress(chunk, room)
                if len(body) > self._max_answer_bytes:
                    return b"", f"the body is larger than {self._max_answer_bytes} bytes"
        except httpx.TransportError:
            return b"", "the body ended early"
        except zlib.error:
            return b"", "the body is not valid gzip"
        if unzip is not None and not unzip.eof and body:
            return b"", "the body ended early"
        return bytes(body), ""

    def _ended(self, task: asyncio.Task[Answer]) -> None:
        self._exchanges.discard(task)
        self._places.release()
        if not task.cancelled():
            task.exception()  # seen: whoever has gone has no use for it

    async def close(self) -> None:
        """Closes all connections."""
        for task in self._exchanges:
            task.cancel()
        await asyncio.gather(*self._exchanges, return_exceptions=True)
        await self._client.aclose()


def _how(error: httpx.TransportError) -> str:
    if isinstance(error, httpx.ConnectTimeout):
        return "connecting took too long"
    if isinstance(error, httpx.ConnectError | httpx.ProxyError):
        return "no connection could be made"
    return "the connection was lost"

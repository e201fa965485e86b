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


class Attempt:
    """One try at a request, followed from outside.

    Attributes:
        sent: True from just before the first byte of the request may leave this process.
    """

    __slots__ = ("sent",)

    def __init__(self) -> None:
        self.sent = False

    async def trace(self, event: str, _: Mapping[str, Any]) -> None:
        """Takes the events of httpx's transport."""
        if event.endswith(".send_request_headers.started"):
            self.sent = True


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
        # httpcore leaks a place in its pool if a request is cancelled while it waits for one (its issue 1093). Waiting
        # here instead leaves nothing to wait for there.
        self._places = asyncio.Semaphore(max_connections)
        self._client = httpx.AsyncClient(
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
        async with self._places:
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

    async def close(self) -> None:
        """Closes all connections."""
        await self._client.aclose()


def _how(error: httpx.TransportError) -> str:
    if isinstance(error, httpx.ConnectTimeout):
        return "connecting took too long"
    if isinstance(error, httpx.ConnectError | httpx.ProxyError):
        return "no connection could be made"
    return "the connection was lost"

"""The engine over httpx: not the fastest, but it goes through every kind of proxy."""

from __future__ import annotations

import asyncio
import time
from http.cookiejar import DefaultCookiePolicy
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import httpx

from allocation_gateway.settings import LOOPBACK
from allocation_gateway.upstream.engines.body import Body
from allocation_gateway.upstream.engines.trust import client_context
from allocation_gateway.upstream.http import Answer, NoAnswerError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from allocation_gateway.upstream.http import Attempt, Target

# Shorter than the idle time-out of common load balancers, so that a write seldom meets a connection being closed.
_KEEPALIVE_EXPIRY: Final = 15.0
# Connections of one pool. With each answer, httpcore looks at every idle connection of a pool for every idle one: in a
# pool of four hundred that takes a tenth of a second.
_POOL_SIZE: Final = 16
# So many parts of a body are taken in one turn of the event loop.
_PARTS_AT_ONCE: Final = 256


class _Progress:
    """How far an exchange has come, as httpx's transport tells it.

    Attributes:
        is_closing: True from just before its connection is handed back or closed.
    """

    __slots__ = ("_attempt", "is_closing")

    def __init__(self, attempt: Attempt) -> None:
        self._attempt = attempt
        self.is_closing = False

    async def trace(self, event: str, info: Mapping[str, Any]) -> None:
        """Takes an event of the transport.

        Raises:
            CalledOffError, TooLateError: The request may not be sent any more.
        """
        # What is sent to a proxy so that it connects is not the request yet.
        if event.endswith(".send_request_headers.started") and info["request"].method != b"CONNECT":
            self._attempt.begin()
        elif event.endswith(".response_closed.started"):
            self.is_closing = True


class HttpxEngine:
    """Connections to one upstream, made by httpx."""

    def __init__(self, target: Target) -> None:
        self._base = httpx.URL(target.base_url)
        self._prefix = self._base.raw_path.rstrip(b"/")
        self.use_headers(target.headers)
        self._max_answer_bytes = target.max_answer_bytes
        self._timeout = {"connect": target.connect_timeout, "read": None, "write": None, "pool": None}
        # httpcore leaks a place in its pool if a request is cancelled while it waits for one (its issue 1093), while it
        # connects, or while it hands a connection back. So the waiting is done here, and the rest is not cancelled.
        self._places = asyncio.Semaphore(target.max_connections)
        # The pools with places that were taken before and are free, one entry for each of them. The last one freed is
        # the first one taken, so that pools that are not needed are not made, and their connections grow old and go.
        self._free: list[int] = []
        self._places_made = 0
        self._clients: dict[int, httpx.AsyncClient] = {}
        self._exchanges: dict[asyncio.Task[Answer], int] = {}
        self._is_closed = False
        self._trust = client_context()
        self._trusts_environment = urlsplit(target.base_url).hostname not in LOOPBACK
        # At once, so that an environment that cannot be used is told at the start.
        self._client(0)

    def _client(self, pool: int) -> httpx.AsyncClient:
        client = self._clients.get(pool)
        if client is None:
            client = self._clients[pool] = httpx.AsyncClient(
                # Also of an upstream on this host, for which httpx would not look at SSL_CERT_FILE below.
                verify=self._trust,
                limits=httpx.Limits(
                    max_connections=_POOL_SIZE,
                    max_keepalive_connections=_POOL_SIZE,
                    keepalive_expiry=_KEEPALIVE_EXPIRY,
                ),
                follow_redirects=False,
                trust_env=self._trusts_environment,
            )
            # Callers of different services share it: a cookie would carry state from one call into another.
            client.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        return client

    def use_headers(self, headers: Sequence[tuple[str, str]]) -> None:
        """See HttpEngine."""
        self._headers = [(name.encode(), value.encode()) for name, value in headers]

    async def exchange(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None,
        headers: Sequence[tuple[bytes, bytes]],
        attempt: Attempt,
    ) -> Answer:
        """See HttpEngine."""
        progress = _Progress(attempt)
        request = httpx.Request(
            method,
            self._base.copy_with(raw_path=self._prefix + path.encode("ascii")),
            headers=[*self._headers, *headers],
            content=body,
            extensions={"timeout": self._timeout, "trace": progress.trace},
        )
        await self._places.acquire()
        if self._is_closed:
            self._places.release()
            raise NoAnswerError("the connections were closed") from ConnectionAbortedError("closed by this side")
        pool = self._take_place()
        task = asyncio.create_task(self._carry_out(self._client(pool), request))
        self._exchanges[task] = pool
        task.add_done_callback(self._ended)
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            # Not sent yet, it goes on to the point where it would be, and ends there.
            if not attempt.call_off() and not progress.is_closing:
                task.cancel()
            raise
        if task.cancelled():
            raise NoAnswerError("the connections were closed") from ConnectionAbortedError("closed by this side")
        return task.result()

    def _take_place(self) -> int:
        """Returns the pool in which there is a place."""
        if self._free:
            return self._free.pop()
        self._places_made += 1
        return (self._places_made - 1) // _POOL_SIZE

    async def _carry_out(self, client: httpx.AsyncClient, request: httpx.Request) -> Answer:
        try:
            response = await client.send(request, stream=True)
        except httpx.TransportError as error:
            raise NoAnswerError(_how(error)) from error
        head_at = time.monotonic()
        try:
            body = await self._read(response)
        finally:
            await response.aclose()
        return Answer(response.status_code, response.headers, *body.whole(), head_at)

    async def _read(self, response: httpx.Response) -> Body:
        body = Body(self._max_answer_bytes, response.headers.get("content-encoding", "identity"))
        try:
            count = 0
            async for part in response.aiter_raw():
                if not body.add(part):
                    break
                # What has arrived comes without a turn of the event loop, and may be chunks of one byte each.
                count += 1
                if not count % _PARTS_AT_ONCE:
                    await asyncio.sleep(0)
        except httpx.TransportError:
            body.cut_short()
        return body

    def _ended(self, task: asyncio.Task[Answer]) -> None:
        self._free.append(self._exchanges.pop(task))
        self._places.release()
        if not task.cancelled():
            task.exception()  # seen: whoever has gone has no use for it

    def connections(self) -> Mapping[str, int]:
        """See HttpEngine. How many are idle, httpx does not tell."""
        return {"active": len(self._exchanges)}

    async def close(self) -> None:
        """See HttpEngine."""
        self._is_closed = True
        for task in self._exchanges:
            task.cancel()
        await asyncio.gather(*self._exchanges, return_exceptions=True)
        for client in self._clients.values():
            await client.aclose()


def _how(error: httpx.TransportError) -> str:
    if isinstance(error, httpx.ConnectTimeout):
        return "connecting took too long"
    if isinstance(error, httpx.ConnectError | httpx.ProxyError):
        return "no connection could be made"
    return "the connection was lost"

"""Sending replies over a connection: whole, or as badly as a fault demands."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from email.utils import format_datetime
from typing import TYPE_CHECKING, assert_never

from aiohttp import web

from allocation_gateway.sandbox import faults
from allocation_gateway.sandbox.compression import compressed
from allocation_gateway.sandbox.messages import Reply, encode

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from allocation_gateway.sandbox.faults import Action

PIECE = 256 * 1024

# How often a hanging request looks whether its client is still there; aiohttp tells a handler no other way.
LOOK_EVERY = 0.02


class ClosingError(Exception):
    """The server is going away, so a wait has ended early."""


class Delivery:
    """Sends answers, and carries out faults. `close` ends every wait and forgets every effect that is still to come."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        """Takes the clock that the header `Date` shows: all that the sandbox says of time has to agree."""
        self._clock = clock
        self._closing = asyncio.Event()
        self._late: set[asyncio.Task[None]] = set()

    async def plainly(self, request: web.BaseRequest, reply: Reply) -> web.StreamResponse:
        """The reply as it is meant."""
        sent = compressed(reply, request.headers.get("Accept-Encoding", ""))
        response = web.Response(status=sent.status, body=sent.body, headers=self._headers(sent))
        if sent.body is None:
            del response.headers["Content-Type"]
        return response

    def abandon(self, request: web.BaseRequest) -> web.StreamResponse:
        """Cut the connection. The answer returned goes nowhere: aiohttp wants one."""
        if request.transport is not None:
            request.transport.abort()
        return web.Response()

    async def faultily(
        self, request: web.BaseRequest, produce: Callable[[], Reply], action: Action
    ) -> web.StreamResponse:
        """What a fault makes of a request. `produce` has the effect and gives the right answer."""
        try:
            return await self._carry_out(request, produce, action)
        except ClosingError:
            return self.abandon(request)

    def forget(self) -> None:
        """Cancel the effects that are still to come."""
        for task in self._late:
            task.cancel()

    async def close(self) -> None:
        """End every wait."""
        self._closing.set()
        self.forget()
        await asyncio.gather(*self._late, return_exceptions=True)

    async def _carry_out(
        self, request: web.BaseRequest, produce: Callable[[], Reply], action: Action
    ) -> web.StreamResponse:
        match action:
            case faults.Latency():
                return await self._latency(request, produce, action)
            case faults.Status():
                if action.when == "after":
                    produce()
                return await self.plainly(request, _instead(action))
            case faults.Drop():
                return await self._drop(request, produce, action)
            case faults.LateEffect():
                return self._late_effect(request, produce, action)
            case faults.Malformed():
                reply = produce()
                return await self.plainly(request, replace(reply, body=action.body.encode()))
            case faults.Truncate():
                return await self._truncate(request, produce(), action)
            case faults.Oversize():
                return await self._oversize(request, produce(), action)
            case faults.Hang():
                return await self._hang(request, produce, action)
            case _:
                assert_never(action)

    async def _latency(
        self, request: web.BaseRequest, produce: Callable[[], Reply], action: faults.Latency
    ) -> web.StreamResponse:
        if action.when == "before":
            await self._wait(action.seconds)
            return await self.plainly(request, produce())
        reply = produce()
        await self._wait(action.seconds)
        return await self.plainly(request, reply)

    async def _drop(
        self, request: web.BaseRequest, produce: Callable[[], Reply], action: faults.Drop
    ) -> web.StreamResponse:
        if action.when == "before":
            return self.abandon(request)
        reply = produce()
        if action.when == "during":
            await self._half(request, reply)
        return self.abandon(request)

    def _late_effect(
        self, request: web.BaseRequest, produce: Callable[[], Reply], action: faults.LateEffect
    ) -> web.StreamResponse:
        async def later() -> None:
            with contextlib.suppress(ClosingError):
                await self._wait(action.seconds)
                produce()

        task = asyncio.create_task(later(), name="late-effect")
        self._late.add(task)
        task.add_done_callback(self._late.discard)
        return self.abandon(request)

    async def _truncate(self, request: web.BaseRequest, reply: Reply, action: faults.Truncate) -> web.StreamResponse:
        if action.announced == "half":
            return await self.plainly(request, replace(reply, body=_first_half(reply)))
        response = await self._half(request, reply)
        if request.transport is not None:
            # Unlike a drop, an orderly end: what was written arrives, and then nothing more.
            request.transport.close()
        return response

    async def _oversize(self, request: web.BaseRequest, reply: Reply, action: faults.Oversize) -> web.StreamResponse:
        body = reply.body or b""
        response = await self._begin(request, reply, len(body) + action.size, body)
        # A client that has seen enough may leave in the middle.
        with contextlib.suppress(ConnectionError):
            for start in range(0, action.size, PIECE):
                await response.write(b" " * min(PIECE, action.size - start))
        return response

    async def _hang(
        self, request: web.BaseRequest, produce: Callable[[], Reply], action: faults.Hang
    ) -> web.StreamResponse:
        if action.when == "after":
            produce()
        deadline = asyncio.get_running_loop().time() + action.seconds
        while request.transport is not None and asyncio.get_running_loop().time() < deadline:
            await self._wait(LOOK_EVERY)
        return self.abandon(request)

    async def _half(self, request: web.BaseRequest, reply: Reply) -> web.StreamResponse:
        """Send half of the bytes that should travel, announced as the whole."""
        sent = compressed(reply, request.headers.get("Accept-Encoding", ""))
        return await self._begin(request, sent, len(sent.body or b""), _first_half(sent))

    async def _begin(self, request: web.BaseRequest, reply: Reply, length: int, beginning: bytes) -> web.StreamResponse:
        """Send the head of an answer of that length, and the beginning of its body."""
        response = web.StreamResponse(status=reply.status, headers=self._headers(reply))
        response.content_length = length
        with contextlib.suppress(ConnectionError):
            await response.prepare(request)
            await response.write(beginning)
        return response

    def _headers(self, reply: Reply) -> dict[str, str]:
        date = format_datetime(self._clock(), usegmt=True)
        return {"Content-Type": reply.content_type, "Date": date, **reply.headers}

    async def _wait(self, seconds: float) -> None:
        """Wait in real time.

        Raises:
            ClosingError: the server is going away.
        """
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._closing.wait(), seconds)
        if self._closing.is_set():
            raise ClosingError


def _instead(action: faults.Status) -> Reply:
    given = "" if action.body is None else action.body
    body = given.encode() if isinstance(given, str) else encode(given)
    return Reply(action.status, body, action.headers, content_type=action.content_type)


def _first_half(reply: Reply) -> bytes:
    body = reply.body or b""
    return body[: len(body) // 2]

"""Our gateway, with every call made dearer: to see that the guard notices.

Usage: python -m bench.slowed MICROSECONDS
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

import grpc
from allocation_gateway import cli

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


class _Busy(grpc.aio.ServerInterceptor):
    """Works for nothing before each call."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """Uses up the time, and lets the call pass."""
        end = time.thread_time() + self._seconds
        while time.thread_time() < end:
            pass
        return await continuation(handler_call_details)


def main() -> int:
    """Runs the gateway with one more interceptor in each of its servers."""
    server, seconds = grpc.aio.server, float(sys.argv[1]) / 1e6

    def slower(*arguments: Any, **named: Any) -> grpc.aio.Server:
        return server(*arguments, **{**named, "interceptors": (*(named.get("interceptors") or ()), _Busy(seconds))})

    grpc.aio.server = slower
    return cli.main(["serve"])


if __name__ == "__main__":
    sys.exit(main())

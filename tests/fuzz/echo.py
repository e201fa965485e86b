"""What is served to the fuzzer: methods of all four kinds, which do what the first byte of a message says."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import grpc

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping

SERVICE: Final = "fuzz.Echo"
UNARY: Final = f"/{SERVICE}/Unary"
STREAM: Final = f"/{SERVICE}/Stream"
COLLECT: Final = f"/{SERVICE}/Collect"
SPREAD: Final = f"/{SERVICE}/Spread"
PATHS: Final = (UNARY, STREAM, COLLECT, SPREAD)
_LARGE: Final = 70_000
_MANY: Final = 20


class PlannedError(Exception):
    """A handler fails because its request says that it should."""


@dataclass
class Witness:
    """What the handlers saw.

    Attributes:
        running: How many of them run.
        messages: Each message that one was given, in order.
        defects: What went wrong where nobody who calls could see it.
    """

    running: int = 0
    messages: list[bytes] = field(default_factory=list)
    defects: list[str] = field(default_factory=list)

    @contextmanager
    def seeing(self) -> Iterator[None]:
        """Counts a handler as long as it runs."""
        self.running += 1
        try:
            yield
        finally:
            self.running -= 1


async def _wait(request: bytes, _: Any) -> bytes:
    await asyncio.sleep(1 + request[1] if len(request) > 1 else 3_600)
    return request


async def _fail(request: bytes, _: Any) -> bytes:
    raise PlannedError(request)


async def _abort(request: bytes, context: Any) -> bytes:
    told = (("told-bin", b"\0\xff"), ("told", "so"))
    await context.abort(grpc.StatusCode.ABORTED, "as told: 100 % \u00fc", told)
    return request


async def _enlarge(request: bytes, _: Any) -> bytes:
    return request[:1] * _LARGE


async def _tell(request: bytes, context: Any) -> bytes:
    await context.send_initial_metadata((("early", "1"),))
    context.set_trailing_metadata((("late-bin", request),))
    return request


_ACTS: Final[Mapping[bytes, Any]] = {b"w": _wait, b"f": _fail, b"a": _abort, b"l": _enlarge, b"h": _tell}
BEHAVIOURS: Final = b"es" + b"".join(_ACTS)
"""By what a message may begin. `e` is sent back, and so is `s`, with which a stream ends."""


def methods(witness: Witness) -> Mapping[str, grpc.RpcMethodHandler[Any, Any]]:
    """Returns the methods, by their names."""

    async def act(request: bytes, context: Any) -> bytes:
        witness.messages.append(request)
        own = _ACTS.get(request[:1])
        return request if own is None else await own(request, context)

    async def unary(request: bytes, context: Any) -> bytes:
        with witness.seeing():
            return await act(request, context)

    async def stream(requests: Any, context: Any) -> AsyncIterator[bytes]:
        with witness.seeing():
            async for request in requests:
                yield await act(request, context)
                if request[:1] == b"s":
                    return

    async def collect(requests: Any, context: Any) -> bytes:
        with witness.seeing():
            return b"".join([await act(request, context) async for request in requests])

    async def spread(request: bytes, context: Any) -> AsyncIterator[bytes]:
        with witness.seeing():
            for _ in range(_MANY):
                yield await act(request, context)

    return {
        "Unary": grpc.unary_unary_rpc_method_handler(unary),
        "Stream": grpc.stream_stream_rpc_method_handler(stream),
        "Collect": grpc.stream_unary_rpc_method_handler(collect),
        "Spread": grpc.unary_stream_rpc_method_handler(spread),
    }

"""What a connection leaves behind when it is over: nothing that only the garbage collector could free.

The collector seldom looks through what has outlived its first look, which every connection does.
"""

from __future__ import annotations

import asyncio
import gc
import socket
from collections import Counter
from typing import TYPE_CHECKING, Final

import pytest
import uvloop
from allocation_gateway.rpc.engines.direct import limits
from allocation_gateway.settings import PREFIX, load
from allocation_gateway.wire.connection import Connection
from allocation_gateway.wire.server import Server
from grpc_health.v1 import health, health_pb2_grpc
from support.http2 import (
    END_HEADERS,
    END_STREAM,
    HEALTH_PATH,
    PREFACE,
    Kind,
    block,
    frame,
    message,
    request_fields,
    reset,
    settings,
    window_update,
)
from wire.conftest import STRICT

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.wire

CONNECTIONS: Final = 20
PROBE: Final = frame(Kind.HEADERS, END_HEADERS, 1, block(request_fields(HEALTH_PATH))) + frame(
    Kind.DATA, END_STREAM, 1, message(b"")
)
UNFINISHED: Final = frame(Kind.HEADERS, END_HEADERS, 3, block(request_fields(HEALTH_PATH)))
WATCHED: Final = frame(Kind.HEADERS, END_HEADERS, 5, block(request_fields("/grpc.health.v1.Health/Watch"))) + frame(
    Kind.DATA, END_STREAM, 5, message(b"")
)
SENT: Final = {
    "nothing": b"",
    "a call that is answered": PREFACE + settings() + PROBE,
    "calls that go on": PREFACE + settings() + PROBE + UNFINISHED + WATCHED,
    "a call that was taken back": PREFACE + settings() + UNFINISHED + reset(3),
    "what breaks the rules": PREFACE + settings() + window_update(0, 0),
}


async def leftovers(sent: bytes) -> Counter[str]:
    """Has clients connect, send something, and go, while the collector waits. Returns what is left of it, by kinds."""
    server = Server(limits(load({f"{PREFIX}ALLOW_PLAINTEXT": "true"})))
    health_pb2_grpc.add_HealthServicer_to_server(health.aio.HealthServicer(), server)  # type: ignore[arg-type] # it takes the same handlers
    bound = socket.create_server(("127.0.0.1", 0))
    server.listen(bound, None)
    await server.start()
    gc.collect()
    gc.disable()
    try:
        for _ in range(CONNECTIONS):
            reader, writer = await asyncio.open_connection(*bound.getsockname())
            writer.write(sent)
            if sent:
                await reader.read(1)
            writer.close()
            await writer.wait_closed()
        await asyncio.gather(*(connection.lost for connection in server.connections))
        for _ in range(3):  # what was cancelled ends in the turns to come
            await asyncio.sleep(0)
        return Counter(type(one).__qualname__ for one in ours())
    finally:
        gc.enable()
        await server.stop(0)


def ours() -> Iterator[object]:
    """Yields the objects of connections that there are."""
    package = Connection.__module__.rpartition(".")[0]
    for one in gc.get_objects():
        module = getattr(type(one), "__module__", "")
        if isinstance(module, str) and module.startswith(package):
            yield one


@STRICT
@pytest.mark.parametrize("sent", SENT.values(), ids=SENT)
def test_a_connection_leaves_nothing_for_the_garbage_collector(sent: bytes) -> None:
    left = uvloop.run(leftovers(sent))
    # Those of the server itself.
    assert not {kind: count for kind, count in left.items() if count >= CONNECTIONS // 2}

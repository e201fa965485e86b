"""Serves what is fuzzed over a real socket, by either engine: `python -m fuzz.served ENGINE` prints the port."""

from __future__ import annotations

import asyncio
import sys

import grpc
from allocation_gateway.rpc.engines import open_engine

from fuzz.echo import SERVICE, Witness, methods
from fuzz.server import settings


async def serve(name: str) -> None:
    """Serves until its standard input ends."""
    engine = open_engine(settings(GRPC_ENGINE=name))
    handlers = dict(methods(Witness()))
    engine.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    engine.add_registered_method_handlers(SERVICE, handlers)
    port = engine.bind("port", 0, None)
    await engine.start()
    print(port, flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await engine.stop(None)


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1]))

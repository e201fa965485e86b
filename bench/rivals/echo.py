"""A bare server that answers the measured rpc without asking anybody: the floor of every gateway on the same server.

It parses the request and serialises a typed answer of the documented size. The server is grpc.aio's, or the engine that
the gateway has of its own.

Usage: python -m bench.rivals.echo PORT [direct]
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import grpc
import uvloop
from allocation.v1 import shipment_allocation_service_pb2 as pb
from allocation_gateway import ports
from allocation_gateway.rpc.engines.direct import limits
from allocation_gateway.settings import Settings
from allocation_gateway.wire.server import Server

from bench import payloads

_response = payloads.response()


async def _answer(request: pb.AllocateShipmentWithServiceGroupRequest, _: Any) -> Any:
    # One answer for all: from here to its bytes, nothing else runs.
    _response.allocation.shipment_reference = request.shipment_reference
    return _response


async def _serve(port: int, *, direct: bool) -> None:
    service, _, rpc = payloads.ONE.lstrip("/").partition("/")
    method = grpc.unary_unary_rpc_method_handler(
        _answer,
        request_deserializer=pb.AllocateShipmentWithServiceGroupRequest.FromString,
        response_serializer=pb.AllocateShipmentWithServiceGroupResponse.SerializeToString,
    )
    if direct:
        own = Server(limits(Settings()))
        own.add_registered_method_handlers(service, {rpc: method})
        for bound in ports.bind("port", "127.0.0.1", port, shared=False):
            own.listen(bound, None)
        await own.start()
    else:
        server = grpc.aio.server()
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {rpc: method}),))
        server.add_insecure_port(f"127.0.0.1:{port}")
        await server.start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1]), direct="direct" in sys.argv[2:]))

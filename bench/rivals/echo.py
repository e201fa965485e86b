"""A bare grpc.aio server that answers the measured rpc without asking anybody: the floor of every gateway in Python.

It parses the request and serialises a typed answer of the documented size.

Usage: python -m bench.rivals.echo PORT
"""

from __future__ import annotations

import sys
from typing import Any

import grpc
import uvloop
from allocation.v1 import shipment_allocation_service_pb2 as pb

from bench import payloads

_response = payloads.response()


async def _answer(request: pb.AllocateShipmentWithServiceGroupRequest, _: Any) -> Any:
    # One answer for all: from here to its bytes, nothing else runs.
    _response.allocation.shipment_reference = request.shipment_reference
    return _response


async def _serve(port: str) -> None:
    service, _, rpc = payloads.ONE.lstrip("/").partition("/")
    method = grpc.unary_unary_rpc_method_handler(
        _answer,
        request_deserializer=pb.AllocateShipmentWithServiceGroupRequest.FromString,
        response_serializer=pb.AllocateShipmentWithServiceGroupResponse.SerializeToString,
    )
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {rpc: method}),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    uvloop.run(_serve(sys.argv[1]))

"""The gateway that a Python team would write first: grpc.aio, httpx.AsyncClient and json_format.

It renames what the contract names otherwise, and makes money exact. It has none of the rest.

Usage: python -m bench.rivals.naive PORT UPSTREAM [CA_FILE]
"""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import grpc
import httpx
from allocation.v1 import shipment_allocation_service_pb2 as pb
from google.protobuf import json_format

if TYPE_CHECKING:
    Context = grpc.aio.ServicerContext[Any, Any]

# The largest number of calls in flight that is measured: neither side may be what limits it.
_MAX_IN_FLIGHT: Final = 8192
_SERVICE: Final = pb.DESCRIPTOR.services_by_name["ShipmentAllocationService"].full_name
_CODES: Final = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    404: grpc.StatusCode.NOT_FOUND,
    409: grpc.StatusCode.FAILED_PRECONDITION,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    503: grpc.StatusCode.UNAVAILABLE,
}


class Naive:
    """Sends a request for each call, and translates its answer by way of dictionaries."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def allocate_one(
        self, request: pb.AllocateShipmentWithServiceGroupRequest, context: Context
    ) -> pb.AllocateShipmentWithServiceGroupResponse:
        """Allocates one shipment."""
        reference, group = quote(request.shipment_reference, safe=""), quote(request.service_group, safe="")
        body = await self._put(f"/shipments/{reference}/allocate/service_group/{group}", None, context)
        response = pb.AllocateShipmentWithServiceGroupResponse()
        return json_format.ParseDict({"allocation": _allocation(body)}, response, ignore_unknown_fields=True)

    async def allocate_several(
        self, request: pb.AllocateShipmentsWithServiceGroupRequest, context: Context
    ) -> pb.AllocateShipmentsWithServiceGroupResponse:
        """Queues several shipments."""
        asked = {"shipments": list(request.shipments), "service_group": request.service_group}
        body = await self._put("/shipments/allocate/service_group", asked, context)
        body["links"] = body.pop("_links")
        return json_format.ParseDict(body, pb.AllocateShipmentsWithServiceGroupResponse(), ignore_unknown_fields=True)

    async def _put(self, path: str, asked: object, context: Context) -> dict[str, Any]:
        answer = await self._client.put(path, json=asked)
        if answer.is_error:
            code = _CODES.get(answer.status_code, grpc.StatusCode.INTERNAL)
            await context.abort(code, answer.json()["message"])
        found: dict[str, Any] = json.loads(answer.content, parse_float=Decimal)
        return found


def _allocation(body: dict[str, Any]) -> dict[str, Any]:
    price = body["price"]
    currency = price.pop("currency")
    price["net"], price["gross"] = _money(price["net"], currency), _money(price["gross"], currency)
    for tax in price["taxes"]:
        tax["amount"] = _money(tax["amount"], currency)
        tax["rate"]["value"] = {"value": str(tax["rate"]["value"])}
    for excluded in body["excluded_services"]:
        code = excluded["exclusion"]["code"]
        excluded["exclusion"].update(code=f"EXCLUSION_CODE_{code.removeprefix('ex_').upper()}", code_text=code)
    body["links"] = body.pop("_links")
    body.update(state=f"SHIPMENT_STATE_{body['state'].upper()}", state_text=body["state"])
    return body


def _money(amount: Decimal | int, currency: str) -> dict[str, Any]:
    units = int(amount)
    return {"currency_code": currency, "units": units, "nanos": int((amount - units) * 1_000_000_000)}


def _methods(naive: Naive) -> dict[str, grpc.RpcMethodHandler[Any, Any]]:
    """Returns the handlers of the two rpcs that are measured. The generated base class wants all of them."""
    return {
        "AllocateShipmentWithServiceGroup": grpc.unary_unary_rpc_method_handler(
            naive.allocate_one,
            request_deserializer=pb.AllocateShipmentWithServiceGroupRequest.FromString,
            response_serializer=pb.AllocateShipmentWithServiceGroupResponse.SerializeToString,
        ),
        "AllocateShipmentsWithServiceGroup": grpc.unary_unary_rpc_method_handler(
            naive.allocate_several,
            request_deserializer=pb.AllocateShipmentsWithServiceGroupRequest.FromString,
            response_serializer=pb.AllocateShipmentsWithServiceGroupResponse.SerializeToString,
        ),
    }


async def _serve(port: str, upstream: str, ca_file: str | None) -> None:
    verify: ssl.SSLContext | bool = ssl.create_default_context(cafile=ca_file) if ca_file else True
    limits = httpx.Limits(max_connections=_MAX_IN_FLIGHT, max_keepalive_connections=_MAX_IN_FLIGHT)
    headers = {"x-api-key": "bench", "x-api-version": "1.1"}
    async with httpx.AsyncClient(
        base_url=upstream, headers=headers, limits=limits, timeout=60, verify=verify, trust_env=False
    ) as client:
        server = grpc.aio.server()
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(_SERVICE, _methods(Naive(client))),))
        server.add_insecure_port(f"127.0.0.1:{port}")
        await server.start()
        await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1], sys.argv[2], sys.argv[3] if len(sys.argv) > 3 else None))

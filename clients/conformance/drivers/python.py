"""The driver of the Python client: one call for each line of standard input, one line of standard output for each."""

from __future__ import annotations

import json
import sys
from functools import reduce
from typing import Any

from allocation_gateway_client import AllocationError, Client, money
from allocation_gateway_client.base import rpcs
from allocation_gateway_client.cli.failures import as_json
from allocation_gateway_client.policy import SERVICE_CONFIG, ServiceConfig
from google.protobuf.json_format import MessageToDict, ParseDict

RPCS = rpcs(ServiceConfig.parsed(SERVICE_CONFIG))


def answer(asked: dict[str, Any]) -> dict[str, Any]:
    """Makes a call, and returns what came of it."""
    rpc = RPCS[f"/allocation.v1.{asked['rpc']}"]
    request = ParseDict(asked["request"], rpc.request())
    with Client(asked["address"], plaintext=True) as client:
        try:
            response = client.call(request, timeout=asked.get("timeout"), metadata=asked.get("metadata"))
        except AllocationError as error:
            return as_json(error)
    amounts = {path: str(money(reduce(getattr, path.split("."), response))) for path in asked.get("money", ())}
    return {"result": MessageToDict(response, preserving_proto_field_name=True), "money": amounts}


for line in sys.stdin:
    sys.stdout.write(json.dumps(answer(json.loads(line))) + "\n")
    sys.stdout.flush()

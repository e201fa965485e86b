"""The driver of the Python client: one call for each line of standard input, one line of standard output for each."""

from __future__ import annotations

import json
import sys
from functools import reduce
from typing import Any, Final

from allocation_gateway_client import AllocationError, Client, money
from allocation_gateway_client.base import rpcs
from allocation_gateway_client.cli.failures import as_json
from allocation_gateway_client.policy import SERVICE_CONFIG, ServiceConfig
from allocation_gateway_client.streams import CONSIGNMENT_JOB, CONSIGNMENT_WATCH, SHIPMENT_JOB, SHIPMENT_WATCH
from google.protobuf.json_format import MessageToDict, ParseDict

RPCS: Final = rpcs(ServiceConfig.parsed(SERVICE_CONFIG))
JOBS: Final = {
    SHIPMENT_JOB.path: (SHIPMENT_JOB, Client.allocate_shipment_stream),
    CONSIGNMENT_JOB.path: (CONSIGNMENT_JOB, Client.allocate_consignment_stream),
}
WATCHES: Final = {
    SHIPMENT_WATCH.path: (SHIPMENT_WATCH, Client.watch_shipment_allocations),
    CONSIGNMENT_WATCH.path: (CONSIGNMENT_WATCH, Client.watch_consignment_allocations),
}
LASTING: Final = 60.0
KNOWN: Final = frozenset({"streams", "account"})


def answer(asked: dict[str, Any]) -> dict[str, Any]:
    """Makes a call, and returns what came of it."""
    if asked.get("needs", "streams") not in KNOWN:
        return {"lacks": asked["needs"]}
    path = f"/allocation.v1.{asked['rpc']}"
    options = {"metadata": asked.get("metadata"), "account": asked.get("account")}
    with Client(asked["address"], plaintext=True) as client:
        try:
            if path in JOBS:
                return {"outcomes": job(client, path, asked, options)}
            if path in WATCHES:
                return {"outcomes": watch(client, path, asked, options)}
            request = ParseDict(asked["request"], RPCS[path].request())
            response = client.call(request, timeout=asked.get("timeout"), **options)
        except AllocationError as error:
            return as_json(error)
    amounts = {path: str(money(reduce(getattr, path.split("."), response))) for path in asked.get("money", ())}
    return {"result": MessageToDict(response, preserving_proto_field_name=True), "money": amounts}


def job(client: Client, path: str, asked: dict[str, Any], options: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Carries out a job, and returns by reference all that was told."""
    kind, allocate = JOBS[path]
    request = ParseDict(asked["request"], kind.request())
    about: dict[str, Any] = {
        "job_id": request.job.job_id,
        "selector": request.job.selector,
        "wait_for": request.job.wait_for,
    }
    found: dict[str, list[dict[str, Any]]] = {}
    made: Any = allocate
    for one in made(client, request.items, timeout=asked.get("timeout", LASTING), **about, **options):
        found.setdefault(one.reference, []).append(told(one.kind.value, one))
    return found


def watch(client: Client, path: str, asked: dict[str, Any], options: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Watches, and returns by reference what was final."""
    kind, begin = WATCHES[path]
    references = getattr(ParseDict(asked["request"], kind.request()), kind.references)
    found: dict[str, list[dict[str, Any]]] = {}
    made: Any = begin
    for one in made(client, references, timeout=asked.get("timeout", LASTING), **options):
        if one.is_final:
            found.setdefault(one.reference, []).append(told("error" if one.error else "allocation", one))
    return found


def told(name: str, one: Any) -> dict[str, Any]:
    """Returns what was told of one."""
    gross = {} if one.gross is None else {"gross": str(one.gross)}
    reason = {} if one.error is None else {"reason": one.error.reason}
    return {"outcome": name, **gross, **reason}


for line in sys.stdin:
    sys.stdout.write(json.dumps(answer(json.loads(line))) + "\n")
    sys.stdout.flush()

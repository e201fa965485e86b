"""The driver of the Python client: one call for each line of standard input, one line of standard output for each."""

from __future__ import annotations

import json
import sys
import threading
from contextlib import contextmanager
from functools import reduce
from typing import TYPE_CHECKING, Any, Final

from allocation_gateway_client import AllocationError, Client, money
from allocation_gateway_client.base import rpcs
from allocation_gateway_client.cli.failures import as_json
from allocation_gateway_client.policy import SERVICE_CONFIG, ServiceConfig
from allocation_gateway_client.streams import CONSIGNMENT_JOB, CONSIGNMENT_WATCH, SHIPMENT_JOB, SHIPMENT_WATCH
from google.protobuf.json_format import MessageToDict, ParseDict

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

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


class ItemsFailedError(Exception):
    """What a case has the items of a job throw."""


class Given:
    """The items of a job as a case has its caller give them."""

    def __init__(self, items: Sequence[Any], asked: dict[str, Any]) -> None:
        self._items = items
        self._asked = asked
        self.taken = 0

    def __iter__(self) -> Iterator[Any]:
        for number, item in enumerate(self._items):
            if number == self._asked.get("throw"):
                raise ItemsFailedError
            if number == self._asked.get("hold"):
                sys.stdin.readline()
            self.taken += 1
            yield item


def answer(asked: dict[str, Any]) -> dict[str, Any]:
    """Makes a call, and returns what came of it."""
    if asked.get("needs", "streams") not in KNOWN:
        return {"lacks": asked["needs"]}
    path = f"/allocation.v1.{asked['rpc']}"
    options = {"metadata": asked.get("metadata"), "account": asked.get("account")}
    with Client(asked["address"], plaintext=True, metadata=asked.get("client_metadata")) as client:
        try:
            with ending(client, asked.get("end")):
                if path in JOBS:
                    return job(client, path, asked, options)
                if path in WATCHES:
                    return {"outcomes": watch(client, path, asked, options)}
                request = ParseDict(asked["request"], RPCS[path].request())
                response = client.call(request, timeout=asked.get("timeout"), **options)
        except AllocationError as error:
            return as_json(error)
        except RuntimeError as error:
            return {"error": {"kind": "Closed", "message": str(error)}}
        except ValueError as error:
            return {"error": {"kind": "Local", "message": str(error)}}
    amounts = {path: str(money(reduce(getattr, path.split("."), response))) for path in asked.get("money", ())}
    return {"result": MessageToDict(response, preserving_proto_field_name=True), "money": amounts}


@contextmanager
def ending(client: Client, how: str | None) -> Iterator[None]:
    """Closes the client as a case says: before its call, or in the midst of it when a line comes."""

    def close() -> None:
        sys.stdin.readline()
        client.close()

    if how == "closed":
        client.close()
    closing = threading.Thread(target=close)
    if how == "close":
        closing.start()
    try:
        yield
    finally:
        if how == "close":
            closing.join()


def job(client: Client, path: str, asked: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    """Carries out a job, and returns by reference all that was told, or how it failed."""
    kind, allocate = JOBS[path]
    request = ParseDict(asked["request"], kind.request())
    about: dict[str, Any] = {
        "job_id": request.job.job_id,
        "selector": request.job.selector,
        "wait_for": request.job.wait_for,
    }
    found: dict[str, list[dict[str, Any]]] = {}
    made: Any = allocate
    items = Given(request.items, asked)
    try:
        for one in made(client, items, timeout=asked.get("timeout", LASTING), **about, **options):
            found.setdefault(one.reference, []).append(told(one.kind.value, one))
    except ItemsFailedError:
        return {"outcomes": found, "error": {"kind": "Items"}}
    except AllocationError as error:
        cause = {"cause": "Items"} if isinstance(error.__cause__, ItemsFailedError) else {}
        return {"error": {**as_json(error)["error"], **cause}, "taken": items.taken}
    return {"outcomes": found}


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

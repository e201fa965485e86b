"""Holds a client's driver to the cases of clients/conformance, and says which it does not keep."""

from __future__ import annotations

import base64
import json
import subprocess
import uuid
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import grpc
from allocation.v1 import (
    consignment_allocation_service_pb2,
    service_group_service_pb2,
    shipment_allocation_service_pb2,
)
from google.protobuf import json_format
from google.protobuf.message_factory import GetMessageClass
from google.rpc import status_pb2
from support.losing import losing_wire
from support.sandbox import Sandbox
from support.scripted import SILENCE, Raw, scripted_server

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from google.protobuf.message import Message
    from support.gateway import Gateway
    from support.scripted import Answer, Scripted

CLIENTS: Final = Path(__file__).resolve().parents[2] / "clients"
CASES: Final[list[dict[str, Any]]] = json.loads((CLIENTS / "conformance" / "cases.json").read_text())
_STOP: Final = 10.0
_UUID: Final = "<uuid>"
_ASKED: Final = ("rpc", "request", "timeout", "metadata")
_CONTRACT: Final = (shipment_allocation_service_pb2, consignment_allocation_service_pb2, service_group_service_pb2)
_CODES: Final = {code.value[0]: code for code in grpc.StatusCode}


class Driver:
    """A program that calls the gateway through a client."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def ask(self, case: dict[str, Any], address: str) -> dict[str, Any]:
        """Has it make the call of a case."""
        asked = {name: case[name] for name in _ASKED if name in case}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(
            json.dumps({**asked, "address": address, "money": list(case.get("money", ()))}) + "\n"
        )
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, "the driver has ended"
        answer: dict[str, Any] = json.loads(line)
        return answer


@contextmanager
def running_driver(*command: str, cwd: Path | None = None) -> Iterator[Driver]:
    """Runs a driver."""
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=cwd) as process:
        try:
            yield Driver(process)
        finally:
            assert process.stdin is not None
            process.stdin.close()
            process.wait(_STOP)


def problems(case: dict[str, Any], driver: Driver, gateway: Gateway) -> list[str]:
    """Runs a case, and returns in which ways it was not kept."""
    # The gateway remembers ids longer than the sandbox is kept between two cases.
    case = json.loads(json.dumps(case).replace(_UUID, str(uuid.uuid4())))
    sandbox = Sandbox(gateway.sandbox_url)
    sandbox.call("POST", "reset")
    for method, path, body in case.get("control", ()):
        sandbox.call(method, path, body)
    with ExitStack() as stack:
        if "answers" in case:
            server = stack.enter_context(scripted_server())
            server.answers.extend(_answer(one, case["rpc"]) for one in case["answers"])
            got = driver.ask(case, server.address)
            found = [*_differences(case, got), *_of_server(case, server)]
        else:
            wire = stack.enter_context(losing_wire(gateway.address))
            if "lose" in case:
                wire.lose(**case["lose"])
            got = driver.ask(case, wire.address)
            found = _differences(case, got)
            if wire.lost < min(case.get("lose", {}).get("times", 0), 2):
                found.append(f"the wire lost {wire.lost} answers")
    journal = {reference: list(sandbox.bookings(reference)) for reference in case.get("journal", ())}
    return found if journal == case.get("journal", {}) else [*found, f"the journal has {journal}"]


def _differences(case: dict[str, Any], got: dict[str, Any]) -> list[str]:
    return [
        f"{name}: {case[name]} was expected of {got}"
        for name in ("result", "error", "money")
        if name in case and not _holds(got.get(name), case[name])
    ]


def _holds(got: Any, wanted: Any) -> bool:
    """Returns whether all of what is wanted is there; a list has to have as many items."""
    if isinstance(wanted, dict):
        return isinstance(got, dict) and all(_holds(got.get(name), value) for name, value in wanted.items())
    if isinstance(wanted, list):
        return isinstance(got, list) and len(got) == len(wanted) and all(map(_holds, got, wanted))
    return bool(got == wanted)


def _of_server(case: dict[str, Any], server: Scripted) -> list[str]:
    ids = {getattr(_request(case["rpc"]).FromString(call.request), "request_id", "") for call in server.calls}
    sent = {name: server.calls[-1].metadata.get(name) for name in case.get("sent", ())} if server.calls else {}
    facts = {"calls": len(server.calls), "ids": len(ids), "sent": sent}
    return [
        f"{name}: {case[name]} were expected, not {fact}"
        for name, fact in facts.items()
        if name in case and case[name] != fact
    ]


def _method(rpc: str) -> Any:
    service, _, name = rpc.partition("/")
    found = (file.DESCRIPTOR.services_by_name.get(service) for file in _CONTRACT)
    return next(one for one in found if one is not None).methods_by_name[name]


def _request(rpc: str) -> type[Message]:
    return GetMessageClass(_method(rpc).input_type)


def _answer(told: Any, rpc: str) -> Answer:
    if told == "silence":
        return SILENCE
    if "response" in told:
        return json_format.ParseDict(told["response"], GetMessageClass(_method(rpc).output_type)())
    if "bytes" in told:
        response: Any = GetMessageClass(_method(rpc).output_type)
        parsed: Message = response.FromString(base64.b64decode(told["bytes"]))
        return parsed
    if "bare" in told:
        pushback = told.get("pushback")
        return Raw(grpc.StatusCode[told["bare"]], "Not the gateway's.", pushback=pushback)
    status = json_format.ParseDict(told["status"], status_pb2.Status())
    retry = [one["retryDelay"] for one in told["status"]["details"] if "retryDelay" in one]
    pushback = str(int(float(retry[0].removesuffix("s")) * 1000)) if retry else "-1"
    return Raw(_CODES[status.code], status.message, details=status.SerializeToString(), pushback=pushback)


def matrix(found: Mapping[str, Sequence[list[str]]]) -> str:
    """Returns the table of languages by cases."""
    names = [case["name"] for case in CASES]
    width = max(map(len, names))
    head = f"{'':{width}}  " + "  ".join(found)
    rows = [
        f"{name:{width}}  "
        + "  ".join(f"{'no' if results[row] else 'yes':{len(language)}}" for language, results in found.items())
        for row, name in enumerate(names)
    ]
    return "\n".join([head, *rows])

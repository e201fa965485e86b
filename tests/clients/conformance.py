"""Holds a client's driver to the cases of clients/conformance, and says which it does not keep."""

from __future__ import annotations

import base64
import json
import subprocess
import threading
import uuid
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

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
from support.scripted import SILENCE, Away, Raw, Told, scripted_server

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from google.protobuf.message import Message
    from support.gateway import Gateway
    from support.scripted import Answer, Scripted

CLIENTS: Final = Path(__file__).resolve().parents[2] / "clients"
CASES: Final[list[dict[str, Any]]] = json.loads((CLIENTS / "conformance" / "cases.json").read_text())
_STOP: Final = 10.0
# A driver that says nothing for so long is stuck: a case takes a few seconds.
_LONGEST: Final = 60.0
_UUID: Final = "<uuid>"
_ASKED: Final = (
    "rpc",
    "request",
    "timeout",
    "metadata",
    "client_metadata",
    "account",
    "needs",
    "hold",
    "throw",
    "end",
)
# References are so long that few of them fit on the wire before somebody reads.
_FILLED: Final = "{:0200d}"
_CONTRACT: Final = (shipment_allocation_service_pb2, consignment_allocation_service_pb2, service_group_service_pb2)
_CODES: Final = {code.value[0]: code for code in grpc.StatusCode}


class Result(NamedTuple):
    """What came of a case.

    Attributes:
        problems: In which ways it was not kept.
        is_lacking: Whether the client does not have what the case needs.
    """

    problems: list[str]
    is_lacking: bool = False


class Driver:
    """A program that calls the gateway through a client. One that ends is started again for the next case."""

    def __init__(self, command: Sequence[str], cwd: Path | None) -> None:
        self._command = command
        self._cwd = cwd
        self._process: subprocess.Popen[str] | None = None

    def ask(self, case: dict[str, Any], address: str) -> dict[str, Any] | None:
        """Has it make the call of a case. Returns None if it has ended instead."""
        asked = {name: case[name] for name in _ASKED if name in case}
        if self._process is None:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=self._cwd
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        watchdog = threading.Timer(_LONGEST, self._process.kill)
        watchdog.start()
        try:
            self._process.stdin.write(
                json.dumps({**asked, "address": address, "money": list(case.get("money", ()))}) + "\n"
            )
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        finally:
            watchdog.cancel()
        if not line:
            self.close()
            return None
        answer: dict[str, Any] = json.loads(line)
        return answer

    def release(self) -> None:
        """Has it give the items that it holds back."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write("{}\n")
        self._process.stdin.flush()

    def close(self) -> None:
        """Ends it."""
        process, self._process = self._process, None
        if process is not None:
            with process:
                assert process.stdin is not None
                process.stdin.close()
                process.wait(_STOP)


@contextmanager
def running_driver(*command: str, cwd: Path | None = None) -> Iterator[Driver]:
    """Runs a driver."""
    driver = Driver(command, cwd)
    try:
        yield driver
    finally:
        driver.close()


def result(case: dict[str, Any], driver: Driver, gateway: Gateway | None) -> Result:
    """Runs a case: with no gateway, if it has a server of its own."""
    # The gateway remembers ids longer than the sandbox is kept between two cases.
    case = json.loads(json.dumps(case).replace(_UUID, str(uuid.uuid4())))
    if "fill" in case:
        case["request"]["items"] = [{"shipment_reference": _FILLED.format(number)} for number in range(case["fill"])]
    if is_scripted(case):
        return _scripted(case, driver)
    assert gateway is not None
    return _against(case, driver, gateway)


def is_scripted(case: dict[str, Any]) -> bool:
    """Tells whether a case has a server of its own in place of the gateway: then it may be run beside others."""
    return "answers" in case


def _scripted(case: dict[str, Any], driver: Driver) -> Result:
    with scripted_server() as server:
        server.answers.extend(_answer(one, case["rpc"]) for one in case["answers"])
        with _releasing(case, driver, server) as is_released:
            got = driver.ask(case, server.address)
        if _waits(case) and not is_released.is_set():
            # It still waits for a line, which would be the next case.
            driver.close()
        return _unanswered(case, got) or Result([*_differences(case, got or {}), *_of_server(case, server)])


@contextmanager
def _releasing(case: dict[str, Any], driver: Driver, server: Scripted) -> Iterator[threading.Event]:
    """Has a driver go on: with what it holds back when it calls for the second time, or to end its first call.

    What is given is set then.
    """
    is_released = threading.Event()
    calls, count = (server.begun, 2) if "hold" in case else (server.asked, 1)

    def release() -> None:
        if None not in [calls.get() for _ in range(count)]:
            driver.release()
            is_released.set()

    if not _waits(case):
        yield is_released
        return
    waiting = threading.Thread(target=release)
    waiting.start()
    try:
        yield is_released
    finally:
        for _ in range(count):
            calls.put(None)
        waiting.join()


def _waits(case: dict[str, Any]) -> bool:
    """Returns whether a driver waits for a line in the midst of the case."""
    return "hold" in case or case.get("end") in {"cancel", "close"}


def _against(case: dict[str, Any], driver: Driver, gateway: Gateway) -> Result:
    sandbox = Sandbox(gateway.sandbox_url)
    sandbox.call("POST", "reset")
    for method, path, body in case.get("control", ()):
        sandbox.call(method, path, body)
    with losing_wire(gateway.address) as wire:
        if "lose" in case:
            wire.lose(**case["lose"])
        got = driver.ask(case, wire.address)
        if unanswered := _unanswered(case, got):
            return unanswered
        found = _differences(case, got or {})
        if wire.lost < min(case.get("lose", {}).get("times", 0), 2):
            found.append(f"the wire lost {wire.lost} answers")
    journal = {reference: list(sandbox.bookings(reference)) for reference in case.get("journal", ())}
    return Result(found if journal == case.get("journal", {}) else [*found, f"the journal has {journal}"])


def _unanswered(case: dict[str, Any], got: dict[str, Any] | None) -> Result | None:
    """Returns what came of a case that the driver has no answer to; None if it has one."""
    if got is not None and "lacks" not in got:
        return None
    # A driver that knows nothing of what the case needs may do anything.
    return Result(["the driver has ended" if got is None else f"it lacks {got['lacks']}"], "needs" in case)


def _differences(case: dict[str, Any], got: dict[str, Any]) -> list[str]:
    found = [
        f"{name}: {case[name]} was expected of {got}"
        for name in ("result", "error", "money", "outcomes")
        if name in case and not _holds(got.get(name), case[name])
    ]
    if "taken" in case:
        named = got.get("error", {}).get("unanswered", ())
        if len(set(named)) != got.get("taken") or len(named) < case["taken"]:
            found.append(f"taken: {got.get('taken')} items were, and {len(set(named))} are unanswered")
    return found


def _holds(got: Any, wanted: Any) -> bool:
    """Returns whether all of what is wanted is there; a list has to have as many items."""
    if isinstance(wanted, dict):
        return isinstance(got, dict) and all(_holds(got.get(name), value) for name, value in wanted.items())
    if isinstance(wanted, list):
        return isinstance(got, list) and len(got) == len(wanted) and all(map(_holds, got, wanted))
    return bool(got == wanted)


def _of_server(case: dict[str, Any], server: Scripted) -> list[str]:
    requests = [_request(case["rpc"]).FromString(call.request) for call in server.calls]
    sent = {name: server.calls[-1].metadata.get(name) for name in case.get("sent", ())} if server.calls else {}
    facts = {"calls": len(server.calls), "ids": len({getattr(one, "request_id", "") for one in requests}), "sent": sent}
    found = [
        f"{name}: {case[name]} were expected, not {fact}"
        for name, fact in facts.items()
        if name in case and case[name] != fact
    ]
    fields = [json_format.MessageToDict(one, preserving_proto_field_name=True) for one in requests]
    if "requests" in case and not _holds([*map(_ordered, fields)], [*map(_ordered, case["requests"])]):
        found.append(f"requests: {case['requests']} were expected, not {fields}")
    pauses = [later.at - call.at for call, later in pairwise(server.calls)]
    if any(pause < least for pause, least in zip(pauses, case.get("pauses", ()), strict=False)):
        found.append(f"pauses: at least {case['pauses']} were expected, not {pauses}")
    return found


def _ordered(request: dict[str, Any]) -> dict[str, Any]:
    """Returns what was sent in an order of its own: in which one items are sent again is for a client to say."""
    return {
        name: sorted(value, key=json.dumps) if isinstance(value, list) else value for name, value in request.items()
    }


def _method(rpc: str) -> Any:
    service, _, name = rpc.partition("/")
    found = (file.DESCRIPTOR.services_by_name.get(service) for file in _CONTRACT)
    return next(one for one in found if one is not None).methods_by_name[name]


def _request(rpc: str) -> type[Message]:
    return GetMessageClass(_method(rpc).input_type)


def _answer(told: Any, rpc: str) -> Answer:
    if told in ("silence", {"silence": True}):
        return SILENCE
    if "goaway" in told:
        return Away(_answer({name: value for name, value in told.items() if name != "goaway"}, rpc))
    if "stream" in told:
        kind = GetMessageClass(_method(rpc).output_type)
        end = {name: value for name, value in told.items() if name not in {"stream", "after"}}
        ended: Any = _answer(end, rpc) if end else None
        return Told([json_format.ParseDict(one, kind()) for one in told["stream"]], ended, told.get("after"))
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


def matrix(found: Mapping[str, Sequence[Result]]) -> str:
    """Returns the table of languages by cases."""
    names = [case["name"] for case in CASES]
    width = max(map(len, names))
    head = f"{'':{width}}  " + "  ".join(found)
    rows = [
        f"{name:{width}}  " + "  ".join(f"{_cell(results[row]):{len(language)}}" for language, results in found.items())
        for row, name in enumerate(names)
    ]
    return "\n".join([head, *rows])


def _cell(one: Result) -> str:
    if one.is_lacking:
        return "lacks"
    return "no" if one.problems else "yes"

"""docs/other-languages.md, followed to the letter for Rust: the promise is kept by what it shows."""

from __future__ import annotations

import os
import re
import subprocess
import uuid
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import grpc
import pytest
from allocation.v1 import core_pb2
from allocation.v1 import shipment_allocation_service_pb2 as pb
from allocation.v1.error_reason_pb2 import ErrorReason
from allocation_gateway.errors import WriteEffect
from clients.conftest import MANY, many_shipments
from clients.rust_project import PAGE, commands, rust_project
from google.type import money_pb2
from support.certificates import Authority
from support.gateway import running_gateway
from support.losing import losing_wire
from support.scripted import SILENCE, Raw, Scripted, scripted_server, told

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from allocation_gateway.errors import GatewayError
    from clients.rust_project import RustProject
    from support.gateway import Gateway
    from support.sandbox import Sandbox

pytestmark = pytest.mark.clients

C: Final = grpc.StatusCode
R: Final = ErrorReason
SHIPMENT: Final = "sp_00794403010635468411384028069888"
GROUP: Final = "valuableGoods"
SOON: Final = 0.01
_SECONDS: Final = 120
# What the answer to a single call and the results of a job have in them, and the requests have not.
CARRIER: Final = "Lineten"


def priced(units: int, nanos: int) -> pb.AllocateShipmentWithServiceGroupResponse:
    gross = money_pb2.Money(currency_code="GBP", units=units, nanos=nanos)
    carrier = core_pb2.Carrier(name=CARRIER)
    allocation = core_pb2.Allocation(carrier=carrier, price=core_pb2.Price(gross=gross))
    return pb.AllocateShipmentWithServiceGroupResponse(allocation=allocation)


DONE: Final = priced(2, 0)
PRINTED: Final = "Lineten 2.00 GBP\n"


@pytest.fixture(scope="session")
def rust() -> RustProject:
    return rust_project()


@pytest.fixture
def server() -> Iterator[Scripted]:
    with scripted_server() as scripted:
        yield scripted


def run(rust: RustProject, program: str, *arguments: str, **environment: str) -> str:
    command = [rust.program(program), *arguments]
    done = subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=_SECONDS, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def allocate(rust: RustProject, address: str, *request_id: str, seconds: float = 20) -> str:
    return run(rust, "allocate", f"http://{address}", str(seconds), SHIPMENT, GROUP, *request_id)


def ids(server: Scripted) -> list[str]:
    kind = pb.AllocateShipmentWithServiceGroupRequest
    return [kind.FromString(call.request).request_id for call in server.calls]


def test_the_commands_of_the_page_print_what_stands_below_them(rust: RustProject, gateway: Gateway) -> None:
    (printed,) = re.findall(r"```text\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert rust.run(commands()[1].replace("127.0.0.1:50051", gateway.address)) == printed


def test_tls(rust: RustProject, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    certificate, key = authority.issue("gateway")
    settings = {"TLS_CERT_FILE": str(certificate), "TLS_KEY_FILE": str(key)}
    with running_gateway(settings, "--sandbox") as gateway:
        asked = (f"https://{gateway.address}", "5", SHIPMENT, GROUP)
        assert run(rust, "allocate", *asked, SSL_CERT_FILE=str(authority.file)) == PRINTED
        assert "Lineten" not in run(rust, "allocate", *asked)


def test_an_answer_that_is_lost_is_asked_for_again(rust: RustProject, gateway: Gateway, sandbox: Sandbox) -> None:
    with losing_wire(gateway.address) as wire:
        wire.lose(CARRIER, 2)
        assert allocate(rust, wire.address) == PRINTED
        assert wire.lost == 2
    assert sandbox.bookings(SHIPMENT) == (1, 0)


AGAIN: Final[dict[str, Any]] = {
    "unknown": told(C.UNKNOWN, R.ERROR_REASON_OUTCOME_UNKNOWN, after=SOON, effect=WriteEffect.UNKNOWN),
    "aborted": told(C.ABORTED, R.ERROR_REASON_WRITE_IN_PROGRESS, after=SOON),
    "exhausted": told(C.RESOURCE_EXHAUSTED, R.ERROR_REASON_UPSTREAM_THROTTLED, after=SOON, effect=WriteEffect.NONE),
    "unavailable": told(C.UNAVAILABLE, R.ERROR_REASON_UPSTREAM_UNAVAILABLE, after=SOON, effect=WriteEffect.NONE),
    "too late": told(C.DEADLINE_EXCEEDED, R.ERROR_REASON_DEADLINE_EXCEEDED),
    **{f"bare {code.name}": code for code in (C.UNKNOWN, C.UNAVAILABLE, C.INTERNAL, C.CANCELLED, C.DEADLINE_EXCEEDED)},
}


@pytest.mark.parametrize("name", AGAIN)
def test_a_call_is_repeated_with_the_same_id(rust: RustProject, server: Scripted, name: str) -> None:
    server.answers.extend([AGAIN[name], AGAIN[name], DONE])
    assert allocate(rust, server.address) == PRINTED
    assert len(ids(server)) == 3
    assert len(set(ids(server))) == 1
    assert uuid.UUID(ids(server)[0]).version == 4


OVER: Final[dict[str, Any]] = {
    "InvalidArgument INVALID_REQUEST": told(C.INVALID_ARGUMENT, R.ERROR_REASON_INVALID_REQUEST),
    "Internal GATEWAY_DEFECT": told(C.INTERNAL, R.ERROR_REASON_GATEWAY_DEFECT, effect=WriteEffect.NONE),
    "PermissionDenied ": C.PERMISSION_DENIED,
    "Unauthenticated CALLER_UNAUTHENTICATED": told(C.UNAUTHENTICATED, R.ERROR_REASON_CALLER_UNAUTHENTICATED),
}


@pytest.mark.parametrize("printed", OVER)
def test_what_is_over_is_not_repeated(rust: RustProject, server: Scripted, printed: str) -> None:
    server.answers.append(OVER[printed])
    server.default = DONE
    assert allocate(rust, server.address) == f"{printed} excluded 0\n"
    assert len(server.calls) == 1


def test_what_is_pushed_back_is_not_repeated(rust: RustProject, server: Scripted) -> None:
    server.answers.append(Raw(C.UNAVAILABLE, "Not the gateway's.", pushback="-1"))
    server.default = DONE
    mine = str(uuid.uuid4())
    assert allocate(rust, server.address, mine) == f"unknown, ask again with {mine}\n"
    assert ids(server) == [mine]


@pytest.mark.parametrize(
    "answer",
    [
        told(C.UNAVAILABLE, R.ERROR_REASON_UPSTREAM_UNAVAILABLE, after=0.6, effect=WriteEffect.NONE),
        Raw(C.UNAVAILABLE, "Not the gateway's.", pushback="600"),
    ],
    ids=["RetryInfo", "pushback"],
)
def test_a_wait_that_is_told_is_not_shortened(rust: RustProject, server: Scripted, answer: GatewayError | Raw) -> None:
    server.answers.extend([answer, answer, DONE])
    assert allocate(rust, server.address) == PRINTED
    pauses = [later.at - call.at for call, later in pairwise(server.calls)]
    assert all(0.6 <= pause < 5 for pause in pauses), pauses


def test_what_is_not_known_in_the_end_is_told_with_its_id(rust: RustProject, server: Scripted) -> None:
    server.default = SILENCE
    mine = str(uuid.uuid4())
    assert allocate(rust, server.address, mine, seconds=1) == f"unknown, ask again with {mine}\n"
    assert set(ids(server)) == {mine}
    assert all(0 < call.seconds < 2 for call in server.calls)


def test_a_later_word_ends_a_doubt(rust: RustProject, server: Scripted) -> None:
    nothing = told(C.NOT_FOUND, R.ERROR_REASON_SHIPMENT_NOT_FOUND, effect=WriteEffect.NONE)
    server.answers.extend([C.UNAVAILABLE, nothing])
    assert allocate(rust, server.address) == "NotFound SHIPMENT_NOT_FOUND excluded 0\n"


def test_details_of_the_contract_are_read(rust: RustProject, server: Scripted) -> None:
    excluded = [core_pb2.ExcludedService(), core_pb2.ExcludedService()]
    reason = R.ERROR_REASON_ALLOCATION_FAILED
    server.answers.append(told(C.FAILED_PRECONDITION, reason, excluded=excluded, effect=WriteEffect.NONE))
    assert allocate(rust, server.address) == "FailedPrecondition ALLOCATION_FAILED excluded 2\n"


@pytest.mark.parametrize(
    ("units", "nanos", "printed"),
    [
        (9_223_372_036_854_775_807, 999_999_999, "9223372036854775807.999999999"),
        (-9_223_372_036_854_775_808, -999_999_999, "-9223372036854775808.999999999"),
        (0, -10_000_000, "-0.01"),
        (0, 1, "0.000000001"),
    ],
)
def test_money_is_exact(rust: RustProject, server: Scripted, units: int, nanos: int, printed: str) -> None:
    server.answers.append(priced(units, nanos))
    assert allocate(rust, server.address) == f"{CARRIER} {printed} GBP\n"


def test_a_job_goes_on_after_its_connection_was_lost(rust: RustProject) -> None:
    """Each shipment is told once and booked once; the same job asked again tells the same, and books nothing."""
    wave = [f"sp_{number:032d}" for number in range(1, MANY + 1)]
    with many_shipments() as (gateway, sandbox), losing_wire(gateway.address) as wire:
        job_id = str(uuid.uuid4())
        command = [rust.program("wave"), f"http://{wire.address}", "120", job_id, *wave]
        printed: list[str] = []
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for line in process.stdout:
                if len(printed) in {0, MANY // 2}:
                    wire.cut()
                printed.append(line.strip())
        assert process.returncode == 0
        again = run(rust, "wave", f"http://{gateway.address}", "120", job_id, *wave)
        assert sandbox.all_bookings() == dict.fromkeys(wave, (1, 0))
    assert sorted(printed) == [f"{reference} allocated" for reference in wave] == sorted(again.splitlines())


def test_a_job_that_nobody_answers_ends_with_its_id(rust: RustProject, server: Scripted) -> None:
    server.default = SILENCE
    job_id = str(uuid.uuid4())
    printed = run(rust, "wave", f"http://{server.address}", "1", job_id, SHIPMENT)
    assert printed == f"unfinished, begin again with {job_id}\n"
    assert server.calls

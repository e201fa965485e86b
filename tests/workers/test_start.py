"""The start: one port, one sandbox, one message if it cannot be, and ready only when all workers are."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
from typing import TYPE_CHECKING, Any, Final

import grpc
import pytest
from allocation.v1.shipment_allocation_service_pb2_grpc import ShipmentAllocationServiceStub
from support.front import KEY, LONG, READ, SERVICE, running_front
from support.gateway import COMMAND, Gateway, environment, running_gateway
from support.status import failure
from support.workers import answering, children, health, pid_of, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.front import Front

GIVEN: Final = {
    "PORT": "0",
    "SANDBOX_PORT": "0",
    "ALLOW_PLAINTEXT": "true",
    "SHIP_API_KEY": KEY,
    "ALLOW_UNSHARED_CLAIMS": "true",
}


@pytest.fixture(scope="module")
def front() -> Iterator[Front]:
    with running_front(WORKERS="2", ALLOW_UNSHARED_CLAIMS="true", HEALTH_PORT="0") as running:
        yield running


def ended(*arguments: str, **settings: str) -> tuple[int, str, str]:
    """Runs `serve`, which cannot start. Returns its exit code and what it wrote."""
    done = subprocess.run(
        [COMMAND, "serve", *arguments],
        env=environment({**GIVEN, **settings}),
        capture_output=True,
        text=True,
        timeout=LONG,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    "settings",
    [
        {"COLOUR": "red"},
        {"SHIP_ROUTES": "CreateShipmentQuotes=fly"},
        {"TLS_CERT_FILE": "/no/such/file", "TLS_KEY_FILE": "/no/such/file"},
        {"SERVICE_GROUP_CATALOGUE_FILE": "/no/such/file.toml"},
        {"OTEL_TRACES_EXPORTER": "carrier-pigeon"},
        {"HOST": "192.0.2.1"},
        {"HOST": "no-such-host.invalid"},
    ],
    ids=lambda settings: next(iter(settings)),
)
def test_wrong_configuration_is_told_once_as_by_a_single_process(settings: dict[str, str]) -> None:
    """Also where it is the workers that find out."""
    alone, together = ended(**settings), ended("--workers", "3", **settings)
    assert together == alone
    assert together[0] == 2
    assert together[2].count("\n") == 1


@pytest.mark.parametrize("name", ["PORT", "HEALTH_PORT", "SANDBOX_PORT"])
def test_taken_port_is_told_once(name: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = {name: str(taken.getsockname()[1])}
        alone, together = ended("--sandbox", **settings), ended("--sandbox", "--workers", "2", **settings)
    assert together == alone
    assert together[2].startswith(f"allocation-gateway: ALLOCATION_GATEWAY_{name}: ")


@pytest.mark.parametrize("workers", ["1", "2"])
def test_gateways_never_share_a_port(front: Front, workers: str) -> None:
    """Workers of one gateway do, and nobody else may join them."""
    code, _, text = ended("--workers", workers, PORT=front.gateway.address.split(":")[1])
    assert code == 2
    assert "cannot listen" in text


@pytest.mark.parametrize("number", ["0", "-1", "257", "many", "1.5"])
def test_number_that_makes_no_sense_is_refused(number: str) -> None:
    assert ended("--workers", number)[0] == 2
    assert "ALLOCATION_GATEWAY_WORKERS" in ended(WORKERS=number)[2]


def test_calls_reach_all_workers_and_log_lines_say_which(front: Front) -> None:
    for worker in (1, 2):
        wait_until(lambda wanted=worker: answering(front.gateway) == wanted, f"worker {worker} never answers")  # type: ignore[misc]


def test_option_wins_over_the_setting() -> None:
    settings = {name: value for name, value in GIVEN.items() if "PORT" not in name}
    with running_gateway({**settings, "WORKERS": "2", "ALLOW_UNSHARED_CLAIMS": "true"}, "--workers", "1") as gateway:
        assert children(gateway.process.pid) == {}


@pytest.mark.parametrize("host", ["::1", "[::1]", "localhost"])
def test_every_kind_of_address_can_be_shared(host: str) -> None:
    with running_front(WORKERS="2", ALLOW_UNSHARED_CLAIMS="true", HOST=host, HEALTH_PORT="0") as front:
        for address in (front.gateway.address, front.gateway.wait_for("listening")["health"]):
            # Workers learn one after the other that all of them listen.
            wait_until(lambda asked=address: health(asked) == "SERVING", "it never serves")  # type: ignore[misc]


def test_supervisor_has_no_grpc_and_one_sandbox() -> None:
    with running_gateway({"WORKERS": "2", "ALLOW_UNSHARED_CLAIMS": "true"}, "--sandbox") as gateway:
        with grpc.insecure_channel(gateway.address) as channel:
            ShipmentAllocationServiceStub(channel).GetShipmentAllocation(READ, timeout=LONG)
        running = children(gateway.process.pid)
        assert len(running) == 3
        assert sum("sandbox" in line for line in running.values()) == 1
        loaded = {pid: maps(pid) for pid in (gateway.process.pid, pid_of(gateway, 1))}
        assert "cygrpc" in loaded[pid_of(gateway, 1)], "the test looks for the wrong thing"
        assert "cygrpc" not in loaded[gateway.process.pid]
        assert gateway.stop() == 0
        assert not any(map(os.path.exists, (f"/proc/{pid}" for pid in running)))


def maps(pid: int) -> str:
    with open(f"/proc/{pid}/maps") as file:  # noqa: PTH123
        return file.read()


def test_end_of_the_sandbox_is_the_end_of_all() -> None:
    with running_gateway({"WORKERS": "2", "ALLOW_UNSHARED_CLAIMS": "true"}, "--sandbox") as gateway:
        (sandbox,) = (pid for pid, line in children(gateway.process.pid).items() if "sandbox" in line)
        os.kill(sandbox, signal.SIGKILL)
        gateway.wait_for("sandbox_ended")
        assert gateway.process.wait(LONG) == 1


def free_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as place:
        return str(place.getsockname()[1])


def workers_of(pid: int) -> int:
    return sum("workers.worker" in line for line in children(pid).values())


def test_nobody_is_told_that_it_is_ready_before_all_workers_are() -> None:
    """One of them is held up while it starts; the others accept calls, and say that they are not serving."""
    port, health_port = free_port(), free_port()
    given = {**GIVEN, "PORT": port, "HEALTH_PORT": health_port, "WORKERS": "2", "ALLOW_UNSHARED_CLAIMS": "true"}
    process = subprocess.Popen([COMMAND, "serve"], env=environment(given), stderr=subprocess.PIPE, text=True)
    gateway = Gateway(process)
    reader = threading.Thread(target=gateway.follow)
    reader.start()
    try:
        # Whoever is held up before it is the worker's program holds up the supervisor, too, which has just made it.
        wait_until(lambda: workers_of(process.pid) == 2, "no workers")
        late = max(children(process.pid))
        os.kill(late, signal.SIGSTOP)
        gateway.wait_for("worker_started")
        for number in (port, health_port):
            assert {health(f"127.0.0.1:{number}", service) for service in ("", SERVICE)} == {"NOT_SERVING"}
        assert not [line for line in gateway.lines if line["event"] == "listening"]
        os.kill(late, signal.SIGCONT)
        assert gateway.wait_for("listening")["workers"] == 2
        wait_until(lambda: health(f"127.0.0.1:{port}") == "SERVING", "it never serves")
        assert gateway.stop() == 0
    finally:
        process.kill()
        process.wait(LONG)
        reader.join(LONG)
        assert process.stderr is not None
        process.stderr.close()


def test_health_port_serves_health_and_nothing_else(front: Front) -> None:
    address = front.gateway.wait_for("listening")["health"]
    assert {health(address, service) for service in ("", SERVICE) for _ in range(8)} == {"SERVING"}
    with grpc.insecure_channel(address) as channel:
        call: Any = channel.unary_unary(f"/{SERVICE}/GetShipmentAllocation")
        told = failure(lambda: call(READ.SerializeToString(), timeout=LONG))
        assert told.code is grpc.StatusCode.UNIMPLEMENTED


def test_module_of_the_working_directory_is_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "grpc.py").write_text("raise SystemExit('imported')")
    monkeypatch.chdir(tmp_path)
    with running_front(WORKERS="2", ALLOW_UNSHARED_CLAIMS="true") as front:
        front.stub.GetShipmentAllocation(READ, timeout=LONG)

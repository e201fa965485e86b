"""Every test here runs with every engine of the gRPC server. What grpcio does otherwise is in `differences`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
from support.front import LONG, READ, running_front
from support.http2 import HEALTH_PATH, Connection, message, request_fields
from support.workers import wait_until
from wire.differences import DIFFERENCES

from bench import processes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.front import Front
    from support.gateway import Gateway

ENGINES: Final = ("direct", "grpcio")
# grpcio passes over much that breaks the rules, or closes the connection without a word: `make test-wire` says what.
STRICT: Final = pytest.mark.parametrize(
    "engine", [name for name in ENGINES if name != "grpcio"], indirect=True, scope="session"
)
# Where the strict tests ask our engine for more, grpcio is only asked to stand it.
LENIENT: Final = pytest.mark.parametrize("engine", ["grpcio"], indirect=True, scope="session")
_ESTABLISHED: Final = "01"
_CLOSE_WAIT: Final = "08"
# A call that fails is an error in the log too: that is for the test to look at.
_EXPECTED: Final = frozenset({"call", "detached_write_failed", "detached_write_given_up", "writes_given_up"})


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leaves what is only compared with to the long run."""
    for item in items:
        chosen = item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}
        if chosen.get("engine") == "grpcio":
            item.add_marker(pytest.mark.wire)


@pytest.fixture(scope="session", params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    """The name of an engine."""
    name: str = request.param
    return name


def chosen(engine: str, **more: str) -> dict[str, str]:
    """Returns the settings of a gateway with an engine."""
    return {"GRPC_ENGINE": engine, **more}


@pytest.fixture(autouse=True)
def known_differences(request: pytest.FixtureRequest, engine: str) -> None:
    """Expects a test to fail if its engine is known to."""
    case = request.node.name.replace(f"{engine}-", "", 1).replace(f"[{engine}]", "")
    reason = next((reason for reason, cases in DIFFERENCES.get(engine, {}).items() if case in cases), None)
    if reason is not None:
        request.applymarker(pytest.mark.xfail(reason=reason, strict=True))


@pytest.fixture(scope="session")
def shared_front(engine: str) -> Iterator[Front]:
    """A gateway that all tests of an engine attack one after the other. In the end, it has nothing left over."""
    with running_front(settings=chosen(engine), DEADLINE_MARGIN="0.02") as front:
        yield front
        front.gateway.forget()
        assert front.gateway.stop() == 0
        assert front.gateway.wait_for("draining")["in_hand"] == 0


@pytest.fixture
def front(shared_front: Front) -> Iterator[Front]:
    """The shared gateway, which has come to no harm by a test: others are served, and nothing is left of it."""
    shared_front.upstream.forget()
    shared_front.gateway.forget()
    yield shared_front
    shared_front.upstream.forget()
    check_unharmed(shared_front)


@pytest.fixture
def connect(front: Front) -> Iterator[Callable[..., Connection]]:
    """Opens connections to the shared gateway, and closes them after the test."""
    opened: list[Connection] = []

    def open_one(**more: Any) -> Connection:
        opened.append(Connection(front.gateway.address, **more))
        return opened[-1]

    yield open_one
    for connection in opened:
        connection.socket.close()


def check_served(front: Front) -> None:
    """Checks that others are served: over a connection that has stood for long, and over a new one."""
    front.stub.GetShipmentAllocation(READ, timeout=LONG)
    with Connection(front.gateway.address) as connection:
        assert connection.answer(connection.begin(message(b""), request_fields(HEALTH_PATH)), LONG).status == 0


def check_unharmed(front: Front) -> None:
    """Checks that others are served, that no connection but the standing one is left, and that no defect was logged."""
    check_served(front)
    port = int(front.gateway.address.rpartition(":")[2])
    wait_until(lambda: connections(port) <= 1, "the gateway keeps connections that are closed", LONG)
    assert not defects(front.gateway)


def defects(gateway: Gateway) -> list[dict[str, Any]]:
    """Returns the log lines that tell of a defect. What grpcio logs is no line of ours."""
    return [
        line
        for line in gateway.lines
        if line["event"] not in _EXPECTED
        and not line.get("logger", "").startswith("grpc.")
        and (line.get("level") in {"error", "critical"} or "Traceback" in line.get("text", ""))
    ]


def connections(port: int) -> int:
    """Returns how many connections of a port of this machine its server has not closed.

    The kernel lists them in pieces. If connections come and go meanwhile, it may name one twice, which is counted once,
    or leave one out: only a number that is waited for is to be relied on.
    """
    open_ones = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            local, peer, state = line.split()[1:4]
            if int(local.rpartition(":")[2], 16) == port and state in {_ESTABLISHED, _CLOSE_WAIT}:
                open_ones.add((local, peer))
    return len(open_ones)


def memory(gateway: Gateway, *, peak: bool = False) -> int:
    """Returns how many bytes of memory a gateway has in use, or had at most since that was asked last."""
    process = Path(f"/proc/{gateway.process.pid}")
    status = (process / "status").read_text()
    if peak:
        (process / "clear_refs").write_text("5")
    return int(status.partition("VmHWM:" if peak else "VmRSS:")[2].split()[0]) * 1024


def cpu_seconds(gateway: Gateway) -> float:
    """Returns the CPU time that a gateway has used."""
    return processes.cpu_seconds(gateway.process.pid)

"""A crowd of calls through nginx, with the configuration of docs/proxies.md, and what becomes of them without it."""

from __future__ import annotations

import asyncio
import re
import shutil
import socket
import subprocess
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import grpc
import pytest
from allocation.v1.shipment_allocation_service_pb2_grpc import ShipmentAllocationServiceStub
from support.front import LONG, READ, running_front
from support.workers import wait_until
from wire.conftest import chosen

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.front import Front

pytestmark = pytest.mark.wire

PAGE: Final = Path(__file__).resolve().parents[2] / "docs" / "proxies.md"
CROWD: Final = 1_000
# Together more calls than a connection may make by nginx's default.
ROUNDS: Final = 3
PATIENCE: Final = 60.0
# What a whole crowd needs to get its turn: upstream is not what is tested.
ROOM: Final = {"SHIP_MAX_QUEUE": str(CROWD), "SHIP_QUEUE_TIME": str(PATIENCE), "SHIP_BREAKER_MIN_CALLS": "1000000"}
# Of each test by itself: a client's connection, at which nginx counts, must be new.
ALONE: Final = [("grpc.use_local_subchannel_pool", 1)]


def documented() -> str:
    (found,) = re.findall(r"```nginx\n(.*?)```", PAGE.read_text(), re.DOTALL)
    text: str = found
    return text


def without(configuration: str, *directives: str) -> str:
    """Returns a configuration in which directives have nginx's defaults."""
    for directive in directives:
        configuration, count = re.subn(rf"^ *{directive} .*;\n", "", configuration, flags=re.MULTILINE)
        assert count == 1, directive
    return configuration


@contextmanager
def running_nginx(folder: Path, configuration: str, gateway: str) -> Iterator[str]:
    """Runs nginx in front of a gateway. Gives its address; its log is in the folder."""
    command = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
    if command is None:
        pytest.fail("nginx is missing: test-wire needs it", pytrace=False)
    with socket.socket() as chosen_port:
        chosen_port.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{chosen_port.getsockname()[1]}"
    for placeholder, real in (("127.0.0.1:50051", gateway), ("127.0.0.1:50050", address)):
        assert configuration.count(placeholder) == 1
        configuration = configuration.replace(placeholder, real)
    # For a process that writes nothing outside its folder, and is not a daemon.
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    paths = "".join(f"{kind}_temp_path {folder}/{kind};\n" for kind in kinds)
    configuration = configuration.replace("http {\n", f"http {{\naccess_log off;\n{paths}")
    own = f"daemon off;\nmaster_process off;\npid {folder}/pid;\nerror_log {folder}/error.log warn;\n"
    (folder / "nginx.conf").write_text(own + configuration)
    arguments = [command, "-e", f"{folder}/error.log", "-p", str(folder), "-c", f"{folder}/nginx.conf"]
    with subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True) as process:
        try:
            wait_until(lambda: process.poll() is not None or listens(address), "nginx does not listen", LONG)
            assert process.poll() is None, process.stderr.read() if process.stderr else ""
            yield address
        finally:
            process.terminate()


def listens(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), LONG).close()
    except ConnectionRefusedError:
        return False
    return True


def crowd(address: str, rounds: int = 1, *, before: int = 0, retries: bool = True) -> Counter[str]:
    """Makes calls over one connection: some one by one, then a crowd of them at once, again and again.

    Returns how often they ended how.
    """

    async def calls() -> Counter[str]:
        ends: Counter[str] = Counter()
        options = ALONE if retries else [*ALONE, ("grpc.enable_retries", 0)]
        async with grpc.aio.insecure_channel(address, options=options) as channel:
            stub: Any = ShipmentAllocationServiceStub(channel)

            async def call() -> None:
                try:
                    await stub.GetShipmentAllocation(READ, timeout=PATIENCE)
                except grpc.aio.AioRpcError as error:
                    ends[f"{error.code().name}: {error.details()}"] += 1
                else:
                    ends["OK"] += 1

            for _ in range(before):
                await call()
            for _ in range(rounds):
                await asyncio.gather(*(call() for _ in range(CROWD)))
        return ends

    return asyncio.run(calls())


@pytest.fixture(scope="session")
def roomy(engine: str) -> Iterator[Front]:
    with running_front(settings=chosen(engine, **ROOM)) as front:
        yield front


def test_as_documented_no_call_of_a_crowd_is_lost(roomy: Front, tmp_path: Path) -> None:
    with running_nginx(tmp_path, documented(), roomy.gateway.address) as address:
        assert crowd(address, ROUNDS) == {"OK": ROUNDS * CROWD}
    assert (tmp_path / "error.log").read_text() == ""


def test_no_call_is_lost_while_the_gateway_has_nginx_connect_anew(engine: str, tmp_path: Path) -> None:
    """Its goodbye meets connections that nginx keeps, and such as are about to be used."""
    with (
        running_front(settings=chosen(engine, **ROOM, MAX_CONNECTION_AGE="0.5")) as front,
        running_nginx(tmp_path, documented(), front.gateway.address) as address,
    ):
        assert crowd(address, ROUNDS) == {"OK": ROUNDS * CROWD}


def test_by_nginx_default_the_connection_ends_with_the_thousandth_call(roomy: Front, tmp_path: Path) -> None:
    """What a client has sent by then is refused. One that sends nothing again loses just those calls."""
    more = 46
    with running_nginx(tmp_path, without(documented(), "keepalive_requests"), roomy.gateway.address) as address:
        ends = crowd(address, before=more, retries=False)
    assert ends["OK"] == CROWD
    assert sum(ends.values()) == CROWD + more


def test_by_nginx_default_connections_run_out(roomy: Front, tmp_path: Path) -> None:
    with running_nginx(tmp_path, without(documented(), "worker_connections"), roomy.gateway.address) as address:
        ends = crowd(address)
    assert 0 < ends["OK"] < CROWD
    assert ends["UNKNOWN: Received http2 header with status: 500"] == CROWD - ends["OK"]
    assert "worker_connections are not enough" in (tmp_path / "error.log").read_text()


def test_calls_that_their_callers_give_up_are_cancelled_for_the_gateway(roomy: Front, tmp_path: Path) -> None:
    roomy.upstream.forget()
    roomy.gateway.forget()
    release = roomy.upstream.hold(200, {"reference": "x", "state": "unallocated"})
    try:
        with (
            running_nginx(tmp_path, documented(), roomy.gateway.address) as address,
            grpc.insecure_channel(address, options=ALONE) as channel,
        ):
            call: Any = ShipmentAllocationServiceStub(channel).GetShipmentAllocation
            made = call.future(READ, timeout=LONG)
            roomy.upstream.next_request()
            made.cancel()
            roomy.gateway.wait_for("call", code="CANCELLED")  # the lines of the calls before may still come
    finally:
        release.set()

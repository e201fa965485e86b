"""The sandbox as a process: starting, saying where, stopping, and failing to start."""

from __future__ import annotations

import argparse
import asyncio
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import httpx
import pytest
from allocation_gateway.sandbox.command import add_arguments, options_from
from allocation_gateway.sandbox.options import SandboxOptions
from allocation_gateway.sandbox.server import Sandbox
from allocation_gateway.sandbox.ship.seed import numbered
from sandbox.calling import HEADERS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sandbox.conftest import Start

COMMAND = [sys.executable, "-m", "allocation_gateway.sandbox"]


@contextmanager
def process(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A running sandbox and its address."""
    with subprocess.Popen([*COMMAND, "--port", "0", *arguments], stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout is not None
            yield child, child.stdout.readline().split()[3]
        finally:
            child.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_says_where_it_listens_and_stops_cleanly_on_a_signal(number: signal.Signals) -> None:
    with process("--api-key", "other", "--shipments", "2") as (child, address):
        headers = {**HEADERS, "x-api-key": "other"}
        response = httpx.get(f"{address}/pro/shipments/{numbered(2)}", headers=headers)
        assert response.json()["state"] == "unallocated"
        child.send_signal(number)
        assert child.wait(30) == 0


def test_a_second_signal_ends_it_at_once() -> None:
    """The first signal waits for an answer that is being written to a client that does not read."""
    with process() as (child, address):
        port = int(address.rpartition(":")[2])
        fault = {"action": {"type": "oversize", "size": 200_000_000}}
        httpx.post(f"{address}/_sandbox/faults", json=fault).raise_for_status()
        with socket.create_connection(("127.0.0.1", port)) as client:
            lines = [f"GET /pro/shipments/{numbered(1)} HTTP/1.1", "Host: x", "", ""]
            client.sendall("\r\n".join(lines).encode())
            assert client.recv(1)
            child.send_signal(signal.SIGTERM)
            with pytest.raises(subprocess.TimeoutExpired):
                child.wait(0.3)
            child.send_signal(signal.SIGTERM)
            assert child.wait(30) == -signal.SIGTERM


def test_a_taken_port_is_an_error_that_says_so() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = subprocess.run(
            [*COMMAND, "--port", str(port)], capture_output=True, text=True, timeout=90, check=False
        )
    assert result.returncode == 1
    assert result.stderr == f"the sandbox cannot listen on 127.0.0.1:{port}: Address already in use\n"


@pytest.mark.parametrize(
    "arguments",
    [["--port", "x"], ["--port", "65536"], ["--shipments", "-1"], ["--bulk-delay", "nan"], ["--bulk-delay", "-1"]],
)
def test_a_wrong_option_is_refused(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    with pytest.raises(SystemExit) as stopped:
        parser.parse_args(arguments)
    assert stopped.value.code == 2


def test_the_options_of_the_command_line_default_to_those_of_the_class() -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    assert options_from(parser.parse_args([])) == SandboxOptions()


@pytest.mark.asyncio
async def test_the_class_raises_on_a_taken_port_and_leaves_nothing_running(start: Start) -> None:
    async with start() as caller:
        before = asyncio.all_tasks()
        with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{caller.sandbox.port}"):
            async with Sandbox(SandboxOptions(port=caller.sandbox.port)):
                pass
        assert asyncio.all_tasks() == before


@pytest.mark.asyncio
async def test_the_added_shipments_are_numbered_and_any_ordinary_service_takes_them(start: Start) -> None:
    async with start(shipments=3) as caller:
        references = [numbered(number) for number in (1, 2, 3)]
        assert references[0] == "sp_00000000000000000000000000000001"
        for reference, group in zip(references, ("valuableGoods", "exampleSG123", "BAW_PREM_01"), strict=True):
            response = await caller.put(f"/shipments/{reference}/allocate/service_group/{group}")
            assert response.status_code == 200
        assert (await caller.put(f"/shipments/{numbered(4)}/allocate")).status_code == 404


@pytest.mark.asyncio
async def test_it_listens_on_loopback_only(start: Start) -> None:
    async with start() as caller:
        assert caller.sandbox.ship_base_url == f"http://127.0.0.1:{caller.sandbox.port}/pro"
        assert SandboxOptions().host == "127.0.0.1"

"""Measures an attack: how a gateway's memory grows, and how long a bystander waits meanwhile."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from attacks.attacker import ATTACKS
from support.http2 import HEALTH_PATH, Connection, message, request_fields
from wire.conftest import memory

if TYPE_CHECKING:
    from support.gateway import Gateway

ROOT: Final = Path(__file__).resolve().parents[2]
# Seconds between two calls of the bystander, and for one of them at most.
PAUSE: Final = 0.005
PATIENCE: Final = 30.0
MEGABYTE: Final = 1 << 20


class Outcome(NamedTuple):
    """What an attack did.

    Attributes:
        grown: By how many bytes the memory of the gateway grew at most.
        p50: The median of what the bystander waited for a call, in seconds.
        p99: What it waited at least in one of a hundred calls.
        busy: What the gateway computed meanwhile, at least in one of a hundred calls, in seconds of CPU time. Unlike
            what is waited, it does not depend on what else the machine does.
        sent: How many bytes the attackers sent.
        connections: How many connections they opened.
    """

    grown: int
    p50: float
    p99: float
    busy: float
    sent: int
    connections: int


def measured(gateway: Gateway, attack: str, connections: int, seconds: float) -> Outcome:
    """Sustains an attack on a gateway, and measures it meanwhile.

    The bystander is on the attacked port, except where that is the one with TLS: there it is on the port for probes.
    """
    bystanders = gateway.wait_for("listening")["health"] if ATTACKS[attack].needs_tls else gateway.address
    memory(gateway, peak=True)
    before = memory(gateway)
    command = [sys.executable, "-m", "attacks.attacker", gateway.address, attack, str(connections), str(seconds)]
    path = os.pathsep.join([str(ROOT / "tests"), str(ROOT)])
    with subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": path}) as attacker:
        try:
            waits, busy = bystander(bystanders, gateway.process.pid, attacker)
            told = json.loads(attacker.stdout.read()) if attacker.stdout is not None else {}
        finally:
            attacker.kill()
    grown = memory(gateway, peak=True) - before
    return Outcome(grown, _part(waits, 0.5), _part(waits, 0.99), _part(busy, 0.99), told["sent"], told["connections"])


def bystander(address: str, pid: int, attacker: subprocess.Popen[bytes]) -> tuple[list[float], list[float]]:
    """Calls the health service as long as an attacker is there.

    Returns:
        How long each call took, and how long the gateway computed meanwhile: each in its own order.
    """
    waits, busy = [], []
    clock = _cpu_clock(pid)
    with Connection(address) as connection:
        while attacker.poll() is None:
            begun, computed = time.monotonic(), time.clock_gettime(clock)
            stream = connection.begin(message(b""), request_fields(HEALTH_PATH))
            assert connection.answer(stream, PATIENCE).status == 0
            busy.append(time.clock_gettime(clock) - computed)
            waits.append(time.monotonic() - begun)
            connection.frames.clear()
            connection.answers.clear()
            time.sleep(PAUSE)  # the pace of a client, not a wait for something
    return sorted(waits), sorted(busy)


def _cpu_clock(pid: int) -> int:
    """Returns the clock of the CPU time of another process, by the way in which Linux numbers them."""
    return ~pid << 3 | 2


def _part(waits: list[float], part: float) -> float:
    return waits[int(len(waits) * part)]

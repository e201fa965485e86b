"""Measures an attack: how a gateway's memory grows, and how long a bystander waits meanwhile.

What is measured is the gateway, and not how three processes share two cores. So the gateway has a core for itself,
whatever its engine. Attackers and bystander have the others, where attackers give way to the bystander, which has the
system tell when an answer arrived. A bystander makes one call after the other: one that is held up stands for all those
that would have been made meanwhile. Else a server that stands still for half of the time is good in 99 of 100 calls.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from attacks.attacker import ATTACKS
from attacks.bystander import INTERVAL, Seen
from wire.conftest import memory

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from support.gateway import Gateway

ROOT: Final = Path(__file__).resolve().parents[2]
MEGABYTE: Final = 1 << 20
# Seconds that an attack goes on after the bystander has seen enough, so that it never looks on at none.
_MARGIN: Final = 0.5
# How much more the attackers give way than others do: little, since they are to attack.
_NICENESS: Final = 5


class Outcome(NamedTuple):
    """What an attack did.

    Attributes:
        grown: By how many bytes the memory of the gateway grew at most.
        p50: The median of what the bystander waited for a call, in seconds.
        p99: What it waited at least in one of a hundred calls.
        busy: What the gateway computed meanwhile, at least in one of a hundred calls, in seconds of CPU time: where it
            is much less than what was waited, somebody else had the processor.
        lost: How many calls of the bystander failed.
        sent: How many bytes the attackers sent.
        connections: How many connections they opened.
    """

    grown: int
    p50: float
    p99: float
    busy: float
    lost: int
    sent: int
    connections: int


def measured(gateway: Gateway, attack: str, connections: int, seconds: float) -> Outcome:
    """Sustains an attack on a gateway that nothing else was done with, and measures it meanwhile.

    The bystander is on the attacked port, except where that is the one with TLS: there it is on the port for probes.
    """
    address = gateway.wait_for("listening")["health"] if ATTACKS[attack].is_over_tls else gateway.address
    with contextlib.ExitStack() as stack:
        stack.enter_context(_apart(gateway.process.pid))
        bystander = stack.enter_context(_running("bystander", address, gateway.process.pid, seconds))
        _expect(bystander, "ready")
        memory(gateway, peak=True)
        before = memory(gateway)
        command = ("attacker", gateway.address, attack, connections, seconds + _MARGIN)
        attacker = stack.enter_context(_running(*command, niceness=_NICENESS))
        _expect(attacker, "begun")
        seen = Seen(**json.loads(_told(bystander, "\n")))
        told = json.loads(_told(attacker))
    grown = memory(gateway, peak=True) - before
    waits = sorted(uncoordinated(seen.waits, INTERVAL))
    busy = part(sorted(seen.computed), 0.99)
    return Outcome(grown, part(waits, 0.5), part(waits, 0.99), busy, seen.lost, told["sent"], told["connections"])


def best(outcomes: Sequence[Outcome]) -> Outcome:
    """Returns what an attack does, of several times that it was measured.

    What else a machine does makes a bystander wait, and never spares it a wait: the shortest counts. Memory is not so.
    """
    least = min(outcomes, key=lambda one: one.p99)
    return least._replace(grown=max(one.grown for one in outcomes), lost=max(one.lost for one in outcomes))


def uncoordinated(waits: Sequence[float], interval: float) -> Iterator[float]:
    """Yields what was waited for calls, and what would have been for those that one made at a steady pace lacks."""
    for wait in waits:
        left = wait
        while left > interval:
            yield left
            left -= interval
        yield left


def part(waits: Sequence[float], share: float) -> float:
    """Returns what a share of sorted waits is below of."""
    return waits[int(len(waits) * share)]


@contextlib.contextmanager
def _apart(pid: int) -> Iterator[None]:
    """Gives a process a core for itself, if there are several: this process, and whoever it starts, have the others."""
    cores = os.sched_getaffinity(0)
    if len(cores) == 1:
        yield
        return
    own = {min(cores)}
    _place(pid, own)
    _place(os.getpid(), cores - own)
    try:
        yield
    finally:
        _place(os.getpid(), cores)


def _place(pid: int, cores: set[int]) -> None:
    """Has all threads of a process run on some cores, and those that they start."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(ProcessLookupError):  # a thread that has ended meanwhile
            os.sched_setaffinity(int(task.name), cores)


@contextlib.contextmanager
def _running(module: str, *arguments: object, niceness: int = 0) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", f"attacks.{module}", *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "tests"), str(ROOT)])}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            if niceness:
                os.setpriority(os.PRIO_PROCESS, process.pid, os.getpriority(os.PRIO_PROCESS, 0) + niceness)
            yield process
        finally:
            process.kill()


def _expect(process: subprocess.Popen[str], word: str) -> None:
    """Waits for a process to say something."""
    assert process.stdout is not None
    assert process.stdout.readline().strip() == word


def _told(process: subprocess.Popen[str], word: str = "") -> str:
    """Tells a process something, and returns what it says until it ends."""
    told, _ = process.communicate(word)
    assert process.returncode == 0
    return told

"""Processes that are pinned to a core, started on a free port, and ended however the block ends."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bench.machine import CACHE, ROOT

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import AsyncIterator, Iterator, Mapping, Sequence

_START: Final = 30.0
_STOP: Final = 10.0
_POLL: Final = 0.02
_OURS: Final = ("ALLOCATION_GATEWAY_", "OTEL_")
_LAST_WORDS: Final = 4_000


class FailedError(Exception):
    """A process did not do what it was started for. The text says what it said last."""


@dataclass(frozen=True)
class Program:
    """What to start.

    Attributes:
        command: The command; `{port}` in it is where it must listen.
        environment: Variables besides those of this process; `{port}` in them too.
    """

    command: Sequence[str]
    environment: Mapping[str, str]


@dataclass(frozen=True)
class Running:
    """A process that listens.

    Attributes:
        pid: The process.
        address: Where it listens, as host:port.
        start_kb: Its resident memory, and that of its children, once it listened.
    """

    pid: int
    address: str
    start_kb: int


def end_in_order() -> None:
    """Lets SIGTERM end this process as Ctrl-C does, so that nothing that it started is left behind."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


def free_port() -> int:
    """Returns a port of the loopback that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(name: str, program: Program, cores: Sequence[int]) -> Iterator[Running]:
    """Runs a program on some cores, once it listens.

    Its output goes through a pipe, as a container's does. What it said last is kept in the cache, in `NAME.log`.

    Raises:
        FailedError: It ended, or did not listen in time.
    """
    port = free_port()
    # Not by format(): JSON in a command has braces of its own.
    command = [part.replace("{port}", str(port)) for part in program.command]
    settings = {key: text.replace("{port}", str(port)) for key, text in program.environment.items()}
    inherited = {key: text for key, text in os.environ.items() if not key.startswith(_OURS)}
    log = CACHE / f"{name}.log"
    with log.open("wb") as file:
        reader = subprocess.Popen(["tail", "-c", str(_LAST_WORDS)], stdin=subprocess.PIPE, stdout=file)
    process = subprocess.Popen(
        ["taskset", "-c", ",".join(map(str, cores)), *command],
        env={**inherited, **settings},
        stdin=subprocess.DEVNULL,
        stdout=reader.stdin,
        stderr=reader.stdin,
    )
    assert reader.stdin is not None  # noqa: S101 - it was asked for
    reader.stdin.close()
    try:
        if not _listens(process, port):
            process.kill()
            process.wait()
            reader.wait(_STOP)
            raise FailedError(f"{name} does not listen:\n{log.read_text(errors='replace')}")
        yield Running(process.pid, f"127.0.0.1:{port}", resident_kb(process.pid))
    finally:
        _end(process)
        with contextlib.suppress(subprocess.TimeoutExpired):
            reader.wait(_STOP)
        if reader.poll() is None:
            reader.kill()
            reader.wait()


@asynccontextmanager
async def piped(*command: str) -> AsyncIterator[Process]:
    """Runs a command with pipes to its input and from its output. It has ended when this is left.

    Raises:
        FailedError: It has failed.
    """
    process = await asyncio.create_subprocess_exec(
        *command, cwd=ROOT, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        raise FailedError(f"{' '.join(command)} has ended with {process.returncode}")


def _listens(process: subprocess.Popen[bytes], port: int) -> bool:
    end = time.monotonic() + _START
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
        time.sleep(_POLL)
    return False


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(_STOP)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def cpu_seconds(pid: int) -> float:
    """Returns the CPU time that a process and all that it started have used, in the system's ticks."""
    used = 0
    for one in tree(pid):
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
            used += int(fields[11]) + int(fields[12])
    return used / os.sysconf("SC_CLK_TCK")


def tree(pid: int) -> list[int]:
    """Returns a process and all that it started."""
    found = [pid]
    for one in found:
        with contextlib.suppress(OSError):
            for task in os.listdir(f"/proc/{one}/task"):  # noqa: PTH208 - no other use of paths here
                with open(f"/proc/{one}/task/{task}/children") as children:  # noqa: PTH123
                    found.extend(map(int, children.read().split()))
    return found


def resident_kb(pid: int) -> int:
    """Returns the resident memory of a process and all that it started."""
    total = 0
    for one in tree(pid):
        with contextlib.suppress(OSError), open(f"/proc/{one}/status") as status:  # noqa: PTH123
            total += next((int(line.split()[1]) for line in status if line.startswith("VmRSS:")), 0)
    return total

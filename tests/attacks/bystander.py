"""Calls the health service at a steady pace while others attack, and tells how long each of its calls took.

Usage: python -m attacks.bystander ADDRESS PID SECONDS

It is a process of its own, and reads from the system when the last byte of an answer arrived: that it is not given the
processor at once, be it by the attackers beside it, is no fault of the server's. Prints a line when it is ready, begins
when it is told a line, and prints what it has seen.

Args:
    ADDRESS: The server.
    PID: The server's process, whose CPU time is read.
    SECONDS: For how long it calls.
"""

from __future__ import annotations

import json
import socket
import struct
import sys
import time
from typing import Final, NamedTuple

from support.http2 import HEALTH_PATH, TIMEOUT, Connection, message, request_fields

# Seconds between the beginnings of two calls, and for one of them at most.
INTERVAL: Final = 0.005
PATIENCE: Final = 30.0
# Calls before it is ready.
_FIRST_CALLS: Final = 50
# What Linux calls SO_TIMESTAMPNS_NEW and SCM_TIMESTAMPNS_NEW, and what comes with it: seconds and nanoseconds.
_STAMP: Final = 64
_TIME: Final = struct.Struct("=qq")


class Seen(NamedTuple):
    """What a bystander has seen, by call.

    Attributes:
        waits: What passed until its answer had arrived, in seconds.
        computed: The CPU time of the server meanwhile, in seconds.
        lost: How many calls failed.
    """

    waits: list[float]
    computed: list[float]
    lost: int


class _Stamped(socket.socket):
    """A socket that knows when the system received what was read last.

    Attributes:
        arrived: In nanoseconds since 1970.
        is_told: Whether the system told it. It takes a moment to begin with that.
    """

    arrived = 0
    is_told = False

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        data, told, _, _ = self.recvmsg(bufsize, socket.CMSG_SPACE(_TIME.size), flags)
        self.arrived, self.is_told = time.time_ns(), False
        for level, kind, value in told:
            if (level, kind) == (socket.SOL_SOCKET, _STAMP):
                seconds, more = _TIME.unpack(value[: _TIME.size])
                self.arrived, self.is_told = seconds * 1_000_000_000 + more, True
        return data


class Bystander:
    """A client that does nothing wrong."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._connect()

    def _connect(self) -> None:
        self._connection = Connection(self._address)
        self._socket = _Stamped(fileno=self._connection.socket.detach())
        self._socket.setsockopt(socket.SOL_SOCKET, _STAMP, 1)
        self._socket.settimeout(TIMEOUT)
        self._connection.socket = self._socket

    def __enter__(self) -> Bystander:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def get_ready(self) -> None:
        """Makes the first calls, which cost a server more, and until the system tells when an answer arrives."""
        for _ in range(_FIRST_CALLS):
            self.call()
        assert self._socket.is_told, "the system does not tell when something arrived"

    def call(self) -> float:
        """Makes a call. Returns what passed until its answer had arrived, in seconds.

        Raises:
            AssertionError: It failed, or took too long.
        """
        connection = self._connection
        begun = time.time_ns()
        stream = connection.begin(message(b""), request_fields(HEALTH_PATH))
        try:
            assert connection.answer(stream, PATIENCE).status == 0
        except AssertionError:
            self._socket.close()
            self._connect()
            raise
        connection.frames.clear()
        connection.answers.clear()
        return (self._socket.arrived - begun) / 1e9

    def watch(self, pid: int, seconds: float) -> Seen:
        """Makes calls for so long. Returns what came of them, in their order."""
        clock = ~pid << 3 | 2  # of the CPU time of another process, as Linux numbers them
        waits: list[float] = []
        computed: list[float] = []
        lost = 0
        end = time.monotonic() + seconds
        while (begun := time.monotonic()) < end:
            before = time.clock_gettime(clock)
            try:
                waits.append(self.call())
            except AssertionError:
                lost += 1
                waits.append(time.monotonic() - begun)
            computed.append(time.clock_gettime(clock) - before)
            time.sleep(max(0.0, begun + INTERVAL - time.monotonic()))  # the pace of a client, not a wait for something
        return Seen(waits, computed, lost)


def main(address: str, pid: int, seconds: float) -> None:
    """Does what the module says."""
    with Bystander(address) as one:
        one.get_ready()
        print("ready", flush=True)  # noqa: T201
        sys.stdin.readline()
        print(json.dumps(one.watch(pid, seconds)._asdict()))  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))

"""Load on a release while something is done to it, and what became of each call."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from bisect import bisect_left
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Final

from allocation_gateway_client import Tls
from support.chart import NAME, ROOT

from e2e.control_plane import NAMESPACE, PROGRAMS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.sandbox import Sandbox

# Of each client in each situation.
_SHIPMENTS: Final = 2500
_WORKERS: Final = 3
_PAUSE: Final = 0.1
# How many calls of each client there are at least before, and after, something is done.
_CALLS: Final = 30
_PATIENCE: Final = 75.0
# What was under way in a pod that is killed stays in doubt until upstream can carry it out no more.
_DOUBTS: Final = 300.0
# The name of the Service, whose one address leads to one of the pods.
HOST: Final = f"{NAME}.{NAMESPACE}.svc.cluster.local"
SERVICE: Final = f"dns:///{HOST}:50051"
# All pods that are ready, to which clients connect themselves.
HEADLESS: Final = f"dns:///{NAME}-headless.{NAMESPACE}.svc.cluster.local:50051"
SHIPMENTS: Final = 150_000


@dataclass
class Situation:
    """What became of the calls that were made in a situation.

    Attributes:
        name: What was done.
        calls: How many calls each client made.
        doubtful: Of how many a client was told that the outcome is unknown. It asks again, as it should.
        failed: What the clients were told of shipments that they did not get allocated.
        doubled: The shipments that were allocated more than once, as the sandbox has it.
        lost: The shipments of which a client was told that they are allocated, and the sandbox knows nothing.
        longest: The seconds that the longest call of each client took.
    """

    name: str
    calls: dict[str, int] = field(default_factory=dict)
    doubtful: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    doubled: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    longest: dict[str, float] = field(default_factory=dict)

    def check(self) -> None:
        """Fails unless each call allocated its shipment exactly once."""
        assert all(self.calls.values()), f"{self.name}: a client made no calls: {self.calls}"
        assert (self.failed, self.doubled, self.lost) == ({}, [], []), self


class Loads:
    """Puts load on the release, each time on other shipments."""

    # The first shipment that nobody has had yet, in whatever release.
    _first: ClassVar[int] = 1

    def __init__(
        self, sandbox: Sandbox, situations: list[Situation], address: str = HEADLESS, tls: Tls | None = None
    ) -> None:
        """Makes load on the release at an address, with TLS if that is given.

        Args:
            sandbox: The witness.
            situations: What became of the calls is added here.
            address: Where the release is called.
            tls: How TLS is done, if it is.
        """
        self._sandbox = sandbox
        self.situations = situations
        self._address = address
        self._tls = tls or Tls()

    @property
    def next(self) -> str:
        """The shipment that the Go client allocates first in the next situation."""
        return f"sp_{self._first:032d}"

    @staticmethod
    def take(count: int) -> list[str]:
        """Returns shipments that no load will have."""
        first = Loads._first
        Loads._first += count
        assert Loads._first <= SHIPMENTS
        return [f"sp_{number:032d}" for number in range(first, first + count)]

    def _start(self, language: str) -> tuple[subprocess.Popen[str], range]:
        first = Loads._first
        self.take(_SHIPMENTS)
        program = [str(PROGRAMS / "load")] if language == "Go" else [sys.executable, "-m", "e2e.load"]
        process = subprocess.Popen(
            [
                *program,
                f"--address={self._address}",
                f"--first={first}",
                f"--count={_SHIPMENTS}",
                f"--workers={_WORKERS}",
                f"--pause={_PAUSE}",
                f"--ca={self._tls.ca_file or ''}",
                f"--certificate={self._tls.certificate_file or ''}",
                f"--key={self._tls.key_file or ''}",
                f"--server-name={self._tls.server_name}",
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT / "tests")},
        )
        return process, range(first, first + _SHIPMENTS)

    @contextmanager
    def during(self, name: str) -> Iterator[Situation]:
        """Has clients of two languages allocate during the block, and some time before and after it."""
        situation = Situation(name)
        clients = {language: self._start(language) for language in ("Go", "Python")}
        try:
            self._wait_for_calls(clients)
            yield situation
            self._wait_for_calls(clients)
            for process, _ in clients.values():
                assert process.stdin is not None
                process.stdin.close()
                process.stdin = None
            told = {
                language: json.loads(process.communicate(timeout=_DOUBTS)[0])
                for language, (process, _) in clients.items()
            }
        finally:
            for process, _ in clients.values():
                process.kill()
                process.communicate()
        asked: set[str] = set()
        for language, (_, shipments) in clients.items():
            situation.calls[language] = told[language]["calls"]
            situation.doubtful += told[language]["doubtful"]
            situation.failed |= told[language]["failed"]
            situation.longest[language] = told[language]["longest"]
            asked |= {f"sp_{number:032d}" for number in shipments[: told[language]["calls"]]}
        booked = {reference: times for reference, (times, _) in self._sandbox.all_bookings().items()}
        situation.doubled = sorted(reference for reference in asked if booked.get(reference, 0) > 1)
        situation.lost = sorted(asked - situation.failed.keys() - {one for one, times in booked.items() if times})
        self.situations.append(situation)

    def _wait_for_calls(self, clients: dict[str, tuple[subprocess.Popen[str], range]]) -> None:
        """Waits until each client has allocated some more shipments."""
        goals = {language: self._allocated(shipments) + _CALLS for language, (_, shipments) in clients.items()}
        end = time.monotonic() + _PATIENCE
        for language, (_, shipments) in clients.items():
            assert goals[language] <= len(shipments), f"the {language} client has no shipments left"
            while self._allocated(shipments) < goals[language]:
                assert time.monotonic() < end, f"the {language} client does not get on"
                time.sleep(_PAUSE)

    def _allocated(self, shipments: range) -> int:
        """Returns about how many of the shipments a client has come to: it takes one after the other."""
        return bisect_left(shipments, 1, key=lambda number: int(not self._sandbox.bookings(f"sp_{number:032d}")[0]))


def table(situations: list[Situation]) -> list[str]:
    """Returns what is told of situations, as lines."""
    rows: list[tuple[str, ...]] = [("situation", "calls", "in doubt", "failed", "doubled", "lost", "longest")]
    for one in situations:
        calls = " + ".join(f"{number} {language}" for language, number in one.calls.items())
        counts = (str(len(found)) for found in (one.failed, one.doubled, one.lost))
        longest = " + ".join(f"{seconds:.1f} s" for seconds in one.longest.values())
        rows.append((one.name, calls, str(one.doubtful), *counts, longest))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]

"""Runs the sandbox, and talks to its control paths."""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import httpx

from support.gateway import environment

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

TIMEOUT: Final = 10.0


class Sandbox:
    """The sandbox's control paths.

    Attributes:
        url: Where it listens.
    """

    def __init__(self, url: str) -> None:
        self.url = url

    def call(self, method: str, path: str, body: object = None) -> Any:
        """Calls a control path and returns its JSON."""
        answer = httpx.request(method, f"{self.url}/_sandbox/{path}", json=body, timeout=TIMEOUT, trust_env=False)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def bookings(self, reference: str) -> tuple[int, int]:
        """Returns how often a shipment was allocated and de-allocated, as the sandbox's journal has it."""
        journal = self.call("GET", f"journal?reference={reference}")
        return journal["allocations"], journal["deallocations"]

    def all_bookings(self) -> dict[str, tuple[int, int]]:
        """Returns the same of every shipment that the journal knows."""
        found: dict[str, tuple[int, int]] = {}
        after: str | None = ""
        while after is not None:
            page = self.call("GET", f"journal?after={after}")
            found |= {one["reference"]: (one["allocations"], one["deallocations"]) for one in page["references"]}
            after = page["next"]
        return found


@contextmanager
def running_sandbox(*options: str, extra: Mapping[str, str] | None = None) -> Iterator[Sandbox]:
    """Runs a sandbox as a process of its own, which outlives gateways.

    Args:
        options: Those of its command.
        extra: Variables of OpenTelemetry.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "allocation_gateway.sandbox", "--port", "0", *options],
        stdout=subprocess.PIPE,
        text=True,
        env=environment(extra or {}),
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        yield Sandbox(line.split()[3])
        process.terminate()
        process.wait(TIMEOUT)
    finally:
        process.kill()
        process.wait(TIMEOUT)
        assert process.stdout is not None
        process.stdout.close()

"""Talks to the control paths of a running sandbox."""

from __future__ import annotations

from typing import Any, Final

import httpx

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

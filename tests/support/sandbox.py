"""Talks to the control paths of a running sandbox."""

from __future__ import annotations

from typing import Any, Final

import httpx

TIMEOUT: Final = 10.0


class Sandbox:
    """The sandbox's control paths."""

    def __init__(self, url: str) -> None:
        self._url = url

    def call(self, method: str, path: str, body: object = None) -> Any:
        """Calls a control path and returns its JSON."""
        answer = httpx.request(method, f"{self._url}/_sandbox/{path}", json=body, timeout=TIMEOUT, trust_env=False)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def bookings(self, reference: str) -> tuple[int, int]:
        """Returns how often a shipment was allocated and de-allocated, as the sandbox's journal has it."""
        journal = self.call("GET", f"journal?reference={reference}")
        return journal["allocations"], journal["deallocations"]

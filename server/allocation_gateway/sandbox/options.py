"""How a sandbox is started. Apart from the server, so that naming the options does not load it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

SHIP_PREFIX: Final = "pro"
"""What the paths of Ship begin with. Those of the Consignments API begin at the root."""


@dataclass(frozen=True, slots=True)
class SandboxOptions:
    """How to start. Port 0 takes any free port. `bulk_delay` is in seconds; `journal_events` bounds memory."""

    host: str = "127.0.0.1"
    port: int = 8080
    api_key: str = "sandbox-key"
    shipments: int = 0
    bulk_delay: float = 0.05
    journal_events: int = 200_000

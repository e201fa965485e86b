"""What is known of whoever makes a call."""

from __future__ import annotations

from typing import NamedTuple

# What the names of callers begin with, by what they come from.
SPIFFE = "spiffe://"
DNS = "dns:"
JWT = "jwt:"


class Caller(NamedTuple):
    """Whoever makes a call.

    Attributes:
        names: What it is called, the most telling name first: `spiffe://...` and `dns:...` by its certificate,
            `jwt:...` by the subject of its token.
    """

    names: tuple[str, ...]

    @property
    def name(self) -> str:
        """The first of its names, for log lines."""
        return self.names[0]

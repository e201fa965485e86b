"""How a setting is called in the environment."""

from __future__ import annotations

from typing import Final

PREFIX: Final = "ALLOCATION_GATEWAY_"


def variable(name: str) -> str:
    """Returns the environment variable of a setting."""
    return PREFIX + name.upper()

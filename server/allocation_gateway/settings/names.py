"""How a setting is called in the environment."""

from __future__ import annotations

from typing import Final

PREFIX: Final = "ALLOCATION_GATEWAY_"
DEFAULT_ACCOUNT: Final = "default"
"""The account that the settings themselves are of. All others stand in a file of their own."""


def variable(name: str) -> str:
    """Returns the environment variable of a setting."""
    return PREFIX + name.upper()

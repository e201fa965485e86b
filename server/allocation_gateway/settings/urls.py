"""Taking URLs apart."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import Final
from urllib.parse import SplitResult, urlsplit

LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})
"""The hosts that are this machine."""
BASE_URL_PATTERN: Final = (
    r"^[Hh][Tt][Tt][Pp][Ss]?://"
    r"(\[[0-9A-Fa-f:.]+\]|[!-\"$-.0-9;->A-Z\\^-~]+)"
    r"(:(6553[0-5]|655[0-2][0-9]|65[0-4][0-9]{2}|6[0-4][0-9]{3}|[1-5]?[0-9]{0,4}))?"
    r"(/[!-\"$->@-~]*)?$"
)
"""What checks.py accepts as a base URL, as far as a pattern can say it: for a schema, which says it early."""


def split_url(url: str) -> SplitResult:
    """Takes a URL apart.

    Raises:
        ValueError: It is none, or its port or the IPv4 address in it is none.
    """
    parts = urlsplit(url)
    host, _ = parts.hostname, parts.port
    if host and not host.strip("0123456789."):
        IPv4Address(host)
    return parts

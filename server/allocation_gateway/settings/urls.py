"""Taking URLs apart."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import Final
from urllib.parse import SplitResult, urlsplit

LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})
"""The hosts that are this machine."""


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

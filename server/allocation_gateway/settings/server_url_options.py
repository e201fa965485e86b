"""What may follow the question mark in the URL of a Valkey or Redis server, and what is made of it."""

from __future__ import annotations

import re
import ssl
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MOST_DATABASES: Final = 2**31 - 1
"""The highest number of a database that a URL may name."""
_VERIFICATIONS: Final = ("none", "optional", "required")
_TLS_VERSIONS: Final = {
    "tlsv1.2": ssl.TLSVersion.TLSv1_2,
    "tlsv1.3": ssl.TLSVersion.TLSv1_3,
    **{str(int(version)): version for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)},
}


def read_options(query: str, *, is_tls: bool) -> dict[str, Any]:
    """Reads the options of a URL.

    Args:
        query: What follows the question mark.
        is_tls: Whether the scheme is with TLS.

    Raises:
        ValueError: One is not known, or not what it must be. The text repeats no value.
    """
    return dict(_option(name, value, is_tls=is_tls) for name, value in _pairs(query))


def _pairs(query: str) -> list[tuple[str, str]]:
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=True) if query else []
    except ValueError:
        raise ValueError("the options after ? must be given as name=value, separated by &") from None
    names = [name for name, _ in pairs]
    if len({*names}) < len(names):
        raise ValueError("an option after ? is given twice")
    return pairs


def _option(name: str, value: str, *, is_tls: bool) -> tuple[str, Any]:
    if name not in _OPTIONS:
        shown = f"{name!r} " if re.fullmatch(r"\w{1,32}", name, re.ASCII) else ""
        raise ValueError(f"the option {shown}after ? is not known; there are {', '.join(_OPTIONS)}")
    if name.startswith("ssl_") and not is_tls:
        raise ValueError(f"the option {name} needs TLS, which rediss:// and valkeys:// have")
    rule, convert = _OPTIONS[name]
    try:
        return name, convert(value)
    except (ValueError, KeyError):
        raise ValueError(f"the option {name} must be {rule}") from None


def _whole(least: int, most: int) -> Callable[[str], int]:
    def convert(text: str) -> int:
        number = int(text) if re.fullmatch(r"[0-9]{1,10}", text) else -1
        if not least <= number <= most:
            raise ValueError
        return number

    return convert


def _switch(text: str) -> bool:
    return {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}[text.lower()]


def _seconds(text: str) -> float:
    number = float(text)
    if not 0 < number <= 86_400:
        raise ValueError
    return number


def _matching(pattern: str) -> Callable[[str], str]:
    def convert(text: str) -> str:
        if not re.fullmatch(pattern, text, re.DOTALL):
            raise ValueError
        return text

    return convert


def _verification(text: str) -> str:
    if text not in _VERIFICATIONS:
        raise ValueError
    return text


# What may follow the question mark: how it is described, and what makes the library's value of it.
_OPTIONS: Final[Mapping[str, tuple[str, Callable[[str], Any]]]] = {
    "db": ("the number of a database", _whole(0, MOST_DATABASES)),
    # What CLIENT SETNAME takes.
    "client_name": ("a name of printable ASCII characters without spaces", _matching("[!-~]+")),
    "password_file": ("the path of a file", _matching(".+")),
    "protocol": ("2 or 3", _whole(2, 3)),
    "socket_timeout": ("a number of seconds above 0", _seconds),
    "socket_connect_timeout": ("a number of seconds above 0", _seconds),
    "socket_keepalive": ("true or false", _switch),
    "health_check_interval": ("a whole number of seconds", _whole(0, 86_400)),
    "ssl_ca_certs": ("the path of a file", _matching(".+")),
    "ssl_ca_path": ("the path of a folder", _matching(".+")),
    "ssl_certfile": ("the path of a file", _matching(".+")),
    "ssl_keyfile": ("the path of a file", _matching(".+")),
    "ssl_password": ("a text", _matching(".+")),
    "ssl_cert_reqs": ("none, optional or required", _verification),
    "ssl_check_hostname": ("true or false", _switch),
    "ssl_min_version": ("TLSv1.2 or TLSv1.3", lambda text: _TLS_VERSIONS[text.lower()]),
    "ssl_ciphers": ("a list of ciphers", _matching(".+")),
    "sentinel_username": ("a name", _matching(".+")),
    "sentinel_password": ("a text", _matching(".+")),
    "sentinel_password_file": ("the path of a file", _matching(".+")),
}

"""What a value of a variable must be: one rule for each kind of value."""

from __future__ import annotations

import math
import re
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias
from urllib.parse import unquote

from allocation_gateway.settings.urls import split_url
from allocation_gateway.settings.wording import shown

if TYPE_CHECKING:
    from collections.abc import Callable

    # Returns what is wrong with a value, as it follows the name of its variable; nothing if it can be used.
    Rule: TypeAlias = Callable[[str], str]

NONE: Final = "none"
"""The exporter that exports nothing."""
HTTP_URL: Final = re.compile(r"https?://", re.IGNORECASE)
LARGEST_NUMBER: Final = 2**31 - 1
"""The largest number that fits into the system's timers and the SDK's queues."""
# A header as the SDK reads it, with a name that both gRPC and HTTP take.
_HEADER_NAME: Final = re.compile(r"[A-Za-z0-9_.-]+")
_HEADER_VALUE: Final = re.compile(r"[ !#-+\--:<-\[\]-~]*")
_STATUS_CODE: Final = re.compile(
    "OK|CANCELLED|UNKNOWN|INVALID_ARGUMENT|DEADLINE_EXCEEDED|NOT_FOUND|ALREADY_EXISTS|PERMISSION_DENIED|ABORTED|"
    "RESOURCE_EXHAUSTED|FAILED_PRECONDITION|OUT_OF_RANGE|UNIMPLEMENTED|INTERNAL|UNAVAILABLE|DATA_LOSS|UNAUTHENTICATED",
    re.IGNORECASE,
)


def choice(*choices: str) -> Rule:
    """Returns the rule for one of several words, in any case."""

    def rule(text: str) -> str:
        if text.lower() in choices:
            return ""
        *most, last = choices
        return f"must be {', '.join(most)} or {last}, got {shown(text)}"

    return rule


def exporters(*known: str) -> Rule:
    """Returns the rule for the exporters of a signal: one or several, or none."""

    def rule(text: str) -> str:
        found = names(text)
        for name in found:
            if name not in known:
                return (
                    f"must be {', '.join(known[:-1])} or {known[-1]}, or several separated by commas; got {shown(name)}"
                )
        return f"names {NONE} together with others" if NONE in found and len(found) > 1 else ""

    return rule


def names(text: str) -> tuple[str, ...]:
    """Returns the names that a text lists, in small letters, each once."""
    return tuple(dict.fromkeys(name.strip().lower() for name in text.split(",") if name.strip()))


def whole_number(least: int, most: int = LARGEST_NUMBER) -> Rule:
    """Returns the rule for a whole number between two bounds."""

    def rule(text: str) -> str:
        if re.fullmatch(r"[0-9]{1,10}", text) and least <= int(text) <= most:
            return ""
        return f"must be a whole number from {least} to {most}, got {shown(text)}"

    return rule


def number(least: float, most: float, *, above: bool = False, unit: str = "") -> Rule:
    """Returns the rule for a number between two bounds.

    Args:
        least: The lower bound.
        most: The upper bound.
        above: Whether the lower bound itself is refused.
        unit: The unit that a text of a refusal names, with a blank before it.
    """

    def rule(text: str) -> str:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if (least < value if above else least <= value) and value <= most:
            return ""
        bounds = f"above {least:g} and at most {most:g}" if above else f"from {least:g} to {most:g}"
        return f"must be a number {bounds}{unit}, got {shown(text)}"

    return rule


def installed(group: str, *more: str, several: bool = True) -> Rule:
    """Returns the rule for the name of an installed extension of the SDK.

    Args:
        group: The entry points that extensions of this kind have.
        more: Names that the SDK takes besides.
        several: Whether several may be named.
    """

    def rule(text: str) -> str:
        for name in text.split(",") if several else (text,):
            if name.strip() not in (*more, *_installed_names(group)):
                choices = sorted({*_installed_names(group), *more})
                known = f"; there are {', '.join(choices)}" if choices else ""
                return f"names {shown(name.strip())}, which is not installed{known}"
        return ""

    return rule


@cache
def _installed_names(group: str) -> frozenset[str]:
    """Returns the names of the installed extensions of a kind."""
    return frozenset(point.name for point in entry_points(group=group))


def headers(text: str) -> str:
    """The rule for headers. Their values are credentials, so that no refusal shows one."""
    for item in re.split(r"[ \t]*,[ \t]*", text):
        name, separator, value = item.partition("=")
        if item and (
            not separator
            or not _HEADER_NAME.fullmatch(unquote(name.strip()))
            or not _HEADER_VALUE.fullmatch(value.strip())
            or not re.fullmatch(r"[ -~]*", unquote(value.strip()))
        ):
            return "must be name=value, or several separated by commas, where a value is percent-encoded"
        if unquote(name.strip()).lower().endswith("-bin"):
            return "names a header that ends in -bin, which holds bytes"
    return ""


def attributes(text: str) -> str:
    """The rule for attributes of the resource."""
    for item in text.split(","):
        name, separator, _ = item.partition("=")
        if item.strip() and not (separator and name.strip()):
            return f"must be name=value, or several separated by commas, got {shown(item.strip())}"
    return ""


def endpoint(text: str) -> str:
    """The rule for an address of a collector: a URL, or a target of gRPC, which only OTLP over gRPC can use."""
    if HTTP_URL.match(text):
        return _url(text)
    if re.fullmatch(r"(?:unix:|dns:|ipv4:|ipv6:)[!-~]+|[A-Za-z0-9_.-]+:[0-9]{1,5}", text):
        return ""
    return "must be a URL such as http://collector:4317"


def _url(text: str) -> str:
    try:
        parts = split_url(text)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        host, port = "", None
    if not host or port == 0 or not re.fullmatch(r"[!-~]+", text) or not re.fullmatch(r"[A-Za-z0-9_.:-]+", host):
        return "must be a URL such as http://collector:4317"
    return ""


def pem_file(text: str) -> str:
    """The rule for a PEM file."""
    # A value that is no path may be a header that was put into the wrong variable.
    path = text if text.startswith(("/", ".")) else shown(text)
    try:
        content = Path(text).read_bytes()
    except (OSError, ValueError) as error:
        return f"cannot be read: {path}: {getattr(error, 'strerror', '') or 'it is not a path'}"
    return "" if b"-----BEGIN " in content else f"is not PEM: {path}"


def host(text: str) -> str:
    """The rule for a host or an address."""
    return "" if re.fullmatch(r"[A-Za-z0-9_.:-]+", text) else f"must be a host or an address, got {shown(text)}"


def status_codes(text: str) -> str:
    """The rule for gRPC status codes."""
    for name in text.split(","):
        if name.strip() and not _STATUS_CODE.fullmatch(name.strip()):
            return f"must be gRPC status codes, separated by commas, got {shown(name.strip())}"
    return ""


def unsupported(_: str) -> str:
    """The rule for configuration files of OpenTelemetry, which are not supported."""
    return "is not supported: the other OTEL_ variables say what a file would"


def unread(_: str) -> str:
    """The rule for what the SDK reads only where it is started by a launcher of its own."""
    return "is not supported: the gateway has a generator of ids and loggers, meters and tracers of its own"

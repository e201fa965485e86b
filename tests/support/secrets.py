"""The ways in which somebody may quote a key, and whether a text does: apart from what takes keys out of texts."""

from __future__ import annotations

import base64
import binascii
import html
import json
import quopri
import re
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, unquote

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

HEADERS: Final = ("x-api-key", "ocp-apim-subscription-key")


def _each(form: str) -> Callable[[str], str]:
    """Writes every character by its code."""
    return lambda key: "".join(form.format(ord(character)) for character in key)


def _special(form: str) -> Callable[[str], str]:
    """Writes every character by its code that is neither a letter nor a digit."""
    return lambda key: "".join(character if character.isalnum() else form.format(ord(character)) for character in key)


def _first(form: str) -> Callable[[str], str]:
    return lambda key: form.format(ord(key[0])) + key[1:]


def _last(form: str) -> Callable[[str], str]:
    return lambda key: key[:-1] + form.format(ord(key[-1]))


def _base64(text: str, *, altchars: bytes = b"+/", padded: bool = True) -> str:
    encoded = base64.b64encode(text.encode(), altchars).decode()
    return encoded if padded else encoded.rstrip("=")


FORMS: Final[Mapping[str, Callable[[str], str]]] = {
    "plain": lambda key: key,
    "in a header": lambda key: f"x-api-key: {key}",
    "JSON in JSON": lambda key: json.dumps(key)[1:-1],
    "JSON in JSON in JSON": lambda key: json.dumps(json.dumps(key)[1:-1])[1:-1],
    "codes of JSON": _each("\\u{:04x}"),
    "capital codes of JSON": _special("\\u{:04X}"),
    "first character as JSON": _first("\\u{:04x}"),
    "escaped slashes": lambda key: key.replace("/", "\\/"),
    "percent": lambda key: quote(key, safe=""),
    "all percent": _each("%{:02x}"),
    "percent twice": lambda key: quote(quote(key, safe=""), safe=""),
    "last character as percent": _last("%{:02X}"),
    "HTML": html.escape,
    "HTML twice": lambda key: html.escape(html.escape(key)),
    "decimal HTML": _each("&#{};"),
    "hexadecimal HTML": _special("&#x{:X};"),
    "long HTML": _special("&#{:05};"),
    "quoted-printable": _special("={:02X}"),
    "all quoted-printable": _each("={:02X}"),
    "base64": _base64,
    "base64 without padding": lambda key: _base64(key, padded=False),
    "base64 for addresses": lambda key: _base64(key, altchars=b"-_"),
    **{
        f"base64 of {header}{separator!r}": lambda key, start=header + separator: _base64(start + key)  # type: ignore[misc]
        for header in HEADERS
        for separator in (": ", ":", "=")
    },
    "base64 of a list": lambda key: _base64(f"accept: json\r\nx-api-key: {key}\r\nhost: here\r\n"),
    "base64 in an address": lambda key: quote(_base64(f"user:{key}"), safe=""),
}
"""What somebody may write instead of a key."""


def _unescaped(text: str) -> str:
    text = re.sub(r"\\+u00([0-7][0-9a-fA-F])", lambda match: chr(int(match[1], 16)), text)
    return re.sub(r"\\+([^A-Za-z0-9\\])", r"\1", text)


def _of_base64(text: str) -> str:
    """Returns what every run of base64 in a text stands for, wherever it begins."""
    found = []
    for run in re.findall(r"[A-Za-z0-9+/_-]{8,}", text):
        plain = run.translate(str.maketrans("-_", "+/"))
        for start in range(4):
            part = plain[start:]
            part = part[: len(part) // 4 * 4] + (part[len(part) // 4 * 4 :] + "===")[:4]
            try:
                found.append(base64.b64decode(part).decode("latin-1"))
            except (binascii.Error, ValueError):
                found.append(base64.b64decode(plain[start : start + (len(plain) - start) // 4 * 4]).decode("latin-1"))
    return "\n".join(found)


_DECODERS: Final[tuple[Callable[[str], str], ...]] = (
    _unescaped,
    lambda text: text.replace("\\\\", "\\"),
    unquote,
    html.unescape,
    lambda text: quopri.decodestring(text.encode("utf-8", "replace")).decode("latin-1"),
    _of_base64,
)


def quotes(text: str, key: str, depth: int = 3) -> bool:
    """Tells whether a text holds a key, written in whatever way."""
    if key in text:
        return True
    if depth == 0:
        return False
    decoded = {decode(text) for decode in _DECODERS} - {text}
    return any(quotes(other, key, depth - 1) for other in decoded)


def texts(value: Any) -> Iterator[str]:
    """Returns all texts of a protobuf message, and its bytes as texts."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, bytes):
        yield value.decode("latin-1")
    elif hasattr(value, "ListFields"):
        for _, item in value.ListFields():
            yield from texts(item)
    elif hasattr(value, "values"):
        yield from texts(list(value.values()))
    elif hasattr(value, "__iter__"):
        for item in value:
            yield from texts(item)


def everywhere(document: Any, text: str) -> Any:
    """Returns a copy of a document that has a text in the place of every text."""
    if isinstance(document, str):
        return text
    if isinstance(document, list):
        return [everywhere(item, text) for item in document]
    if isinstance(document, dict):
        return {name: everywhere(value, text) for name, value in document.items()}
    return document


def placed(document: Any, text: str) -> Iterator[Any]:
    """Returns copies of a document, each of which has a text in the place of one of its texts."""
    for path in _paths(document):
        yield _with(document, path, text)


def _paths(document: Any) -> Iterator[tuple[Any, ...]]:
    if isinstance(document, str):
        yield ()
        return
    items: Iterable[tuple[Any, Any]] = ()
    if isinstance(document, list):
        items = enumerate(document)
    elif isinstance(document, dict):
        items = document.items()
    for place, value in items:
        for path in _paths(value):
            yield (place, *path)


def _with(document: Any, path: tuple[Any, ...], text: str) -> Any:
    if not path:
        return text
    copy = document.copy()
    copy[path[0]] = _with(document[path[0]], path[1:], text)
    return copy

"""The headers of a call, by gRPC's protocol over HTTP/2."""

from __future__ import annotations

import re
from base64 import b64decode
from collections import Counter
from typing import TYPE_CHECKING, Final, TypeAlias

import msgspec

from allocation_gateway.wire.hpack import MALFORMED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from allocation_gateway.wire.hpack import HeaderField

Metadata: TypeAlias = tuple[tuple[str, str | bytes], ...]

_REQUIRED: Final = frozenset({":method", ":scheme", ":path"})
_ALL_PSEUDO: Final = _REQUIRED | {":authority"}
# Headers of the protocol itself, which are nobody's metadata.
_RESERVED: Final = frozenset(
    {"content-length", "content-type", "grpc-accept-encoding", "grpc-encoding", "grpc-timeout", "te"}
)
_LENGTH: Final = re.compile(r"[0-9]{1,10}")
_MOST_DIGITS: Final = 8
_SINGLE: Final = frozenset({"content-length", "content-type", "grpc-encoding", "grpc-timeout", "te"})
# Parts of binary values that a proxy has joined, in all metadata of a call: what has more is no metadata of anybody's.
_MOST_PARTS: Final = 64
_UNITS: Final = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}


class MalformedError(Exception):
    """HTTP/2 does not allow these headers."""


# The garbage collector need not look at it: it holds texts only.
class Request(msgspec.Struct, frozen=True, gc=False):
    """What the headers of a call say.

    Attributes:
        fields: All headers but those of HTTP/2 itself, in their order.
        method: That of HTTP.
        path: A slash, the service, a slash, and the method.
        content_type: Empty if there is none.
        encoding: How messages are compressed; `identity` if they are not.
        timeout: The value of `grpc-timeout`; empty if the caller sets no deadline.
        content_length: How long the body is; None if the headers do not say.
    """

    fields: tuple[HeaderField, ...]
    method: str
    path: str
    content_type: str
    encoding: str
    timeout: str
    content_length: int | None

    @property
    def metadata(self) -> Metadata:
        """What the caller says besides, in its order. Values of keys that end in -bin are bytes."""
        metadata: list[tuple[str, str | bytes]] = []
        room = _MOST_PARTS
        for field in [field for field in self.fields if field[0] not in _RESERVED]:
            name, value = field
            if not name.endswith("-bin"):
                metadata.append(field)
                continue
            commas = value.count(",")
            if commas:
                room -= commas
                if room <= 0:
                    continue
            metadata += ((name, octets) for octets in _binary(value))
        return tuple(metadata)


def parse(fields: Sequence[HeaderField]) -> Request:
    """Reads the headers of a request.

    Raises:
        MalformedError: HTTP/2 does not allow them.
    """
    found = dict(fields)
    wanted = _ALL_PSEUDO if ":authority" in found else _REQUIRED
    pseudo = len(wanted)
    if dict(fields[:pseudo]).keys() != wanted:
        raise MalformedError("pseudo-headers are missing, or do not come first")
    if len(found) < len(fields) and any(name in _SINGLE or name.startswith(":") for name in _doubled(fields)):
        raise MalformedError("a header comes twice")
    get = found.get
    if MALFORMED[0] in found or not found[":path"] or get("te", "trailers") != "trailers":
        raise MalformedError("a header is not allowed")
    length = get("content-length")
    if length is not None and not _LENGTH.fullmatch(length):
        raise MalformedError("content-length is not a number")
    return Request(
        tuple(fields[pseudo:]),
        found[":method"],
        found[":path"],
        get("content-type", ""),
        get("grpc-encoding", "identity"),
        get("grpc-timeout", ""),
        None if length is None else int(length),
    )


def _doubled(fields: Sequence[HeaderField]) -> list[str]:
    return [name for name, times in Counter(name for name, _ in fields).items() if times > 1]


def seconds(timeout: str) -> float | None:
    """Returns a value of `grpc-timeout` in seconds; None if it is not one."""
    digits, unit = timeout[:-1], _UNITS.get(timeout[-1:])
    if unit is None or not digits.isdecimal() or len(digits) > _MOST_DIGITS:
        return None
    return int(digits) * unit


def _binary(value: str) -> list[bytes]:
    """Decodes a binary value, or several that a proxy has joined. What is not base64, or empty, is left out."""
    found = []
    for part in [part for part in value.split(",") if part] or [""]:
        try:
            found.append(b64decode(part + "=" * (-len(part) % 4), validate=True))
        except ValueError:
            continue
    return found

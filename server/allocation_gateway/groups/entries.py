"""What gateways tell each other about service groups by way of the shared cache.

Everything carries the version of its format. What is of another version, or damaged, is as good as not there: a release
that writes differently, or a hand that meddles, can cost a look-up but never mislead one.
"""

from __future__ import annotations

import math
from typing import Annotated, Final, TypeVar

import msgspec

from allocation_gateway.operations.validation import MAX_REFERENCE

VERSION: Final = 1

Code = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_REFERENCE)]
Moment = Annotated[float, msgspec.Meta(gt=0)]


class Learned(msgspec.Struct, frozen=True, tag="learned"):
    """A code was seen to work."""

    v: int
    code: Code
    learned_at: Moment
    trusted_until: Moment


class Forgotten(msgspec.Struct, frozen=True, tag="forgotten"):
    """Everything that was learned up to a moment is to be forgotten."""

    v: int
    at: Moment


class ListedGroup(msgspec.Struct, frozen=True):
    """A group of upstream's list."""

    code: Code
    display_name: str = ""


class Listed(msgspec.Struct, frozen=True, tag="listed"):
    """Upstream's list."""

    v: int
    learned_at: Moment
    trusted_until: Moment
    groups: list[ListedGroup]


Entry = Learned | Forgotten | Listed
E = TypeVar("E", Learned, Forgotten, Listed)

_encoder: Final = msgspec.json.Encoder()
_decoder: Final = msgspec.json.Decoder(Learned | Forgotten | Listed)


def encode(entry: Entry) -> bytes:
    """Writes an entry."""
    return _encoder.encode(entry)


def decode(data: object, kind: type[E]) -> E | None:
    """Reads an entry; None if it is of another kind or version, or none at all."""
    found = decode_any(data)
    return found if isinstance(found, kind) else None


def decode_any(data: object) -> Entry | None:
    """Reads an entry of any kind; None if it is of another version, or none at all."""
    if not isinstance(data, bytes):
        return None
    try:
        found: Entry = _decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return found if found.v == VERSION and _is_finite(found) else None


def _is_finite(entry: Entry) -> bool:
    moments = (entry.at,) if isinstance(entry, Forgotten) else (entry.learned_at, entry.trusted_until)
    return all(math.isfinite(moment) for moment in moments)

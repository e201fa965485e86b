"""The entries by which replicas share what they know of service groups, in the shared cache and its channels.

Every entry carries the version of its format. One of another version, or a damaged one, is ignored: a release with
another format, or an edit by hand, can cost a lookup but never mislead one.
"""

from __future__ import annotations

import math
from typing import Annotated, Final, TypeVar

import msgspec

from allocation_gateway.operations.validation import MAX_REFERENCE

VERSION: Final = 1

Code = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_REFERENCE)]
Time = Annotated[float, msgspec.Meta(gt=0)]


class ObservedCode(msgspec.Struct, frozen=True, tag="learned"):
    """An allocation with this code has succeeded."""

    v: int
    code: Code
    learned_at: Time
    trusted_until: Time


class Invalidation(msgspec.Struct, frozen=True, tag="forgotten"):
    """Everything that was learned until a time has to be forgotten."""

    v: int
    at: Time


class ListedGroup(msgspec.Struct, frozen=True):
    """A group of upstream's listing."""

    code: Code
    display_name: str = ""


class SharedListing(msgspec.Struct, frozen=True, tag="listed"):
    """Upstream's listing, as a replica has loaded it."""

    v: int
    learned_at: Time
    trusted_until: Time
    groups: list[ListedGroup]


SharedEntry = ObservedCode | Invalidation | SharedListing
E = TypeVar("E", ObservedCode, Invalidation, SharedListing)

_encoder: Final = msgspec.json.Encoder()
_decoder: Final = msgspec.json.Decoder(ObservedCode | Invalidation | SharedListing)


def encode(entry: SharedEntry) -> bytes:
    """Encodes an entry."""
    return _encoder.encode(entry)


def decode(data: object, kind: type[E]) -> E | None:
    """Decodes an entry; None if it is of another kind or version, or is not one."""
    found = decode_any(data)
    return found if isinstance(found, kind) else None


def decode_any(data: object) -> SharedEntry | None:
    """Decodes an entry of any kind; None if it is of another version, or is not one."""
    if not isinstance(data, bytes):
        return None
    try:
        found: SharedEntry = _decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return found if found.v == VERSION and _is_finite(found) else None


def _is_finite(entry: SharedEntry) -> bool:
    times = (entry.at,) if isinstance(entry, Invalidation) else (entry.learned_at, entry.trusted_until)
    return all(math.isfinite(time) for time in times)

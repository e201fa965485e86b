"""How claims are packed for a server, and read as it returns them."""

from __future__ import annotations

import math
import zlib
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import msgspec

from allocation_gateway.claims.model import Claim, ClaimState, StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from allocation_gateway.claims.model import NewClaim

_STATES: Final = (ClaimState.IN_DOUBT, ClaimState.DONE, ClaimState.SETTLED)
_NO_OWNERS: Final[Mapping[str, str]] = MappingProxyType({})
_MICRO: Final = 1_000_000
# Bytes of an answer from which on it is compressed: a documented one of 1.3 kB becomes 0.5 kB, in 11 microseconds.
_COMPRESSED_FROM: Final = 1024
pack: Final = msgspec.msgpack.Encoder().encode


class Head(msgspec.Struct, frozen=True, array_like=True):
    """What changes in a claim, or decides what becomes of it. The script reads and writes it too.

    Places keep their meaning for ever. A later release may add some at the end, which this one passes over.
    """

    version: int
    state: int
    holder: str
    attempts: int
    begun_at: int
    lease_until: int
    effects_end_at: int
    fingerprint: str
    references: tuple[str, ...]
    owners: tuple[str, ...]


class _Body(msgspec.Struct, frozen=True, array_like=True):
    """What the script keeps without looking into it. Its places are kept like those of the head."""

    operation: str
    request: bytes
    note: bytes


_read_head: Final = msgspec.msgpack.Decoder(Head).decode
_read_body: Final = msgspec.msgpack.Decoder(_Body).decode


def parts(new: NewClaim) -> tuple[str, bytes, int, int, bytes]:
    """Returns what a step takes of a claim: fingerprint, references, lease, effects and body."""
    references = tuple(dict.fromkeys(new.references))
    return new.fingerprint, pack(references), micro(new.lease), micro(new.effects), body(new)


def body(new: NewClaim) -> bytes:
    """Packs what is kept of a claim without being looked into."""
    return pack(_Body(new.operation, new.request, new.note))


def micro(seconds: float) -> int:
    """Returns whole microseconds."""
    return math.ceil(seconds * _MICRO)


def form_of(answer: bytes) -> tuple[str, bytes]:
    """Returns the field that keeps an answer, and what it keeps: a long one is compressed."""
    return ("z", zlib.compress(answer, 1)) if len(answer) >= _COMPRESSED_FROM else ("a", answer)


def shown(fields: tuple[bytes, bytes, bytes, bytes | None, bytes | None, int]) -> Claim:
    """Reads a claim.

    Args:
        fields: Its id, head, body, answer as it is, answer compressed, and the time at the server.

    Raises:
        StoreUnavailableError: It is none.
    """
    request_id, packed, kept, answer, compressed, now = fields
    try:
        head, known = _read_head(packed), _read_body(kept)
        state = _STATES[head.state]
        if compressed is not None:
            answer = zlib.decompress(compressed)
    except (msgspec.MsgspecError, UnicodeDecodeError, IndexError, zlib.error):
        raise StoreUnavailableError("the server returned a value that is not a claim") from None
    return Claim(
        request_id.decode(),
        known.operation,
        head.fingerprint,
        known.request,
        known.note,
        head.references,
        state,
        head.holder,
        head.attempts,
        (now - head.begun_at) / _MICRO,
        (head.lease_until - now) / _MICRO,
        (head.effects_end_at - now) / _MICRO,
        answer or b"",
        dict(zip(head.owners[::2], head.owners[1::2], strict=True)) if head.owners else _NO_OWNERS,
    )

"""What says on a cluster which claim holds a reference, and whose it is: read as slots.lua has written it."""

from __future__ import annotations

from typing import Final

import msgspec

from allocation_gateway.claims.model import StoreUnavailableError
from allocation_gateway.claims.records import Head


class Lock(msgspec.Struct, frozen=True, array_like=True):
    """What a lock says of the claim that holds it.

    Attributes:
        request_id: Its id.
        generation: At which attempt to take the locks of the claim it was taken.
        home: Where the claim is.
        is_kept: Whether the claim is done, and keeps the lock for a time.
    """

    request_id: str
    generation: str
    home: str
    is_kept: bool = False


class Mark(Head, frozen=True, array_like=True):
    """The head of a claim, with what tells whether a lock is its.

    Attributes:
        is_resumed: Whether it was settled before.
        is_taking: Whether not all of its locks are taken.
        generation: Which attempt at that counts.
        marks: What became of each of its references, by a letter: allocated, de-allocated, or neither.
        kept_until: Until when they stay locked, in microseconds of the server's clock; 0 if they do not.
    """

    is_resumed: bool = False
    is_taking: bool = False
    generation: str = ""
    marks: str = ""
    kept_until: int = 0


_read_lock: Final = msgspec.msgpack.Decoder(Lock).decode
_read_mark: Final = msgspec.msgpack.Decoder(Mark).decode
_read_owner: Final = msgspec.msgpack.Decoder(tuple[str, str]).decode


def read_lock(packed: bytes) -> Lock:
    """Reads a lock.

    Raises:
        StoreUnavailableError: It is none.
    """
    try:
        return _read_lock(packed)
    except msgspec.MsgspecError:
        raise StoreUnavailableError("the server returned a value that is not a lock") from None


def read_mark(packed: bytes) -> Mark:
    """Reads the head of a claim.

    Raises:
        StoreUnavailableError: It is none.
    """
    try:
        return _read_mark(packed)
    except msgspec.MsgspecError:
        raise StoreUnavailableError("the server returned a value that is not a claim") from None


def read_owner(packed: bytes | None) -> str:
    """Returns the id of the last owner of a reference; empty if none is known.

    Raises:
        StoreUnavailableError: What is there names none.
    """
    try:
        return "" if packed is None else _read_owner(packed)[0]
    except msgspec.MsgspecError:
        raise StoreUnavailableError("the server returned a value that is not an owner") from None

"""The account of bytes: what the server holds for its peers, by connection and in all.

Everything counts that a peer can make grow: requests that are not answered yet, whether complete or not and as large
as they are unpacked; answers that the peer does not take, whether they wait for its windows or in the transport;
frames and field blocks that are not complete, or wait for their turn; and for each open call a fixed cost, and its
metadata.
"""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from allocation_gateway.wire.call import Call

# What an open call takes beside its bytes, and what it takes more as soon as it has a task, or is a stream of requests.
# Up to three times what was measured: what is held costs time as well, in which the garbage collector looks through it.
CALL_COST: Final = 2048
TASK_COST: Final = 3072
STREAM_COST: Final = 10_240
# What becomes of a message is part of what any call takes as long as that is no larger, in bytes.
USUAL_SIZE: Final = 1024
# What each field of a call's metadata takes beside what HTTP/2 counts for it: a tuple and two texts. So many are
# part of what any call takes.
_FIELD_COST: Final = 176
_USUAL_FIELDS: Final = 16
# What TLS takes for a connection at most: 60 KiB that OpenSSL keeps once much was sent and received, as was measured;
# up to 82 KiB that were read and not decrypted yet, and as many again while these are put together.
TLS_COST: Final = 262_144
# Up to half of all that may be held is set aside for that, and never so much that less is left than so many of the
# largest requests.
_TLS_PART: Final = 2
_LEAST_REQUESTS: Final = 4
# The part of all that one connection may hold is one in so many, and it is slowed down from one in so many of that.
_CONNECTION_PART: Final = 2
_TIGHT_PART: Final = 2
# While more than one in so many of all bytes that may be held are, the garbage collector looks through the youngest
# objects once for so many calls that are opened. By itself it goes by how much the number of objects has grown: where
# old calls end as fast as new ones come, it finds 100,000 at once, and nobody is served for a tenth of a second.
_CROWDED_PART: Final = 4
_CALLS_PER_COLLECTION: Final = 256


def calls_within(limit: int) -> int:
    """Returns how many calls one connection can have open, of a server that may hold so many bytes in all.

    As much again is left for what they carry, so that a connection meets this limit, which it is told, before that of
    its bytes.
    """
    return limit // _CONNECTION_PART // (2 * CALL_COST)


def call_cost(fields: int, size: int) -> int:
    """Returns what a call takes from its beginning.

    Args:
        fields: How many fields its headers have.
        size: How large these are, in bytes as HTTP/2 counts them.
    """
    more = fields - _USUAL_FIELDS
    return CALL_COST + size + _FIELD_COST * more if more > 0 else CALL_COST + size


class MemoryPool:
    """The account of a server, over all its connections. Who holds most of them is ended if that is too much."""

    def __init__(self, limit: int, max_message: int = 0) -> None:
        """Starts with nothing.

        Args:
            limit: How many bytes may be held.
            max_message: The largest request, in bytes.
        """
        # What may be held, and what of it is left beside what is set aside for TLS.
        self.whole = limit
        self.limit = limit
        self._least = max(limit // _TLS_PART, min(limit, _LEAST_REQUESTS * max_message))
        self._encrypted = 0
        self.held = 0
        self._members: set[ConnectionMemory] = set()
        self._is_relieving = False
        # Above so many bytes it is crowded; and how many calls were opened in the crowd since the last collection.
        self.crowded = limit // _CROWDED_PART
        self._opened = 0

    def opened_in_crowd(self) -> None:
        """Counts a call that was opened while it is crowded, and keeps the pauses for the garbage collector short."""
        self._opened += 1
        if self._opened >= _CALLS_PER_COLLECTION:
            self._opened = 0
            gc.collect(0)

    def count_tls(self, change: int) -> None:
        """Sets aside what so many more connections with TLS take beside what is held for them."""
        self._encrypted += change
        self.limit = max(self.whole - self._encrypted * TLS_COST, self._least)

    def join(self, member: ConnectionMemory) -> None:
        """Takes a connection in."""
        self._members.add(member)
        member.is_member = True

    def leave(self, member: ConnectionMemory) -> None:
        """Lets a connection go, with all that it holds."""
        self._members.discard(member)
        member.is_member = False
        self.held -= member.held
        member.held = 0

    def relieve_soon(self, loop: asyncio.AbstractEventLoop) -> None:
        """Ends connections at the end of this turn, if too much is held."""
        if not self._is_relieving:
            self._is_relieving = True
            loop.call_soon(self._relieve)

    def _relieve(self) -> None:
        self._is_relieving = False
        while self.held > self.limit and self._members:
            largest = max(self._members, key=lambda member: member.held)
            self.leave(largest)
            largest.evict()


class ConnectionMemory:
    """The account of one connection.

    Attributes:
        held: How many bytes it holds.
        is_member: Whether they count: nothing does any more as soon as the connection has ended.
        evict: Ends the connection.
    """

    __slots__ = ("_limit", "_loop", "_pool", "evict", "held", "is_member")

    def __init__(self, pool: MemoryPool, loop: asyncio.AbstractEventLoop, evict: Callable[[], None]) -> None:
        self._pool = pool
        self._loop = loop
        self._limit = pool.whole // _CONNECTION_PART
        self.evict = evict
        self.held = 0
        self.is_member = False

    @property
    def is_full(self) -> bool:
        """Whether the connection holds more than it may."""
        return self.held > self._limit

    @property
    def is_tight(self) -> bool:
        """Whether the connection, or all of them, hold so much that more is only taken slowly."""
        return self.held > self._limit // _TIGHT_PART or self._pool.held > self._pool.limit // _TIGHT_PART

    def charge(self, call: Call, size: int) -> None:
        """Counts bytes that are held for a call, or no longer if the size is negative."""
        call.charged += size
        # As change() does, which is not called for it: an answered call comes here four times.
        if self.is_member:
            self.held += size
            pool = self._pool
            pool.held = held = pool.held + size
            if held > pool.limit:
                pool.relieve_soon(self._loop)

    def change(self, size: int) -> None:
        """Counts bytes that are held for no call, or no longer if the size is negative."""
        if not self.is_member:
            return
        self.held += size
        pool = self._pool
        pool.held += size
        if pool.held > pool.limit:
            pool.relieve_soon(self._loop)

    def release(self, call: Call) -> None:
        """Records that nothing is held for a call any more."""
        if self.is_member:
            self.held -= call.charged
            self._pool.held -= call.charged
        call.charged = 0


class Buffer:
    """What one buffer of a connection holds, as far as the account has it: nothing as long as it is little.

    Attributes:
        charged: How many bytes of it the account has.
    """

    __slots__ = ("_little", "_memory", "charged")

    def __init__(self, memory: ConnectionMemory, little: int) -> None:
        """Starts with nothing.

        Args:
            memory: The account.
            little: Up to how many bytes are on no account: what is there for a moment.
        """
        self._memory = memory
        self._little = little
        self.charged = 0

    def hold(self, size: int) -> None:
        """Records in the account how many bytes there are."""
        held = size if size > self._little else 0
        if held != self.charged:
            self._memory.change(held - self.charged)
            self.charged = held

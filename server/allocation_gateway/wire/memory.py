"""The account of bytes: what the server holds for its peers, by connection and in all.

Everything counts that a peer can make grow: requests that are not answered yet, whether complete or not and as large as
they are unpacked; answers that the peer does not take; and a fixed cost for each open call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from allocation_gateway.wire.call import Call

# What an open call takes beside its bytes, and what it takes more as soon as it has a task. Both were measured.
CALL_COST: Final = 1024
TASK_COST: Final = 3072
# The part of all that one connection may hold is one in so many, and it is slowed down from one in so many of that.
_CONNECTION_PART: Final = 2
_TIGHT_PART: Final = 2


class MemoryPool:
    """The account of a server, over all its connections. Who holds most of them is ended if that is too much."""

    def __init__(self, limit: int) -> None:
        """Starts with nothing.

        Args:
            limit: How many bytes may be held.
        """
        self.limit = limit
        self.held = 0
        self._members: set[ConnectionMemory] = set()
        self._is_relieving = False

    def join(self, member: ConnectionMemory) -> None:
        """Takes a connection in."""
        self._members.add(member)

    def leave(self, member: ConnectionMemory) -> None:
        """Lets a connection go, with all that it holds."""
        self._members.discard(member)
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
        evict: Ends the connection.
    """

    __slots__ = ("_limit", "_loop", "_pool", "evict", "held")

    def __init__(self, pool: MemoryPool, loop: asyncio.AbstractEventLoop, evict: Callable[[], None]) -> None:
        self._pool = pool
        self._loop = loop
        self._limit = pool.limit // _CONNECTION_PART
        self.evict = evict
        self.held = 0

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
        self.held += size
        pool = self._pool
        pool.held += size
        if pool.held > pool.limit:
            pool.relieve_soon(self._loop)

    def release(self, call: Call) -> None:
        """Takes that nothing is held for a call any more."""
        self.held -= call.charged
        self._pool.held -= call.charged
        call.charged = 0

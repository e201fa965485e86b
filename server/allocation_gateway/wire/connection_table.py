"""The connections that are open, and how many there may be."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterator

    from allocation_gateway.wire.limits import Limits


class TrackedConnection(Protocol):
    """A connection, as the table sees it."""

    address: str
    lost: asyncio.Future[None]

    @property
    def has_called(self) -> bool:
        """Whether its client has made a call."""

    def drain(self) -> None:
        """See Connection."""

    def give_up(self) -> list[asyncio.Task[None]]:
        """See Connection."""

    def abort(self) -> None:
        """See Connection."""

    def tick(self, now: float) -> None:
        """See Connection."""


class ConnectionTable:
    """The open connections of a server.

    Attributes:
        refused: How many connections were refused, or closed to make room, since the server has started.
    """

    def __init__(self, limits: Limits) -> None:
        self._most = limits.connections
        self._most_per_address = limits.connections_per_address
        # In the order in which they were opened.
        self._connections: dict[TrackedConnection, None] = {}
        self._by_address: Counter[str] = Counter()
        # Those that have made no call when that was asked last, in the same order.
        self._unproven: dict[TrackedConnection, None] = {}
        self.refused = 0

    def __len__(self) -> int:
        return len(self._connections)

    def __iter__(self) -> Iterator[TrackedConnection]:
        return iter(list(self._connections))

    def admit(self, connection: TrackedConnection) -> bool:
        """Takes a connection in, if there may be one more. The oldest that has made no call makes room for it."""
        if self._by_address[connection.address] >= self._most_per_address:
            self.refused += 1
            return False
        if len(self._connections) >= self._most and not self._make_room():
            self.refused += 1
            return False
        self._connections[connection] = self._unproven[connection] = None
        self._by_address[connection.address] += 1
        return True

    def _make_room(self) -> bool:
        while self._unproven:
            oldest = next(iter(self._unproven))
            del self._unproven[oldest]
            if not oldest.has_called:
                self.refused += 1
                self.discard(oldest)
                oldest.abort()
                return True
        return False

    def discard(self, connection: TrackedConnection) -> None:
        """Lets a connection go, if it was taken in."""
        if connection not in self._connections:
            return
        del self._connections[connection]
        self._unproven.pop(connection, None)
        self._by_address[connection.address] -= 1
        if not self._by_address[connection.address]:
            del self._by_address[connection.address]

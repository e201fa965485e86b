"""The connections that are open, and how many there may be."""

from __future__ import annotations

import ipaddress
from collections import Counter
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterator

    from allocation_gateway.wire.limits import Limits

# Who has one address of IPv6 has as many as differ in the rest.
_IPV6_PREFIX: Final = 64


def counted_address(address: str) -> str:
    """Returns what counts as one address: with IPv6 a network, of which whoever has one address has all."""
    if ":" not in address:
        return address
    parsed = ipaddress.IPv6Address(address.partition("%")[0])
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.IPv6Network((parsed, _IPV6_PREFIX), strict=False))


class TrackedConnection(Protocol):
    """A connection, as the table sees it."""

    address: str
    lost: asyncio.Future[None]

    @property
    def has_called(self) -> bool:
        """Whether its client has made a call, and not only begun one."""

    def stop(self) -> None:
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
        # Those that have not ended their greeting, and are no connections yet.
        self._greeting: Counter[str] = Counter()
        self._greetings = 0
        # Those that have made no call when that was asked last, in the same order.
        self._unproven: dict[TrackedConnection, None] = {}
        self.refused = 0

    def __len__(self) -> int:
        return len(self._connections)

    def __iter__(self) -> Iterator[TrackedConnection]:
        return iter(list(self._connections))

    def greet(self, address: str) -> bool:
        """Counts a connection that begins its greeting, if there may be one more. Nobody has to make room for it."""
        counted = counted_address(address)
        if (
            self._by_address[counted] + self._greeting[counted] >= self._most_per_address
            or self._greetings >= self._most
        ):
            self.refused += 1
            return False
        self._greeting[counted] += 1
        self._greetings += 1
        return True

    def greeted(self, address: str) -> None:
        """Records that a connection has ended its greeting, however it did."""
        counted = counted_address(address)
        self._greeting[counted] -= 1
        self._greetings -= 1
        if not self._greeting[counted]:
            del self._greeting[counted]

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

"""The connections to the cache server, all of which can be replaced while they are used."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from redis.asyncio import Redis

from allocation_gateway.pooling import close_pool, open_pool

if TYPE_CHECKING:
    from redis.asyncio import ConnectionPool

    from allocation_gateway.settings import Secret

_CONNECTIONS: Final = 4


class CacheConnections:
    """Connections that are made on demand.

    Attributes:
        client: Asks on them.
        renewal: Is set when they are to be replaced.
    """

    def __init__(self, url: Secret, *, command_seconds: float) -> None:
        """Does not connect yet.

        Args:
            url: The server's URL, with its credentials.
            command_seconds: Seconds for a command that no call waits for.

        Raises:
            ValueError: The URL is none of a server.
        """
        self._url = url
        self._command_seconds = command_seconds
        self.renewal = asyncio.Event()
        self._open()

    def _open(self) -> None:
        self._pool = open_pool(self._url, connections=_CONNECTIONS, timeout=self._command_seconds)
        self.client = Redis(connection_pool=self._pool)

    async def replace(self, call_seconds: float) -> None:
        """Uses new connections from now on, and closes the others when no call can still wait for an answer.

        Args:
            call_seconds: For how long one may wait.
        """
        self.renewal.clear()
        client, pool = self.client, self._pool
        self._open()
        try:
            await asyncio.sleep(call_seconds)
        finally:
            await _close(client, pool)

    async def close(self) -> None:
        """Closes all of them."""
        await _close(self.client, self._pool)


async def _close(client: Any, pool: ConnectionPool) -> None:
    await client.aclose()
    await close_pool(pool)

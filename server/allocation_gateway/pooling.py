"""Connections to a Valkey or Redis server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from redis.asyncio import BlockingConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

if TYPE_CHECKING:
    from allocation_gateway.settings import Secret


def open_pool(url: Secret, *, connections: int, timeout: float) -> BlockingConnectionPool:
    """Returns connections that are made on demand. Nothing is tried again: whoever asks knows better whether to.

    Args:
        url: Where the server is, with its credentials.
        connections: How many there may be. Further commands wait for one.
        timeout: Seconds for that wait, for connecting, and for each command.

    Raises:
        ValueError: The URL is none of a server.
    """
    return BlockingConnectionPool.from_url(
        url.reveal(),
        max_connections=connections,
        timeout=timeout,
        socket_timeout=timeout,
        socket_connect_timeout=timeout,
        retry=Retry(NoBackoff(), 0),
        decode_responses=False,
    )

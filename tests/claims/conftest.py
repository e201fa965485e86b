"""What the suites of the stores share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import redis
from support.cache import CacheServer, running_cache

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def shared_server() -> Iterator[CacheServer]:
    """A server for the whole session."""
    with running_cache() as running:
        yield running


@pytest.fixture
def server(shared_server: CacheServer) -> CacheServer:
    """The server, empty."""
    with redis.Redis(port=shared_server.port) as client:
        client.flushall()
    return shared_server

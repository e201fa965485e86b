"""One running sandbox per test, on a port of its own, with a clock that only the test moves."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import httpx
import pytest
import pytest_asyncio
from allocation_gateway.sandbox.clock import Clock
from allocation_gateway.sandbox.options import SandboxOptions
from allocation_gateway.sandbox.server import Sandbox
from sandbox.calling import NOW
from sandbox.conftest import NO_TLS
from sandbox_consignments.calling import Caller

Start = Callable[..., AbstractAsyncContextManager[Caller]]


@asynccontextmanager
async def running(**options: Any) -> AsyncIterator[Caller]:
    """A running sandbox with a client."""
    given = {"port": 0, "bulk_delay": 0.0, "shipments": 5, **options}
    sandbox = Sandbox(SandboxOptions(**given), clock=Clock(lambda: NOW))
    # The client is entered last and so leaves first: the server finds every connection closed.
    async with sandbox, httpx.AsyncClient(timeout=10, verify=NO_TLS) as http:
        yield Caller(sandbox, http)


@pytest.fixture
def start() -> Start:
    """For tests that start a sandbox with options of their own."""
    return running


@pytest_asyncio.fixture
async def caller() -> AsyncIterator[Caller]:
    """A running sandbox whose background worker allocates at once."""
    async with running() as client:
        yield client


@pytest_asyncio.fixture
async def lazy() -> AsyncIterator[Caller]:
    """A running sandbox whose background worker does not come to anything within a test."""
    async with running(bulk_delay=3600.0) as client:
        yield client

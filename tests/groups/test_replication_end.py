"""What shares service groups ends when it is told to, also if its connections fail at that very moment."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import pytest
import redis
from allocation_gateway import tasks
from allocation_gateway.groups.replication import Replication
from allocation_gateway.operations.model import Api
from allocation_gateway.settings import Secret
from support.replica import Nothing

if TYPE_CHECKING:
    from allocation_gateway.groups.replication import Peer

LONG: Final = 5.0


class Failing(Replication):
    """Has a first session in which a command fails when it is cancelled, as one does whose time is up."""

    def __init__(self) -> None:
        urls = {Api.SHIP: "http://127.0.0.1"}
        super().__init__(Secret("redis://127.0.0.1:1/0"), namespace="groups", base_urls=urls, timeout=1.0, ttl=60.0)
        self.has_begun = asyncio.Event()

    async def _session(self, peer: Peer) -> None:
        del peer
        if self.has_begun.is_set():
            await asyncio.Event().wait()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._command())

    async def _command(self) -> None:
        self.has_begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise redis.ConnectionError("closed") from None


@pytest.mark.asyncio
async def test_replication_ends_although_its_connection_fails_as_it_is_cancelled() -> None:
    """The gateway waits for it when it stops."""
    replication = Failing()
    running = asyncio.create_task(replication.run(Nothing(), lambda _: None))
    await replication.has_begun.wait()
    async with asyncio.timeout(LONG):
        await tasks.end([running], again=0.1)
    await replication.close()
    assert running.cancelled()

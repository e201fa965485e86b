"""Keys of tokens from a URL are asked for ahead of their end, and count no more when nobody confirms them for long."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest
from allocation_gateway.callers import key_sources
from allocation_gateway.callers.key_sources import KeysFromUrl
from support.issuer import Issuer
from support.upstream import Reply, running_upstream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

LONG = 20.0


class Watched(KeysFromUrl):
    """Keys of which it is told when they were read."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._reads: asyncio.Queue[float] = asyncio.Queue()

    async def reread(self) -> None:
        await super().reread()
        self._reads.put_nowait(asyncio.get_running_loop().time())

    async def read(self) -> float:
        """Waits until they were read once more. Returns when that was."""
        async with asyncio.timeout(LONG):
            return await self._reads.get()

    def has(self, kid: str) -> bool:
        return self.ring.find(kid) is not None


@asynccontextmanager
async def running(url: str) -> AsyncIterator[Watched]:
    source = Watched(url)
    task = asyncio.create_task(source.run())
    try:
        yield source
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await source.close()


@pytest.mark.asyncio
@pytest.mark.parametrize(("told", "seconds"), [("max-age=1", 0.5), ("public, Max-Age=1, immutable", 0.5), ("", 1.5)])
async def test_keys_are_asked_for_again_ahead_of_their_end(
    told: str, seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a token that names a key which is not known: one that is withdrawn has to go, too."""
    for name, value in (("_SHORTEST_FRESH", 0.1), ("_FRESH", 3.0), ("_AHEAD", 0.5)):
        monkeypatch.setattr(key_sources, name, value)
    issuer = Issuer(first="ES256", second="ES256")
    with running_upstream() as published:
        published.default = lambda _: Reply(200, issuer.key_set(), {"Cache-Control": told} if told else {})
        async with running(published.url) as source:
            first = await source.read()
            assert source.has("second")
            del issuer.keys["second"]
            second = await source.read()
            assert source.has("first")
            assert not source.has("second")
    assert second - first >= seconds


@pytest.mark.asyncio
async def test_keys_that_nobody_confirms_count_no_more_after_a_day(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("_SHORTEST_FRESH", 0.01), ("_AGAIN", 0.1), ("_STALE", 0.5)):
        monkeypatch.setattr(key_sources, name, value)
    issuer = Issuer(first="ES256")
    answers: list[Any] = [Reply(200, issuer.key_set(), {"Cache-Control": "max-age=0"})]
    with running_upstream() as published:
        published.default = lambda _: answers.pop() if answers else Reply(503)
        async with running(published.url) as source:
            confirmed = await source.read()
            known = [(await source.read() - confirmed, source.has("first")) for _ in range(12)]
    # Near the moment itself, either is right.
    assert [after for after, has_key in known if abs(after - 0.5) > 0.05 and has_key is (after > 0.5)] == []
    assert {has_key for _, has_key in known} == {True, False}

"""All engines on the same nearly right answers: each of them copes, and those that accept one agree on it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import pytest
import uvloop
from allocation_gateway.upstream.http import Attempt, NoAnswerError, Target
from engines.conftest import ENGINES, SHORT
from engines.shortcomings import HANG
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from support.mutation import HEAD, SEEDS, mutated, split
from support.peer import running_peer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from allocation_gateway.upstream.http import HttpEngine
    from support.peer import Peer, Visit

PATIENCE: Final = 3.0
LIMIT: Final = 200
NOTHING: Final = "no answer"


class Arena:
    """Every engine, with a single connection each to a peer that answers what it is told to."""

    def __init__(self, peer: Peer) -> None:
        self._parts: list[bytes] = []
        self._engines: dict[str, HttpEngine] = {
            name: engine(Target(peer.url, [("accept-encoding", "gzip")], PATIENCE, 1, LIMIT))
            for name, engine in ENGINES.items()
        }
        peer.serve(self._serve)

    async def _serve(self, visit: Visit) -> None:
        await visit.request()
        await visit.send(*self._parts)
        await visit.close()

    async def outcomes(self, parts: list[bytes]) -> dict[str, object]:
        """Returns what each engine makes of an answer, after which its connection is closed."""
        self._parts = parts
        return {name: await self._asked(name, engine) for name, engine in self._engines.items()}

    async def check_that_all_go_on(self) -> None:
        """The only place of each engine must have come back; its connection may not be known to be closed yet."""
        self._parts = [HEAD + b"content-length: 2\r\n\r\nok"]
        for name, engine in self._engines.items():
            outcomes = [await self._asked(name, engine), await self._asked(name, engine)]
            assert (200, b"ok") in outcomes, (name, outcomes)

    async def _asked(self, name: str, engine: HttpEngine) -> object:
        try:
            async with asyncio.timeout(SHORT if name in HANG else PATIENCE):
                answer = await engine.exchange("POST", "/x", body=b"{}", headers=[], attempt=Attempt())
        except NoAnswerError:
            return NOTHING
        except TimeoutError:
            assert name in HANG, name
            return NOTHING
        assert len(answer.body) <= LIMIT
        return answer.problem or (answer.status, answer.body)

    async def close(self) -> None:
        """Closes all engines."""
        for engine in self._engines.values():
            await engine.close()


@pytest.fixture(scope="module")
def arena() -> Iterator[tuple[asyncio.Runner, Arena]]:
    """An arena, and what runs it."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        running = running_peer()
        peer = runner.run(running.__aenter__())
        made = runner.run(_made(peer))
        yield runner, made
        runner.run(made.close())
        runner.run(running.__aexit__(None, None, None))


async def _made(peer: Peer) -> Arena:
    return Arena(peer)


# The same examples every time: what another library gets wrong on some further one is not for this suite to find.
@pytest.mark.properties
@settings(
    max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=mutated(), at=st.lists(st.integers(0, 300), max_size=4))
@example(data=SEEDS[0], at=[3, 20, 40])
@example(data=SEEDS[2], at=[3, 20, 60, 90])
def test_engines_cope_and_agree(data: bytes, at: list[int], arena: tuple[asyncio.Runner, Arena]) -> None:
    runner, engines = arena
    outcomes = runner.run(engines.outcomes(split(data, at) or [b""]))
    runner.run(engines.check_that_all_go_on())
    ours = outcomes["direct"]
    if isinstance(ours, tuple):
        accepted = {name: outcome for name, outcome in outcomes.items() if isinstance(outcome, tuple)}
        assert all(outcome == ours for outcome in accepted.values()), accepted

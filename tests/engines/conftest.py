"""Every test here runs with every engine. What an engine is known to get wrong is in `shortcomings`."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Callable, Generator, Mapping
from typing import TYPE_CHECKING, Any, Final

import pytest
import pytest_asyncio
import uvloop
from allocation_gateway.upstream.engines.direct import DirectHttpEngine
from allocation_gateway.upstream.engines.httpx import HttpxEngine
from allocation_gateway.upstream.http import Target
from engines.shortcomings import SHORTCOMINGS, UNSTEADY
from support import asking
from support import peer as peer_module
from support.other_engines import AiohttpEngine, Httpx2Engine, PyreqwestEngine
from support.peer import Peer, running_peer

if TYPE_CHECKING:
    from allocation_gateway.upstream.http import HttpEngine

ENGINES: Final[Mapping[str, Callable[[Target], HttpEngine]]] = {
    "direct": DirectHttpEngine,
    "httpx": HttpxEngine,
    "httpx2": Httpx2Engine,
    "aiohttp": AiohttpEngine,
    "pyreqwest": PyreqwestEngine,
}

# The gateway's own ones, which also have to work on the event loop of the standard library.
KEPT: Final = frozenset({"direct", "httpx"})
# Seconds after which a test that is known to fail need not wait any longer.
SHORT: Final = 0.4

Open = Callable[..., "HttpEngine"]


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The gateway runs on uvloop; what runs on both relies on no peculiarity of one."""
    return {"uvloop": uvloop.new_event_loop, "asyncio": asyncio.new_event_loop}


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Reports without the garbage collector: CPython 3.11 cannot parse a source while that runs what tasks leave."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves the engines that were only compared on the loop of the gateway."""
    left_out = [item for item in items if _is_left_out(item)]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if not _is_left_out(item)]
    for item in items:
        if _engine_of(item) not in KEPT:
            item.add_marker(pytest.mark.other_engines)


def _engine_of(item: pytest.Item) -> str:
    if isinstance(item, pytest.Function) and hasattr(item, "callspec"):
        return str(item.callspec.params.get("engine_name", "direct"))
    return "direct"


def _is_left_out(item: pytest.Item) -> bool:
    return _engine_of(item) not in KEPT and "[asyncio-" in item.name


@pytest.fixture(params=ENGINES)
def engine_name(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of an engine."""
    name: str = request.param
    case = (
        request.node.name.replace("uvloop-", "")
        .replace("asyncio-", "")
        .replace(name, "", 1)
        .replace("[-", "[")
        .replace("[]", "")
    )
    reason = next((reason for reason, cases in SHORTCOMINGS.get(name, {}).items() if case in cases), None)
    if reason is not None:
        request.applymarker(pytest.mark.xfail(reason=reason, strict=(name, case) not in UNSTEADY))
        monkeypatch.setattr(asking, "PATIENCE", SHORT)
        monkeypatch.setattr(peer_module, "TIMEOUT", SHORT)
    return name


@pytest_asyncio.fixture
async def peer() -> AsyncIterator[Peer]:
    """The other end."""
    async with running_peer() as running:
        yield running


@pytest_asyncio.fixture
async def open_engine(engine_name: str) -> AsyncIterator[Open]:
    """Opens engines of that name, and closes them after the test."""
    opened: list[HttpEngine] = []

    def open_one(url: str, **limits: Any) -> HttpEngine:
        target = Target(url, [("x-key", "secret"), ("accept-encoding", "gzip")], 5.0, 3, 100_000)
        engine = ENGINES[engine_name](target._replace(**limits))
        opened.append(engine)
        return engine

    yield open_one
    for engine in opened:
        await engine.close()


@pytest.fixture
def engine(open_engine: Open, peer: Peer) -> HttpEngine:
    """An engine with three connections to the peer."""
    return open_engine(peer.url)

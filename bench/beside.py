"""How long single calls take beside a stream that takes all that its process has of a core, and beside nothing.

Upstream is the one of the benchmark, which answers everything after the same time however much there is to do: what a
call takes longer beside the stream is the gateway's doing. Claims are on a server.
"""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from bench.contenders import CONTENDERS
from bench.measuring import stage
from bench.processes import piped, running
from bench.rows import ROWS, Upstream

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from bench.machine import Cores

# Seconds that each answer of upstream takes, as in the first row of the benchmark.
_DELAY: Final = 0.05
_ROW: Final = replace(next(row for row in ROWS if row.key == "fast"), upstream=Upstream(delay=_DELAY))
# Seconds for which single calls are measured without a stream.
_ALONE: Final = 20.0
# Shipments that no stream has.
_FIRST_ALONE: Final = 1_000_000_000
_FIRST_BESIDE: Final = 2_000_000_000


@dataclass(frozen=True)
class Singles:
    """How long single calls took, each from when it was due.

    Attributes:
        rate: How many there were in a second.
        delay: Seconds of it that upstream took.
        alone: Seconds of each beside nothing.
        beside: Seconds of each beside the stream.
        stream_rate: How many items of the stream were done in a second meanwhile.
    """

    rate: float
    delay: float
    alone: Sequence[float]
    beside: Sequence[float]
    stream_rate: float


def measure(cores: Cores, items: int, rate: float) -> Singles:
    """Measures both, one after the other, at the same gateway.

    Args:
        cores: Which core does what.
        items: How many items the stream has.
        rate: How many single calls there are in a second.

    Raises:
        FailedError: A call failed, or an item of the stream was not queued.
    """
    with stage(_ROW, cores, store=True) as around:
        program = CONTENDERS["ours-store"].program(around.surroundings)
        with running("beside-gateway", program, [cores.gateway]) as gateway:
            return asyncio.run(_measure(gateway.address, items, rate))


async def _measure(address: str, items: int, rate: float) -> Singles:
    alone = await _singles(address, rate, _FIRST_ALONE, asyncio.sleep(_ALONE))
    seconds: list[float] = []

    async def stream() -> None:
        async with piped(sys.executable, "-m", "bench.stream_calls", address, str(items)) as process:
            text, _ = await process.communicate()
        seconds.append(json.loads(text))

    beside = await _singles(address, rate, _FIRST_BESIDE, stream())
    return Singles(rate, _DELAY, alone, beside, items / seconds[0])


async def _singles(address: str, rate: float, first: int, meanwhile: Awaitable[None]) -> list[float]:
    """Has single calls made until something has ended. Returns how many seconds each took from when it was due."""
    command = (sys.executable, "-m", "bench.single_calls", address, str(rate), str(first))
    async with piped(*command) as process:
        if process.stdout is not None:
            await process.stdout.readline()
        await meanwhile
        text, _ = await process.communicate(b"")
    taken: list[float] = json.loads(text)
    return taken

"""The sessions of a phase, one after the other begun, in each place where they go on at the same time."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chaos.clients import Clients
    from chaos.phases import Phase
    from chaos.plan import Plan

# Seconds that a session may take, whatever happens to it.
_LONGEST_SESSION: Final = 300.0
# Sessions go on until all disturbances are over, up to so many times their number.
_MOST_SESSIONS: Final = 4
_LEAST_SESSIONS: Final = 20
# Two lanes of these keep two cores about half busy.
_BETWEEN_SESSIONS: Final = 0.08


def numbers(phase: Phase, scale: float) -> tuple[int, int]:
    """Returns how many sessions a phase has at least and at most.

    Args:
        phase: The phase.
        scale: What their number is multiplied with.
    """
    least = max(int(phase.sessions * scale), min(phase.sessions, _LEAST_SESSIONS))
    return least, least * _MOST_SESSIONS


async def run(
    phase: Phase,
    plan: Plan,
    everyone: Sequence[Clients],
    between: tuple[int, int],
    seconds: float,
    disturbing: asyncio.Task[None],
) -> None:
    """Runs sessions until all disturbances are over.

    Args:
        phase: The phase.
        plan: Says what the sessions do.
        everyone: Who does it, each the same at the same time.
        between: How many sessions there are at least and at most.
        seconds: When to begin no more of them, whatever their number.
        disturbing: What is done meanwhile.
    """
    least, most = between
    places = asyncio.Semaphore(phase.at_once)
    end = time.monotonic() + seconds
    kinds = (phase.kinds,) if phase.kinds else ()
    running: set[asyncio.Task[None]] = set()
    for session in plan.sessions(most, *kinds):
        # All at once would be a fault of its own.
        await asyncio.sleep(_BETWEEN_SESSIONS)
        if time.monotonic() > end or (session.number >= least and disturbing.done()):
            break
        for clients in everyone:
            await places.acquire()
            task = asyncio.create_task(clients.run(session))
            running.add(task)
            task.add_done_callback(lambda _: places.release())
    await asyncio.wait_for(asyncio.gather(*running, disturbing), _LONGEST_SESSION)

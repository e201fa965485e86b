"""The phases of the suite: what runs, and what is done to it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from chaos.plan import Rates
from chaos.wire import KINDS

if TYPE_CHECKING:
    from collections.abc import Sequence

_EVERYTHING: Final = Rates(
    # A quarter in all: half of all requests failing is what a breaker is for.
    writes=dict.fromkeys(KINDS, 0.035),
    reads={kind: 0.02 for kind in KINDS if kind != "late effect"},
)
_LITTLE: Final = Rates(
    writes=dict.fromkeys(KINDS, 0.025),
    reads={kind: 0.01 for kind in KINDS if kind != "late effect"},
)


@dataclass(frozen=True)
class Phase:
    """One phase.

    Attributes:
        name: Its name, which is its directory's too.
        sessions: How many sessions it has at least: it goes on until everything is done that is done to it.
        rates: What strikes requests.
        guard: Whether upstream refuses to allocate what is allocated.
        shared: Whether three gateways share a store; else there is one gateway without.
        at_once: How many sessions go on at the same time.
        store_rate: How many of the store's commands are struck.
        disturbances: What is done to processes and whole wires, in turn.
        rounds: How often each of those is done.
        pause: Seconds between two of them.
        kinds: The kinds of sessions; all of them if it is empty.
        broken: The policy that is broken; empty for the real gateway.
        caught_by: The rules of the checker of which a broken policy must break one.
    """

    name: str
    sessions: int
    rates: Rates = field(default_factory=Rates)
    guard: bool = True
    shared: bool = False
    at_once: int = 64
    store_rate: float = 0.0
    disturbances: tuple[str, ...] = ()
    rounds: int = 1
    pause: float = 0.5
    kinds: Sequence[str] = ()
    broken: str = ""
    caught_by: frozenset[str] = frozenset()


PHASES: Final[Sequence[Phase]] = (
    Phase("one-guarded", 2000, _EVERYTHING, disturbances=("upstream restart",), rounds=6, pause=5.0),
    Phase("one-unguarded", 2000, _EVERYTHING, guard=False, disturbances=("upstream restart",), rounds=6, pause=5.0),
    Phase("three-wires", 2500, _EVERYTHING, guard=False, shared=True, store_rate=0.04),
    Phase(
        "three-processes",
        4000,
        _LITTLE,
        guard=False,
        shared=True,
        at_once=160,
        store_rate=0.01,
        disturbances=("kill", "terminate", "store restart", "kill", "terminate", "upstream restart"),
        rounds=13,
    ),
    Phase("three-weak", 2500, _LITTLE, shared=True, at_once=96, disturbances=("stop", "wipe"), rounds=17),
    Phase("outage", 1000, shared=True, at_once=240, disturbances=("outage",), kinds=("single",)),
)


def _broken(
    policy: str, strikes: str, kinds: Sequence[str], *caught_by: str, guard: bool = False, sessions: int = 100
) -> Phase:
    """Returns a short phase, of what a broken policy cannot stand."""
    return Phase(
        f"broken-{policy}",
        sessions,
        # Less than opens a breaker.
        Rates(writes={strikes: 0.3}),
        guard=guard,
        kinds=kinds,
        broken=policy,
        caught_by=frozenset(caught_by),
    )


BROKEN: Final[Sequence[Phase]] = (
    _broken("blind-retry", "reset after", ("single",), "two effects"),
    _broken("early-release", "late effect", ("single",), "two effects"),
    _broken("no-read-back", "reset after", ("single",), "two effects"),
    _broken("adopt-anything", "reset before", ("contest",), "OK without its effect", guard=True, sessions=300),
)

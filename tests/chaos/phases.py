"""The phases of the suite: what runs, and what is done to it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from chaos.configuration import DEFAULTS, REPLICAS, SHORT, Pace
from chaos.plan import Rates
from chaos.wire import KINDS

if TYPE_CHECKING:
    from collections.abc import Sequence

_READ_KINDS: Final = tuple(kind for kind in KINDS if kind != "late effect")
_EVERYTHING: Final = Rates(
    # A quarter in all: half of all requests failing is what a breaker is for.
    writes=dict.fromkeys(KINDS, 0.03),
    reads=dict.fromkeys(_READ_KINDS, 0.015),
)
_LITTLE: Final = Rates(
    writes=dict.fromkeys(KINDS, 0.02),
    reads=dict.fromkeys(_READ_KINDS, 0.01),
)
# Answers of writes that were carried out are lost in all ways.
_LOST: Final = Rates(
    writes=dict.fromkeys(
        ("latency", "reset after", "half a response", "wrong status", "garbage", "drip", "hang"), 0.11
    ),
    reads=dict.fromkeys(_READ_KINDS, 0.02),
)

# So many items of streams one phase has at most: more of them are several phases, each with processes of its own.
MOST_ITEMS: Final = 20_000
# Without what another system does, after which nobody can tell whose doing it is.
_OF_CALLERS: Final = ("single", "sequence", "contest", "bulk")


@dataclass(frozen=True)
class Phase:
    """One phase.

    Attributes:
        name: Its name, which is its directory's too.
        sessions: How many sessions it has at least: it goes on until everything is done that is done to it.
        rates: What strikes requests.
        lane: Phases of different lanes run at the same time; those of one lane one after the other.
        guard: Whether upstream refuses to allocate what is allocated.
        shared: Whether three gateways share a store; else there is one gateway without.
        on_cluster: Whether the store is a cluster, which two gateways share.
        accounts: Whether the gateways have two accounts, of which one is broken at a time: see chaos.accounts.
        pace: The times of the gateways.
        longest: Seconds by which an answer is late at most; 0 for somewhat more than the gateway's time-out.
        is_skewed: Whether upstream's clock is wrong, by a minute to an hour; as the plan says, unless `skew` does.
        skew: Seconds by which it is fast; 0 leaves it to the plan.
        at_once: How many sessions go on at the same time.
        store_rate: How many of the store's commands are struck.
        disturbances: What is done to processes and whole wires, in turn.
        rounds: How often each of those is done.
        pause: Seconds between two of them.
        kinds: The kinds of sessions; all of them if it is empty.
        items: How many items are allocated by streams, instead of sessions; 0 for sessions.
        others: To how many of those items other systems write, past the gateway.
        broken: The policy that is broken; empty for the real gateway.
        caught_by: The rules of the checker of which a broken policy must break one.
    """

    name: str
    sessions: int
    rates: Rates = field(default_factory=Rates)
    lane: int = 0
    guard: bool = True
    shared: bool = False
    on_cluster: bool = False
    accounts: bool = False
    pace: Pace = SHORT
    longest: float = 0.0
    is_skewed: bool = True
    skew: int = 0
    at_once: int = 256
    store_rate: float = 0.0
    disturbances: tuple[str, ...] = ()
    rounds: int = 1
    pause: float = 2.0
    kinds: Sequence[str] = ()
    items: int = 0
    others: float = 0.0
    broken: str = ""
    caught_by: frozenset[str] = frozenset()

    @property
    def replicas(self) -> int:
        """How many gateways there are."""
        if not self.shared:
            return 1
        return 2 if self.on_cluster else REPLICAS


PHASES: Final[Sequence[Phase]] = (
    Phase("one-guarded", 1600, _EVERYTHING, disturbances=("upstream restart",), rounds=4, pause=15.0),
    Phase("one-unguarded", 1600, _EVERYTHING, guard=False, disturbances=("upstream restart",), rounds=4, pause=15.0),
    # An outage is left to the gateway's own breaker and budget. Its clock is right.
    Phase("outage", 800, shared=True, is_skewed=False, at_once=480, disturbances=("outage",), kinds=("single",)),
    Phase("three-wires", 1600, _EVERYTHING, 1, guard=False, shared=True, store_rate=0.03),
    Phase(
        "three-processes",
        2000,
        _LITTLE,
        1,
        guard=False,
        shared=True,
        at_once=320,
        store_rate=0.01,
        disturbances=("kill", "terminate", "store restart", "kill", "terminate", "upstream restart"),
        rounds=4,
    ),
    Phase("three-weak", 1300, _LITTLE, 1, shared=True, disturbances=("stop", "wipe"), rounds=8),
    *(
        Phase(
            f"defaults-{guard}",
            25,
            _LOST,
            lane,
            guard=guard == "guarded",
            pace=DEFAULTS,
            longest=25.0,
            kinds=("single", "sequence", "outside"),
        )
        for lane, guard in ((2, "guarded"), (3, "unguarded"))
    ),
    # Each bulk call has many items, and each of those is read and sent by itself after a fault.
    Phase(
        "three-streams",
        1,
        _EVERYTHING,
        4,
        guard=False,
        shared=True,
        store_rate=0.003,
        disturbances=("kill", "upstream restart", "terminate"),
        rounds=2,
        pause=4.0,
        items=2_000,
    ),
    # Other systems allocate some items, take them away and cancel them, which upstream's rule sees to: without it a job
    # would allocate what another system has.
    Phase(
        "streams-and-others",
        1,
        _LITTLE,
        4,
        shared=True,
        store_rate=0.003,
        disturbances=("kill",),
        pause=4.0,
        items=800,
        others=0.2,
    ),
    # Nothing befalls both accounts: what one of them notices can only come of the other.
    Phase(
        "two-accounts",
        200,
        _EVERYTHING,
        4,
        guard=False,
        shared=True,
        accounts=True,
        disturbances=("upstream restart", "outage"),
        pause=8.0,
        kinds=_OF_CALLERS,
    ),
)
# Those that run only if they are named: they have to do with more processes, or take longer, than all the others.
NAMED: Final[Sequence[Phase]] = (
    Phase(
        "cluster",
        600,
        _LITTLE,
        guard=False,
        shared=True,
        on_cluster=True,
        disturbances=("move slots", "kill node", "move slots", "kill node"),
        pause=5.0,
    ),
    Phase(
        "broken-unclaimed",
        200,
        Rates(writes={"reset after": 0.3}),
        guard=False,
        shared=True,
        on_cluster=True,
        disturbances=("kill node",),
        rounds=3,
        kinds=("single",),
        broken="unclaimed",
        caught_by=frozenset({"two effects"}),
    ),
)


def in_parts(phase: Phase, items: int) -> list[Phase]:
    """Returns a phase with so many items of streams, if it has any: several, if one has not room.

    Where a policy is broken, or others write to the items, it stays as it is.

    Args:
        phase: The phase.
        items: How many; 0 for as many as it has.
    """
    if not items or not phase.items or phase.broken or phase.others:
        return [phase]
    parts = -(-items // MOST_ITEMS)
    names = [f"{phase.name}-{number + 1}" for number in range(parts)] if parts > 1 else [phase.name]
    return [replace(phase, name=name, items=items // parts) for name in names]


def _broken(
    policy: str,
    lane: int,
    *caught_by: str,
    writes: dict[str, float],
    reads: dict[str, float] | None = None,
    sessions: int = 80,
    kinds: Sequence[str] = ("single",),
    skew: int = 0,
    store_rate: float = 0.0,
    disturbances: tuple[str, ...] = (),
    rounds: int = 1,
    shared: bool = False,
    longest: float = 0.0,
    items: int = 0,
    others: float = 0.0,
    accounts: bool = False,
    pause: float = 1.0,
) -> Phase:
    """Returns a short phase, of what a broken policy cannot stand."""
    return Phase(
        f"broken-{policy}",
        sessions,
        # Less than opens a breaker.
        Rates(writes=writes, reads=reads or {}),
        lane,
        guard=False,
        shared=shared,
        accounts=accounts,
        longest=longest,
        skew=skew,
        store_rate=store_rate,
        disturbances=disturbances,
        rounds=rounds,
        pause=pause,
        kinds=kinds,
        items=items,
        others=others,
        broken=policy,
        caught_by=frozenset(caught_by),
    )


# The lanes are those in which the fewest other calls are made.
BROKEN: Final[Sequence[Phase]] = (
    _broken("blind-retry", 2, "two effects", "sent before the settle time", writes={"reset after": 0.3}),
    _broken("early-release", 2, "two effects", writes={"late effect": 0.3}),
    _broken("no-read-back", 2, "two effects", writes={"reset after": 0.3}),
    _broken("adopt-anything", 2, "OK without its effect", writes={"reset before": 0.3}, kinds=("afterwards",)),
    # Answers are lost long after the effect, and so long after the claim.
    _broken("age-as-of-the-failure", 3, "not done, and yet done", writes={"hang": 0.3}),
    # What another system has allocated some seconds before is read slowly.
    _broken(
        "stretching-tolerance",
        3,
        "OK without its effect",
        writes={"reset before": 0.3},
        reads={"latency": 0.8},
        kinds=("afterwards",),
    ),
    # Upstream's clock is half an hour slow, and everything seems old.
    _broken("own-clock", 3, "not done, and yet done", writes={"reset after": 0.3}, skew=-1800),
    _broken(
        "foreign-release",
        3,
        "two effects",
        writes={"hang": 0.3, "reset after": 0.2},
        sessions=240,
        store_rate=0.3,
        disturbances=("kill",),
        rounds=4,
        shared=True,
    ),
    _broken(
        "forgotten-doubt",
        2,
        "two effects",
        "sent before the settle time",
        # Most come as late as any may: others take the claim over before.
        writes={"late effect": 0.5},
        longest=100.0,
        sessions=160,
        disturbances=("kill",),
        rounds=10,
        shared=True,
    ),
    # Of streams: callers go and begin again elsewhere, and bulk calls are refused in part or lose their answers.
    _broken("random-item-ids", 4, "two effects", writes={}, items=160, sessions=1),
    _broken("whole-batches", 4, "OK without its effect", writes={}, items=160, sessions=1),
    _broken(
        "batches-again",
        4,
        "two effects",
        "sent before the settle time",
        writes={"reset after": 0.3},
        items=160,
        sessions=1,
    ),
    _broken("forgotten-results", 4, "two effects", writes={}, items=160, sessions=1),
    _broken(
        "cancelled-is-refused",
        4,
        "not done, and yet done",
        "effect without a word",
        writes={},
        items=400,
        others=1.0,
        sessions=1,
    ),
    # Of accounts: what one knows answers for the other, and what breaks one keeps the other from going on.
    _broken("shared-claims", 4, "OK without its effect", writes={"hang": 0.3}, sessions=40, accounts=True, pause=4.0),
    _broken(
        "shared-in-flight", 4, "OK without its effect", writes={"hang": 0.3}, sessions=40, accounts=True, pause=4.0
    ),
    _broken("shared-upstream", 4, "OK without its effect", writes={}, sessions=20, accounts=True),
    _broken(
        "shared-turn",
        4,
        "slowed by another account",
        writes={"hang": 0.3},
        sessions=40,
        disturbances=("outage",),
        accounts=True,
    ),
    _broken(
        "shared-breaker",
        4,
        "blocked by another account",
        writes={"hang": 0.3},
        sessions=40,
        disturbances=("outage",),
        accounts=True,
    ),
)

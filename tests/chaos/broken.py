"""A gateway with one policy broken: what the suites have to catch, so that it is known that they catch anything.

Each replaces a public function or method of the write path.

Usage: PYTHONPATH=tests python -m chaos.broken POLICY serve
"""

from __future__ import annotations

import asyncio
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from allocation_gateway import cli
from allocation_gateway.claims import opening
from allocation_gateway.claims.connection import StoreConnection
from allocation_gateway.claims.memory import MemoryClaims
from allocation_gateway.claims.shared import SharedClaims
from allocation_gateway.claims.slots import SlotClaims
from allocation_gateway.codecs.states import Stage
from allocation_gateway.operations.assessment import Assessment
from allocation_gateway.operations.model import Operation
from allocation_gateway.settings import Settings
from allocation_gateway.upstream import client
from allocation_gateway.writes import adoption, attempt, clocks, errors, readback, resolution
from allocation_gateway.writes.claimant import Claimant
from allocation_gateway.writes.clocks import ClockReading, Interval, Timing
from allocation_gateway.writes.readback import ReadBack
from allocation_gateway.writes.resolution import WithoutEffect
from chaos.broken_accounts import ACCOUNT_POLICIES
from chaos.broken_streams import STREAM_POLICIES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

# What a policy puts in place of what: an attribute of a module or a class.
Changes = list[tuple[Any, str, Any]]
# What one machine's clock shows, for gateways whose upstream is told apart from it.
wall: Callable[[], float] = time.time


def blind_retry() -> Changes:
    """What is in doubt is sent again at once."""

    async def resolve(*_: Any) -> WithoutEffect:
        return WithoutEffect()

    return [(resolution, "resolve", resolve)]


def early_release() -> Changes:
    """What is in doubt is forgotten, so that a repeat begins anew."""

    async def resolve(_: Any, handle: Any, *__: Any) -> WithoutEffect:
        await handle.release()
        raise errors.in_doubt(errors.EARLIER)

    return [(resolution, "resolve", resolve)]


def no_read_back() -> Changes:
    """Nothing is read: it is taken for granted that what was not answered had no effect."""

    async def read(back: Any, *_: Any) -> None:
        back.absent.update(back.undetermined())

    return [(ReadBack, "read", read)]


def adopt_anything() -> Changes:
    """Whatever allocation is there is taken for one's own."""
    judge = adoption.assess

    def assess(operation: Any, request: Any, found: Any, origin: Any) -> Assessment:
        if operation.action.allocates and operation.allocations.is_allocated(found):
            return Assessment.DONE
        return judge(operation, request, found, origin)

    return [(adoption, "assess", assess)]


def age_as_of_the_failure() -> Changes:
    """What an allocation must be newer than is the moment at which it is read back, not that of the claim."""

    def timing(made: Any, claimed: Interval, clock: ClockReading | None) -> Timing:
        if clock is None:
            return Timing.UNCLEAR
        del claimed
        return Timing.BEFORE if made.seconds + made.nanos / 1e9 < clock.date - clocks.TOLERANCE else Timing.NEAR

    return [(adoption, "timing", timing)]


def no_tolerance() -> Changes:
    """Upstream's machines are taken to agree to the microsecond."""
    return [(clocks, "NOT_OWN_TOLERANCE", 0.0), (clocks, "TOLERANCE", 0.0)]


def stretching_tolerance() -> Changes:
    """The time that a reading takes widens what is adopted."""
    judge = clocks.timing

    def timing(made: Any, claimed: Interval, clock: ClockReading | None) -> Timing:
        if clock is None:
            return Timing.UNCLEAR
        return judge(made, Interval(claimed.earliest, claimed.latest - 4 * (clock.head_at - clock.sent_at)), clock)

    return [(adoption, "timing", timing)]


def own_clock() -> Changes:
    """The process's own clock is used for upstream's."""

    def clock_reading(_: str, sent_at: float, head_at: float) -> ClockReading:
        return ClockReading(wall() // 1, sent_at, head_at)

    return [(readback, "clock_reading", clock_reading)]


def foreign_release() -> Changes:
    """A step that cleans up touches whatever claim there is, also one that somebody else has begun."""

    def releasing(release: Any) -> Any:
        async def release_any(store: Any, request_id: str, _: str) -> None:
            claim = await store.read(request_id)
            if claim is not None:
                await release(store, request_id, claim.holder)

        return release_any

    return [(kind, "release", releasing(kind.release)) for kind in (MemoryClaims, SharedClaims, SlotClaims)]


def forgotten_doubt() -> Changes:
    """What is taken over is taken for something of which nothing was sent."""
    take = Claimant.take_over

    async def take_over(claimant: Any, *arguments: Any) -> Any:
        handle = await take(claimant, *arguments)
        if handle is not None:
            handle.effects_end_at = 0.0
        return handle

    return [(Claimant, "take_over", take_over)]


def believed_refusal() -> Changes:
    """A refusal is believed whatever the shipment shows."""

    async def explain(_: Any, __: Any, refusal: Any) -> Any:
        return attempt.Explanation(refusal)

    return [(attempt, "explain", explain)]


def cancelled_is_proof() -> Changes:
    """What is cancelled is taken never to have been allocated."""
    judge = adoption.assess

    def assess(operation: Any, request: Any, found: Any, origin: Any) -> Assessment:
        if operation.action.allocates and operation.allocations.stage(found) is Stage.GONE:
            return Assessment.NOT_OWN
        return judge(operation, request, found, origin)

    return [(adoption, "assess", assess)]


def trusted_caches() -> Changes:
    """What a cache on the way answers is taken for how a shipment stands."""
    return [(client, "is_stale", lambda _: False)]


def exact_locks() -> Changes:
    """A reference is locked as it is spelled, though upstream knows no case."""
    return [(Operation, "locks", Operation.references)]


def unclaimed() -> Changes:
    """While the store cannot be reached, a write goes on with what one process remembers."""
    make = opening.Stores.__init__

    def made(stores: Any, kept: Any, _: Any, **more: Any) -> None:
        make(stores, kept, lambda _: MemoryClaims(size=100_000, retention=3_600.0), **more)

    return [(opening.Stores, "__init__", made)]


def impatient() -> Changes:
    """A step of the store has failed once it has waited for the store's time-out, whoever it has waited for."""
    ask = StoreConnection.ask
    patience = Settings().store_timeout

    def ask_in_time(connection: Any, *command: Any) -> asyncio.Future[Any]:
        started = time.monotonic()

        async def answer() -> Any:
            found = await ask(connection, *command)
            if time.monotonic() - started > patience:
                raise TimeoutError
            return found

        return asyncio.ensure_future(answer())

    return [(StoreConnection, "ask", ask_in_time)]


POLICIES: Final[Mapping[str, Callable[[], Changes]]] = {
    "blind-retry": blind_retry,
    "early-release": early_release,
    "no-read-back": no_read_back,
    "adopt-anything": adopt_anything,
    "age-as-of-the-failure": age_as_of_the_failure,
    "no-tolerance": no_tolerance,
    "stretching-tolerance": stretching_tolerance,
    "own-clock": own_clock,
    "foreign-release": foreign_release,
    "forgotten-doubt": forgotten_doubt,
}
# Caught only where a proxy sends a request twice, a cache is on the way, shipments are cancelled, or callers spell
# references in any case.
SIMULATED_POLICIES: Final[Mapping[str, Callable[[], Changes]]] = {
    "believed-refusal": believed_refusal,
    "cancelled-is-proof": cancelled_is_proof,
    "trusted-caches": trusted_caches,
    "exact-locks": exact_locks,
}
# Caught only where the store goes away and comes back without having lost anything.
CLUSTER_POLICIES: Final[Mapping[str, Callable[[], Changes]]] = {"unclaimed": unclaimed}
# Caught only where a gateway is busier than its store: see tests/claims/test_overload.py.
OVERLOAD_POLICIES: Final[Mapping[str, Callable[[], Changes]]] = {"impatient": impatient}


@contextmanager
def broken(policy: str) -> Iterator[None]:
    """Breaks a policy of this process for the time of a block."""
    elsewhere = {**SIMULATED_POLICIES, **STREAM_POLICIES, **ACCOUNT_POLICIES, **CLUSTER_POLICIES, **OVERLOAD_POLICIES}
    changes = {**POLICIES, **elsewhere}[policy]()
    before = [(place, name, getattr(place, name)) for place, name, _ in changes]
    for place, name, value in changes:
        setattr(place, name, value)
    try:
        yield
    finally:
        for place, name, value in before:
            setattr(place, name, value)


def main() -> int:
    """Breaks a policy and runs the gateway's own command."""
    with broken(sys.argv[1]):
        return cli.main(sys.argv[2:])


if __name__ == "__main__":
    sys.exit(main())

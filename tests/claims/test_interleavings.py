"""Every order in which the steps of two holders can be carried out: late, twice, and after whoever asked has given up.

Each holder's steps bear a token of their own for each attempt to hold the claim. In memory all orders are tried; the
real server is held to the same, step by step.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from itertools import permutations, product
from typing import TYPE_CHECKING, Any, Final

import pytest
import redis
from allocation_gateway.claims.memory import MemoryClaims
from allocation_gateway.claims.model import Begun, ClaimState
from support.claims import connected, new_claim
from support.clock import Clock

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator, Sequence

    from allocation_gateway.claims.model import Claim, ClaimStore
    from support.cache import CacheServer

    Step = tuple[str, str]

LEASE: Final = 10.0
EFFECTS: Final = 60.0
ID: Final = "id"
REFERENCE: Final = "sp_1"
# Of the first holder: it begins, is not answered, and releases. Of the second: it takes over and ends what it finds.
FIRST: Final[Sequence[Step]] = (("begin", "A1"), ("release", "A1"), ("leave_in_doubt", "A1"))
SECONDS: Final[Sequence[Sequence[Step]]] = (
    (("take_over", "B2"), ("renew", "B2"), ("finish", "B2")),
    (("take_over", "B2"), ("settle", "B2"), ("begin", "B3")),
    (("begin", "B1"), ("take_over", "B2"), ("release", "B1")),
    (("begin", "B1"), ("finish", "B1"), ("release", "B1")),
    (("take_over", "A2"), ("release", "B1"), ("settle", "A2")),
)
# What passes between two steps: nothing, a lease, or all the time in which something sent can take effect.
PAUSES: Final = (0.0, LEASE + 1, EFFECTS + 1)


def carry_out(store: ClaimStore, step: Step) -> Coroutine[Any, Any, Any]:
    """Returns a step under a token."""
    name, token = step
    claim = new_claim(ID, references=(REFERENCE,), holder=token, lease=LEASE, effects=EFFECTS)
    steps: dict[str, Callable[[], Coroutine[Any, Any, Any]]] = {
        "begin": lambda: store.begin(claim),
        "take_over": lambda: store.take_over(ID, token, LEASE),
        "renew": lambda: store.renew(ID, token, LEASE, effects=EFFECTS, attempt=True),
        "finish": lambda: store.finish(
            ID, token, token.encode(), fallback=claim, allocated=(REFERENCE,), deallocated=()
        ),
        "release": lambda: store.release(ID, token),
        "settle": lambda: store.settle(ID, token),
        "leave_in_doubt": lambda: store.leave_in_doubt(ID, token, effects=EFFECTS),
    }
    return steps[name]()


@dataclass(frozen=True)
class Moment:
    """How the claim stands between two steps, and whether its lock keeps others away."""

    claim: Claim | None
    is_locked: bool


async def look(store: ClaimStore) -> Moment:
    """Looks at the claim, and tries its lock without leaving a trace."""
    claim = await store.read(ID)
    probe = new_claim("probe", references=(REFERENCE,), holder="P", lease=LEASE, effects=EFFECTS)
    got = await store.begin(probe)
    await store.release("probe", "P")
    return Moment(claim, not isinstance(got, Begun))


def check(before: Moment, step: Step, after: Moment) -> None:
    """Checks what must hold of every step, whatever came before it."""
    name, token = step
    was, now = before.claim, after.claim
    assert after.is_locked == (now is not None and now.state is ClaimState.IN_DOUBT), step
    if was is None:
        assert now is None or name in {"begin", "finish"}, "what is gone comes back by being begun or finished"
        return
    if was.state is ClaimState.DONE:
        assert now is not None
        assert (now.state, now.answer) == (ClaimState.DONE, was.answer), "what is done stays done"
        return
    if was.state is ClaimState.IN_DOUBT and was.holder != token and name not in {"finish", "take_over"}:
        assert now is not None
        assert (now.state, now.holder, now.attempts) == (was.state, was.holder, was.attempts), (
            "a step touches no claim that bears another token"
        )
    if now is None:
        assert (name, token, was.state) == ("release", was.holder, ClaimState.IN_DOUBT)
        assert not token.endswith("2"), "what was taken over is not forgotten"
    if was.state is ClaimState.IN_DOUBT and now is not None and now.state is ClaimState.SETTLED and name == "settle":
        assert was.effects_end_in <= 0, "what can still take effect is not settled"
    if was.state is ClaimState.IN_DOUBT and now is not None and now.holder != was.holder and name == "take_over":
        assert was.lease_left <= 0, "what somebody works on is not taken over"


def orders() -> Iterator[tuple[tuple[Step, ...], tuple[float, ...]]]:
    """Yields every order of the steps, each with every pause before the middle of it and before its end."""
    for second in SECONDS:
        steps = (*FIRST, *second)
        for order in permutations(steps):
            for pauses in product(PAUSES, repeat=2):
                yield order, pauses


def pauses_of(order: Sequence[Step], pauses: Sequence[float]) -> Iterator[tuple[Step, float]]:
    for index, step in enumerate(order):
        yield step, pauses[0] if index == 2 else pauses[1] if index == 4 else 0.0


async def in_memory(order: Sequence[Step], pauses: Sequence[float]) -> list[Moment]:
    """Carries out an order in memory, and checks every step of it."""
    clock = Clock()
    store = MemoryClaims(size=10, retention=1e6, clock=clock)
    seen = [await look(store)]
    for step, pause in pauses_of(order, pauses):
        clock.advance(pause)
        before = await look(store)
        await carry_out(store, step)
        seen.append(await look(store))
        check(before, step, seen[-1])
    return seen


@pytest.mark.properties
def test_no_order_of_two_holders_steps_loses_a_doubt_or_an_answer() -> None:
    async def every() -> int:
        count = 0
        for order, pauses in orders():
            await in_memory(order, pauses)
            count += 1
        return count

    assert asyncio.run(every()) == len(SECONDS) * 720 * 9


def told(moment: Moment) -> tuple[object, ...]:
    claim = moment.claim
    if claim is None:
        return (moment.is_locked,)
    return moment.is_locked, claim.state, claim.holder, claim.attempts, claim.answer, claim.lease_left > 0


@pytest.mark.cache
@pytest.mark.asyncio
async def test_the_real_server_does_the_same_in_every_order(server: CacheServer) -> None:
    """Without pauses: its clock is its own."""
    with redis.Redis(port=server.port) as client:
        async with connected(server.port) as store:
            for second in SECONDS:
                for order in permutations((*FIRST, *second)):
                    client.flushall()
                    seen = [told(await look(store))]
                    for step in order:
                        await carry_out(store, step)
                        seen.append(told(await look(store)))
                    assert seen == [told(one) for one in await in_memory(order, (0.0, 0.0))], order

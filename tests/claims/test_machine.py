"""All stores do what a simple model does, whatever is asked of them in whatever order."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import msgspec
import pytest
import redis
from allocation_gateway.claims.connecting import SCRIPT
from allocation_gateway.claims.memory import MemoryClaims
from allocation_gateway.claims.model import (
    Begun,
    Busy,
    Claim,
    ClaimState,
    ClaimStore,
    Held,
    NewClaim,
    StoreFullError,
)
from allocation_gateway.claims.queued import QueuedClaims, StepQueue
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from support.claims import connected, new_claim
from support.clock import Clock

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager

    from allocation_gateway.claims.shared import SharedClaims
    from support.cache import CacheServer

# Names that could be taken for something else, by a store that put them together carelessly.
IDS: Final = ("a", "a:lock", "{ship}:claim:a", "ü \n\0'\"")
REFERENCES: Final = ("a", "claim:a", "sp_1", "}{*?[a]", "ß\r\n")
HOLDERS: Final = ("one", "other")
# Stands for whoever has the claim.
WHOEVER: Final = "whoever has it"
RETENTION: Final = 10_050.0
# No two moments that matter are close together, so that the time that a test takes makes no difference.
LEASES: Final = (1_050.0, 3_050.0)
DURATIONS_OF_EFFECTS: Final = (2_050.0, 6_050.0)
KEEPS: Final = (0.0, 0.0, 1_550.0, 50_050.0)
STEPS: Final = (100.0, 1_200.0, 2_500.0, 2_500.0, 10_100.0)
SMALL: Final = 3
# A busy machine makes steps slow, not wrong.
LIMITS: Final = settings(
    max_examples=100, stateful_step_count=50, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)

ids = st.sampled_from(IDS)
holders = st.sampled_from((WHOEVER, WHOEVER, *HOLDERS))
leases = st.sampled_from(LEASES)
durations_of_effects = st.sampled_from(DURATIONS_OF_EFFECTS)
several = st.lists(st.sampled_from(REFERENCES), min_size=1, max_size=4).map(tuple)
some = st.lists(st.sampled_from(REFERENCES), max_size=2, unique=True)
new_claims = st.builds(
    lambda request_id, fingerprint, references, holder, lease, effects: new_claim(
        request_id, fingerprint=fingerprint, references=references, holder=holder, lease=lease, effects=effects
    ),
    ids,
    st.sampled_from(("1:aa", "1:aa", "1:bb")),
    several,
    st.sampled_from(HOLDERS),
    leases,
    durations_of_effects,
)


@dataclass(eq=False)
class Known:
    """A claim of the model, with moments instead of seconds from now."""

    new: NewClaim
    references: tuple[str, ...]
    begun: float
    lease_until: float
    effects_end_at: float
    owners: Mapping[str, str]
    holder: str
    state: ClaimState = ClaimState.IN_DOUBT
    attempts: int = 1
    is_resumed: bool = False
    answer: bytes = b""
    ends: float = math.inf
    kept: dict[str, float] = field(default_factory=dict)

    def locks(self, reference: str, now: float) -> bool:
        if self.state is ClaimState.IN_DOUBT:
            return reference in self.references
        return self.kept.get(reference, 0.0) > now

    def may_be_forgotten(self, now: float) -> bool:
        return self.state is not ClaimState.IN_DOUBT and not any(until > now for until in self.kept.values())

    def shown(self, now: float) -> Claim:
        new = self.new
        return Claim(
            new.request_id,
            new.operation,
            new.fingerprint,
            new.request,
            new.note,
            self.references,
            self.state,
            self.holder,
            self.attempts,
            now - self.begun,
            self.lease_until - now,
            self.effects_end_at - now,
            self.answer,
            self.owners,
        )


class Model:
    """What a store does, by looking through everything it has."""

    def __init__(self, size: float) -> None:
        self.now = 1_000.0
        self.size = size
        self.claims: dict[str, Known] = {}
        self.owners: dict[str, tuple[str, float]] = {}

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.claims = {name: claim for name, claim in self.claims.items() if claim.ends > self.now}
        self.owners = {name: owner for name, owner in self.owners.items() if owner[1] > self.now}

    def locker(self, reference: str) -> Known | None:
        return next((claim for claim in self.claims.values() if claim.locks(reference, self.now)), None)

    def make(self, new: NewClaim) -> Known:
        references = tuple(sorted(set(new.references), key=new.references.index))
        owners = {name: self.owners[name][0] for name in references if name in self.owners}
        return Known(new, references, self.now, self.now + new.lease, self.now + new.effects, owners, new.holder)

    def begin(self, new: NewClaim) -> Begun | Held | Busy | type[StoreFullError]:
        known = self.claims.get(new.request_id)
        if known and (known.state is not ClaimState.SETTLED or known.new.fingerprint != new.fingerprint):
            return Held(known.shown(self.now))
        made = self.make(new)
        for reference in made.references:
            if locker := self.locker(reference):
                return Busy(locker.shown(self.now))
        if known:
            made.begun, made.attempts, made.is_resumed = known.begun, known.attempts + 1, True
        else:
            while len(self.claims) >= self.size:
                # The dict holds what was resolved in the order in which it was, see put().
                forgettable = (name for name, claim in self.claims.items() if claim.may_be_forgotten(self.now))
                if (name := next(forgettable, None)) is None:
                    return StoreFullError
                del self.claims[name]
        self.put(made)
        return Begun(made.shown(self.now))

    def put(self, known: Known) -> None:
        self.claims.pop(known.new.request_id, None)
        self.claims[known.new.request_id] = known

    def mine(self, request_id: str, holder: str) -> Known | None:
        known = self.claims.get(request_id)
        return known if known and known.state is ClaimState.IN_DOUBT and known.holder == holder else None

    def resolve(self, known: Known, state: ClaimState) -> None:
        known.state, known.ends = state, self.now + RETENTION
        self.put(known)

    def finish(
        self, new: NewClaim, holder: str, answer: bytes, allocated: Sequence[str], freed: Sequence[str], keep: float
    ) -> None:
        known = self.claims.get(new.request_id)
        if known and known.state is ClaimState.DONE:
            return
        known = known or self.make(new)
        if known.holder == holder or known.new.fingerprint == new.fingerprint:
            free = [name for name in known.references if self.locker(name) in {None, known}] if keep else []
            known.kept = {name: self.now + min(keep, RETENTION) for name in free}
            known.answer = answer
            self.resolve(known, ClaimState.DONE)
        for reference in allocated:
            self.owners.pop(reference, None)
            self.owners[reference] = (new.request_id, self.now + RETENTION)
        for reference in freed:
            self.owners.pop(reference, None)
        while len(self.owners) > self.size:
            del self.owners[next(iter(self.owners))]


class Machine(RuleBasedStateMachine):
    """Asks a store and the model the same."""

    size = math.inf
    store: ClaimStore

    def __init__(self) -> None:
        super().__init__()
        self.model = Model(self.size)
        self.runner = asyncio.Runner()
        self.open()

    def open(self) -> None:
        raise NotImplementedError

    def move_clock(self, seconds: float) -> None:
        raise NotImplementedError

    def named(self, request_id: str, holder: str) -> str:
        if holder != WHOEVER:
            return holder
        known = self.model.claims.get(request_id)
        return known.holder if known else HOLDERS[0]

    def ask(self, step: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(step)

    def compare(self, claim: Claim | None, known: Claim | None) -> None:
        assert (claim is None) is (known is None), (claim, known)
        if claim is None or known is None:
            return
        for name in Claim.__struct_fields__:
            found, wanted = getattr(claim, name), getattr(known, name)
            if isinstance(wanted, float):
                assert found == pytest.approx(wanted, abs=1e-5), name
            else:
                assert found == wanted, name

    @rule(seconds=st.sampled_from(STEPS))
    def pass_time(self, seconds: float) -> None:
        self.model.pass_time(seconds)
        self.move_clock(seconds)

    @rule(new=new_claims)
    def begin(self, new: NewClaim) -> None:
        wanted = self.model.begin(new)
        if isinstance(wanted, type):
            with pytest.raises(StoreFullError):
                self.ask(self.store.begin(new))
            return
        found = self.ask(self.store.begin(new))
        assert type(found) is type(wanted)
        self.compare(found.claim, wanted.claim)

    @rule(request_id=ids, holder=holders, lease=leases)
    def take_over(self, request_id: str, holder: str, lease: float) -> None:
        holder = self.named(request_id, holder)
        known, now = self.model.claims.get(request_id), self.model.now
        wanted = None
        if known and known.state is ClaimState.IN_DOUBT and (known.holder == holder or known.lease_until <= now):
            known.holder, known.lease_until = holder, now + lease
            wanted = known.shown(now)
        self.compare(self.ask(self.store.take_over(request_id, holder, lease)), wanted)

    @rule(
        request_id=ids,
        holder=holders,
        lease=leases,
        effects=durations_of_effects | st.none(),
        attempt=st.booleans(),
        note=st.none() | st.binary(max_size=3),
    )
    def renew(
        self, request_id: str, holder: str, lease: float, effects: float | None, attempt: bool, note: bytes | None
    ) -> None:
        holder = self.named(request_id, holder)
        known = self.model.mine(request_id, holder)
        if known:
            known.lease_until = self.model.now + lease
            known.attempts += attempt
            if effects is not None:
                known.effects_end_at = self.model.now + effects
        body = None
        if known and note is not None:
            body = known.new = msgspec.structs.replace(known.new, note=note)
        step = self.store.renew(request_id, holder, lease, effects=effects, attempt=attempt, body=body)
        assert self.ask(step) is (known is not None)

    @rule(
        new=new_claims,
        holder=holders,
        answer=st.sampled_from((b"", b"answer \xff\0")),
        allocated=some,
        deallocated=some,
        keep=st.sampled_from(KEEPS),
    )
    def finish(
        self,
        new: NewClaim,
        holder: str,
        answer: bytes,
        allocated: Sequence[str],
        deallocated: Sequence[str],
        keep: float,
    ) -> None:
        holder = self.named(new.request_id, holder)
        self.model.finish(new, holder, answer, allocated, deallocated, keep)
        step = self.store.finish(
            new.request_id,
            holder,
            answer,
            fallback=new,
            allocated=allocated,
            deallocated=deallocated,
            keep_locks=keep,
        )
        assert self.ask(step) is None

    @rule(request_id=ids, holder=holders)
    def release(self, request_id: str, holder: str) -> None:
        holder = self.named(request_id, holder)
        if known := self.model.mine(request_id, holder):
            if known.is_resumed:
                known.attempts -= 1
                self.model.resolve(known, ClaimState.SETTLED)
            else:
                del self.model.claims[request_id]
        self.ask(self.store.release(request_id, holder))

    @rule(request_id=ids, holder=holders)
    def settle(self, request_id: str, holder: str) -> None:
        holder = self.named(request_id, holder)
        known = self.model.mine(request_id, holder)
        is_over = known is not None and known.effects_end_at <= self.model.now
        if known and is_over:
            self.model.resolve(known, ClaimState.SETTLED)
        assert self.ask(self.store.settle(request_id, holder)) is is_over

    @rule(request_id=ids)
    def settle_once_its_effects_are_over(self, request_id: str) -> None:
        known = self.model.claims.get(request_id)
        if known:
            self.pass_time(max(known.effects_end_at - self.model.now, 0.0) + 50.0)
        self.settle(request_id, WHOEVER)

    @rule(request_id=ids, holder=st.sampled_from(HOLDERS))
    def ask_for_the_same_again(self, request_id: str, holder: str) -> None:
        known = self.model.claims.get(request_id)
        if known:
            self.begin(msgspec.structs.replace(known.new, holder=holder))

    @rule(request_id=ids, holder=holders, effects=durations_of_effects)
    def leave_in_doubt(self, request_id: str, holder: str, effects: float) -> None:
        holder = self.named(request_id, holder)
        known = self.model.mine(request_id, holder)
        if known:
            known.lease_until, known.effects_end_at = self.model.now, self.model.now + effects
        self.ask(self.store.leave_in_doubt(request_id, holder, effects=effects))

    @invariant()
    def knows_the_same_claims(self) -> None:
        for request_id in IDS:
            known = self.model.claims.get(request_id)
            wanted = known.shown(self.model.now) if known else None
            self.compare(self.ask(self.store.read(request_id)), wanted)

    def teardown(self) -> None:
        self.ask(self.store.close())
        self.runner.close()


class MemoryMachine(Machine):
    """A store in memory that never fills up."""

    def open(self) -> None:
        self.clock = Clock()
        self.store = MemoryClaims(
            size=1000 if self.size == math.inf else int(self.size), retention=RETENTION, clock=self.clock
        )

    def move_clock(self, seconds: float) -> None:
        self.clock.advance(seconds)


class SmallMachine(MemoryMachine):
    """One that does."""

    size = SMALL


class QueuedMachine(SmallMachine):
    """The same, for writes that are sent together."""

    def open(self) -> None:
        super().open()
        self.store = QueuedClaims(self.store, StepQueue(places=1)).at(REFERENCES)


@pytest.mark.properties
def test_steps_that_wait_for_a_place_do_what_the_model_does() -> None:
    run_state_machine_as_test(QueuedMachine, settings=LIMITS)


@pytest.mark.properties
def test_the_store_in_memory_does_what_the_model_does() -> None:
    run_state_machine_as_test(MemoryMachine, settings=LIMITS)


@pytest.mark.properties
def test_a_full_store_in_memory_forgets_what_was_resolved_first_and_nothing_in_doubt() -> None:
    run_state_machine_as_test(SmallMachine, settings=LIMITS)


@pytest.mark.cache
def test_the_shared_store_does_what_the_model_does(server: CacheServer) -> None:
    """Its script is given another clock, and the keys that end by themselves are moved towards their end."""
    real_clock = "redis.call('TIME')"
    assert SCRIPT.count(real_clock) == 1
    script = SCRIPT.replace(real_clock, "{redis.call('GET', 'clock'), 0}")

    with redis.Redis(port=server.port) as client:

        class SharedMachine(Machine):
            opened: AbstractAsyncContextManager[SharedClaims]

            def open(self) -> None:
                client.flushall()
                client.set("clock", int(self.model.now))
                self.opened = connected(server.port, retention=RETENTION, script=script)
                self.store = self.ask(self.opened.__aenter__())

            def move_clock(self, seconds: float) -> None:
                client.incrby("clock", int(seconds))
                for key in client.scan_iter():
                    left = client.pttl(key)
                    if left >= 0:
                        client.pexpire(key, max(int(left - seconds * 1000), -1))

        run_state_machine_as_test(SharedMachine, settings=LIMITS)

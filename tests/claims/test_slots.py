"""Writes to several references, each in a slot of its own, whose steps come late, twice, or never.

Dice decide in which order they are carried out, and a witness looks at every one of them.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import msgspec
import pytest
import redis
from allocation_gateway.claims.connecting import SLOTS_SCRIPT
from allocation_gateway.claims.model import Begun, Claim, ClaimState, Held, StoreUnavailableError
from allocation_gateway.claims.slots import SlotClaims
from support.claims import new_claim
from support.slot_server import DONE, IN_DOUBT, STATE, TAKING, SlotServer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from allocation_gateway.claims.model import Busy, NewClaim
    from support.cache import CacheServer

WORLDS: Final = 120
# Of these on a real server.
REAL_WORLDS: Final = 15
WRITERS: Final = 5
ROUNDS: Final = 4
REFERENCES: Final = ("a", "b", "c", "d")
LEASE: Final = 100.0
EFFECTS: Final = 300.0
RETENTION: Final = 1e6


@dataclass
class Witness:
    """What is true of each reference.

    Attributes:
        holders: Which claim was said to hold it.
        owners: Which request has allocated it last; None while that cannot be told.
        told: How often each thing has happened.
    """

    holders: dict[str, str] = field(default_factory=dict)
    owners: dict[str, str | None] = field(default_factory=dict)
    told: dict[str, int] = field(default_factory=dict)

    def enter(self, claim: Claim) -> None:
        """Takes note that a claim is held."""
        for reference in claim.references:
            other = self.holders.get(reference)
            assert other is None, f"{reference} is held by {other} and {claim.request_id}"
            self.holders[reference] = claim.request_id

    def leave(self, request_id: str) -> None:
        """Takes note that a claim is not needed any more."""
        self.holders = {reference: one for reference, one in self.holders.items() if one != request_id}

    def count(self, what: str) -> None:
        self.told[what] = self.told.get(what, 0) + 1


class Wire:
    """The way to the server, on which steps are late, carried out twice, or lost."""

    def __init__(
        self, client: redis.Redis | None, dice: random.Random, witness: Witness, clock: Callable[[], float]
    ) -> None:
        self._dice = dice
        self._witness = witness
        script = SLOTS_SCRIPT.replace("redis.call('TIME')", "{redis.call('GET', 'clock'), 0}")
        self._script = None if client is None else client.register_script(script)
        self.server = SlotServer(clock)
        self._late: list[tuple[Any, ...]] = []
        self.is_calm = False

    async def run(self, step: str, keys: Sequence[str], *arguments: str | bytes | int) -> Any:
        """Carries out a step, or does not."""
        dice = self._dice
        await self._wait()
        if self.is_calm:
            return self._carry_out(step, keys, *arguments)
        if self._late and dice.random() < 0.2:
            self._carry_out(*self._late.pop(dice.randrange(len(self._late))))
        fate = dice.random()
        if fate < 0.06:
            self._witness.count(f"{step} lost")
            raise StoreUnavailableError("lost")
        if fate < 0.12:
            self._late.append((step, keys, *arguments))
            self._witness.count(f"{step} late")
            raise StoreUnavailableError("late")
        found = self._carry_out(step, keys, *arguments)
        await self._wait()
        if fate < 0.18:
            self._witness.count(f"{step} unheard")
            raise StoreUnavailableError("the answer is lost")
        return found

    async def _wait(self) -> None:
        for _ in range(self._dice.randrange(5)):
            await asyncio.sleep(0)

    def deliver(self) -> None:
        """Carries out all that is late, in any order."""
        self._dice.shuffle(self._late)
        while self._late:
            self._carry_out(*self._late.pop())

    def _carry_out(self, step: str, keys: Sequence[str], *arguments: Any) -> Any:
        if step == "finish":
            self._look(keys[0], arguments)
        found = self.server.carry_out(step, keys, *arguments)
        if self._script is not None:
            real = self._script(keys=keys, args=[step, *arguments])
            assert plain(real) == plain(found), step
        return found

    def _look(self, key: str, arguments: Sequence[Any]) -> None:
        """A success that is recorded while its claim holds all locks says whose each reference is."""
        request_id, references = arguments[0], msgspec.msgpack.decode(arguments[5])
        head = self.server.head(key)
        if head is not None and head[STATE] == DONE:
            return
        self._witness.leave(request_id)
        is_certain = head is not None and head[STATE] == IN_DOUBT and not head[TAKING]
        for reference in references:
            self._witness.owners[reference] = request_id if is_certain else None

    async def close(self) -> None:
        """Does nothing."""


def plain(found: Any) -> Any:
    """Returns an answer without the packing of what is in it, of which there is more than one."""
    if isinstance(found, list):
        return [plain(one) for one in found]
    try:
        unpacked = msgspec.msgpack.decode(found) if isinstance(found, bytes) else None
    except msgspec.DecodeError:
        unpacked = None
    return unpacked if isinstance(unpacked, list) else found


class World:
    """Some writers who want some of four shipments."""

    def __init__(self, client: redis.Redis | None, seed: int) -> None:
        self._client = client
        self.dice = random.Random(seed)  # noqa: S311 - it decides what happens, and has to do so each time alike
        self.witness = Witness()
        if client is not None:
            client.flushall()
        self._clock = 0
        self._pass(1_000)
        self.wire = Wire(client, self.dice, self.witness, lambda: self._clock)
        self.store = SlotClaims(self.wire, namespace="claims", name="ship", retention=RETENTION)
        self.begun: dict[str, tuple[str, ...]] = {}
        self._tokens = 0

    async def run(self) -> None:
        """Has everybody do what they do, and looks at what is left when all is quiet."""
        await asyncio.gather(*(self._write(number) for number in range(WRITERS)))
        self.wire.deliver()
        self.wire.is_calm = True
        await self._tidy()
        await self._look()

    def _pass(self, seconds: float) -> None:
        self._clock += int(seconds)
        if self._client is not None:
            self._client.set("clock", self._clock)

    def _token(self) -> str:
        self._tokens += 1
        return f"token-{self._tokens}"

    async def _write(self, number: int) -> None:
        for turn in range(ROUNDS):
            if self.dice.random() < 0.15:
                self._pass(self.dice.choice((LEASE / 2, LEASE + 1, EFFECTS + 1)))
            request_id, size = f"{number}-{turn}", self.dice.choice((1, 2, 3, 3))
            references = tuple(self.dice.sample(REFERENCES, size))
            self.begun[request_id] = references
            await self._want(request_id, references)
            if self.dice.random() < 0.5:
                await self._want(*self.dice.choice(list(self.begun.items())))

    async def _want(self, request_id: str, references: tuple[str, ...]) -> None:
        store, token = self.store.at(references), self._token()
        new = new_claim(request_id, references=references, holder=token, lease=LEASE, effects=EFFECTS)
        got: Begun | Held | Busy | None = None
        for _ in range(2):
            try:
                got = await store.begin(new)
                break
            except StoreUnavailableError:
                pass
        if got is None:
            await self._try(store.release(request_id, token))
            return
        self.witness.count(type(got).__name__)
        if isinstance(got, Begun) or got.claim.holder == token:
            await self._hold(store, new, got.claim)
        elif got.claim.state is ClaimState.IN_DOUBT and got.claim.lease_left <= 0:
            await self._take_over(got.claim)

    async def _hold(self, store: SlotClaims, new: NewClaim, claim: Claim) -> None:
        if claim.state is not ClaimState.IN_DOUBT:
            return
        self.witness.enter(claim)
        for _ in range(self.dice.randrange(20)):
            await asyncio.sleep(0)
        match self.dice.choice(("finish", "finish", "release", "leave", "die")):
            case "finish":
                await self._finish(store, new, new.holder)
            case "release":
                self.witness.leave(new.request_id)
                await self._try(store.release(new.request_id, new.holder))
            case "leave":
                await self._try(store.leave_in_doubt(new.request_id, new.holder, effects=EFFECTS))
            case _:
                pass

    async def _take_over(self, claim: Claim) -> None:
        store, token = self.store.at(claim.references), self._token()
        try:
            taken = await store.take_over(claim.request_id, token, LEASE)
        except StoreUnavailableError:
            return
        if taken is None:
            return
        self.witness.count("taken over")
        new = new_claim(claim.request_id, references=claim.references, holder=token)
        if self.dice.random() < 0.5:
            await self._finish(store, new, token)
        elif taken.effects_end_in <= 0:
            self.witness.leave(claim.request_id)
            await self._try(store.settle(claim.request_id, token))

    async def _finish(self, store: SlotClaims, new: NewClaim, token: str) -> None:
        for _ in range(2):
            if await self._try(
                store.finish(
                    new.request_id,
                    token,
                    b"answer",
                    fallback=new,
                    allocated=new.references,
                    deallocated=(),
                )
            ):
                return

    @staticmethod
    async def _try(step: Any) -> bool:
        try:
            await step
        except StoreUnavailableError:
            return False
        return True

    async def _tidy(self) -> None:
        """Long after: whoever meets a claim in doubt finds out that it had no effect."""
        self._pass(LEASE + EFFECTS + 1)
        for request_id, references in self.begun.items():
            store = self.store.at(references)
            claim = await store.read(request_id)
            if claim is not None and claim.state is ClaimState.IN_DOUBT:
                assert await store.take_over(request_id, "tidy", LEASE) is not None
                assert await store.settle(request_id, "tidy")

    async def _look(self) -> None:
        """Whatever has happened, nothing is locked for good, and of each reference it is known whose it is."""
        for reference in REFERENCES:
            got = await self.store.at((reference,)).begin(new_claim(f"last-{reference}", references=(reference,)))
            assert isinstance(got, Begun), f"{reference} stays locked"
            owner = self.witness.owners.get(reference, "")
            if owner is not None:
                assert got.claim.owners.get(reference, "") == owner
            await self.store.at((reference,)).release(f"last-{reference}", "holder")
        everything = new_claim("everything", references=REFERENCES)
        assert isinstance(await self.store.at(REFERENCES).begin(everything), Begun)
        await self.store.at(REFERENCES).release("everything", "holder")
        assert self.wire.server.locked() == []
        assert self._client is None or self._client.keys("*:lock") == []


def lived_through(client: redis.Redis | None, count: int) -> dict[str, int]:
    """Lets worlds run to their end. Returns how often each thing has happened in them."""
    told: dict[str, int] = {}
    for seed in range(count):
        world = World(client, seed)
        try:
            asyncio.run(world.run())
        except AssertionError as error:
            error.add_note(f"seed {seed}")
            raise
        for what, times in world.witness.told.items():
            told[what] = told.get(what, 0) + times
    return told


@pytest.mark.properties
def test_no_order_of_steps_gives_a_reference_to_two_or_to_nobody() -> None:
    """Steps of several writes over several slots, interleaved, late, and lost on their way there or back."""
    told = lived_through(None, WORLDS)
    # It was not all quiet.
    for step in ("begin", "lock", "confirm", "finish", "ended", "release", "unlock"):
        assert told.get(f"{step} late", 0) > 0, step
        assert told.get(f"{step} lost", 0) > 0, step
    assert min(told["Begun"], told["Busy"], told["Held"], told["taken over"]) > WORLDS // 5


@pytest.mark.cache
def test_the_script_does_the_same_step_by_step(server: CacheServer) -> None:
    with redis.Redis(port=server.port) as client:
        assert lived_through(client, REAL_WORLDS)["Begun"] > REAL_WORLDS

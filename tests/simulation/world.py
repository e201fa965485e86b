"""One simulated world: several gateways that share a store, their callers, and what happens to all of them.

A world is decided by its seed and by what is left out of it. It is small, so that many can be tried, and ends when
everything is known that can be known.
"""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Final

import msgspec
from allocation_gateway.claims.memory import MemoryClaims
from allocation_gateway.errors import GatewayError
from allocation_gateway.operations.model import Api
from chaos.check import Checker, conclusive
from chaos.history import SIMULATED, Call, History, Incident, Operation, Run
from chaos.plan import Step
from chaos.requests import asking, is_reconciled, outcomes, references_of
from google.rpc import error_details_pb2
from support.slot_server import SlotServer

from simulation.dice import Dice, Mask, spread
from simulation.loop import simulated
from simulation.process import DiedError, Process, Surroundings, settings
from simulation.store import Weather
from simulation.upstream import Model, known_as

if TYPE_CHECKING:
    import random

    from chaos import plan
    from chaos.check import Violation
    from chaos.requests import Asking

PROCESSES: Final = 3
SESSIONS: Final = 24
_NO_GENERATOR: Final = -1
_RETENTION: Final = 86_400.0
_SINGLE: Final = {"ship": ("default", "service"), "consignments": ("default", "group")}
_BULK: Final = {"ship": ("bulk default",), "consignments": ("bulk default", "bulk deallocate")}
_KINDS: Final = ("single", "sequence", "contest", "bulk", "beside", "outside")
_KIND_WEIGHTS: Final = tuple(accumulate((46, 24, 12, 6, 6, 6)))
# Of what is touched from outside, so much is cancelled in the end.
_CANCELLED: Final = 0.2
_FATES: Final[tuple[plan.Fate, ...]] = ("patient", "hurried", "quitter", "twin", "reuser", "repeater")
_FATE_WEIGHTS: Final = tuple(accumulate((58, 12, 6, 10, 4, 10)))
# Seconds that callers wait for one answer, and for how long they go on asking.
_PATIENCE: Final = {"hurried": (0.3, 20.0)}
_USUAL_PATIENCE: Final = (20.0, 120.0)
_MOST_CALLS: Final = 8
_MOST_SECONDS: Final = 900.0
# How often it is asked in the end; and while another write of the same shipment waits for its turn in upstream's queue.
_SETTLING: Final = 3
_MOST_SETTLING: Final = 12
# How many requests are struck: in most worlds few, so that many writes can be tried.
_RATES: Final = (0.0, 0.04, 0.2, 0.4)
_RATE_WEIGHTS: Final = tuple(accumulate((55, 32, 10, 3)))
# Of the answers, so many are lost on their way to the caller.
_LOST: Final = 0.02
# Of the consignments that are asked for, so many are spelled in another case than upstream's.
_RESPELLED: Final = 0.3
# Seconds by which an adopted allocation may be older than its write: the tolerance, and dates are cut to seconds.
_TOLERANCE: Final = 3.5
_NOTHING: Final = Mask()


class World:
    """One world.

    Attributes:
        history: What has happened.
        writes: How many writes were asked for.
        undecided: Of how many of them it can never be known what became of them.
    """

    def __init__(self, seed: int, mask: Mask = _NOTHING, *, kind: str = "") -> None:
        """Decides what is to happen.

        Args:
            seed: Decides all of it.
            mask: What is left out.
            kind: What all callers do, with faults as often as there can be; empty leaves both to the seed.
        """
        self._dice = Dice(seed)
        self._mask = mask
        self._kind = kind
        common = self._dice.of(_NO_GENERATOR)
        configured = settings()
        is_guarded = common.random() < 0.5
        self._rate = common.choices(_RATES, cum_weights=_RATE_WEIGHTS)[0] if not kind else max(_RATES)
        self._reads_before = common.random() < 0.1
        self._kills = common.random() < 0.3 and not mask.without_kills
        self._bad_store = common.random() < 0.4 and not mask.without_store_faults
        self._outage = common.random() < 0.05
        self._on_cluster = common.random() < 0.3
        self.writes = 0
        self.undecided = 0
        self.history = History(
            Run(
                phase=SIMULATED,
                seed=seed,
                guard=is_guarded,
                timeout=configured.ship.timeout,
                settle=configured.ship.settle_time,
                lease=configured.claim_lease,
                breaker=60.0,
                tolerance=_TOLERANCE,
                burst=1000,
                reads_before=self._reads_before,
            )
        )
        self._numbers = 0
        self._steps: list[tuple[Step, Asking, random.Random]] = []
        self._last: dict[str, Call] = {}

    def run(self) -> list[Violation]:
        """Lets everything happen, and returns what was broken."""
        simulated(self._live())
        checker = Checker(self.history)
        self.undecided = checker.undecided()
        return checker.violations()

    def story(self, violations: list[Violation]) -> list[str]:
        """Returns what happened to the shipments of what was broken, in the order of time; to all if nothing was."""
        ids = {one.id for one in violations}
        operations = [one for one in self.history.operations if not ids or one.id in ids]
        references = {name for one in operations for name in one.references} | ids
        found = [(one.started, f"{one.kind} until {one.ended:.3f}") for one in self.history.incidents]
        for call in self.history.calls:
            if references & set(call.references):
                told = " ".join(filter(None, (call.code, call.reason, call.effect, "reconciled" * call.reconciled)))
                how = f"call {call.number} of {call.id[:6]} at {call.replica}, {call.role}, until {call.ended:.3f}"
                found.append((call.started, f"{how}: {told}"))
        for request in self.history.requests:
            if references & set(request.references):
                line = f"{request.method} {request.path} for {request.trace[:6]}"
                how = f"{request.fault or 'no fault'}, status {request.status}, told {request.delivered}"
                found.append((request.arrived, f"  {line}, until {request.ended:.3f}: {how}"))
        found += [
            (one.time, f"    {one.reference} {one.kind} by {one.trace[:6]}")
            for one in self.history.effects
            if one.reference in references
        ]
        return [f"{moment:10.3f} {text}" for moment, text in sorted(found)]

    def digest(self) -> str:
        """Returns what tells this history from any other."""
        encode = msgspec.json.Encoder().encode
        return hashlib.sha256(b"".join(encode(record) for record in self.history.records())).hexdigest()

    async def _live(self) -> None:
        loop = asyncio.get_running_loop()
        self._clock = loop.time
        common = self._dice.of(_NO_GENERATOR - 1)
        store_offset = common.uniform(-1e6, 1e6)

        def store_clock() -> float:
            return loop.time() + store_offset

        claims: dict[Api, MemoryClaims | SlotServer] = {
            api: SlotServer(store_clock)
            if self._on_cluster
            else MemoryClaims(size=100_000, retention=_RETENTION, clock=store_clock)
            for api in Api
        }
        weather = Weather(self._dice.of(_NO_GENERATOR - 2))
        self._model = Model(self.history, common, settle=self.history.run.settle)
        more = (("SHIP_READ_BEFORE_WRITE", "true"), ("CONSIGNMENTS_READ_BEFORE_WRITE", "true"))
        self._surroundings = Surroundings(self._model, claims, weather, more if self._reads_before else ())
        self._processes = [self._start(number) for number in range(PROCESSES)]
        disturbing = [
            *([asyncio.create_task(self._kill())] if self._kills else []),
            *([asyncio.create_task(self._disturb_store(weather))] if self._bad_store else []),
            *([asyncio.create_task(self._fail_upstream())] if self._outage else []),
        ]
        running = [
            self._session(number, self._dice.of(number))
            for number in range(SESSIONS)
            if number not in self._mask.sessions
        ]
        await asyncio.gather(*running, *disturbing)
        weather.is_bad = False
        await asyncio.sleep(2 * self.history.run.settle + self.history.run.lease)
        await self._settle()
        await asyncio.sleep(2 * self.history.run.settle)

    def _start(self, number: int) -> Process:
        self._numbers += 1
        name = f"p{number}.{self._numbers}"
        return Process(name, number, self._surroundings, self._dice.of(-100 - self._numbers))

    # What happens to all.

    async def _kill(self) -> None:
        dice = self._dice.of(_NO_GENERATOR - 3)
        for _ in range(dice.randint(1, 4)):
            await asyncio.sleep(spread(dice, 0.05, 60.0))
            number = dice.randrange(PROCESSES)
            started = self._clock()
            process = self._processes[number]
            if dice.random() < 0.7:
                process.kill()
            else:
                await process.terminate(dice.uniform(0.0, 25.0))
            await asyncio.sleep(dice.uniform(0.0, 3.0))
            self._processes[number] = self._start(number)
            self.history.add(Incident("gateway killed", started, self._clock(), number))

    async def _disturb_store(self, weather: Weather) -> None:
        dice = self._dice.of(_NO_GENERATOR - 4)
        for _ in range(dice.randint(1, 3)):
            await asyncio.sleep(spread(dice, 0.05, 60.0))
            started, weather.is_bad = self._clock(), True
            await asyncio.sleep(spread(dice, 0.5, 60.0))
            weather.is_bad = False
            # What was asked last may still be on its way.
            self.history.add(Incident("slow store", started, self._clock() + 20.0))

    async def _fail_upstream(self) -> None:
        dice = self._dice.of(_NO_GENERATOR - 5)
        await asyncio.sleep(spread(dice, 0.05, 30.0))
        started, self._model.outage = self._clock(), True
        await asyncio.sleep(spread(dice, 1.0, 120.0))
        self._model.outage = False
        self.history.add(Incident("upstream restarted", started, self._clock()))

    # The callers.

    async def _session(self, number: int, dice: random.Random) -> None:
        kind = self._kind or dice.choices(_KINDS, cum_weights=_KIND_WEIGHTS)[0]
        api: plan.Api = "ship" if dice.random() < 0.6 else "consignments"
        size = dice.randint(2, 4) if kind in {"bulk", "beside"} else 1
        references = tuple(_reference(api, number * 8 + index) for index in range(size + 1))
        for reference in references:
            self._model.add(reference, dice, self._mask.faults, self._rate)
        *named, spare = references
        names = tuple(named)
        await asyncio.sleep(dice.uniform(0.0, 30.0))
        match kind:
            case "bulk":
                how = dice.choice(_BULK[api])
                first = [self._step(dice, api, "bulk default", names)] if how == "bulk deallocate" else []
                clients = [[*first, self._step(dice, api, how, names)]]
            case "beside":
                clients = self._beside(dice, api, names)
            case "sequence":
                hows = (dice.choice(_SINGLE[api]), "deallocate", dice.choice(_SINGLE[api]))
                clients = [[self._step(dice, api, how, names) for how in hows]]
            case "contest":
                clients = [
                    [self._step(dice, api, dice.choice(_SINGLE[api]), names, after=spread(dice, 0.001, 10.0))]
                    for _ in range(dice.randint(2, 3))
                ]
            case _:
                after = spread(dice, 0.01, 20.0) if kind == "outside" else 0.0
                clients = [[self._step(dice, api, dice.choice(_SINGLE[api]), names, after)]]
        work = [self._client(steps, spare, dice) for steps in clients]
        if kind == "outside":
            step = clients[0][0]
            work.append(self._outside(step.references[0], step.id.hex, 4, dice))
        await asyncio.gather(*work)

    def _beside(self, dice: random.Random, api: plan.Api, names: tuple[str, ...]) -> list[list[Step]]:
        """Returns what callers do of whom one asks for everything at once, and others for some of it, one by one."""
        together = self._step(dice, api, dice.choice(_BULK[api]), names, after=spread(dice, 0.001, 10.0))
        clients = [[together]]
        for name in names[: dice.randint(1, 2)]:
            hows = [dice.choice((*_SINGLE[api], "deallocate")) for _ in range(dice.randint(1, 4))]
            clients.append([self._step(dice, api, how, (name,), after=spread(dice, 0.001, 10.0)) for how in hows])
        return clients

    @staticmethod
    def _step(dice: random.Random, api: plan.Api, how: str, references: tuple[str, ...], after: float = 0.0) -> Step:
        fate = dice.choices(_FATES, cum_weights=_FATE_WEIGHTS)[0]
        timeout = spread(dice, *_PATIENCE.get(fate, _USUAL_PATIENCE))
        return Step(uuid.UUID(int=dice.getrandbits(128), version=4), api, how, references, fate, timeout, after)

    async def _outside(self, reference: str, trace: str, times: int, dice: random.Random) -> None:
        """Allocates and de-allocates by turns, past the gateway, and may cancel it in the end."""
        ways = ["deallocate" if number % 2 else "allocate" for number in range(times)]
        if dice.random() < _CANCELLED:
            ways[-1] = "cancel"
        for what in ways:
            await asyncio.sleep(spread(dice, 0.01, 20.0))
            self._model.outside(reference, what, trace)

    async def _client(self, steps: list[Step], spare: str, dice: random.Random) -> None:
        for step in steps:
            await asyncio.sleep(step.after)
            await self._want(step, spare, dice)

    async def _want(self, step: Step, spare: str, dice: random.Random) -> None:
        asked = asking(step, spelled(dice, step.references), "")
        self._steps.append((step, asked, dice))
        self.writes += 1
        self.history.operations.append(
            Operation(step.id.hex, asked.verb, asked.method, step.references, step.fate, asked.carrier_service)
        )
        match step.fate:
            case "quitter":
                await self._ask(step, asked, "first", dice, patience=spread(dice, 0.001, 60.0))
            case "twin":
                copy = asyncio.create_task(self._ask_later(step, asked, spread(dice, 0.0005, 2.0), dice))
                await self._pursue(step, asked, dice)
                await copy
            case "reuser":
                call = await self._pursue(step, asked, dice)
                if call.code == "OK":
                    other = asking(step, _other(dice, asked, spare), "")
                    await self._ask(step, other, "other", dice)
            case "repeater":
                call = await self._pursue(step, asked, dice)
                if conclusive(call) and call.code == "OK":
                    await asyncio.sleep(spread(dice, 0.001, 3_600.0))
                    await self._ask(step, asked, "repeat", dice)
            case _:
                await self._pursue(step, asked, dice)

    async def _ask_later(self, step: Step, asked: Asking, seconds: float, dice: random.Random) -> None:
        await asyncio.sleep(seconds)
        await self._ask(step, asked, "copy", dice)

    async def _pursue(self, step: Step, asked: Asking, dice: random.Random) -> Call:
        end = self._clock() + _MOST_SECONDS
        call = await self._ask(step, asked, "first", dice)
        for attempt in range(1, _MOST_CALLS):
            if conclusive(call) or self._clock() > end:
                break
            await asyncio.sleep(max(dice.uniform(0.0, min(0.1 * 2**attempt, 60.0)), call.retry_after or 0.0))
            call = await self._ask(step, asked, "retry", dice)
        return call

    async def _ask(
        self, step: Step, asked: Asking, role: str, dice: random.Random, patience: float | None = None
    ) -> Call:
        self._numbers += 1
        replica = dice.randrange(PROCESSES)
        is_lost = dice.random() < _LOST and role != "settling"
        timeout = 120.0 if role in {"settling", "repeat", "other"} else step.timeout
        started = self._clock()
        call = Call(
            number=self._numbers,
            id=step.id.hex,
            references=tuple(map(known_as, references_of(asked.message))),
            role=role,
            replica=replica,
            started=started,
            ended=started,
            deadline=started + timeout,
            code="OK",
        )
        work = self._processes[replica].call(asked.message, call.deadline, call.id)
        try:
            response = await (work if patience is None else asyncio.wait_for(work, patience))
            call.digest = _digest(response)
            call.reconciled = is_reconciled(response)
            call.outcomes = {known_as(name): outcome for name, outcome in outcomes(response).items()}
        except GatewayError as error:
            call.code, call.reason = error.code.name, error.reason_name
            call.effect = error.info.get("effect", "")
            call.retry_after = next(
                (one.retry_delay.ToNanoseconds() / 1e9 for one in error.details if isinstance(one, _RETRY)), None
            )
        except DiedError:
            call.code = "UNAVAILABLE"
        except TimeoutError:
            call.code = "CANCELLED"
        if is_lost:
            call.code, call.reason, call.effect, call.digest = "UNAVAILABLE", "", "", ""
            call.reconciled, call.outcomes = False, {}
        call.ended = self._clock()
        self.history.calls.append(call)
        if role != "other":
            self._last[call.id] = call
        return call

    async def _settle(self) -> None:
        """After all faults: asks again for what is not known."""
        self._model.calm = True
        work = []
        for step, asked, dice in self._steps:
            if not conclusive(self._last[step.id.hex]):
                work.append(self._settle_one(step, asked, dice))
        await asyncio.gather(*work)

    async def _settle_one(self, step: Step, asked: Asking, dice: random.Random) -> None:
        for number in range(_MOST_SETTLING):
            call = await self._ask(step, asked, "settling", dice)
            if conclusive(call) or (number + 1 >= _SETTLING and call.code != "ABORTED"):
                return
            await asyncio.sleep(call.retry_after or 0.2)


def _digest(response: Any) -> str:
    """Returns what tells one response from another. That of labels is not among them, so that nothing is left out."""
    return response.SerializeToString(deterministic=True).hex()  # type: ignore[no-any-return]


_RETRY: Final = error_details_pb2.RetryInfo


def spelled(dice: random.Random, references: tuple[str, ...]) -> tuple[str, ...]:
    """Returns references as a caller may write them: those of consignments in any case."""
    if references[0].startswith("sp_") or dice.random() >= _RESPELLED:
        return references
    return tuple(dice.choice((name.lower(), name.title(), name)) for name in references)


def _other(dice: random.Random, asked: Asking, spare: str) -> tuple[str, ...]:
    """Returns what another request with a used id is for: something else, or the same in another spelling."""
    same = tuple(name.swapcase() for name in references_of(asked.message))
    return (spare,) if same[0].startswith("SP_") or dice.random() < 0.5 else same


def _reference(api: str, number: int) -> str:
    return f"sp_{number:032d}" if api == "ship" else f"EC-000-{number // 1000:03d}-{number % 1000:03d}"

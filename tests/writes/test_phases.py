"""One write by itself, in virtual time, with the store in memory and an upstream whose every answer is dictated.

Every phase and every transition that is legal is walked through here, and every other one is refused.
"""

from __future__ import annotations

import asyncio
import json
from email.utils import formatdate
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import pytest
from allocation.v1 import shipment_allocation_service_pb2 as pb
from allocation_gateway.account_api import AccountApi
from allocation_gateway.claims.memory import MemoryClaims
from allocation_gateway.claims.model import ClaimState, StoreUnavailableError
from allocation_gateway.errors import GatewayError, WriteEffect
from allocation_gateway.operations.model import Api
from allocation_gateway.operations.table import OPERATIONS, routes
from allocation_gateway.settings import PREFIX, load
from allocation_gateway.telemetry.telemetry import Telemetry
from allocation_gateway.upstream.client import Upstream
from allocation_gateway.upstream.http import Answer, NoAnswerError
from allocation_gateway.writes.environment import BackgroundSteps, Environment
from allocation_gateway.writes.phases import TRANSITIONS, IllegalTransitionError, Phase, Progress
from allocation_gateway.writes.request import WriteRequest
from allocation_gateway.writes.write import Write
from support.virtual import run

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from allocation_gateway.claims.model import ClaimStore
    from allocation_gateway.settings import Settings
    from allocation_gateway.upstream.http import Attempt

ROW: Final = next(row for row in OPERATIONS if row.request is pb.AllocateShipmentRequest)
ID: Final = "00000000-0000-4000-8000-000000000001"
REFERENCE: Final = "sp_1"
BOOKED: Final = b'{"shipment_reference":"sp_1","state":"allocated"}'
REFUSED: Final = b'{"code":"allocation_failed","details":[{"code":"no_service"}]}'
OF_STATE: Final = b'{"code":"allocation_failed","details":[{"code":"shipment_invalid_state"}]}'
BUSY: Final = b'{"code":"processing"}'
UNALLOCATED: Final = b'{"reference":"sp_1","state":"unallocated"}'
WAITING, HELD, SENDING, IN_DOUBT, ENDED = Phase
# The walks that are taken below, each in the test of its name.
SENT_ONCE: Final = [WAITING, HELD, SENDING, ENDED]
REMEMBERED: Final = [WAITING, ENDED]
REFUSED_FOR_A_MOMENT: Final = [WAITING, HELD, SENDING, HELD, SENDING, ENDED]
READ_BACK: Final = [WAITING, HELD, SENDING, IN_DOUBT, ENDED]
SENT_AGAIN: Final = [WAITING, HELD, SENDING, IN_DOUBT, HELD, SENDING, ENDED]
TAKEN_OVER: Final = [WAITING, IN_DOUBT, HELD, SENDING, ENDED]
CALLED_OFF: Final = [WAITING, HELD, SENDING, HELD, ENDED]
REFUSED_FOR_GOOD: Final = CALLED_OFF


def settings(**more: str) -> Settings:
    given = {"ALLOW_PLAINTEXT": "true", "SHIP_API_KEY": "key", "SHIP_BASE_URL": "http://127.0.0.1:1", **more}
    return load({f"{PREFIX}{name}": text for name, text in given.items()})


class Scripted:
    """An engine that answers writes by a script, and readings by how the shipment stands."""

    def __init__(self, *script: Callable[[], Answer]) -> None:
        self.script = list(script)
        self.sent: list[str] = []
        self.shown = UNALLOCATED
        # How some shipments stand, if not all are alike.
        self.shown_of: dict[str, bytes] = {}
        self.held: asyncio.Event | None = None

    def use_headers(self, headers: Sequence[tuple[str, str]]) -> None:
        """Has nothing to do with headers."""

    def connections(self) -> Mapping[str, int]:
        """Has none."""
        return {}

    async def exchange(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None,
        headers: Sequence[tuple[bytes, bytes]],
        attempt: Attempt,
    ) -> Answer:
        """Answers a request."""
        del body, headers
        attempt.begin()
        self.sent.append(method)
        if method == "GET":
            return answer(200, self.shown_of.get(path.rpartition("/")[2], self.shown))
        if self.held is not None:
            await self.held.wait()
        return self.script.pop(0)()

    async def close(self) -> None:
        """Does nothing."""


def answer(status: int, body: bytes, **headers: str) -> Answer:
    now = asyncio.get_running_loop().time()
    return Answer(status, {"date": formatdate(now, usegmt=True), **headers}, body, head_at=now)


def told(status: int, body: bytes, **headers: str) -> Callable[[], Answer]:
    return lambda: answer(status, body, **headers)


def lost() -> Answer:
    raise NoAnswerError("the connection was lost")


def shown(seconds: float = 0.0, reference: str = REFERENCE) -> bytes:
    """Returns a shipment that was allocated so many seconds ago, by upstream's clock, which is the loop's."""
    made = formatted(asyncio.get_running_loop().time() - seconds)
    return json.dumps({"reference": reference, "state": "allocated", "allocation": {"allocation_date": made}}).encode()


def formatted(seconds: float) -> str:
    return f"1970-01-01T00:{int(seconds // 60):02d}:{seconds % 60:09.6f}Z"


class TracedProgress(Progress):
    """A progress that remembers the phases it went through."""

    def __init__(self) -> None:
        super().__init__()
        self.walked = [self.phase]

    def enter(self, phase: Phase) -> None:
        """Goes on to a phase."""
        super().enter(phase)
        self.walked.append(phase)


class Traced(Write):
    """A write that remembers the phases it went through."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.progress = self._traced = TracedProgress()

    @property
    def walked(self) -> list[Phase]:
        """The phases, the first one first."""
        return self._traced.walked


class Bench:
    """What a write needs."""

    def __init__(self, engine: Scripted, api: Api = Api.SHIP, store: ClaimStore | None = None, **more: str) -> None:
        configured = settings(**more)
        loop = asyncio.get_running_loop()
        self.engine = engine
        self.store = store or MemoryClaims(size=100, retention=3_600.0, clock=loop.time)
        telemetry = Telemetry()
        upstream = Upstream(configured, api, configured.key(api.value), engine)
        self.api = AccountApi(configured, upstream, self.store, None, telemetry, now=loop.time, uniform=lambda: 0.5)
        self.environment = Environment(10.0, 2.0, telemetry, "p", BackgroundSteps())
        self.observation = telemetry.background()
        self.routes = routes(configured)

    def write(
        self, *, request_id: str = ID, seconds: float = 100.0, is_named: bool = True, message: Any = None
    ) -> Traced:
        message = message or pb.AllocateShipmentRequest(shipment_reference=REFERENCE, request_id=request_id)
        row = next(row for row in OPERATIONS if row.request is type(message))
        request = WriteRequest(row, self.routes[row.full_name], message, is_named, f"1:{message}", None)
        return Traced(self.environment, self.api, request, self.observation, self.api.clock() + seconds)


async def failed(write: Write) -> GatewayError:
    with pytest.raises(GatewayError) as caught:
        await write.run()
    return caught.value


def test_only_the_transitions_of_the_table_are_legal() -> None:
    for before in Phase:
        for after in Phase:
            progress = Progress()
            progress.phase = before
            if after in TRANSITIONS[before]:
                progress.enter(after)
                assert progress.phase is after
            else:
                with pytest.raises(IllegalTransitionError, match=f"from {before.value} to {after.value}"):
                    progress.enter(after)
                assert progress.phase is before


def test_every_legal_transition_is_taken_by_a_walk_of_these_tests() -> None:
    walks = (SENT_ONCE, REMEMBERED, REFUSED_FOR_A_MOMENT, READ_BACK, SENT_AGAIN, TAKEN_OVER, CALLED_OFF)
    taken = {step for walk in walks for step in pairwise(walk)}
    assert taken == {(before, after) for before, afters in TRANSITIONS.items() for after in afters}


def test_what_waits_for_another_attempt_is_called_off_and_leaves_no_claim() -> None:
    """What was sent for it had no effect: nobody waits for it any more, and it ends as not made."""

    async def work() -> None:
        bench = Bench(Scripted(told(429, b'{"code":"too_many"}', **{"retry-after": "3"}), told(200, BOOKED)))
        write = bench.write()
        task = asyncio.create_task(write.run())
        await asyncio.sleep(1.0)
        assert (write.phase, write.call_off()) == (HELD, True)
        task.cancel()
        await asyncio.wait([task])
        assert write.walked == CALLED_OFF
        assert write.deadline_error().effect is WriteEffect.NONE
        await asyncio.sleep(0.1)
        assert await bench.store.read(ID) is None
        assert bench.engine.sent == ["PUT"]

    run(work())


def test_a_write_that_is_answered_holds_sends_and_ends() -> None:
    async def work() -> None:
        bench = Bench(Scripted(told(200, BOOKED)))
        write = bench.write()
        await write.run()
        assert write.walked == SENT_ONCE
        claim = await bench.store.read(ID)
        assert claim is not None
        assert claim.state is ClaimState.DONE

    run(work())


def test_a_failure_that_may_be_left_from_before_is_no_refusal() -> None:
    """202 says that upstream has taken the request in hand: the state may be that from before it."""
    failed_before = b'{"shipment_reference":"sp_1","state":"allocation_failed"}'

    async def work() -> None:
        bench = Bench(Scripted(told(202, failed_before)))
        bench.engine.shown = b'{"reference":"sp_1","state":"allocation_failed"}'
        write = bench.write()
        task = asyncio.create_task(write.run())
        await asyncio.sleep(5.0)
        assert write.phase is IN_DOUBT
        bench.engine.shown = shown()
        response: Any = (await task).response
        assert response.allocation.reconciled
        assert write.walked == READ_BACK

    run(work())


@pytest.mark.parametrize(
    ("status", "more"),
    [(200, b""), (202, b',"details":[{"code":"c"}]'), (202, b',"excluded_services":[{"exclusion":{"code":"ex_tag"}}]')],
)
def test_a_failure_of_this_request_is_a_refusal(status: int, more: bytes) -> None:
    async def work() -> None:
        body = b'{"shipment_reference":"sp_1","state":"allocation_failed"%b}' % more
        error = await failed(Bench(Scripted(told(status, body))).write())
        assert (error.reason_name, error.effect) == ("ALLOCATION_FAILED", WriteEffect.NONE)

    run(work())


def test_a_repeat_of_what_is_done_ends_while_it_waits() -> None:
    async def work() -> None:
        bench = Bench(Scripted(told(200, BOOKED)))
        first = await bench.write().run()
        again = bench.write()
        assert (await again.run()).response == first.response
        assert again.walked == REMEMBERED
        assert bench.engine.sent == ["PUT"]

    run(work())


def test_what_was_refused_for_a_moment_is_held_and_sent_again() -> None:
    async def work() -> None:
        bench = Bench(Scripted(told(404, BUSY), told(200, BOOKED)))
        write = bench.write()
        await write.run()
        assert write.walked == REFUSED_FOR_A_MOMENT

    run(work())


def test_a_refusal_ends_a_write_and_leaves_no_claim() -> None:
    async def work() -> None:
        bench = Bench(Scripted(told(521, REFUSED)))
        write = bench.write()
        error = await failed(write)
        assert (error.reason_name, error.effect) == ("ALLOCATION_FAILED", WriteEffect.NONE)
        assert write.walked == REFUSED_FOR_GOOD
        assert await bench.store.read(ID) is None

    run(work())


def test_a_refusal_for_the_state_is_a_doubt_until_that_is_read() -> None:
    async def work() -> None:
        bench = Bench(Scripted(told(521, OF_STATE)))
        bench.engine.shown = shown(60.0)
        write = bench.write()
        error = await failed(write)
        assert (error.reason_name, error.effect) == ("INVALID_STATE", WriteEffect.NONE)
        assert write.walked == READ_BACK
        assert await bench.store.read(ID) is None

    run(work())


def test_a_refusal_for_the_state_leaves_its_claim_if_what_is_read_is_not_the_reason() -> None:
    async def work() -> None:
        bench = Bench(Scripted(told(521, OF_STATE)))
        write = bench.write()
        error = await failed(write)
        assert (error.reason_name, error.effect) == ("OUTCOME_UNKNOWN", WriteEffect.UNKNOWN)
        claim = await bench.store.read(ID)
        assert claim is not None
        assert claim.state is ClaimState.IN_DOUBT

    run(work())


def test_a_refusal_is_told_although_the_store_does_not_answer_in_time() -> None:
    """It is known that nothing was done: what the store makes of the claim does not change that."""

    async def work() -> None:
        bench = Bench(Scripted(told(521, REFUSED)))
        deaf: Any = Deaf(bench.store)

        async def release(*arguments: Any) -> None:
            await asyncio.sleep(1.0)
            await bench.store.release(*arguments)

        deaf.release = release
        bench.api.store = deaf
        write = bench.write()
        task = asyncio.create_task(write.run())
        await asyncio.sleep(0.5)
        error = write.deadline_error()
        assert (error.reason_name, error.effect) == ("ALLOCATION_FAILED", WriteEffect.NONE)
        assert write.call_off()
        task.cancel()
        await asyncio.wait([task])
        await asyncio.sleep(2.0)
        assert await bench.store.read(ID) is None

    run(work())


ANOTHER: Final = ID[:-1] + "2"
BULK: Final = pb.AllocateShipmentsRequest(shipments=["sp_1", "sp_2"], request_id=ID)


def done_in_part(bench: Bench) -> Callable[[], Answer]:
    """Returns an attempt that books one of two shipments and whose answer is lost."""

    def part_booked_and_lost() -> Answer:
        bench.engine.shown_of = {"sp_1": shown(), "sp_2": UNALLOCATED.replace(b"sp_1", b"sp_2")}
        return lost()

    return part_booked_and_lost


def assert_one_was_made(response: Any) -> None:
    assert [item.shipment_reference for item in response.allocations] == ["sp_1"]
    assert [list(item.references) for item in response.rejected] == [["sp_2"]]
    assert response.allocations[0].reconciled
    assert not response.unaccounted


@pytest.mark.parametrize("is_given_up", [True, False])
def test_what_was_done_in_part_and_undone_by_another_write_is_not_done_again(is_given_up: bool) -> None:
    """The other write resolves the abandoned one and takes away what that has made. A repeat asks what became of it."""

    async def work() -> None:
        bench = Bench(Scripted())
        bench.engine.script = [done_in_part(bench), told(200, b'{"reference":"sp_1"}')]
        if is_given_up:
            await given_up(bench, BULK)
            await asyncio.sleep(100.0)
        else:
            await failed(bench.write(message=BULK))
        await bench.write(message=pb.DeallocateShipmentRequest(shipment_reference="sp_1", request_id=ANOTHER)).run()
        bench.engine.shown_of["sp_1"] = UNALLOCATED
        sent = len(bench.engine.sent)
        assert_one_was_made((await bench.write(message=BULK).run()).response)
        assert len(bench.engine.sent) == sent

    run(work())


def test_a_bulk_call_of_one_that_is_known_to_have_had_no_effect_is_refused_and_not_left_unknown() -> None:
    """Another write has found that out, and then allocated the shipment itself."""
    message = pb.AllocateShipmentsRequest(shipments=["sp_1"], request_id=ID)

    async def work() -> None:
        bench = Bench(Scripted())
        bench.engine.script = [lost, told(202, b'{"queued":["sp_1"],"rejected":[]}')]
        await given_up(bench, message)
        await asyncio.sleep(100.0)
        other = pb.AllocateShipmentsRequest(shipments=["sp_1"], request_id=ANOTHER)
        await bench.write(message=other).run()
        bench.engine.shown_of["sp_1"] = shown()
        response: Any = (await bench.write(message=message).run()).response
        assert [list(item.references) for item in response.rejected] == [["sp_1"]]
        assert not response.unaccounted

    run(work())


def test_the_rest_of_what_was_done_in_part_is_sent_by_a_repeat() -> None:
    async def work() -> None:
        bench = Bench(Scripted())
        bench.engine.script = [done_in_part(bench), told(202, b'{"queued":["sp_2"],"rejected":[]}')]
        error = await failed(bench.write(message=BULK))
        assert error.reason_name == "OUTCOME_UNKNOWN"
        response: Any = (await bench.write(message=BULK).run()).response
        assert sorted(response.queued) == ["sp_1", "sp_2"]
        assert not response.rejected

    run(work())


@pytest.mark.parametrize("seconds", [0.0, 0.5, 5.0, 29.0])
def test_a_lost_answer_is_read_back_however_old_its_effect_is(seconds: float) -> None:
    async def work() -> None:
        def booked_and_lost() -> Answer:
            bench.engine.shown = shown()
            return lost()

        bench = Bench(Scripted(booked_and_lost))
        bench.engine.held = asyncio.Event()
        bench.engine.shown = UNALLOCATED
        asyncio.get_running_loop().call_later(seconds, bench.engine.held.set)
        write = bench.write()
        response: Any = (await write.run()).response
        assert response.allocation.reconciled
        assert write.walked == READ_BACK

    run(work())


def test_what_had_no_effect_is_sent_again_when_it_can_have_none_any_more() -> None:
    async def work() -> None:
        bench = Bench(Scripted(lost, told(200, BOOKED)))
        write = bench.write()
        started = bench.api.clock()
        await write.run()
        assert write.walked == SENT_AGAIN
        assert bench.api.clock() - started >= bench.api.settle_time(ROW)
        assert bench.engine.sent.count("PUT") == 2

    run(work())


def test_what_is_taken_over_is_in_doubt_before_anything_is_sent() -> None:
    async def work() -> None:
        bench = Bench(Scripted(lost, told(200, BOOKED)))
        error = await failed(bench.write(seconds=1.0))
        assert (error.reason_name, error.effect) == ("OUTCOME_UNKNOWN", WriteEffect.UNKNOWN)
        later = bench.write()
        await later.run()
        assert later.walked == TAKEN_OVER

    run(work())


def test_a_write_whose_time_is_up_says_what_its_phase_knows() -> None:
    async def work() -> None:
        bench = Bench(Scripted(told(200, BOOKED)))
        bench.engine.held = asyncio.Event()
        named, unnamed = bench.write(), bench.write(request_id=ID[:-1] + "2", is_named=False)
        assert named.deadline_error().reason_name == "OUTCOME_UNKNOWN", (
            "nobody has asked yet whether it was sent before"
        )
        assert unnamed.deadline_error().effect is WriteEffect.NONE, "nobody else knows its id"
        task = asyncio.create_task(named.run())
        await asyncio.sleep(0.1)
        assert (named.phase, named.call_off()) == (SENDING, False)
        assert named.deadline_error().effect is WriteEffect.UNKNOWN
        task.cancel()
        await asyncio.wait([task])
        assert named.deadline_error().effect is WriteEffect.UNKNOWN, "what was given up is not denied"
        await asyncio.sleep(0.1)
        claim = await bench.store.read(ID)
        assert claim is not None
        assert (claim.state, claim.lease_left <= 0) == (ClaimState.IN_DOUBT, True), (
            "it is for the next caller to resolve"
        )

    run(work())


class Deaf:
    """A store that carries out what it is asked, and says nothing for a while."""

    def __init__(self, store: ClaimStore, *silent: str) -> None:
        self._store = store
        self.silent = set(silent)

    def at(self, references: tuple[str, ...]) -> Deaf:
        del references
        return self

    def __getattr__(self, name: str) -> Any:
        step = getattr(self._store, name)

        async def asked(*arguments: Any, **named: Any) -> Any:
            found = await step(*arguments, **named)
            if name in self.silent:
                raise StoreUnavailableError(name)
            return found

        return asked


async def given_up(bench: Bench, message: Any = None) -> None:
    """Leaves a write behind that was sent, and that nobody works on any more."""
    task = asyncio.create_task(bench.write(message=message).run())
    await asyncio.sleep(1.0)
    task.cancel()
    await asyncio.wait([task])
    await asyncio.sleep(0.1)


def test_what_was_taken_over_unheard_is_not_released_by_what_was_begun_unheard() -> None:
    """The claim is taken over, begun in vain, and released in vain. Nothing is sent before it was read back."""

    async def work() -> None:
        bench = Bench(Scripted(lost, told(200, BOOKED)))
        await given_up(bench)
        deaf: Any = Deaf(bench.store, "take_over")
        bench.api.store = deaf
        write = bench.write()
        task = asyncio.create_task(write.run())
        await asyncio.sleep(0.5)
        deaf.silent = {"begin"}
        await asyncio.sleep(3.0)
        claim = await bench.store.read(ID)
        assert claim is not None
        assert claim.state is ClaimState.IN_DOUBT, "what was known to be in doubt is not forgotten"
        deaf.silent = set()
        before = bench.engine.sent.count("PUT")
        await task
        assert before == 1
        assert write.walked[:2] == [WAITING, IN_DOUBT]
        assert bench.api.clock() >= 1_000.0 + bench.api.settle_time(ROW)

    run(work())


def test_a_doubt_outlives_the_stores_memory_of_it() -> None:
    """The store has lost the claim that was met, which nobody worked on: this is no first attempt."""

    async def work() -> None:
        bench = Bench(Scripted(lost, told(200, BOOKED)))
        await given_up(bench)
        deaf: Any = Deaf(bench.store, "take_over")
        bench.api.store = deaf
        write = bench.write()
        task = asyncio.create_task(write.run())
        await asyncio.sleep(0.5)
        claim = await bench.store.read(ID)
        assert claim is not None
        await bench.store.release(ID, claim.holder)
        assert await bench.store.read(ID) is None
        deaf.silent = set()
        await task
        assert write.walked == TAKEN_OVER
        assert bench.api.clock() >= 1_000.0 + bench.api.settle_time(ROW)

    run(work())


def test_a_claim_that_cannot_be_released_at_once_is_released_later() -> None:
    async def work() -> None:
        bench = Bench(Scripted(told(521, REFUSED)))
        deaf: Any = Deaf(bench.store)
        failures = iter([True, True, False])

        async def release(*arguments: Any) -> None:
            if next(failures):
                raise StoreUnavailableError("release")
            await bench.store.release(*arguments)

        deaf.release = release
        bench.api.store = deaf
        await failed(bench.write())
        assert await bench.store.read(ID) is not None
        await asyncio.sleep(5.0)
        assert await bench.store.read(ID) is None

    run(work())

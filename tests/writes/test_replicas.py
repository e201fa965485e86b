"""Two gateways that share their claims: a call may be repeated at the other one, and after the end of either."""

from __future__ import annotations

import signal
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import grpc
import pytest
import redis
from allocation.v1 import core_pb2
from allocation.v1 import shipment_allocation_service_pb2 as pb
from support.cache import CacheServer, running_cache
from support.front import LONG, running_front
from support.status import failure
from support.upstream import running_upstream
from support.world import HELD, LATE, LOST, STUCK, World
from writes.conftest import SETTINGS, SETTLE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from allocation.v1.shipment_allocation_service_pb2_grpc import ShipmentAllocationServiceStub
    from support.front import Front

pytestmark = pytest.mark.cache

LEASE: Final = 1.0
# Between two looks at a claim that is in the way.
LONGEST_PAUSE: Final = 2.0


@dataclass(frozen=True)
class Pair:
    """Two gateways, what they share, and what stands behind them."""

    fronts: tuple[Front, Front]
    world: World
    store: CacheServer

    @property
    def stubs(self) -> tuple[ShipmentAllocationServiceStub, ShipmentAllocationServiceStub]:
        """Calls the one, and the other."""
        return self.fronts[0].stub, self.fronts[1].stub

    def kill(self) -> None:
        """Ends the first one at once."""
        self.fronts[0].gateway.stop(signal.SIGKILL)

    def restarted(self) -> Any:
        """Starts one more gateway with the same settings, for a block."""
        return running_front(self.fronts[0].upstream, settings=shared(self.store))


def shared(store: CacheServer, **more: str) -> dict[str, str]:
    """Returns the settings of a gateway that keeps its claims on a server."""
    return {
        **SETTINGS,
        "REPLICAS": "2",
        "STORE_URL": f"redis://127.0.0.1:{store.port}/0",
        "STORE_CHECKS": "off",  # nothing is left of this server after the test
        "STORE_TIMEOUT": "1",
        "CLAIM_LEASE": str(LEASE),
        **more,
    }


@contextmanager
def running_pair(**settings: str) -> Iterator[Pair]:
    """Runs two gateways with settings of their own."""
    with running_cache() as store, running_upstream() as upstream:
        world = World()
        upstream.default = world.answer
        given = shared(store, **settings)
        with running_front(upstream, settings=given) as one, running_front(upstream, settings=given) as other:
            try:
                yield Pair((one, other), world, store)
            finally:
                world.release.set()


@pytest.fixture(scope="module")
def shared_pair() -> Iterator[Pair]:
    """Two gateways for the tests that end neither."""
    with running_pair() as pair:
        yield pair


@pytest.fixture
def pair(shared_pair: Pair) -> Pair:
    """The same, with nothing written."""
    world = shared_pair.world
    world.written.clear()
    world.arrived.clear()
    world.release.clear()
    return shared_pair


def new_id() -> str:
    return str(uuid.uuid4())


def allocation(reference: str = "") -> pb.AllocateShipmentRequest:
    return pb.AllocateShipmentRequest(shipment_reference=reference or f"sp_{uuid.uuid4()}", request_id=new_id())


def deallocation(reference: str) -> pb.DeallocateShipmentRequest:
    return pb.DeallocateShipmentRequest(shipment_reference=reference, request_id=new_id())


def allocate(stub: ShipmentAllocationServiceStub, request: pb.AllocateShipmentRequest) -> core_pb2.Allocation:
    return stub.AllocateShipment(request, timeout=LONG).allocation


@contextmanager
def unanswered(pair: Pair, request: pb.AllocateShipmentRequest, fate: str) -> Iterator[Any]:
    """Has the first gateway send a write that is not answered; gives what becomes of the call."""
    pair.world.fates.put(fate)
    with ThreadPoolExecutor(1) as pool:
        try:
            call = pool.submit(allocate, pair.stubs[0], request)
            assert pair.world.arrived.wait(LONG), "the write does not arrive"
            yield call
        finally:
            pair.world.release.set()


def test_a_repeat_at_the_other_one_gets_the_same_answer_and_asks_nobody(pair: Pair) -> None:
    """Also when nobody but the store can know of it any more: the allocation has been taken back."""
    one, other = pair.stubs
    request = allocation()
    first = allocate(one, request)
    pair.world.carry_out("DELETE", request.shipment_reference)
    pair.world.read.clear()
    assert allocate(other, request) == first
    assert len(pair.world.written) == 1
    assert not pair.world.read.is_set()


def test_an_answer_that_was_read_is_the_answer_of_both(pair: Pair) -> None:
    one, other = pair.stubs
    request = allocation()
    pair.world.fates.put(LOST)
    first = allocate(one, request)
    assert first.reconciled
    assert allocate(other, request) == first
    assert len(pair.world.written) == 1


def test_a_repeat_after_a_restart_gets_the_same_answer(pair: Pair) -> None:
    request = allocation()
    with pair.restarted() as ended:
        first = allocate(ended.stub, request)
        assert ended.gateway.stop() == 0
    with pair.restarted() as started:
        assert allocate(started.stub, request) == first
    assert len(pair.world.written) == 1


def test_an_id_that_the_other_one_has_used_is_refused(pair: Pair) -> None:
    """For another shipment, and for another rpc."""
    one, other = pair.stubs
    request = allocation()
    allocate(one, request)
    used = {"request_id": request.request_id}
    for call in (
        lambda: other.AllocateShipment(pb.AllocateShipmentRequest(shipment_reference="sp_other", **used), timeout=LONG),
        lambda: other.DeallocateShipment(
            pb.DeallocateShipmentRequest(shipment_reference=request.shipment_reference, **used), timeout=LONG
        ),
    ):
        found = failure(call)
        assert (found.code, found.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "REQUEST_ID_REUSED")
        assert found.metadata == {"effect": "none"}
    assert len(pair.world.written) == 1


def test_repeats_at_both_at_the_same_time_are_one_write(pair: Pair) -> None:
    request = allocation()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda stub: allocate(stub, request), pair.stubs * 4))
    assert answers == [answers[0]] * 8
    assert len(pair.world.written) == 1


def test_a_write_of_the_same_shipment_is_refused_while_the_other_one_waits_for_its_answer(pair: Pair) -> None:
    """And the first one is not disturbed by that."""
    request = allocation()
    with unanswered(pair, request, HELD) as call:
        found = failure(lambda: allocate(pair.stubs[1], allocation(request.shipment_reference)))
        assert (found.code, found.reason) == (grpc.StatusCode.ABORTED, "WRITE_IN_PROGRESS")
        assert found.metadata == {}, "nothing is said of the effect of an id that the other one may have claimed by now"
        pair.world.release.set()
        assert call.result(LONG).state == core_pb2.SHIPMENT_STATE_ALLOCATED
    assert len(pair.world.written) == 1


def test_a_write_of_the_same_shipment_waits_for_the_other_one() -> None:
    with running_pair(LOCK_WAIT=str(LONG), SHIP_TIMEOUT=str(LONG), SHIP_SETTLE_TIME=str(LONG)) as pair:
        request = allocation()
        with unanswered(pair, request, HELD) as call, ThreadPoolExecutor(1) as pool:
            second = deallocation(request.shipment_reference)
            waiting = pool.submit(pair.stubs[1].DeallocateShipment, second, timeout=LONG)
            # Longer than a lease and a pause: that the first one waits is no reason to take its claim away.
            with pytest.raises(TimeoutError):
                waiting.result(LEASE + LONGEST_PAUSE + 1)
            assert len(pair.world.written) == 1
            pair.world.release.set()
            assert not call.result(LONG).reconciled
            assert waiting.result(LONG).shipment_reference == request.shipment_reference
        assert [line.split(" ")[0] for line in pair.world.written] == ["PUT", "DELETE"]


def test_what_a_killed_one_had_brought_about_is_found_by_the_other_one() -> None:
    """A repeat reads it; it is not sent again."""
    with running_pair() as pair:
        request = allocation()
        with unanswered(pair, request, HELD) as call:
            pair.kill()
            assert isinstance(call.exception(LONG), grpc.RpcError)
            got = allocate(pair.stubs[1], request)
        assert (got.state, got.reconciled) == (core_pb2.SHIPMENT_STATE_ALLOCATED, True)
        assert allocate(pair.stubs[1], request) == got
        assert (len(pair.world.written), pair.world.bookings[request.shipment_reference]) == (1, 1)


def test_what_a_killed_one_had_sent_in_vain_is_sent_again_when_it_can_take_effect_no_more() -> None:
    # Longer than the other one needs to notice that it may take over.
    settle_time = LONGEST_PAUSE + 1
    with running_pair(SHIP_SETTLE_TIME=str(settle_time)) as pair:
        request = allocation()
        with unanswered(pair, request, STUCK) as call:
            sent = time.monotonic()
            pair.kill()
            assert isinstance(call.exception(LONG), grpc.RpcError)
            got = allocate(pair.stubs[1], request)
        assert time.monotonic() - sent >= LEASE + settle_time, "it could still take effect"
        assert (got.state, got.reconciled) == (core_pb2.SHIPMENT_STATE_ALLOCATED, False)
        assert (len(pair.world.written), pair.world.bookings[request.shipment_reference]) == (2, 1)


def test_a_write_of_the_same_shipment_resolves_what_a_killed_one_has_left() -> None:
    """Then it gets its turn, and the repeat of the first one its answer."""
    with running_pair(LOCK_WAIT=str(LONG)) as pair:
        request = allocation()
        with unanswered(pair, request, HELD):
            pair.kill()
            second = deallocation(request.shipment_reference)
            assert (
                pair.stubs[1].DeallocateShipment(second, timeout=LONG).shipment_reference == second.shipment_reference
            )
        assert allocate(pair.stubs[1], request).reconciled
        assert [line.split(" ")[0] for line in pair.world.written] == ["PUT", "DELETE"]
        assert pair.world.bookings[request.shipment_reference] == 1


def test_nothing_is_sent_without_the_store() -> None:
    """Of an id that was perhaps used before nobody can say that it had no effect."""
    with running_pair() as pair:
        pair.store.kill()
        named = allocation()
        found = failure(lambda: allocate(pair.stubs[0], named))
        assert (found.code, found.reason) == (grpc.StatusCode.UNAVAILABLE, "CLAIM_STORE_UNAVAILABLE")
        assert "effect" not in found.metadata
        named.request_id = ""
        found = failure(lambda: allocate(pair.stubs[0], named))
        assert (found.reason, found.metadata) == ("CLAIM_STORE_UNAVAILABLE", {"effect": "none"})
        assert not pair.world.written
        pair.store.start()
        assert allocate(pair.stubs[0], named).state == core_pb2.SHIPMENT_STATE_ALLOCATED


def test_writes_can_go_on_without_the_store() -> None:
    """The process that was asked remembers them, and reads what became of them as ever."""
    with running_pair(STORE_UNAVAILABLE="proceed") as pair:
        pair.store.kill()
        request, lost = allocation(), allocation()
        first = allocate(pair.stubs[0], request)
        assert allocate(pair.stubs[0], request) == first
        pair.world.fates.put(LOST)
        read = allocate(pair.stubs[0], lost)
        assert read.reconciled
        assert allocate(pair.stubs[0], lost) == read
        assert len(pair.world.written) == 2


def test_what_was_written_without_the_store_is_remembered_when_it_is_back() -> None:
    """By the process that was asked: in doubt is not forgotten either, and is not sent at once."""
    with running_pair(STORE_UNAVAILABLE="proceed") as pair:
        pair.store.kill()
        request, lost = allocation(), allocation()
        first = allocate(pair.stubs[0], request)
        pair.world.fates.put(LATE)
        found = failure(lambda: pair.stubs[0].AllocateShipment(lost, timeout=SETTLE * 0.8))
        assert found.reason == "OUTCOME_UNKNOWN"
        pair.store.start()
        pair.world.land()
        assert allocate(pair.stubs[0], request) == first
        assert allocate(pair.stubs[0], lost).reconciled
        assert len(pair.world.written) == 2


def test_a_known_answer_is_given_although_it_cannot_be_recorded_and_recorded_later() -> None:
    with running_pair() as pair:
        request = allocation()
        with unanswered(pair, request, HELD) as call:
            pair.store.kill()
            pair.world.release.set()
            first = call.result(LONG)
        assert (first.state, first.reconciled) == (core_pb2.SHIPMENT_STATE_ALLOCATED, False)
        pair.store.start()
        wait_for_keys(pair.store)
        assert allocate(pair.stubs[1], request) == first
        assert len(pair.world.written) == 1


@pytest.mark.parametrize(("reads", "steps"), [("false", 2), ("true", 3)])
def test_a_write_takes_two_steps_of_the_store_and_one_more_if_it_is_read_first(reads: str, steps: int) -> None:
    with running_pair(SHIP_READ_BEFORE_WRITE=reads) as pair:
        allocate(pair.stubs[0], allocation())
        with redis.Redis(port=pair.store.port) as client:
            client.config_resetstat()
            allocate(pair.stubs[0], allocation())
            called = client.info("commandstats")
        assert {name: one["calls"] for name, one in called.items() if "eval" in name} == {"cmdstat_evalsha": steps}


def wait_for_keys(store: CacheServer) -> None:
    """Waits until something is written to an empty server."""
    end = time.monotonic() + LONG
    with redis.Redis(port=store.port) as client:
        while not client.dbsize():
            assert time.monotonic() < end, "nothing is recorded"
            time.sleep(0.05)

"""Jobs and watches of the Python client: streams that are lost and begun again, and what is kept and told meanwhile."""

from __future__ import annotations

import asyncio
import itertools
import pickle
import threading
import time
from concurrent import futures
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import grpc
import pytest
from allocation.v1 import job_pb2
from allocation.v1 import shipment_allocation_service_pb2 as pb
from allocation.v1.error_reason_pb2 import ErrorReason
from allocation_gateway_client import (
    AllocationError,
    AsyncClient,
    Client,
    JobSummary,
    NotFound,
    OutcomeKind,
    TryAgain,
    UnfinishedJob,
    UnknownOutcome,
)
from allocation_gateway_client.failure import Failure
from allocation_gateway_client.policy import Attempts, Budget
from clients.conftest import MANY, many_shipments
from support.losing import losing_wire
from support.scripted import SILENCE, Scripted, Told, scripted_server, told

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence

    from support.gateway import Gateway
    from support.losing import LosingWire
    from support.sandbox import Sandbox

C: Final = grpc.StatusCode
LONG: Final = 90.0
WAVE: Final = [f"sp_{number:032d}" for number in range(1, MANY + 1)]
JOB: Final = "6f1d3a52-7d4f-4d58-9f0c-2b7a2f6f3c10"
BEGUN: Final = pb.AllocateShipmentStreamResponse(job=job_pb2.AllocationJob(job_id=JOB))
END: Final = pb.AllocateShipmentStreamResponse(summary=job_pb2.AllocationSummary(job_id=JOB))
STOPPING: Final = told(C.UNAVAILABLE, ErrorReason.ERROR_REASON_GATEWAY_STOPPING, after=0.01)
UNKNOWN: Final = told(C.UNKNOWN, ErrorReason.ERROR_REASON_OUTCOME_UNKNOWN).status()
ABSENT: Final = told(C.NOT_FOUND, ErrorReason.ERROR_REASON_SHIPMENT_NOT_FOUND).status()
Carry: TypeAlias = "Callable[..., tuple[list[Any], JobSummary]]"


def outcomes(*references: str, **outcome: Any) -> pb.AllocateShipmentStreamResponse:
    """Returns the message that tells the same of some references: that they are queued, by default."""
    found = [pb.ShipmentOutcome(shipment_reference=one, **(outcome or {"queued": True})) for one in references]
    return pb.AllocateShipmentStreamResponse(results=pb.ShipmentOutcomes(results=found))


def blocking(address: str, items: Any, **options: Any) -> tuple[list[Any], JobSummary]:
    with Client(address, plaintext=True) as client:
        job = client.allocate_shipment_stream(items, **{"timeout": LONG, **options})
        return list(job), job.summary


def awaiting(address: str, items: Any, **options: Any) -> tuple[list[Any], JobSummary]:
    async def carry() -> tuple[list[Any], JobSummary]:
        async with AsyncClient(address, plaintext=True) as client:
            job = client.allocate_shipment_stream(items, **{"timeout": LONG, **options})
            return [outcome async for outcome in job], job.summary

    return asyncio.run(carry())


@pytest.fixture(params=[blocking, awaiting], ids=["blocking", "awaiting"])
def carry(request: pytest.FixtureRequest) -> Carry:
    """Carries out a job by a client of either kind, and returns what was told, and how far it has come."""
    chosen: Carry = request.param
    return chosen


@pytest.fixture
def server() -> Iterator[Scripted]:
    with scripted_server() as scripted:
        yield scripted


def sent(server: Scripted) -> list[list[str]]:
    """Returns the references that each call has sent, all of which were for the same job."""
    calls = [pb.AllocateShipmentStreamRequest.FromString(call.request) for call in server.calls]
    assert len({call.job.job_id for call in calls}) <= 1
    return [[item.shipment_reference for item in call.items] for call in calls]


def test_what_has_an_outcome_is_not_sent_again_and_counts_once(server: Scripted, carry: Carry) -> None:
    """One is told twice on the wire, and one comes twice from the caller."""
    server.answers.extend(
        [
            Told([BEGUN, outcomes("b")], STOPPING),
            Told([BEGUN, outcomes("b", "c", unknown=UNKNOWN)], C.UNAVAILABLE),
            Told([BEGUN, outcomes("a"), outcomes("d", refusal=ABSENT), END]),
        ]
    )
    lost: list[AllocationError] = []
    found, summary = carry(server.address, ["a", "b", "c", "a", "d"], job_id=JOB, on_lost=lost.append)
    assert sent(server) == [["a", "b", "c", "d"], ["a", "c", "d"], ["a", "d"]]
    assert [one.reference for one in found] == ["b", "c", "a", "d"]
    assert [one.kind for one in found] == [
        OutcomeKind.QUEUED,
        OutcomeKind.UNKNOWN,
        OutcomeKind.QUEUED,
        OutcomeKind.REFUSED,
    ]
    assert summary == JobSummary(received=5, queued=2, unknown=1, refused=1, repeated=1, streams=3)
    assert [(type(one), one.reason) for one in lost] == [(TryAgain, "GATEWAY_STOPPING"), (TryAgain, "")]


def test_why_an_item_was_refused_comes_with_the_call_that_it_is(server: Scripted, carry: Carry) -> None:
    """What is not known of an item may be asked by a single call too."""
    server.answers.append(Told([BEGUN, outcomes("a", "b", unknown=UNKNOWN), END]))
    selector = job_pb2.AllocationSelector(service_group="group")
    of_item = job_pb2.AllocationSelector(carrier_service_reference="service")
    own = pb.ShipmentItem(shipment_reference="b", selector=of_item)
    (first, second), _ = carry(server.address, ["a", own], job_id=JOB, selector=selector)
    assert isinstance(first.error, UnknownOutcome)
    assert first.error.request == pb.AllocateShipmentsWithServiceGroupRequest(shipments=["a"], service_group="group")
    assert second.error.request == pb.AllocateShipmentsWithCarrierServiceRequest(
        shipments=["b"], carrier_service_reference="service"
    )
    server.answers.append(Told([BEGUN, outcomes("a", refusal=ABSENT), END]))
    ((refused,), _) = carry(server.address, ["a"], job_id=JOB)
    assert isinstance(refused.error, NotFound)
    assert (refused.error.reason, refused.gross) == ("SHIPMENT_NOT_FOUND", None)


def test_a_job_whose_time_is_over_is_told_with_its_id(server: Scripted, carry: Carry) -> None:
    server.answers.append(Told([BEGUN, outcomes("a")], C.UNAVAILABLE))
    server.default = SILENCE
    with pytest.raises(UnfinishedJob) as caught:
        carry(server.address, ["a", "b"], job_id=JOB, timeout=1.0)
    error = pickle.loads(pickle.dumps(caught.value))  # noqa: S301 # it was pickled here
    assert (error.job_id, error.unanswered, error.code) == (JOB, ("b",), C.DEADLINE_EXCEEDED)
    assert f"begin again with job_id {JOB}" in str(error)
    assert len(server.calls) == 2


def test_a_job_that_no_one_names_has_an_id_of_its_own(server: Scripted, carry: Carry) -> None:
    server.answers.extend([Told([BEGUN], C.UNAVAILABLE), Told([BEGUN, outcomes("a"), END])])
    carry(server.address, ["a"])
    server.answers.append(Told([BEGUN, outcomes("a"), END]))
    carry(server.address, ["a"])
    ids = [pb.AllocateShipmentStreamRequest.FromString(call.request).job.job_id for call in server.calls]
    assert ids[0] == ids[1] != ids[2]


def test_what_the_callers_iterable_raises_comes_after_the_outcomes_of_what_it_gave(
    server: Scripted, carry: Carry
) -> None:
    def items() -> Iterator[str]:
        yield "a"
        raise OSError("the file is gone")

    server.answers.append(Told([BEGUN, outcomes("a"), END]))
    seen: list[Any] = []
    gather = _gather_blocking if carry is blocking else _gather
    with pytest.raises(OSError, match="gone"):
        gather(server.address, items(), seen)
    assert [one.reference for one in seen] == ["a"]
    assert sent(server) == [["a"]]


def test_what_the_callers_iterable_raises_is_the_cause_if_what_it_gave_has_no_outcome(
    server: Scripted, carry: Carry
) -> None:
    def items() -> Iterator[str]:
        yield "a"
        raise OSError("the file is gone")

    server.default = Told([BEGUN], SILENCE)
    with pytest.raises(UnfinishedJob) as caught:
        carry(server.address, items(), timeout=1.0)
    assert caught.value.unanswered == ("a",)
    assert isinstance(caught.value.__cause__, OSError)


def test_an_item_that_is_being_taken_when_a_job_is_over_is_named(server: Scripted) -> None:
    """The iterable takes its time for the second one, which comes when the gateway has refused to go on."""
    has_ended = threading.Event()

    def items() -> Iterator[str]:
        yield "a"
        has_ended.wait(LONG)
        time.sleep(0.2)
        yield "b"
        pytest.fail("nothing more is taken from a job that is over")

    class Ending(grpc.StreamStreamClientInterceptor):
        def intercept_stream_stream(self, continuation: Any, client_call_details: Any, request_iterator: Any) -> Any:
            call = continuation(client_call_details, request_iterator)
            call.add_callback(has_ended.set)
            return call

    refused = told(C.PERMISSION_DENIED, ErrorReason.ERROR_REASON_CALLER_NOT_ALLOWED)
    server.answers.append(Told([BEGUN], refused, after=2))
    with (
        Client(server.address, plaintext=True, interceptors=[Ending()]) as client,
        pytest.raises(UnfinishedJob) as caught,
    ):
        list(client.allocate_shipment_stream(items(), timeout=LONG))
    assert caught.value.unanswered == ("a", "b")


def test_a_job_that_is_over_does_not_wait_for_an_iterable_that_waits(server: Scripted) -> None:
    over = threading.Event()

    def items() -> Iterator[str]:
        yield "a"
        over.wait(LONG)

    refused = told(C.PERMISSION_DENIED, ErrorReason.ERROR_REASON_CALLER_NOT_ALLOWED)
    server.answers.append(Told([BEGUN], refused, after=2))
    try:
        with Client(server.address, plaintext=True) as client, pytest.raises(UnfinishedJob) as caught:
            list(client.allocate_shipment_stream(items(), timeout=LONG))
    finally:
        over.set()
    assert caught.value.unanswered == ("a",)


def _gather_blocking(address: str, items: Any, seen: list[Any]) -> None:
    with Client(address, plaintext=True) as client:
        seen.extend(client.allocate_shipment_stream(items, timeout=LONG))


def _gather(address: str, items: Any, seen: list[Any]) -> None:
    async def gather() -> None:
        async with AsyncClient(address, plaintext=True) as client:
            async for outcome in client.allocate_shipment_stream(items, timeout=LONG):
                seen.append(outcome)  # noqa: PERF401 # what was told before it raises counts

    asyncio.run(gather())


def test_a_time_is_asked_for(server: Scripted, carry: Carry) -> None:
    with pytest.raises(ValueError, match="timeout"):
        carry(server.address, ["a"], timeout=0)


@pytest.fixture
def deaf() -> Iterator[str]:
    """The address of a server that never reads what it is sent."""
    over = threading.Event()

    class Deaf(grpc.GenericRpcHandler):
        def service(self, handler_call_details: Any) -> Any:
            del handler_call_details

            def wait(requests: Any, context: grpc.ServicerContext) -> Iterator[bytes]:
                over.wait(LONG)
                yield from ()

            return grpc.stream_stream_rpc_method_handler(wait)

    # A window of a fixed size: by default it grows to megabytes with what it takes.
    window = [("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 65_536)]
    server = grpc.server(futures.ThreadPoolExecutor(2), options=window)
    server.add_generic_rpc_handlers((Deaf(),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        over.set()
        server.stop(None).wait()


def test_items_are_not_taken_faster_than_they_are_sent(deaf: str, carry: Carry) -> None:
    """A job of any length takes no more memory than what is on its way. Nor is anything left of it when it is over."""
    taken = itertools.count()
    items = (f"sp_{next(taken):032d}" for _ in iter(int, 1))
    with pytest.raises(UnfinishedJob) as caught:
        carry(deaf, items, timeout=2.0)
    told = caught.value.unanswered
    assert len(told) > 500
    count = next(taken)
    assert count < 20_000
    assert list(told) == [f"sp_{number:032d}" for number in range(count)], "each that was taken, sent or not"
    for thread in threading.enumerate():
        if thread.name == "allocation-job-items":
            thread.join(LONG)
            assert not thread.is_alive()


@pytest.fixture
def breaking() -> Iterator[tuple[str, threading.Event]]:
    """The address of a server that reads no items of its first call, and ends it at the event."""
    taken, calls = threading.Event(), itertools.count()

    class Breaking(grpc.GenericRpcHandler):
        def service(self, handler_call_details: Any) -> Any:
            del handler_call_details

            def answer(requests: Iterator[Any], context: grpc.ServicerContext) -> Iterator[Any]:
                yield BEGUN
                if next(calls) == 0:
                    taken.wait(LONG)
                    context.abort(C.UNAVAILABLE, "It is broken off.")
                yield from (outcomes(*[one.shipment_reference for one in each.items]) for each in requests)
                yield END

            read = pb.AllocateShipmentStreamRequest.FromString
            write = pb.AllocateShipmentStreamResponse.SerializeToString
            return grpc.stream_stream_rpc_method_handler(answer, read, write)

    window = [("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 65_536)]
    server = grpc.server(futures.ThreadPoolExecutor(2), options=window)
    server.add_generic_rpc_handlers((Breaking(),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}", taken
    finally:
        taken.set()
        server.stop(None).wait()


def test_what_was_taken_and_not_sent_goes_to_the_next_stream(
    breaking: tuple[str, threading.Event], carry: Carry
) -> None:
    """References are so long that most items still wait for the stream when it breaks."""
    address, taken = breaking
    references = [f"{number:01000d}" for number in range(520)]

    def items() -> Iterator[str]:
        yield from references
        taken.set()

    found, summary = carry(address, items())
    assert sorted(one.reference for one in found) == references
    assert summary == JobSummary(received=520, queued=520, streams=2)


def test_a_job_may_be_left_early(server: Scripted) -> None:
    server.default = Told([BEGUN, outcomes(WAVE[0])], SILENCE)
    with Client(server.address, plaintext=True) as client, client.allocate_shipment_stream(WAVE, timeout=LONG) as job:
        assert next(job).reference == WAVE[0]
    with pytest.raises(StopIteration):
        next(job)

    async def leave() -> None:
        async with AsyncClient(server.address, plaintext=True) as client:
            async with client.allocate_shipment_stream(WAVE, timeout=LONG) as job:
                assert (await anext(job)).reference == WAVE[0]
            with pytest.raises(StopAsyncIteration):
                await anext(job)
            assert "allocation-job-items" not in {task.get_name() for task in asyncio.all_tasks()}

    asyncio.run(leave())
    assert len(server.calls) == 2


def attempts(budget: Budget) -> Attempts:
    return Attempts(
        pb.AllocateShipmentStreamRequest(),
        timeout=60,
        attempt_timeout=60,
        budget=budget,
        clock=lambda: 0.0,
        uniform=lambda _, most: most,
    )


def test_a_stream_that_was_of_use_costs_nothing_and_one_that_was_not_does() -> None:
    """A job of days outlives its connections; a gateway that only ever breaks off is not asked for ever."""
    broken = Failure(C.UNAVAILABLE, "")
    budget = Budget(8, 0.1)
    of_use = attempts(budget)
    for _ in range(100):
        of_use.come_on()
        assert of_use.pause_after(broken) == 0.1
    assert [of_use.pause_after(broken) for _ in range(5)] == [0.2, 0.4, 0.8, None, None]


def test_an_expired_token_ends_a_stream_and_not_the_job_but_one_that_was_never_let_in_is_over() -> None:
    expired = Failure(C.UNAUTHENTICATED, "", -1.0, is_of_gateway=True, reason="CALLER_UNAUTHENTICATED")
    refused = Failure(C.PERMISSION_DENIED, "", -1.0, is_of_gateway=True, reason="CALLER_NOT_ALLOWED")
    one = attempts(Budget(1000, 0.1))
    assert one.pause_after(expired) is None
    assert one.pause_after(expired, was_let_in=True) is not None
    assert one.pause_after(refused, was_let_in=True) is None


@pytest.fixture(scope="module")
def running() -> Iterator[tuple[Gateway, Sandbox]]:
    with many_shipments() as running:
        yield running


def trickled(items: Sequence[str]) -> Any:
    """Gives items one by one, as they are asked for."""
    yield from items


async def trickled_apart(items: Sequence[str]) -> AsyncIterator[str]:
    for item in items:
        await asyncio.sleep(0)
        yield item


@pytest.mark.parametrize(
    ("carry", "given"),
    [(blocking, list), (blocking, trickled), (awaiting, list), (awaiting, trickled_apart)],
    indirect=["carry"],
)
def test_a_job_goes_on_after_its_connection_was_lost(
    running: tuple[Gateway, Sandbox], carry: Carry, given: Callable[[Sequence[str]], Any]
) -> None:
    """Each shipment is told once and booked once, by the sandbox's journal. So with a watch."""
    gateway, sandbox = running
    sandbox.call("POST", "reset")
    sandbox.call("PUT", "switches", {"ship": {"guard": False}})
    # Nothing is done before the wire was cut twice.
    slow = {"type": "latency", "seconds": 0.5, "when": "before"}
    sandbox.call("POST", "faults", {"match": {"method": "GET"}, "count": None, "action": slow})
    lost: list[AllocationError] = []
    with losing_wire(gateway.address) as wire:
        cuts = threading.Thread(target=_cut, args=(wire, sandbox))
        cuts.start()
        found, summary = carry(wire.address, given(WAVE), on_lost=lost.append)
        cuts.join()
    assert sorted(one.reference for one in found) == WAVE
    assert {one.kind for one in found} == {OutcomeKind.ALLOCATED}
    assert all(one.gross.currency == "GBP" for one in found)
    assert sandbox.all_bookings() == dict.fromkeys(WAVE, (1, 0))
    assert summary == JobSummary(received=MANY, allocated=MANY, streams=len(lost) + 1)
    assert lost
    with losing_wire(gateway.address) as wire, Client(wire.address, plaintext=True) as client:
        final = set()
        for number, standing in enumerate(client.watch_shipment_allocations(WAVE, timeout=LONG)):
            if number == 0:
                wire.cut()
            assert standing.is_final
            final.add(standing.reference)
        assert final == set(WAVE)


def _cut(wire: LosingWire, sandbox: Sandbox) -> None:
    """Cuts the wire as soon as something is booked, and once more in the midst of it."""
    end = time.monotonic() + LONG
    for least in (1, MANY // 2):
        while len(sandbox.all_bookings()) < least:
            assert time.monotonic() < end
            time.sleep(0.02)
        wire.cut()
    sandbox.call("DELETE", "faults")

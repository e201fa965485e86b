"""Writes that are sent in one request: who is in it, who is not any more, and who gets which part of the answer."""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING, Any

import pytest
from allocation.v1 import shipment_allocation_service_pb2 as pb
from allocation.v1.error_reason_pb2 import ErrorReason
from allocation_gateway.errors import GatewayError, WriteEffect
from allocation_gateway.operations.streams import STREAMS
from allocation_gateway.telemetry.conventions import AttemptKind
from allocation_gateway.telemetry.telemetry import Telemetry
from allocation_gateway.upstream.call import CallOutcome, UpstreamResult
from allocation_gateway.upstream.http import Attempt, CalledOffError
from allocation_gateway.writes import errors
from allocation_gateway.writes.batch import Batch
from allocation_gateway.writes.pace import Pace
from grpc import StatusCode

if TYPE_CHECKING:
    from allocation_gateway.writes.batch import Member

ROW = STREAMS[0].bulk[""]
UNSEEN = Telemetry().background()


class Permit:
    """A permit that tells whether it was given back."""

    def __init__(self) -> None:
        self.is_back = False

    def release(self, _: CallOutcome) -> None:
        self.is_back = True


class Api:
    """An API of an account that has permits, and sends when it is let."""

    def __init__(self) -> None:
        self.permits: list[Permit] = []
        self.protection = self
        self.refusal: GatewayError | None = None
        self.attempts: list[Attempt] = []
        self.calls: list[Any] = []
        self.requests: list[Any] = []
        self.is_let = asyncio.Event()
        self.answer: Any = None
        self.now = asyncio.get_running_loop().time

    async def acquire_for_stream(self, *_: Any) -> Permit:
        if self.refusal is not None:
            raise self.refusal
        self.permits.append(Permit())
        return self.permits[-1]

    async def send(self, _: Any, __: Any, request: Any, call: Any, permit: Permit) -> UpstreamResult:
        self.attempts.append(call.attempt)
        self.calls.append(call)
        try:
            await self.is_let.wait()
            call.attempt.begin()
        except (asyncio.CancelledError, CalledOffError):
            permit.release(CallOutcome.IGNORED)
            raise
        self.requests.append(request)
        permit.release(CallOutcome.SUCCESS)
        answer = self.answer or pb.AllocateShipmentsResponse(queued=request.shipments)
        return UpstreamResult(answer, CallOutcome.SUCCESS)


def batch_of(api: Any) -> Batch:
    return Batch(api, ROW, ROW.default_route, UNSEEN, api.now() + 10, Pace())


async def come(batch: Batch, member: Member, name: str, lasts: float = 10.0) -> None:
    await batch.acquire_permit()
    message = pb.AllocateShipmentsRequest(shipments=[name], request_id=f"id of {name}")
    batch.come(member, message, asyncio.get_running_loop().time() + lasts)


@pytest.mark.asyncio
async def test_one_request_with_one_permit_goes_when_nobody_is_waited_for() -> None:
    api = Api()
    api.is_let.set()
    batch = batch_of(api)
    members = [batch.enter(UNSEEN) for _ in range(3)]
    for index, member in enumerate(members[:2]):
        await come(batch, member, f"sp_{index}")
    batch.seal()
    await asyncio.sleep(0.01)
    assert api.attempts == [], "one is still waited for"
    assert batch.leave(members[2])
    await batch.wait()
    (request,) = api.requests
    assert request == pb.AllocateShipmentsRequest(shipments=["sp_0", "sp_1"]), "the id of an item is no part of it"
    assert [permit.is_back for permit in api.permits] == [True]
    parts: list[Any] = [member.result.result().response for member in members[:2]]
    assert [list(part.queued) for part in parts] == [["sp_0"], ["sp_1"]]
    assert batch.is_sent


@pytest.mark.asyncio
@pytest.mark.parametrize(("resends", "kind"), [(0, AttemptKind.FIRST), (2, AttemptKind.REPEAT)])
async def test_it_says_how_often_the_same_was_sent_before(resends: int, kind: AttemptKind) -> None:
    api: Any = Api()
    api.is_let.set()
    batch = Batch(api, ROW, ROW.default_route, UNSEEN, api.now() + 10, Pace(), resends)
    await come(batch, batch.enter(UNSEEN), "sp_1")
    batch.seal()
    await batch.wait()
    assert [(call.kind, call.resends) for call in api.calls] == [(kind, resends)]


@pytest.mark.asyncio
async def test_the_permit_comes_back_if_all_leave() -> None:
    api = Api()
    batch = batch_of(api)
    members = [batch.enter(UNSEEN), batch.enter(UNSEEN)]
    await come(batch, members[0], "sp_1")
    batch.seal()
    assert batch.leave(members[0]), "not too late: the other one is still waited for"
    assert batch.leave(members[1])
    await batch.wait()
    assert api.attempts == []
    assert [permit.is_back for permit in api.permits] == [True]
    assert not batch.is_sent


@pytest.mark.asyncio
async def test_a_permit_that_was_asked_for_ahead_is_there_for_all_and_comes_back_if_nobody_comes() -> None:
    api = Api()
    batch = batch_of(api)
    batch.request_permit()
    await asyncio.sleep(0)
    assert len(api.permits) == 1
    coming = batch.acquire_permit()
    with pytest.raises(StopIteration):
        coming.send(None)
    batch.seal()
    await batch.wait()
    assert [permit.is_back for permit in api.permits] == [True]


@pytest.mark.asyncio
async def test_a_permit_that_is_refused_before_anybody_asks_is_no_complaint() -> None:
    complaints: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    api = Api()
    api.refusal = errors.reused()
    batch = batch_of(api)
    batch.request_permit()
    await asyncio.sleep(0)
    batch.seal()
    await batch.wait()
    del batch
    gc.collect()
    assert complaints == []


@pytest.mark.asyncio
async def test_it_is_sent_as_long_as_the_first_claim_to_run_out_allows() -> None:
    api = Api()
    batch = batch_of(api)
    members = [batch.enter(UNSEEN), batch.enter(UNSEEN)]
    begun = api.now()
    await come(batch, members[0], "sp_1", lasts=5.0)
    await come(batch, members[1], "sp_2", lasts=10.0)
    batch.seal()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    (attempt,) = api.attempts
    attempt.extend(begun + 100)
    assert begun + 5 <= attempt.send_by < begun + 6
    assert not batch.leave(members[0]), "it goes with the others"
    api.is_let.set()
    await batch.wait()


@pytest.mark.asyncio
async def test_what_is_cancelled_before_it_was_sent_is_never_sent() -> None:
    api = Api()
    batch = batch_of(api)
    members = [batch.enter(UNSEEN), batch.enter(UNSEEN)]
    for index, member in enumerate(members):
        await come(batch, member, f"sp_{index}")
    batch.seal()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    batch.abandon(members[0])
    api.is_let.set()
    await batch.wait()
    assert api.requests == []
    told = members[1].result.result().response
    assert isinstance(told, GatewayError)
    assert told.effect is WriteEffect.NONE
    assert [permit.is_back for permit in api.permits] == [True]


@pytest.mark.asyncio
async def test_all_are_refused_with_an_error_of_their_own() -> None:
    api = Api()
    api.refusal = GatewayError(
        StatusCode.UNAVAILABLE,
        ErrorReason.ERROR_REASON_UPSTREAM_UNAVAILABLE,
        "The breaker is open.",
        effect=WriteEffect.NONE,
    )
    batch = batch_of(api)
    raised = []
    for member in [batch.enter(UNSEEN), batch.enter(UNSEEN)]:
        with pytest.raises(GatewayError) as caught:
            await batch.acquire_permit()
        raised.append(caught.value)
        batch.leave(member)
    batch.seal()
    await batch.wait()
    assert raised[0] is not raised[1]
    assert batch.request_errors == [api.refusal, api.refusal]

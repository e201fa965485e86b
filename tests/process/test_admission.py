"""How many calls are in hand at once."""

from __future__ import annotations

from typing import Any

import grpc
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from support.front import LONG, READ, SHIPMENT, WRITE, running_front
from support.status import failure


def test_call_beyond_the_limit_is_refused_and_never_reaches_upstream() -> None:
    with running_front(MAX_CONCURRENT_CALLS="2") as front:
        holds = [front.upstream.hold(body={"reference": SHIPMENT, "state": "unallocated"}) for _ in range(2)]
        calls = [front.stub.GetShipmentAllocation.future(READ, timeout=LONG) for _ in range(2)]
        for _ in range(2):
            front.upstream.next_request()
        for refused in (
            failure(lambda: front.stub.GetShipmentAllocation(READ, timeout=LONG)),
            failure(lambda: front.stub.AllocateShipment(WRITE, timeout=LONG)),
        ):
            assert (refused.code, refused.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "GATEWAY_OVERLOADED")
            assert refused.metadata == {}, "of earlier calls with its id nothing was looked up"
            retry = refused.detail(error_details_pb2.RetryInfo)
            assert retry is not None
            assert retry.retry_delay.ToNanoseconds() > 0
        stub: Any = health_pb2_grpc.HealthStub(front.channel)
        answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=LONG)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
        for hold in holds:
            hold.set()
        for call in calls:
            call.result(LONG)
        assert front.upstream.received.empty()
        front.stub.GetShipmentAllocation(READ, timeout=LONG)


def test_call_whose_caller_has_gone_is_not_in_hand_any_more() -> None:
    """However often calls are cancelled, refused or fail, there is room for the next one."""
    with running_front(MAX_CONCURRENT_CALLS="1") as front:
        for _ in range(3):
            front.upstream.hold()
            call = front.stub.GetShipmentAllocation.future(READ, timeout=LONG)
            front.upstream.next_request()
            call.cancel()
            front.gateway.wait_for("call", code="CANCELLED")
            front.gateway.forget()
            front.upstream.answer(500, {"code": "internal_server_error"})
            told = failure(lambda: front.stub.GetShipmentAllocation(READ, timeout=LONG))
            assert told.reason == "UPSTREAM_FAILED"
            front.upstream.next_request()
        front.stub.GetShipmentAllocation(READ, timeout=LONG)

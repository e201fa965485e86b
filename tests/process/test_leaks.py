"""Nothing is lost on the way: connections and places come back however calls end."""

from __future__ import annotations

import asyncio
import random
import time
from typing import TYPE_CHECKING, Any, Final

import grpc
import pytest
from allocation.v1.shipment_allocation_service_pb2_grpc import ShipmentAllocationServiceStub
from support.certificates import Authority
from support.front import LONG, READ, another_write, running_front
from support.upstream import running_upstream, shipped

if TYPE_CHECKING:
    from pathlib import Path

    from support.front import Front
    from support.upstream import Received, Reply

PLACES: Final = 3
CALLS: Final = 600
AT_ONCE: Final = 30
# How long upstream takes, and up to when callers go: so that they go in every phase of a request.
UPSTREAM_SECONDS: Final = 0.004
LONGEST_STAY: Final = 0.06


def slowly(received: Received) -> Reply:
    """Answers after a moment, now and then on a connection that is closed afterwards: so there is always connecting."""
    time.sleep(UPSTREAM_SECONDS)
    reply = shipped(received)
    if random.random() < 0.3:  # noqa: S311 - chance, not secrets
        reply.close, reply.headers = True, {"connection": "close"}
    return reply


async def give_up_on_calls(address: str) -> None:
    """Makes calls that are cancelled, or run out of time, after times of their own."""
    chance = random.Random(1)  # noqa: S311 - chance, not secrets
    crowd = asyncio.Semaphore(AT_ONCE)
    async with grpc.aio.insecure_channel(address) as channel:
        stub = ShipmentAllocationServiceStub(channel)

        async def one(number: int) -> None:
            async with crowd:
                stay = chance.uniform(0.001, LONGEST_STAY)
                bound = stay if number % 2 else LONG
                call: Any = (
                    stub.AllocateShipment(another_write(), timeout=bound)
                    if number % 4 == 0
                    else stub.GetShipmentAllocation(READ, timeout=bound)
                )
                if number % 2 == 0:
                    asyncio.get_running_loop().call_later(stay, call.cancel)
                await asyncio.wait({asyncio.ensure_future(call.code())})

        await asyncio.gather(*(one(number) for number in range(CALLS)))


def check_that_all_is_well(front: Front) -> None:
    """As many calls as there are places can be in hand at once, again and again, and no connection is left over."""
    for _ in range(5):
        calls = [front.stub.GetShipmentAllocation.future(READ, timeout=LONG) for _ in range(PLACES * 2)]
        for call in calls:
            call.result(LONG)
    front.upstream.wait_for_connections(PLACES)


@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "tls"])
def test_no_place_and_no_connection_is_lost_under_cancellation(encrypted: bool, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    with running_upstream(authority.server_context() if encrypted else None) as upstream:
        upstream.default = slowly
        settings = {"SHIP_MAX_CONNECTIONS": str(PLACES), "DEADLINE_MARGIN": "0", "SHIP_QUEUE_TIME": str(LONG)}
        with running_front(upstream, settings=settings, extra={"SSL_CERT_FILE": str(authority.file)}) as front:
            for _ in range(2):
                asyncio.run(give_up_on_calls(front.gateway.address))
                check_that_all_is_well(front)
            assert front.gateway.stop() == 0
        upstream.wait_for_connections(0)


def test_all_places_can_be_used_at_once_and_no_more() -> None:
    with running_front(SHIP_MAX_CONNECTIONS=str(PLACES), SHIP_QUEUE_TIME=str(LONG)) as front:
        holds = [front.upstream.hold(body={"reference": READ.shipment_reference, "state": "x"}) for _ in range(PLACES)]
        calls = [front.stub.GetShipmentAllocation.future(READ, timeout=LONG) for _ in range(PLACES + 2)]
        for _ in range(PLACES):
            front.upstream.next_request()
        assert front.upstream.received.empty()
        assert front.upstream.most_connections == PLACES
        for hold in holds:
            hold.set()
        for call in calls:
            call.result(LONG)
        assert front.upstream.most_connections == PLACES


def test_body_that_is_too_large_gives_its_place_back() -> None:
    with running_front(SHIP_MAX_CONNECTIONS="1", SHIP_MAX_ANSWER_BYTES="1000") as front:
        for _ in range(3):
            front.upstream.answer(200, b"x" * 100_000)
            with pytest.raises(grpc.RpcError):
                front.stub.GetShipmentAllocation(READ, timeout=LONG)
        front.stub.GetShipmentAllocation(READ, timeout=LONG)
        front.upstream.wait_for_connections(1)

"""The promise carried to the caller: whatever is lost on the way, a call has one effect, and gets its answer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import pytest
from allocation.v1 import core_pb2
from allocation_gateway_client import (
    AsyncClient,
    Client,
    InvalidState,
    UnknownOutcome,
    money,
)
from support.losing import LosingWire, losing_wire

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.gateway import Gateway
    from support.sandbox import Sandbox

SHIPMENT: Final = "sp_00794403010635468411384028069888"
GROUP: Final = "valuableGoods"
BULK: Final = ["sp_00794407328944469090495223169024", "sp_00794407551522883083874672967680"]


class Way(NamedTuple):
    """The way from a client to a booking, and what was booked."""

    wire: LosingWire
    sandbox: Sandbox


@pytest.fixture
def way(gateway: Gateway, sandbox: Sandbox) -> Iterator[Way]:
    with losing_wire(gateway.address) as wire:
        yield Way(wire, sandbox)


def blocking(address: str) -> Any:
    with Client(address, plaintext=True) as client:
        return client.allocate_shipment_with_service_group(SHIPMENT, GROUP)


def awaiting(address: str) -> Any:
    async def ask() -> Any:
        async with AsyncClient(address, plaintext=True) as client:
            return await client.allocate_shipment_with_service_group(SHIPMENT, GROUP)

    return asyncio.run(ask())


@pytest.mark.parametrize("ask", [blocking, awaiting])
def test_an_answer_that_is_lost_after_the_booking_comes_with_the_repetition(way: Way, ask: Any) -> None:
    way.wire.lose(SHIPMENT, times=2)
    allocation = ask(way.wire.address).allocation
    assert way.wire.lost == 2
    assert allocation.state == core_pb2.SHIPMENT_STATE_ALLOCATED
    assert str(money(allocation.price.gross)) == "2.00 GBP"
    assert way.sandbox.bookings(SHIPMENT) == (1, 0)


def test_a_repetition_under_another_id_would_be_refused(way: Way) -> None:
    """Why all attempts have one id: a caller who makes a new one gets an error for what he has booked himself."""
    blocking(way.wire.address)
    with pytest.raises(InvalidState) as caught:
        blocking(way.wire.address)
    assert caught.value.allocation is not None
    assert caught.value.allocation.carrier.name == "Lineten"
    assert way.sandbox.bookings(SHIPMENT) == (1, 0)


def test_an_outcome_that_is_unknown_at_the_deadline_is_learned_later(way: Way) -> None:
    """Every answer is lost until the caller gives up. With the id that the error holds it learns how it ended."""
    with Client(way.wire.address, plaintext=True) as client:
        way.wire.lose(SHIPMENT, times=1000)
        with pytest.raises(UnknownOutcome) as caught:
            client.allocate_shipment_with_service_group(SHIPMENT, GROUP, timeout=2)
        way.wire.lose("", times=0)
        answer: Any = client.call(caught.value.request)
    assert way.wire.lost > 1
    assert answer.allocation.carrier.name == "Lineten"
    assert way.sandbox.bookings(SHIPMENT) == (1, 0)


def test_a_deallocation_and_a_bulk_call_are_repeated_too(way: Way) -> None:
    with Client(way.wire.address, plaintext=True) as client:
        client.allocate_shipment_with_service_group(SHIPMENT, GROUP)
        way.wire.lose(SHIPMENT)
        assert client.deallocate_shipment(SHIPMENT).shipment_reference == SHIPMENT
        way.wire.lose(BULK[0])
        assert list(client.allocate_shipments_with_service_group(BULK, "exampleSG123").queued) == BULK
    assert way.wire.lost == 2
    assert way.sandbox.bookings(SHIPMENT) == (1, 1)

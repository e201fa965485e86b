"""The id of a request: chosen by the caller, or made by the gateway and told before anything else."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Final

import pytest
from mapping.table import GOLDEN, REQUESTS, WRITES, answer, changed, ids

if TYPE_CHECKING:
    from allocation.v1.shipment_allocation_service_pb2_grpc import ShipmentAllocationServiceStub
    from support.upstream import Upstream

ID: Final = "123e4567-e89b-42d3-a456-426614174000"


@pytest.mark.parametrize("rpc", WRITES)
@pytest.mark.parametrize("request_id", [ID, ID.upper(), "00000000-0000-0000-0000-000000000000"])
def test_the_callers_id_is_told_exactly_as_it_was_given(
    stub: ShipmentAllocationServiceStub, upstream: Upstream, rpc: str, request_id: str
) -> None:
    """Any version of UUID will do, in either case."""
    upstream.answer(200, answer(GOLDEN[rpc]))

    assert ids(stub, changed(REQUESTS[rpc], request_id=request_id)) == [request_id]


@pytest.mark.parametrize("rpc", WRITES)
def test_a_call_without_an_id_is_given_a_new_one(
    stub: ShipmentAllocationServiceStub, upstream: Upstream, rpc: str
) -> None:
    """It is a random UUID, another one for each call."""
    made = []
    for _ in range(2):
        upstream.answer(200, answer(GOLDEN[rpc]))
        made += ids(stub, REQUESTS[rpc])

    first, second = made
    assert first != second
    assert {str(uuid.UUID(text)) for text in made} == set(made)
    assert {uuid.UUID(text).version for text in made} == {4}


@pytest.mark.parametrize("rpc", WRITES)
def test_the_id_is_told_of_a_call_that_fails(stub: ShipmentAllocationServiceStub, upstream: Upstream, rpc: str) -> None:
    """Above all then: what became of the write may have to be asked for."""
    upstream.answer(400, {"code": "validation_error", "message": "out of order"})
    given = str(uuid.uuid4())

    assert ids(stub, changed(REQUESTS[rpc], request_id=given)) == [given]


@pytest.mark.parametrize("rpc", sorted(set(REQUESTS) - set(WRITES)))
def test_a_read_has_no_id(stub: ShipmentAllocationServiceStub, upstream: Upstream, rpc: str) -> None:
    """It can be repeated as it is."""
    upstream.answer(200, answer(GOLDEN[rpc]))

    assert ids(stub, REQUESTS[rpc]) == []


@pytest.mark.parametrize("rpc", WRITES)
def test_the_id_does_not_go_upstream(stub: ShipmentAllocationServiceStub, upstream: Upstream, rpc: str) -> None:
    """Upstream documents no such thing."""
    upstream.answer(200, answer(GOLDEN[rpc]))

    given = str(uuid.uuid4())

    ids(stub, changed(REQUESTS[rpc], request_id=given))

    received = upstream.next_request()
    assert given not in f"{received.line} {received.headers} {received.body!r}"

"""Writes that were not let through, as their status says and nobody knows whose word it is: one reading settles them.

A proxy, a firewall or an API gateway answers in upstream's place, with a page or with nothing.
"""

from __future__ import annotations

import time
import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import pytest
from allocation.v1 import consignment_allocation_service_pb2 as consignments_pb
from allocation.v1 import shipment_allocation_service_pb2 as pb
from allocation.v1.error_reason_pb2 import WriteProgress
from grpc import StatusCode
from support.front import running_front
from support.status import failure
from support.upstream import UNREADABLE, Reply

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from allocation.v1.consignment_allocation_service_pb2_grpc import ConsignmentAllocationServiceStub
    from allocation.v1.shipment_allocation_service_pb2_grpc import ShipmentAllocationServiceStub
    from support.upstream import Received, Upstream

PAGE: Final = b"<html><body>Access denied</body></html>"
# What a caller has. Nobody may make it wait for more than a part of it.
PATIENCE: Final = 60.0
SOON: Final = 20.0
CREDENTIALS: Final = (StatusCode.INTERNAL, "UPSTREAM_CREDENTIALS_REJECTED")
MISCONFIGURED: Final = (StatusCode.INTERNAL, "GATEWAY_MISCONFIGURED")
BROKEN: Final = (StatusCode.INTERNAL, "UPSTREAM_CONTRACT_BROKEN")
THROTTLED: Final = (StatusCode.RESOURCE_EXHAUSTED, "UPSTREAM_THROTTLED")

# HTTP status, body, headers; gRPC status and reason; what the message says.
BARRED: Final = [
    (401, PAGE, {}, CREDENTIALS, "a proxy in front of it, does not accept the gateway's credentials (HTTP 401)"),
    (401, b"", {}, CREDENTIALS, "(HTTP 401)"),
    (403, PAGE, {}, CREDENTIALS, "a proxy in front of it, refuses to serve the gateway (HTTP 403)"),
    (405, PAGE, {}, MISCONFIGURED, "refuses the method of the request (HTTP 405)"),
    (
        407,
        PAGE,
        {"proxy-authenticate": "Basic"},
        MISCONFIGURED,
        "A proxy between the gateway and upstream refuses the gateway's credentials (HTTP 407).",
    ),
    (407, b"", {}, MISCONFIGURED, "A proxy between"),
    (413, PAGE, {}, BROKEN, "HTTP status 413"),
    (414, PAGE, {}, BROKEN, "HTTP status 414"),
    (421, b"", {}, BROKEN, "HTTP status 421"),
    (429, PAGE, {}, THROTTLED, "limits the rate of calls (HTTP 429)"),
    (431, PAGE, {}, BROKEN, "HTTP status 431"),
    (451, PAGE, {}, BROKEN, "HTTP status 451"),
    (511, PAGE, {}, MISCONFIGURED, "lets nobody through without signing in (HTTP 511)"),
]


@pytest.fixture
def unallocated(upstream: Upstream) -> Iterator[Upstream]:
    """The scripted upstream, of which every shipment and consignment can be read, and none is allocated."""
    before, upstream.default = upstream.default, _unallocated
    yield upstream
    upstream.default = before


def _in_a_moment() -> str:
    """Returns a time of allocation that is later than the claim of a call which is made now, on a slow machine too."""
    return (datetime.now(UTC) + timedelta(seconds=20)).isoformat()


def _unallocated(received: Received) -> Reply:
    kind, reference = received.line.split(" ")[1].split("/")[-2:]
    if kind == "consignments":
        return Reply(200, {"Reference": reference, "ConsignmentState": "Unallocated"})
    return Reply(200, {"reference": reference, "state": "unallocated"})


def lines(upstream: Upstream) -> list[str]:
    """Returns the methods and last segments of what was asked."""
    found = []
    while not upstream.received.empty():
        method, path, _ = upstream.received.get().line.split(" ")
        found.append(f"{method} {path.rpartition('/')[2]}")
    return found


def single() -> tuple[str, Any]:
    reference = f"sp_{uuid.uuid4().hex}"
    return reference, pb.AllocateShipmentRequest(shipment_reference=reference)


def soon(call: Callable[[], Any]) -> Any:
    """Makes a call that is over long before its deadline."""
    started = time.monotonic()
    result = call()
    assert time.monotonic() - started < SOON
    return result


@pytest.mark.parametrize(("status", "body", "headers", "told", "message"), BARRED)
def test_a_write_that_was_not_let_through_is_read_once_and_answered(
    stub: ShipmentAllocationServiceStub,
    unallocated: Upstream,
    status: int,
    body: bytes,
    headers: dict[str, str],
    told: tuple[StatusCode, str],
    message: str,
) -> None:
    """With the reason of the table, and at once."""
    reference, request = single()
    unallocated.answer(status, body, headers=headers)

    found = soon(lambda: failure(lambda: stub.AllocateShipment(request, timeout=PATIENCE)))

    assert (found.code, found.reason) == told
    assert found.metadata == {"upstream_status": str(status), "effect": "none"}
    assert message in found.message
    assert lines(unallocated) == ["PUT allocate", f"GET {reference}"]


@pytest.mark.parametrize("status", sorted({row[0] for row in BARRED}))
def test_what_was_done_all_the_same_is_found_by_that_reading(
    stub: ShipmentAllocationServiceStub, upstream: Upstream, status: int
) -> None:
    """Whoever says that a request was not let through can be wrong."""
    reference, request = single()
    upstream.answer(status, PAGE)
    made = {"allocation_date": _in_a_moment(), "carrier": {"service_reference": "FF_1"}}
    upstream.answer(200, {"reference": reference, "state": "allocated", "allocation": made})

    response = soon(lambda: stub.AllocateShipment(request, timeout=PATIENCE))

    assert response.allocation.reconciled
    assert response.allocation.carrier.service_reference == "FF_1"
    assert lines(upstream) == ["PUT allocate", f"GET {reference}"]


def test_what_cannot_be_read_stays_in_doubt(stub: ShipmentAllocationServiceStub, upstream: Upstream) -> None:
    """Most often the reading fails, too: then nobody knows."""
    # It is read on after the call, and must not take what another test has scripted.
    request = pb.AllocateShipmentRequest(shipment_reference=f"{UNREADABLE}-{uuid.uuid4().hex}")
    upstream.answer(403, PAGE)
    found = failure(lambda: stub.AllocateShipment(request, timeout=2))
    assert (found.code, found.reason) == (StatusCode.UNKNOWN, "OUTCOME_UNKNOWN")
    assert found.metadata == {
        "upstream_status": "403",
        "cause": "UPSTREAM_CREDENTIALS_REJECTED",
        "effect": "unknown",
    }
    assert "a proxy in front of it" in found.message


def test_its_id_and_its_shipment_are_free_again(stub: ShipmentAllocationServiceStub, unallocated: Upstream) -> None:
    """As after a refusal of upstream's own: the same call can be made again, and is sent."""
    reference, request = single()
    request.request_id = str(uuid.uuid4())
    unallocated.answer(403, PAGE)
    failure(lambda: stub.AllocateShipment(request, timeout=PATIENCE))
    unallocated.answer(200, {"shipment_reference": reference, "state": "allocated"})

    response = soon(lambda: stub.AllocateShipment(request, timeout=PATIENCE))

    assert not response.allocation.reconciled
    assert lines(unallocated) == ["PUT allocate", f"GET {reference}", "PUT allocate"]


def test_a_bulk_call_is_read_in_whole(stub: ShipmentAllocationServiceStub, unallocated: Upstream) -> None:
    """Each of its shipments, once."""
    references = [f"sp_{uuid.uuid4().hex}" for _ in range(3)]
    unallocated.answer(403, PAGE)

    request = pb.AllocateShipmentsRequest(shipments=references)
    found = soon(lambda: failure(lambda: stub.AllocateShipments(request, timeout=PATIENCE)))

    assert (found.code, found.reason) == CREDENTIALS
    assert found.metadata["effect"] == "none"
    assert sorted(lines(unallocated)) == sorted(["PUT allocate", *(f"GET {reference}" for reference in references)])


@pytest.mark.parametrize("status", [401, 403, 407])
def test_a_consignment_is_read_once_too(
    consignments_stub: ConsignmentAllocationServiceStub, unallocated: Upstream, status: int
) -> None:
    unallocated.answer(status, PAGE)

    request = consignments_pb.AllocateConsignmentRequest(consignment_reference=f"EC-{uuid.uuid4()}")
    found = soon(lambda: failure(lambda: consignments_stub.AllocateConsignment(request, timeout=PATIENCE)))

    assert (found.code, found.reason) == (MISCONFIGURED if status == 407 else CREDENTIALS)
    assert found.metadata == {"upstream_status": str(status), "effect": "none"}
    assert lines(unallocated) == ["PUT allocatewithcheapestquote", f"GET {request.consignment_reference}"]


def test_a_deallocation_that_was_not_let_through_is_read_once(
    stub: ShipmentAllocationServiceStub, upstream: Upstream
) -> None:
    """What is still allocated is what a refused de-allocation leaves."""
    reference = f"sp_{uuid.uuid4().hex}"
    upstream.answer(403, PAGE)
    upstream.answer(200, {"reference": reference, "state": "allocated"})

    request = pb.DeallocateShipmentRequest(shipment_reference=reference)
    found = soon(lambda: failure(lambda: stub.DeallocateShipment(request, timeout=PATIENCE)))

    assert (found.code, found.reason) == CREDENTIALS
    assert found.metadata["effect"] == "none"
    assert lines(upstream) == ["DELETE allocation", f"GET {reference}"]


def test_what_may_be_over_soon_is_sent_again() -> None:
    """As after upstream's own 429: what was certainly without effect is tried up to the number of attempts."""
    reference, request = single()
    with running_front(SHIP_MAX_ATTEMPTS="2") as front:
        front.upstream.default = _unallocated
        front.upstream.answer(429, PAGE)
        front.upstream.answer(200, {"reference": reference, "state": "unallocated"})
        front.upstream.answer(200, {"shipment_reference": reference, "state": "allocated"})

        response = soon(lambda: front.stub.AllocateShipment(request, timeout=PATIENCE))

        assert not response.allocation.reconciled
        assert lines(front.upstream) == ["PUT allocate", f"GET {reference}", "PUT allocate"]


def test_a_doubtful_body_is_read_until_it_is_known(stub: ShipmentAllocationServiceStub, upstream: Upstream) -> None:
    """A refusal whose body says that it was carried out: what is read first may be older than that."""
    reference, request = single()
    upstream.answer(521, {"shipment_reference": reference, "state": "allocated"})
    upstream.answer(200, {"reference": reference, "state": "unallocated"})
    made = {"allocation_date": _in_a_moment(), "carrier": {"service_reference": "FF_1"}}
    upstream.answer(200, {"reference": reference, "state": "allocated", "allocation": made})

    response = soon(lambda: stub.AllocateShipment(request, timeout=PATIENCE))

    assert response.allocation.reconciled
    assert lines(upstream) == ["PUT allocate", f"GET {reference}", f"GET {reference}"]


def test_one_of_two_that_a_407_does_not_name_is_found_by_reading(
    stub: ShipmentAllocationServiceStub, upstream: Upstream
) -> None:
    """An ApiError under the status of a partial success: each of the shipments is read."""
    done, open_ = (f"sp_{uuid.uuid4().hex}" for _ in range(2))
    made = {"allocation_date": _in_a_moment(), "carrier": {"service_reference": "FF_1"}}
    states: dict[str, Any] = {
        done: {"reference": done, "state": "allocated", "allocation": made},
        open_: {"reference": open_, "state": "unallocated"},
    }
    before, upstream.default = upstream.default, lambda received: Reply(200, states[_last(received)])
    try:
        upstream.answer(407, {"code": "partially_allocated", "message": "One or more could not be allocated."})
        request = pb.AllocateShipmentsRequest(shipments=[done, open_])
        found = failure(lambda: stub.AllocateShipments(request, timeout=2))
    finally:
        upstream.default = before
    assert (found.code, found.reason) == (StatusCode.UNKNOWN, "OUTCOME_UNKNOWN")
    assert found.metadata["effect"] == "unknown"
    progress = found.detail(WriteProgress)
    assert progress is not None
    assert (list(progress.done), list(progress.unknown)) == ([done], [open_])


def _last(received: Received) -> str:
    return received.line.split(" ")[1].rpartition("/")[2]

"""How long callers wait, and what becomes of the work when they no longer do."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.rpc import error_details_pb2
from support.front import LONG, READ, SERVICE, SHIPMENT, WRITE, another_write, running_front
from support.status import failure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.front import Front

# A default that is shorter than what tests ask for, and a margin that a busy machine does not eat up.
DEFAULT = 1.0
MARGIN = 0.4
# Most of a deadline that is a little shorter is enough for a call on a busy machine.
LONG_MARGIN = 4.0
SHIP_TIMEOUT = 2.2


@pytest.fixture(scope="module")
def shared_front() -> Iterator[Front]:
    with running_front(
        DEFAULT_DEADLINE=str(DEFAULT),
        DEADLINE_MARGIN=str(MARGIN),
        SHIP_TIMEOUT=str(SHIP_TIMEOUT),
        SHIP_SETTLE_TIME=str(SHIP_TIMEOUT),
        SHIP_MAX_ATTEMPTS="1",
    ) as front:
        yield front


@pytest.fixture
def front(shared_front: Front) -> Front:
    shared_front.upstream.forget()
    shared_front.gateway.forget()
    return shared_front


@pytest.fixture(scope="module")
def shared_narrow() -> Iterator[Front]:
    with running_front(SHIP_MAX_CONNECTIONS="1", SHIP_QUEUE_TIME=str(LONG), DEADLINE_MARGIN=str(MARGIN)) as front:
        yield front


@pytest.fixture
def narrow(shared_narrow: Front) -> Front:
    """A gateway with a single connection to upstream."""
    shared_narrow.upstream.forget()
    shared_narrow.gateway.forget()
    return shared_narrow


def written(front: Front) -> list[str]:
    """Returns the lines of the requests to upstream that nobody has looked at."""
    lines = []
    while not front.upstream.received.empty():
        lines.append(front.upstream.received.get_nowait().line)
    return lines


def test_expired_read_is_told_before_its_deadline_and_why(front: Front) -> None:
    """The details come from the gateway: what a client makes up at its own deadline has none."""
    front.upstream.hold()
    begun = time.monotonic()
    told = failure(lambda: front.stub.GetShipmentAllocation(READ, timeout=2.0))
    waited = time.monotonic() - begun
    assert (told.code, told.reason) == (grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED")
    assert waited > 2.0 - MARGIN - 0.1


def test_expired_read_cancels_its_upstream_request(front: Front) -> None:
    release = front.upstream.hold()
    failure(lambda: front.stub.GetShipmentAllocation(READ, timeout=0.5))
    assert release.gone.wait(LONG)


def test_read_without_deadline_gets_the_default_one(front: Front) -> None:
    front.upstream.hold()
    begun = time.monotonic()
    told = failure(lambda: front.stub.GetShipmentAllocation(READ))
    assert (told.code, told.reason) == (grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED")
    assert time.monotonic() - begun > DEFAULT - MARGIN - 0.1


def test_deadline_longer_than_the_default_is_honoured(front: Front) -> None:
    release = front.upstream.hold(body={"reference": SHIPMENT, "state": "unallocated"})
    call = front.stub.GetShipmentAllocation.future(READ, timeout=LONG)
    assert not release.gone.wait(DEFAULT + 0.3)
    release.set()
    assert call.result(LONG).allocation.shipment_reference == SHIPMENT


def test_margin_never_eats_up_a_short_deadline() -> None:
    """Of a deadline that is shorter than the margin, most is left to work with."""
    with running_front(DEADLINE_MARGIN=str(LONG_MARGIN)) as front:
        release = front.upstream.hold(body={"reference": SHIPMENT, "state": "unallocated"})
        call = front.stub.GetShipmentAllocation.future(READ, timeout=LONG_MARGIN * 0.9)
        front.upstream.next_request()
        release.set()
        assert call.result(LONG).allocation.shipment_reference == SHIPMENT


def test_cancelled_read_cancels_its_upstream_request(front: Front) -> None:
    release = front.upstream.hold()
    call = front.stub.GetShipmentAllocation.future(READ, timeout=LONG)
    front.upstream.next_request()
    call.cancel()
    assert release.gone.wait(LONG)
    front.gateway.wait_for("call", code="CANCELLED")


def test_expired_write_is_of_unknown_outcome_and_goes_on(front: Front) -> None:
    """It is not cut, its caller is told that it may yet be carried out, and the log has its end."""
    release = front.upstream.hold(body={"shipment_reference": SHIPMENT, "state": "allocated"}, to="PUT")
    told = failure(lambda: front.stub.AllocateShipment(WRITE, timeout=1.8))
    assert (told.code, told.reason) == (grpc.StatusCode.UNKNOWN, "OUTCOME_UNKNOWN")
    assert told.metadata["effect"] == "unknown"
    assert told.detail(error_details_pb2.RetryInfo) is not None
    detached = front.gateway.wait_for("write_detached", rpc="AllocateShipment", reference=SHIPMENT)
    assert not release.gone.wait(0.2)
    release.set()
    done = front.gateway.wait_for("detached_write_done")
    assert done["request_id"] == detached["request_id"]
    assert not release.gone.is_set()


def test_cancelled_write_that_was_sent_goes_on(front: Front) -> None:
    write = another_write()
    body = {"shipment_reference": write.shipment_reference, "state": "allocated"}
    release = front.upstream.hold(body=body, to="PUT")
    call = front.stub.AllocateShipment.future(write, timeout=LONG)
    front.upstream.next_request(to="PUT")
    call.cancel()
    front.gateway.wait_for("write_detached")
    front.gateway.wait_for("call", code="CANCELLED")
    assert not release.gone.wait(0.2)
    release.set()
    front.gateway.wait_for("detached_write_done")
    assert not release.gone.is_set()


def test_detached_write_that_fails_is_logged_with_its_reason(front: Front) -> None:
    release = front.upstream.hold(400, {"code": "validation_error", "message": ""}, to="PUT")
    call = front.stub.AllocateShipment.future(another_write(), timeout=LONG)
    front.upstream.next_request(to="PUT")
    call.cancel()
    front.gateway.wait_for("write_detached")
    release.set()
    front.gateway.wait_for("detached_write_failed", reason="INVALID_REQUEST")


def test_detached_write_has_a_bound_of_its_own(front: Front) -> None:
    """Upstream never answers: at SHIP_TIMEOUT the connection is given up, and after the settle time the reading too."""
    release = front.upstream.hold(to="PUT")
    begun = time.monotonic()
    call = front.stub.AllocateShipment.future(another_write(), timeout=LONG)
    front.upstream.next_request(to="PUT")
    call.cancel()
    assert release.gone.wait(LONG)
    assert time.monotonic() - begun > SHIP_TIMEOUT - 0.2
    front.gateway.wait_for("detached_write_failed", reason="OUTCOME_UNKNOWN")
    assert time.monotonic() - begun > SHIP_TIMEOUT * 2 - 0.2
    assert not [line for line in written(front) if line.startswith("PUT")], "nobody waits for it any more"


def test_write_that_upstream_never_answers_is_of_unknown_outcome(front: Front) -> None:
    front.upstream.hold(to="PUT")
    told = failure(lambda: front.stub.AllocateShipment(another_write(), timeout=SHIP_TIMEOUT * 1.7))
    assert (told.code, told.reason) == (grpc.StatusCode.UNKNOWN, "OUTCOME_UNKNOWN")
    assert told.metadata == {"effect": "unknown"}
    assert "there was no answer within 2.2 seconds" in told.message


def test_read_that_upstream_never_answers_is_unavailable(front: Front) -> None:
    release = front.upstream.hold()
    told = failure(lambda: front.stub.GetShipmentAllocation(READ, timeout=LONG))
    assert (told.code, told.reason) == (grpc.StatusCode.UNAVAILABLE, "UPSTREAM_UNAVAILABLE")
    assert release.gone.wait(LONG)


def cancel_in_hand(channel: grpc.Channel) -> None:
    """Makes a write, and cancels it once the gateway has it in hand."""
    # On the wire it is the same call. Python shows the headers of a call at once only if the answer is a stream.
    method: Any = channel.unary_stream(f"/{SERVICE}/AllocateShipment", type(WRITE).SerializeToString)
    call = method(WRITE, timeout=LONG)
    assert dict(call.initial_metadata())["allocation-request-id"]
    call.cancel()


@pytest.mark.parametrize("end", ["deadline", "cancellation"])
def test_write_that_waits_for_a_connection_is_dropped(narrow: Front, end: str) -> None:
    """The one connection is taken; by the time it is free, nobody wants the write any more, and it is never sent."""
    release = narrow.upstream.hold(body={"reference": SHIPMENT, "state": "unallocated"})
    taken = narrow.stub.GetShipmentAllocation.future(READ, timeout=LONG)
    narrow.upstream.next_request()
    if end == "deadline":
        told = failure(lambda: narrow.stub.AllocateShipment(WRITE, timeout=1.6))
        assert (told.code, told.reason) == (grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED")
        assert told.metadata == {"effect": "none"}
    else:
        cancel_in_hand(narrow.channel)
        narrow.gateway.wait_for("call", rpc="AllocateShipment", code="CANCELLED")
    release.set()
    taken.result(LONG)
    narrow.stub.GetShipmentAllocation(READ, timeout=LONG)
    assert narrow.upstream.next_request().line.startswith("GET ")
    assert narrow.upstream.received.empty()


def test_write_that_was_dropped_is_not_called_detached(narrow: Front) -> None:
    release = narrow.upstream.hold(body={"reference": SHIPMENT, "state": "unallocated"})
    taken = narrow.stub.GetShipmentAllocation.future(READ, timeout=LONG)
    narrow.upstream.next_request()
    failure(lambda: narrow.stub.AllocateShipment(WRITE, timeout=0.5))
    release.set()
    taken.result(LONG)
    narrow.stub.GetShipmentAllocation(READ, timeout=LONG)
    narrow.gateway.wait_for("call", code="OK")
    assert not [line for line in narrow.gateway.lines if line["event"].startswith(("write_", "detached_"))]


def test_refused_connection_is_unavailable_and_without_effect() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with running_front(SHIP_BASE_URL=url) as front:
            read = failure(lambda: front.stub.GetShipmentAllocation(READ, timeout=LONG))
            write = failure(lambda: front.stub.AllocateShipment(WRITE, timeout=LONG))
    for told in (read, write):
        assert (told.code, told.reason) == (grpc.StatusCode.UNAVAILABLE, "UPSTREAM_UNAVAILABLE")
        assert told.detail(error_details_pb2.RetryInfo) is not None
    assert read.metadata == {}
    assert write.metadata == {"effect": "none"}


@pytest.mark.parametrize("raw", [b"", b"HTTP/1.1 200 OK\r\ncontent-le"], ids=["nothing", "half a head"])
def test_connection_that_is_lost_after_sending(front: Front, raw: bytes) -> None:
    """A read can simply be made again; of a write nobody knows what became."""
    front.upstream.answer(raw=raw, close=True, to=f"GET /pro/shipments/{SHIPMENT}")
    read = failure(lambda: front.stub.GetShipmentAllocation(READ, timeout=LONG))
    assert (read.code, read.reason) == (grpc.StatusCode.UNAVAILABLE, "UPSTREAM_UNAVAILABLE")
    front.upstream.answer(raw=raw, close=True, to="PUT")
    write = failure(lambda: front.stub.AllocateShipment(another_write(), timeout=1.8))
    assert (write.code, write.reason) == (grpc.StatusCode.UNKNOWN, "OUTCOME_UNKNOWN")
    assert write.metadata == {"effect": "unknown"}


def test_write_is_sent_once_even_if_its_connection_is_lost(front: Front) -> None:
    """No layer below tries again on its own: that could book twice. What became of it is read."""
    front.stub.GetShipmentAllocation(READ, timeout=LONG)  # so that the write goes over a connection used before
    front.upstream.next_request()
    front.upstream.answer(raw=b"", close=True, to="PUT")
    write = another_write()
    failure(lambda: front.stub.AllocateShipment(write, timeout=1.8))
    methods = [line.split()[0] for line in written(front) if write.shipment_reference in line]
    assert methods[:2] == ["PUT", "GET"]
    assert methods.count("PUT") == 1


@pytest.fixture
def silent() -> Iterator[socket.socket]:
    """An upstream that takes connections and says nothing, so that a TLS handshake never ends."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(LONG)
        yield server


def test_write_that_is_still_connecting_is_dropped(silent: socket.socket) -> None:
    """It has no effect, and its connection does not outlive the time to connect."""
    url = f"https://127.0.0.1:{silent.getsockname()[1]}"
    with running_front(SHIP_BASE_URL=url, SHIP_CONNECT_TIMEOUT="3", DEADLINE_MARGIN=str(MARGIN)) as front:
        call = front.stub.AllocateShipment.future(WRITE, timeout=1.6)
        connection, _ = silent.accept()
        with connection:
            connection.settimeout(LONG)
            told = failure(lambda: call.result(LONG))
            assert (told.code, told.reason) == (grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED")
            assert told.metadata == {"effect": "none"}
            while connection.recv(65536):
                pass


def test_connecting_has_a_bound_of_its_own(silent: socket.socket) -> None:
    url = f"https://127.0.0.1:{silent.getsockname()[1]}"
    with running_front(SHIP_BASE_URL=url, SHIP_CONNECT_TIMEOUT="0.5") as front:
        told = failure(lambda: front.stub.AllocateShipment(WRITE, timeout=LONG))
    assert (told.code, told.reason) == (grpc.StatusCode.UNAVAILABLE, "UPSTREAM_UNAVAILABLE")
    assert told.metadata == {"effect": "none"}


def test_callers_do_not_wait_for_each_other(front: Front) -> None:
    """One slow answer holds up nobody else."""
    release = front.upstream.hold(body={"reference": SHIPMENT, "state": "unallocated"})
    slow = front.stub.GetShipmentAllocation.future(READ, timeout=LONG)
    front.upstream.next_request()
    for _ in range(20):
        front.stub.GetShipmentAllocation(READ, timeout=LONG)
    assert not slow.done()
    release.set()
    slow.result(LONG)

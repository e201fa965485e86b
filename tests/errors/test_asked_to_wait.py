"""How long upstream asks to be left alone, in every form in which it can, and what that costs whoever else calls."""

from __future__ import annotations

import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any, Final

import grpc
import pytest
from allocation.v1 import consignment_allocation_service_pb2 as consignments_pb
from allocation.v1.consignment_allocation_service_pb2_grpc import ConsignmentAllocationServiceStub
from google.rpc import error_details_pb2
from grpc import StatusCode
from support.front import READ, another_write, running_front
from support.gateway import running_gateway
from support.status import failure
from support.upstream import running_upstream

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.status import Failure
    from support.upstream import Upstream
pytestmark = pytest.mark.slow

EXHAUSTED: Final = (StatusCode.RESOURCE_EXHAUSTED, "UPSTREAM_THROTTLED")
AN_HOUR: Final = 3600.0
A_MINUTE: Final = 60.0
A_SECOND: Final = 1.0
# What may pass between two calls of a test on a busy machine.
SLACK: Final = 10.0
# Short waits are waited for, and long ones are refused at once, with what is left of them.
QUEUE_TIME: Final = "5"
TIMEOUT: Final = 20.0
KEY: Final = "another-key-that-nobody-may-see"


def wait(found: Failure) -> float:
    """Returns for how many seconds a caller is told to wait."""
    retry = found.detail(error_details_pb2.RetryInfo)
    assert retry is not None
    seconds: float = retry.retry_delay.ToTimedelta().total_seconds()
    return seconds


def in_days(days: float) -> str:
    return format_datetime(datetime.now(UTC) + timedelta(days=days), usegmt=True)


# Names of tests must not depend on the time: these headers are made when they are needed.
DATES: Final = {"in 400 days": 400.0, "400 days ago": -400.0}
# What upstream says; for how many seconds whoever hears it is told to wait, and whoever comes next at most.
ASKED: Final = [
    ("86400", AN_HOUR, A_MINUTE),
    ("999999999999999999999999", AN_HOUR, A_MINUTE),
    ("9" * 4000, AN_HOUR, A_MINUTE),
    ("in 400 days", AN_HOUR, A_MINUTE),
    ("Fri, 31 Dec 9999 23:59:59 GMT", AN_HOUR, A_MINUTE),
    ("Fri, 31 Dec 99999 23:59:59 GMT", A_SECOND, A_SECOND),
    ("-86400", A_SECOND, A_SECOND),
    ("1e9", A_SECOND, A_SECOND),
    ("86400.5", A_SECOND, A_SECOND),
    ("inf", A_SECOND, A_SECOND),
    ("nan", A_SECOND, A_SECOND),
    ("86400, 86400", A_SECOND, A_SECOND),
    ("٨٦٤٠٠", A_SECOND, A_SECOND),
    ("400 days ago", A_SECOND, A_SECOND),
]


@pytest.mark.parametrize(
    ("status", "header", "told", "longest"), [(429, *row) for row in ASKED] + [(503, *row) for row in ASKED[:1]]
)
def test_one_page_holds_others_back_for_a_minute_at_most(status: int, header: str, told: float, longest: float) -> None:
    """Other shipments and reads alike, whatever it asks for."""
    with running_front(SHIP_MAX_ATTEMPTS="1", SHIP_QUEUE_TIME=QUEUE_TIME) as front:
        said = in_days(DATES[header]) if header in DATES else header
        front.upstream.answer(status, b"<html>", headers={"retry-after": said})
        first = wait(failure(lambda: front.stub.GetShipmentAllocation(READ, timeout=20)))
        assert told - SLACK < first <= told

        if longest == A_SECOND:
            front.stub.GetShipmentAllocation(READ, timeout=20)
            front.stub.AllocateShipment(another_write(), timeout=20)
            return
        for call in (
            lambda: front.stub.GetShipmentAllocation(READ, timeout=TIMEOUT),
            lambda: front.stub.AllocateShipment(another_write(), timeout=TIMEOUT),
        ):
            found = failure(call)
            assert (found.code, found.reason) == EXHAUSTED
            assert longest - SLACK < wait(found) <= longest


@contextmanager
def consignments_front() -> Iterator[tuple[Upstream, ConsignmentAllocationServiceStub]]:
    """A gateway in front of a scripted Consignments API."""
    with running_upstream() as upstream:
        settings = {
            "ALLOW_PLAINTEXT": "true",
            "CONSIGNMENTS_BASE_URL": f"http://127.0.0.1:{upstream.port}",
            "CONSIGNMENTS_API_KEY": KEY,
            "CONSIGNMENTS_MAX_ATTEMPTS": "1",
            "CONSIGNMENTS_QUEUE_TIME": QUEUE_TIME,
        }
        with running_gateway(settings) as gateway, grpc.insecure_channel(gateway.address) as channel:
            yield upstream, ConsignmentAllocationServiceStub(channel)


QUOTA: Final = "Out of call volume quota. Quota will be replenished in "
RATE: Final = "Rate limit is exceeded. Try again in "
# HTTP status, what Azure API Management says, headers; what whoever hears it is told, and whoever comes next at most.
MANAGED: Final = [
    (403, f"{QUOTA}02:15:00.", {}, AN_HOUR, A_MINUTE),
    (403, f"{QUOTA}00:45:10.", {}, 2710.0, A_MINUTE),
    (403, f"{QUOTA}00:00:31.", {}, 31.0, 31.0),
    (403, f"{QUOTA}27.02:15:00.", {}, AN_HOUR, A_MINUTE),
    (403, "Out of bandwidth quota.", {}, A_SECOND, A_SECOND),
    (403, f"{QUOTA}02:15:00.", {"retry-after": "40"}, 40.0, 40.0),
    (429, f"{RATE}27 seconds.", {}, 27.0, 27.0),
    (429, f"{RATE}999999999 seconds.", {}, AN_HOUR, A_MINUTE),
    (429, f"{RATE}27 seconds.", {"retry-after": "40"}, 40.0, 40.0),
    (429, f"{RATE}a while.", {}, A_SECOND, A_SECOND),
]


@pytest.mark.parametrize(("status", "message", "headers", "told", "longest"), MANAGED)
def test_azure_api_management_says_in_its_text_how_long(
    status: int, message: str, headers: dict[str, str], told: float, longest: float
) -> None:
    """A quota that is used up is no key that is not accepted, and stops nobody for hours."""
    with consignments_front() as (upstream, stub):
        upstream.answer(status, {"statusCode": status, "message": message}, headers=headers)
        request: Any = consignments_pb.AllocateConsignmentRequest(consignment_reference="EC-000-05B-MMA")
        found = failure(lambda: stub.AllocateConsignment(request, timeout=20))
        assert (found.code, found.reason) == EXHAUSTED
        assert found.metadata == {"upstream_status": str(status), "effect": "none"}
        assert wait(found) == told

        upstream.answer(200, {"Reference": "EC-000-05B-N40", "ConsignmentState": "Unallocated"})
        other: Any = consignments_pb.GetConsignmentAllocationRequest(consignment_reference="EC-000-05B-N40")
        if longest == A_SECOND:
            stub.GetConsignmentAllocation(other, timeout=20)
            return
        found = failure(lambda: stub.GetConsignmentAllocation(other, timeout=TIMEOUT))
        assert (found.code, found.reason) == EXHAUSTED
        assert longest - SLACK < wait(found) <= longest


@pytest.mark.parametrize(
    "message",
    [
        "Access denied due to missing subscription key. Make sure to include subscription key when making requests.",
        "Access denied due to invalid subscription key. Make sure to provide a valid key for an active subscription.",
    ],
)
def test_a_key_that_is_not_accepted_is_no_quota(message: str) -> None:
    with consignments_front() as (upstream, stub):
        upstream.answer(401, {"statusCode": 401, "message": message})
        request: Any = consignments_pb.AllocateConsignmentRequest(consignment_reference="EC-000-05B-MMA")
        found = failure(lambda: stub.AllocateConsignment(request, timeout=20))
        assert (found.code, found.reason) == (StatusCode.INTERNAL, "UPSTREAM_CREDENTIALS_REJECTED")
        assert found.metadata == {"upstream_status": "401", "effect": "none"}


def test_a_short_wait_is_waited_for() -> None:
    """By whoever comes next, in the line: Azure's text as well as the header."""
    with consignments_front() as (upstream, stub):
        upstream.answer(429, {"statusCode": 429, "message": f"{RATE}2 seconds."})
        request: Any = consignments_pb.GetConsignmentAllocationRequest(consignment_reference="EC-000-05B-MMA")
        started = time.monotonic()
        assert wait(failure(lambda: stub.GetConsignmentAllocation(request, timeout=20))) == 2.0
        upstream.answer(200, {"Reference": "EC-000-05B-MMA", "ConsignmentState": "Unallocated"})
        stub.GetConsignmentAllocation(request, timeout=20)
        assert time.monotonic() - started >= 2.0

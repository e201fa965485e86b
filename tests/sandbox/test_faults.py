"""Each fault does to the connection, and to the world, what it says."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from allocation_gateway.sandbox.ship.seed import BULK_SHIPMENTS
from sandbox.calling import HEADERS, ON_DEMAND, OTHER_ON_DEMAND, Caller, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sandbox.conftest import Start

pytestmark = pytest.mark.asyncio

ALLOCATE = f"/shipments/{ON_DEMAND}/allocate"
TEMPLATE = "/shipments/{reference}/allocate"


@pytest.fixture(autouse=True)
def nothing_is_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """A fault is no failure of the sandbox: neither it nor its HTTP server complains."""
    yield
    assert [record for record in caplog.records if record.levelname in {"ERROR", "WARNING"}] == []


async def allocations(caller: Caller) -> int:
    return int((await caller.journal(ON_DEMAND))["allocations"])


async def dies(caller: Caller) -> None:
    with pytest.raises(httpx.TransportError):
        await caller.put(ALLOCATE)


async def test_a_status_comes_instead_of_the_effect_with_its_body_and_headers(caller: Caller) -> None:
    await caller.fault("status", status=503, body={"why": "busy"}, headers={"Retry-After": "3"})
    response = await caller.put(ALLOCATE)
    assert (response.status_code, response.json(), response.headers["retry-after"]) == (503, {"why": "busy"}, "3")
    assert await allocations(caller) == 0


async def test_a_status_after_the_effect_hides_it(caller: Caller) -> None:
    await caller.fault("status", status=502, body="<html>", content_type="text/html", when="after")
    response = await caller.put(ALLOCATE)
    assert (response.status_code, response.text, response.headers["content-type"]) == (502, "<html>", "text/html")
    assert await allocations(caller) == 1


@pytest.mark.parametrize(("when", "effect"), [("before", 0), ("after", 1)])
async def test_a_dropped_connection_gives_no_answer_before_or_after_the_effect(
    caller: Caller, when: str, effect: int
) -> None:
    await caller.fault("drop", when=when)
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        await caller.put(ALLOCATE)
    assert await allocations(caller) == effect


async def test_a_connection_dropped_during_the_answer_has_given_a_status_and_half_a_body(caller: Caller) -> None:
    await caller.fault("drop", when="during")
    status, length, body = await broken_answer(caller)
    assert (status, len(body)) == (200, length // 2)
    assert await allocations(caller) == 1


async def test_a_truncated_answer_announces_more_than_it_brings(caller: Caller) -> None:
    await caller.fault("truncate", announced="full")
    status, length, body = await broken_answer(caller)
    assert (status, len(body)) == (200, length // 2)
    assert await allocations(caller) == 1


async def broken_answer(caller: Caller) -> tuple[int, int, bytes]:
    """The status, the announced length, and what came of the body before the connection ended."""
    received = bytearray()
    url = caller.sandbox.ship_base_url + ALLOCATE
    headers = {**HEADERS, "Accept-Encoding": "identity"}
    async with caller.http.stream("PUT", url, headers=headers) as response:
        with pytest.raises(httpx.TransportError):
            await receive(response, received)
    return response.status_code, int(response.headers["content-length"]), bytes(received)


async def receive(response: httpx.Response, into: bytearray) -> None:
    async for piece in response.aiter_raw():
        into += piece


async def test_a_truncated_answer_may_be_a_complete_message_with_half_the_json(caller: Caller) -> None:
    await caller.fault("truncate", announced="half")
    response = await caller.put(ALLOCATE)
    assert response.status_code == 200
    with pytest.raises(ValueError, match=r"Unterminated|Expecting"):
        response.json()


async def test_a_malformed_answer_is_not_json_though_it_says_so(caller: Caller) -> None:
    await caller.fault("malformed")
    response = await caller.put(ALLOCATE)
    assert (response.status_code, response.headers["content-type"]) == (200, "application/json")
    assert response.text.startswith("<html>")
    assert await allocations(caller) == 1


async def test_an_oversized_answer_is_the_right_one_and_huge(caller: Caller) -> None:
    await caller.fault("oversize", size=3_000_000)
    response = await caller.put(ALLOCATE)
    assert len(response.content) > 3_000_000
    assert response.json()["state"] == "allocated"


@pytest.mark.parametrize(("when", "meanwhile"), [("before", 0), ("after", 1)])
async def test_latency_delays_the_effect_or_only_the_answer(caller: Caller, when: str, meanwhile: int) -> None:
    await caller.fault("latency", seconds=0.5, when=when)
    began = monotonic()
    call = asyncio.create_task(caller.put(ALLOCATE))
    await until(lambda: counted(caller))
    assert await allocations(caller) == meanwhile
    assert (await call).json()["state"] == "allocated"
    assert monotonic() - began >= 0.5


async def counted(caller: Caller) -> Any:
    return (await caller.control("GET", "requests"))["total"] or None


async def test_a_late_effect_happens_after_the_connection_died(caller: Caller) -> None:
    await caller.fault("late_effect", seconds=0.5)
    await dies(caller)
    assert await allocations(caller) == 0
    await until(lambda: allocated(caller))
    assert await caller.state(ON_DEMAND) == "allocated"


async def allocated(caller: Caller) -> int | None:
    return await allocations(caller) or None


async def test_a_reset_forgets_an_effect_that_is_still_to_come(caller: Caller) -> None:
    await caller.fault("late_effect", seconds=0.1)
    await dies(caller)
    await caller.control("POST", "reset")
    # A later effect that does happen proves that the earlier one had its time.
    await caller.fault("late_effect", seconds=0.1)
    with pytest.raises(httpx.TransportError):
        await caller.put(f"/shipments/{OTHER_ON_DEMAND}/allocate")
    await until(lambda: other_allocated(caller))
    assert await allocations(caller) == 0


async def other_allocated(caller: Caller) -> Any:
    return (await caller.journal(OTHER_ON_DEMAND))["allocations"] or None


@pytest.mark.parametrize(("when", "effect"), [("before", 0), ("after", 1)])
async def test_a_hanging_request_is_never_answered_whatever_its_effect(caller: Caller, when: str, effect: int) -> None:
    await caller.fault("hang", when=when)
    with pytest.raises(httpx.ReadTimeout):
        await caller.ship("PUT", ALLOCATE, timeout=0.2)
    assert await allocations(caller) == effect


async def test_a_hanging_request_ends_at_its_bound(caller: Caller) -> None:
    await caller.fault("hang", seconds=0.1)
    await dies(caller)


@pytest.mark.parametrize("fault", [{"kind": "latency", "seconds": 600}, {"kind": "hang"}], ids=str)
async def test_a_request_that_waits_does_not_keep_the_server_from_stopping(start: Start, fault: dict[str, Any]) -> None:
    async with asyncio.timeout(30):
        async with start() as caller:
            await caller.fault(**fault)
            call = asyncio.create_task(caller.put(ALLOCATE))
            await until(lambda: counted(caller))
            await caller.sandbox.__aexit__(None, None, None)
            with pytest.raises(httpx.TransportError):
                await call


async def test_a_fault_hits_as_often_as_it_counts_and_shows_its_hits(caller: Caller) -> None:
    await caller.fault("status", status=500, count=2)
    statuses = [(await caller.put(ALLOCATE)).status_code for _ in range(3)]
    assert statuses == [500, 500, 200]
    listed = (await caller.control("GET", "faults"))["faults"]
    assert [(item["hits"], item["count"], item["action"]["type"]) for item in listed] == [(2, 2, "status")]


async def test_a_fault_without_a_count_hits_until_it_is_cleared(caller: Caller) -> None:
    await caller.fault("status", status=500, count=None)
    assert [(await caller.put(ALLOCATE)).status_code for _ in range(3)] == [500] * 3
    await caller.control("DELETE", "faults")
    assert (await caller.put(ALLOCATE)).status_code == 200
    assert (await caller.control("GET", "faults")) == {"faults": []}


@pytest.mark.parametrize(
    ("match", "hit"),
    [
        ({}, True),
        ({"method": "PUT"}, True),
        ({"method": "GET"}, False),
        ({"path": TEMPLATE}, True),
        ({"path": "/shipments/{reference}"}, False),
        ({"reference": ON_DEMAND}, True),
        ({"reference": OTHER_ON_DEMAND}, False),
        ({"method": "PUT", "path": TEMPLATE, "reference": OTHER_ON_DEMAND}, False),
    ],
    ids=str,
)
async def test_a_fault_hits_only_what_fits_all_of_its_match(caller: Caller, match: dict[str, str], hit: bool) -> None:
    await caller.fault("status", status=500, match=match)
    assert (await caller.put(ALLOCATE)).status_code == (500 if hit else 200)


async def test_a_reference_is_found_in_a_bulk_body_too(caller: Caller) -> None:
    await caller.fault("status", status=500, match={"reference": BULK_SHIPMENTS[1]})
    response = await caller.put("/shipments/allocate", {"shipments": list(BULK_SHIPMENTS)})
    assert response.status_code == 500


async def test_faults_strike_in_the_order_in_which_they_were_added_one_per_request(caller: Caller) -> None:
    for status in (501, 502):
        await caller.fault("status", status=status)
    assert [(await caller.put(ALLOCATE)).status_code for _ in range(3)] == [501, 502, 200]


async def test_control_paths_are_never_struck(caller: Caller) -> None:
    await caller.fault("status", status=500, count=None)
    assert (await caller.control("GET", "health"))["status"] == "ok"


@pytest.mark.parametrize(
    "fault",
    [
        {},
        {"action": {"type": "explode"}},
        {"action": {"type": "status"}},
        {"action": {"type": "status", "status": 99}},
        {"action": {"type": "status", "status": 500, "headers": {"a": "b\r\nc: d"}}},
        {"action": {"type": "drop"}},
        {"action": {"type": "drop", "when": "sometimes"}},
        {"action": {"type": "latency", "seconds": -1}},
        {"action": {"type": "latency", "seconds": 601}},
        {"action": {"type": "hang", "wen": "before"}},
        {"action": {"type": "hang"}, "count": 0},
        {"action": {"type": "hang"}, "match": {"paht": "/"}},
        [],
    ],
    ids=str,
)
async def test_a_wrong_fault_is_refused(caller: Caller, fault: Any) -> None:
    response = await caller.control_response("POST", "faults", fault)
    assert response.status_code == 400
    assert response.json()["error"]
    assert (await caller.control("GET", "faults")) == {"faults": []}

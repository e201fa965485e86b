"""What becomes of calls of the Python client that are under way when it is closed, and of those that come later."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import grpc
import pytest
from allocation.v1 import job_pb2
from allocation.v1 import shipment_allocation_service_pb2 as pb
from allocation.v1.error_reason_pb2 import ErrorReason
from allocation_gateway.errors import WriteEffect
from allocation_gateway_client import AsyncClient, Client, UnfinishedJob, UnknownOutcome
from support.scripted import SILENCE, Scripted, Told, scripted_server, told

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

C: Final = grpc.StatusCode
SHIPMENT: Final = "sp_00794403010635468411384028069888"
JOB: Final = "6f1d3a52-7d4f-4d58-9f0c-2b7a2f6f3c10"
BEGUN: Final = pb.AllocateShipmentStreamResponse(job=job_pb2.AllocationJob(job_id=JOB))
LONG: Final = 60.0
# How calls that wait for a minute would be ended by their time.
SOON: Final = 20.0
BUSY: Final = told(C.ABORTED, ErrorReason.ERROR_REASON_WRITE_IN_PROGRESS, after=30)
UNKNOWN: Final = told(C.UNKNOWN, ErrorReason.ERROR_REASON_OUTCOME_UNKNOWN, after=30, effect=WriteEffect.UNKNOWN)
Ended: TypeAlias = "Callable[..., BaseException]"


@pytest.fixture
def server() -> Iterator[Scripted]:
    with scripted_server() as scripted:
        yield scripted


class Pausing(threading.Event):
    """Says that somebody waits for it."""

    def __init__(self) -> None:
        super().__init__()
        self.begun = threading.Event()

    def wait(self, timeout: float | None = None) -> bool:
        self.begun.set()
        return super().wait(timeout)


def has_called(server: Scripted) -> None:
    """Waits until the server was called."""
    end = time.monotonic() + LONG
    while not server.calls:
        assert time.monotonic() < end
        time.sleep(0.01)


def blocking(server: Scripted, what: str, *, in_pause: bool = False, **options: Any) -> BaseException:
    """Has a client closed while another thread asks it for something. Returns what that thread is told."""
    with ThreadPoolExecutor(1) as pool, Client(server.address, plaintext=True, **options) as client:
        client._closed = pausing = Pausing()
        asked = pool.submit(asks(client)[what])
        has_called(server)
        if in_pause:
            assert pausing.begun.wait(LONG)
        client.close()
        error = asked.exception(SOON)
    assert error is not None
    return error


def asks(client: Client) -> dict[str, Callable[[], Any]]:
    return {
        "write": lambda: client.allocate_shipment(SHIPMENT),
        "read": lambda: client.get_shipment_allocation(SHIPMENT),
        "job": lambda: list(client.allocate_shipment_stream(["a", "b"], timeout=LONG, job_id=JOB)),
        "watch": lambda: list(client.watch_shipment_allocations(["a"], timeout=LONG)),
    }


def awaiting(server: Scripted, what: str, *, in_pause: bool = False, **options: Any) -> BaseException:
    """The same with tasks, of which none is cancelled."""

    async def ask() -> BaseException:
        async with AsyncClient(server.address, plaintext=True, **options) as client:
            asked = asyncio.create_task(awaited(client)[what]())
            await asyncio.to_thread(has_called, server)
            if in_pause:
                await asyncio.wait_for(pausing(client), LONG)
            await client.close()
            await asyncio.wait({asked}, timeout=SOON)
            assert not asked.cancelled()
            error = asked.exception()
            assert error is not None
            return error

    return asyncio.run(asyncio.wait_for(ask(), LONG))


async def pausing(client: AsyncClient) -> None:
    """Waits until a call waits for its next attempt."""
    while not client._closed._pausing:  # noqa: ASYNC110 # it tells nobody
        await asyncio.sleep(0.01)


def awaited(client: AsyncClient) -> dict[str, Callable[[], Coroutine[Any, Any, Any]]]:
    async def job() -> list[Any]:
        return [one async for one in client.allocate_shipment_stream(["a", "b"], timeout=LONG, job_id=JOB)]

    async def watch() -> list[Any]:
        return [one async for one in client.watch_shipment_allocations(["a"], timeout=LONG)]

    return {
        "write": lambda: client.allocate_shipment(SHIPMENT),
        "read": lambda: client.get_shipment_allocation(SHIPMENT),
        "job": job,
        "watch": watch,
    }


@pytest.fixture(params=[blocking, awaiting], ids=["blocking", "awaiting"])
def ended(request: pytest.FixtureRequest) -> Ended:
    chosen: Ended = request.param
    return chosen


def test_a_write_under_way_has_an_unknown_outcome(server: Scripted, ended: Ended) -> None:
    server.default = SILENCE
    error = ended(server, "write")
    assert isinstance(error, UnknownOutcome)
    assert error.request_id == pb.AllocateShipmentRequest.FromString(server.calls[0].request).request_id
    assert len(server.calls) == 1


def test_between_two_attempts_it_depends_on_those_before(server: Scripted, ended: Ended) -> None:
    server.answers.append(UNKNOWN)
    error = ended(server, "write", in_pause=True)
    assert isinstance(error, UnknownOutcome)
    assert error.reason == "OUTCOME_UNKNOWN"
    server.calls.clear()
    server.answers.append(BUSY)
    never = ended(server, "write", in_pause=True)
    assert (type(never), str(never)) == (RuntimeError, "The client is closed")


@pytest.mark.parametrize("what", ["read", "watch"])
def test_a_read_under_way_is_told_that_the_client_is_closed(server: Scripted, ended: Ended, what: str) -> None:
    server.default = SILENCE
    error = ended(server, what)
    assert (type(error), str(error)) == (RuntimeError, "The client is closed")


def test_a_job_under_way_is_unfinished(server: Scripted, ended: Ended) -> None:
    server.default = Told([BEGUN], SILENCE)
    error = ended(server, "job")
    assert isinstance(error, UnfinishedJob)
    assert (error.job_id, error.unanswered) == (JOB, ("a", "b"))


@pytest.mark.parametrize("what", ["write", "read", "job", "watch"])
def test_a_client_that_is_closed_is_asked_for_nothing_more(server: Scripted, what: str) -> None:
    with Client(server.address, plaintext=True) as client:
        pass
    with pytest.raises(RuntimeError, match="The client is closed"):
        asks(client)[what]()

    async def ask() -> None:
        async with AsyncClient(server.address, plaintext=True) as other:
            pass
        with pytest.raises(RuntimeError, match="The client is closed"):
            await awaited(other)[what]()

    asyncio.run(ask())
    assert server.calls == []


def test_an_interceptor_that_awaits_changes_nothing(server: Scripted) -> None:
    server.default = SILENCE

    class Passing(grpc.aio.UnaryUnaryClientInterceptor):
        async def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
            return await continuation(client_call_details, request)

    assert isinstance(awaiting(server, "write", interceptors=[Passing()]), UnknownOutcome)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python 3.10 does not tell whether a task was cancelled")
def test_a_task_that_is_cancelled_itself_stays_so(server: Scripted) -> None:
    """In the same moment too, in which its client is closed."""
    server.default = SILENCE

    async def ask(*, closes: bool) -> bool:
        async with AsyncClient(server.address, plaintext=True) as client:
            server.calls.clear()
            asked = asyncio.create_task(client.allocate_shipment(SHIPMENT))
            await asyncio.to_thread(has_called, server)
            asked.cancel()
            if closes:
                await client.close()
            await asyncio.wait({asked}, timeout=SOON)
            return asked.cancelled()

    assert asyncio.run(ask(closes=False))
    assert asyncio.run(ask(closes=True))

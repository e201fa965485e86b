"""When the Python client repeats a call, and what it makes of how the last attempt ended."""

from __future__ import annotations

import asyncio
import pickle
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import grpc
import pytest
from allocation.v1 import core_pb2, error_reason_pb2
from allocation.v1 import shipment_allocation_service_pb2 as pb
from allocation.v1.error_reason_pb2 import ErrorReason
from allocation_gateway.errors import WriteEffect, bad_request, resource
from allocation_gateway_client import (
    SERVICE_CONFIG,
    AllocationError,
    AsyncClient,
    Client,
    GatewayFailure,
    InvalidRequest,
    InvalidState,
    NoServiceAvailable,
    NotFound,
    NotPermitted,
    NotSupported,
    Refused,
    TryAgain,
    UnknownOutcome,
)
from allocation_gateway_client.failure import failure_of
from allocation_gateway_client.policy import Attempts, Budget
from google.rpc import error_details_pb2
from support.scripted import SILENCE, Scripted, scripted_server, told

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from allocation_gateway.errors import GatewayError

C: Final = grpc.StatusCode
SHIPMENT: Final = "sp_00794403010635468411384028069888"
DONE: Final = pb.AllocateShipmentResponse(allocation=core_pb2.Allocation(shipment_reference=SHIPMENT))
SOON: Final = 0.01
# Shorter attempts than anybody wants, so that a test need not wait for one.
QUICK: Final = SERVICE_CONFIG.replace('"20s"', '"1s"')
Ask: TypeAlias = "Callable[..., Any]"


@pytest.fixture
def server() -> Iterator[Scripted]:
    with scripted_server() as scripted:
        yield scripted


def blocking(server: Scripted, **options: Any) -> Any:
    timeout = options.pop("call_timeout", None)
    with Client(server.address, plaintext=True, **options) as client:
        return client.allocate_shipment(SHIPMENT, timeout=timeout)


def awaiting(server: Scripted, **options: Any) -> Any:
    timeout = options.pop("call_timeout", None)

    async def ask() -> Any:
        async with AsyncClient(server.address, plaintext=True, **options) as client:
            return await client.allocate_shipment(SHIPMENT, timeout=timeout)

    return asyncio.run(ask())


@pytest.fixture(params=[blocking, awaiting], ids=["blocking", "awaiting"])
def ask(request: pytest.FixtureRequest) -> Ask:
    """Allocates a shipment through a client of either kind."""
    chosen: Ask = request.param
    return chosen


def ids(server: Scripted) -> list[str]:
    return [pb.AllocateShipmentRequest.FromString(call.request).request_id for call in server.calls]


UNKNOWN: Final = told(C.UNKNOWN, ErrorReason.ERROR_REASON_OUTCOME_UNKNOWN, after=SOON, effect=WriteEffect.UNKNOWN)
BUSY: Final = told(C.ABORTED, ErrorReason.ERROR_REASON_WRITE_IN_PROGRESS, after=SOON)
THROTTLED: Final = told(
    C.RESOURCE_EXHAUSTED, ErrorReason.ERROR_REASON_UPSTREAM_THROTTLED, after=SOON, effect=WriteEffect.NONE
)
AWAY: Final = told(C.UNAVAILABLE, ErrorReason.ERROR_REASON_UPSTREAM_UNAVAILABLE, after=SOON, effect=WriteEffect.NONE)
TOO_LATE: Final = told(C.DEADLINE_EXCEEDED, ErrorReason.ERROR_REASON_DEADLINE_EXCEEDED)


@pytest.mark.parametrize(
    "answer", [UNKNOWN, BUSY, THROTTLED, AWAY, TOO_LATE, C.UNAVAILABLE, C.UNKNOWN, C.INTERNAL, C.CANCELLED], ids=str
)
def test_a_call_is_repeated_with_the_same_id(
    server: Scripted, ask: Ask, answer: GatewayError | grpc.StatusCode
) -> None:
    server.answers.extend([answer, answer, DONE])
    assert ask(server) == DONE
    assert len(ids(server)) == 3
    assert len(set(ids(server))) == 1
    assert ids(server)[0]


def test_two_calls_have_two_ids_unless_the_caller_names_them(server: Scripted) -> None:
    server.default = DONE
    with Client(server.address, plaintext=True) as client:
        client.allocate_shipment(SHIPMENT)
        client.allocate_shipment(SHIPMENT)
        client.allocate_shipment(SHIPMENT, request_id="mine")
    first, second, mine = ids(server)
    assert first != second
    assert mine == "mine"


def test_an_attempt_that_is_not_answered_is_repeated(server: Scripted, ask: Ask) -> None:
    server.answers.append(SILENCE)
    server.default = DONE
    assert ask(server, service_config=QUICK) == DONE
    assert len(ids(server)) > 1
    assert len(set(ids(server))) == 1


def test_every_attempt_has_a_deadline(server: Scripted, ask: Ask) -> None:
    """It is the service configuration's, or that of the whole call if that is earlier. gRPC rounds it up a little."""
    server.default = DONE
    ask(server)
    assert 10 < server.calls[0].seconds < 21
    ask(server, call_timeout=5)
    assert 0 < server.calls[1].seconds < 6
    ask(server, timeout=4)
    assert 0 < server.calls[2].seconds < 5


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (told(C.INVALID_ARGUMENT, ErrorReason.ERROR_REASON_INVALID_REQUEST, effect=WriteEffect.NONE), InvalidRequest),
        (told(C.NOT_FOUND, ErrorReason.ERROR_REASON_SHIPMENT_NOT_FOUND, effect=WriteEffect.NONE), NotFound),
        (told(C.FAILED_PRECONDITION, ErrorReason.ERROR_REASON_INVALID_STATE, effect=WriteEffect.NONE), InvalidState),
        (told(C.FAILED_PRECONDITION, ErrorReason.ERROR_REASON_ALLOCATION_FAILED), NoServiceAvailable),
        (told(C.FAILED_PRECONDITION, ErrorReason.ERROR_REASON_API_NOT_CONFIGURED), Refused),
        (told(C.PERMISSION_DENIED, ErrorReason.ERROR_REASON_REFRESH_NOT_ALLOWED), NotPermitted),
        (told(C.UNIMPLEMENTED, ErrorReason.ERROR_REASON_OPERATION_DISABLED), NotSupported),
        (told(C.INTERNAL, ErrorReason.ERROR_REASON_GATEWAY_DEFECT), GatewayFailure),
        (told(C.INTERNAL, ErrorReason.ERROR_REASON_UPSTREAM_CONTRACT_BROKEN, effect=WriteEffect.MADE), GatewayFailure),
        # No RetryInfo: the answer would be the same.
        (told(C.UNKNOWN, ErrorReason.ERROR_REASON_OUTCOME_UNKNOWN, effect=WriteEffect.UNKNOWN), UnknownOutcome),
        (C.UNIMPLEMENTED, NotSupported),
        (C.UNAUTHENTICATED, NotPermitted),
        (C.PERMISSION_DENIED, NotPermitted),
        (C.INVALID_ARGUMENT, InvalidRequest),
    ],
    ids=str,
)
def test_nothing_else_is_repeated(
    server: Scripted, ask: Ask, answer: GatewayError | grpc.StatusCode, kind: type[AllocationError]
) -> None:
    server.answers.append(answer)
    with pytest.raises(AllocationError) as caught:
        ask(server)
    assert type(caught.value) is kind
    assert len(server.calls) == 1


def test_what_is_still_unknown_at_the_deadline_holds_the_id(server: Scripted, ask: Ask) -> None:
    later = told(C.UNKNOWN, ErrorReason.ERROR_REASON_OUTCOME_UNKNOWN, after=30, effect=WriteEffect.UNKNOWN)
    server.answers.append(later)
    with pytest.raises(UnknownOutcome) as caught:
        ask(server, call_timeout=5)
    # It does not wait for a time at which it may not ask any more.
    assert len(server.calls) == 1
    assert caught.value.request_id == ids(server)[0]
    assert caught.value.request_id in str(caught.value)
    assert caught.value.retry_after == 30
    kept = pickle.loads(pickle.dumps(caught.value))  # noqa: S301 # its own
    assert (kept.request, kept.reason) == (caught.value.request, "OUTCOME_UNKNOWN")
    server.answers.append(DONE)
    with Client(server.address, plaintext=True) as client:
        assert client.call(kept.request) == DONE
    assert len(set(ids(server))) == 1


def test_a_doubt_stays_until_the_gateway_says_that_nothing_was_done(server: Scripted, ask: Ask) -> None:
    refused = told(C.NOT_FOUND, ErrorReason.ERROR_REASON_SHIPMENT_NOT_FOUND, effect=WriteEffect.NONE)
    server.answers.extend([C.UNAVAILABLE, C.UNAUTHENTICATED])
    with pytest.raises(UnknownOutcome):
        ask(server)
    silent = told(C.UNIMPLEMENTED, ErrorReason.ERROR_REASON_OPERATION_DISABLED)
    server.answers.extend([UNKNOWN, silent])
    with pytest.raises(UnknownOutcome):
        ask(server)
    server.answers.extend([UNKNOWN, refused])
    with pytest.raises(NotFound):
        ask(server)


def test_who_was_never_sent_is_not_in_doubt(server: Scripted, ask: Ask) -> None:
    server.answers.append(told(C.ABORTED, ErrorReason.ERROR_REASON_WRITE_IN_PROGRESS, after=30))
    with pytest.raises(TryAgain) as caught:
        ask(server, call_timeout=5)
    assert caught.value.retry_after == 30


def test_a_read_is_retried_by_grpc_and_never_unknown(server: Scripted) -> None:
    answer = pb.GetShipmentAllocationResponse(allocation=core_pb2.Allocation(shipment_reference=SHIPMENT))
    with Client(server.address, plaintext=True) as client:
        server.answers.extend([AWAY, AWAY, answer])
        assert client.get_shipment_allocation(SHIPMENT) == answer
        assert len(server.calls) == 3
        server.answers.append(C.UNKNOWN)
        with pytest.raises(GatewayFailure):
            client.get_shipment_allocation(SHIPMENT)
        assert len(server.calls) == 4


def test_an_error_has_all_that_was_told(server: Scripted, ask: Ask) -> None:
    carrier = core_pb2.Carrier(service_reference="FF_LINET-00001")
    server.answers.append(
        told(
            C.FAILED_PRECONDITION,
            ErrorReason.ERROR_REASON_INVALID_STATE,
            effect=WriteEffect.NONE,
            metadata={"upstream_status": "400"},
            details=[
                bad_request([("shipments[1]", "It is there twice.")]),
                resource("Shipment", SHIPMENT),
                error_reason_pb2.WriteProgress(done=["a"], unknown=["b"]),
            ],
            excluded=[core_pb2.ExcludedService(carrier=carrier)],
            allocation=core_pb2.Allocation(shipment_reference=SHIPMENT, unreadable=["price.net"]),
        )
    )
    with pytest.raises(InvalidState) as caught:
        ask(server)
    error = caught.value
    assert (error.code, error.reason, error.effect) == (C.FAILED_PRECONDITION, "INVALID_STATE", "none")
    assert error.metadata["upstream_status"] == "400"
    assert [(one.field, one.description) for one in error.field_violations] == [("shipments[1]", "It is there twice.")]
    assert error.resource is not None
    assert (error.resource.kind, error.resource.name) == ("allocation.v1.Shipment", SHIPMENT)
    assert [one.carrier.service_reference for one in error.excluded_services] == ["FF_LINET-00001"]
    assert error.allocation is not None
    assert list(error.allocation.unreadable) == ["price.net"]
    assert error.progress is not None
    assert (list(error.progress.done), list(error.progress.unknown)) == (["a"], ["b"])
    assert str(error) == "INVALID_STATE As the test has it. (shipments[1]: It is there twice.)"


@pytest.mark.parametrize("details", [b"\xff\xff", b""], ids=["broken", "empty"])
def test_details_that_cannot_be_read_are_none(details: bytes) -> None:
    failure = failure_of(C.UNKNOWN, "text", [("grpc-status-details-bin", details), ("grpc-retry-pushback-ms", "soon")])
    assert not failure.is_of_gateway
    assert failure.pushback == -1.0


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def attempts(clock: Clock, budget: Budget | None = None, **more: Any) -> Attempts:
    return Attempts(
        pb.AllocateShipmentRequest(request_id="an id"),
        timeout=more.get("timeout", 60.0),
        attempt_timeout=20.0,
        budget=budget or Budget(1000, 0.1),
        clock=clock,
        uniform=more.get("uniform", lambda _, most: most),
    )


def failing(answer: GatewayError | grpc.StatusCode) -> Any:
    if isinstance(answer, grpc.StatusCode):
        return failure_of(answer, "", None)
    return failure_of(answer.code, "", [("grpc-status-details-bin", answer.status().SerializeToString())])


def test_pauses_grow_and_are_spread_and_a_told_one_is_never_shortened() -> None:
    clock = Clock()
    longest, shortest = attempts(clock), attempts(clock, uniform=lambda least, _: least)
    assert [longest.pause_after(failing(C.UNAVAILABLE)) for _ in range(8)] == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
    assert [shortest.pause_after(failing(C.UNAVAILABLE)) for _ in range(3)] == [0.05, 0.1, 0.2]
    told_two = failing(told(C.ABORTED, ErrorReason.ERROR_REASON_WRITE_IN_PROGRESS, after=2))
    assert attempts(clock).pause_after(told_two) == 2.5
    assert shortest.pause_after(told_two) == 2.0


def test_who_is_told_to_come_back_at_once_takes_its_time_all_the_same() -> None:
    """Or a client would ask as fast as it can, until its budget is spent."""
    at_once = failing(told(C.UNAVAILABLE, ErrorReason.ERROR_REASON_UPSTREAM_UNAVAILABLE, after=0))
    pushed = failure_of(C.UNAVAILABLE, "", [("grpc-retry-pushback-ms", "0")])
    for failure in (at_once, pushed):
        one = attempts(Clock())
        assert [one.pause_after(failure) for _ in range(4)] == [0.1, 0.2, 0.4, 0.8]


def test_retry_info_without_a_delay_says_nothing() -> None:
    bare = told(C.UNAVAILABLE, ErrorReason.ERROR_REASON_UPSTREAM_UNAVAILABLE, details=[error_details_pb2.RetryInfo()])
    failure = failure_of(C.UNAVAILABLE, "", [("grpc-status-details-bin", bare.status().SerializeToString())])
    assert failure.retry_after is None
    pushed = replace(failure, pushback=2.0)
    assert attempts(Clock()).pause_after(pushed) == 2.5


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf")])
def test_a_time_that_is_none_is_refused_before_anything_is_sent(server: Scripted, ask: Ask, timeout: float) -> None:
    for options in ({"timeout": timeout}, {"call_timeout": timeout}):
        with pytest.raises(ValueError, match="timeout"):
            ask(server, **options)
    with Client(server.address, plaintext=True) as client, pytest.raises(ValueError, match="timeout"):
        client.get_shipment_allocation(SHIPMENT, timeout=timeout)
    assert server.calls == []


def test_pushback_without_details_counts_too() -> None:
    assert attempts(Clock()).pause_after(failure_of(C.UNAVAILABLE, "", [("grpc-retry-pushback-ms", "400")])) == 0.5
    assert attempts(Clock()).pause_after(failure_of(C.UNAVAILABLE, "", [("grpc-retry-pushback-ms", "-1")])) is None


def test_no_attempt_goes_beyond_the_deadline() -> None:
    clock = Clock()
    one = attempts(clock, timeout=25.0)
    assert one.timeout() == 20.0
    clock.now += 20.0
    assert one.pause_after(failing(C.DEADLINE_EXCEEDED)) == 0.1
    assert one.timeout() == 5.0
    clock.now += 4.95
    assert one.pause_after(failing(C.DEADLINE_EXCEEDED)) is None
    assert isinstance(one.error(failing(C.DEADLINE_EXCEEDED)), UnknownOutcome)
    clock.now += 1.0
    assert one.timeout() == 0.0


def test_a_client_stops_repeating_when_its_budget_is_spent_and_earns_it_back() -> None:
    clock, budget = Clock(), Budget(8, 0.5)
    outcomes = [attempts(clock, budget).pause_after(failing(C.UNAVAILABLE)) is not None for _ in range(6)]
    assert outcomes == [True, True, True, False, False, False]
    for _ in range(8):
        budget.earn()
    assert attempts(clock, budget).pause_after(failing(C.UNAVAILABLE)) is not None

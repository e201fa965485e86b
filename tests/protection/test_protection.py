"""The policies together: who meets which one, in which order, and what callers are told."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from allocation_gateway.errors import GatewayError
from allocation_gateway.protection.model import RequestKind
from allocation_gateway.protection.protection import Protection
from allocation_gateway.settings import Settings
from allocation_gateway.upstream.call import CallOutcome
from google.rpc import error_details_pb2
from structlog.testing import capture_logs
from support.clock import Clock
from support.virtual import run

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

    from allocation_gateway.protection.protection import Permit
    from protection.conftest import Metrics

    Make = Callable[..., Protection]

HOUR = 3600.0
KINDS = list(RequestKind)


def at_once(work: Coroutine[Any, Any, Permit]) -> Permit:
    """Runs what must not wait for anything, without any event loop."""
    try:
        work.send(None)
    except StopIteration as end:
        permit: Permit = end.value
        return permit
    raise AssertionError("it has waited")


def asked(protection: Protection, kind: RequestKind, deadline: float = HOUR) -> None:
    """Asks whether a request could be sent at once, and sends none."""
    at_once(protection.acquire(kind, deadline)).release(CallOutcome.IGNORED)


def refused(work: Callable[[], object]) -> tuple[str, str, float, Mapping[str, str]]:
    """Returns code, reason, seconds to wait and metadata of a refusal."""
    with pytest.raises(GatewayError) as caught:
        work()
    (retry,) = caught.value.details
    assert isinstance(retry, error_details_pb2.RetryInfo)
    seconds = retry.retry_delay.ToNanoseconds() / 1e9
    return caught.value.code.name, caught.value.reason_name, seconds, caught.value.info


def opened(protection: Protection, kind: RequestKind = RequestKind.READ) -> None:
    """Lets upstream fail until the breaker opens."""
    permits = [at_once(protection.acquire(kind, HOUR)) for _ in range(20)]
    for permit in permits:
        permit.release(CallOutcome.FAILURE)


@pytest.mark.parametrize("kind", KINDS)
def test_an_open_breaker_refuses_everything_at_once_and_says_until_when(protected: Make, kind: RequestKind) -> None:
    clock = Clock()
    protection = protected(clock)
    asked(protection, kind)
    opened(protection)
    clock.advance(1.5)
    effect = {"effect": "none"} if kind is RequestKind.WRITE else {}
    expected = ("UNAVAILABLE", "UPSTREAM_UNAVAILABLE", 3.5, effect)
    assert refused(lambda: at_once(protection.acquire(kind, HOUR))) == expected
    assert protection.reads_paused
    clock.advance(3.5)
    assert not protection.reads_paused
    asked(protection, kind)


def test_as_many_probes_as_set_try_upstream_and_their_answers_close_the_breaker(protected: Make) -> None:
    clock = Clock()
    protection = protected(clock, breaker_probes=2)
    opened(protection)
    clock.advance(5.0)
    probes = [at_once(protection.acquire(kind, HOUR)) for kind in (RequestKind.WRITE, RequestKind.READ_BACK)]
    assert refused(lambda: at_once(protection.acquire(RequestKind.READ, HOUR)))[1] == "UPSTREAM_UNAVAILABLE"
    assert protection.reads_paused
    probes[0].release(CallOutcome.IGNORED)
    probes.append(at_once(protection.acquire(RequestKind.READ, HOUR)))
    for probe in probes[1:]:
        probe.release(CallOutcome.SUCCESS)
    for _ in range(100):
        at_once(protection.acquire(RequestKind.WRITE, HOUR))


def test_a_failed_probe_opens_the_breaker_again_for_longer(protected: Make) -> None:
    clock = Clock()
    protection = protected(clock)
    opened(protection)
    clock.advance(5.0)
    at_once(protection.acquire(RequestKind.READ, HOUR)).release(CallOutcome.FAILURE)
    assert refused(lambda: asked(protection, RequestKind.READ))[2] == 10.0


def test_who_waited_while_the_breaker_opened_is_not_sent_and_leaves_its_place_and_token(protected: Make) -> None:
    async def work() -> None:
        loop = asyncio.get_running_loop()
        protection = protected(loop.time, max_in_flight=20, breaker_open_time=0.3, rate_limit=0.001, rate_burst=44)
        permits = [at_once(protection.acquire(RequestKind.WRITE, loop.time() + HOUR)) for _ in range(20)]
        waiting = asyncio.create_task(protection.acquire(RequestKind.WRITE, loop.time() + HOUR))
        await asyncio.sleep(0)
        for permit in permits:
            permit.release(CallOutcome.FAILURE)
        with pytest.raises(GatewayError) as caught:
            await waiting
        assert caught.value.reason_name == "UPSTREAM_UNAVAILABLE"
        await asyncio.sleep(0.3)
        for _ in range(3):
            at_once(protection.acquire(RequestKind.WRITE, loop.time() + HOUR)).release(CallOutcome.SUCCESS)
        # 20 places and, but for the 20 at first and the 3 probes, all tokens are there.
        for _ in range(20):
            at_once(protection.acquire(RequestKind.WRITE, loop.time() + HOUR))
        at_once(protection.acquire(RequestKind.READ, loop.time() + HOUR))

    run(work())


def test_a_permit_is_given_back_once_however_often_it_is_left(protected: Make) -> None:
    protection = protected(Clock(), max_in_flight=1, max_queue=0)
    permit = at_once(protection.acquire(RequestKind.WRITE, HOUR))
    for _ in range(3):
        permit.release(CallOutcome.SUCCESS)
    at_once(protection.acquire(RequestKind.WRITE, HOUR))
    assert refused(lambda: at_once(protection.acquire(RequestKind.WRITE, HOUR)))[1] == "GATEWAY_OVERLOADED"


def test_the_same_permit_left_many_times_is_one_failure(protected: Make) -> None:
    protection = protected(Clock())
    permit = at_once(protection.acquire(RequestKind.READ, HOUR))
    for _ in range(100):
        permit.release(CallOutcome.FAILURE)
    asked(protection, RequestKind.READ)


@pytest.mark.parametrize(
    ("kind", "effect"), [(RequestKind.WRITE, {"effect": "none"}), (RequestKind.READ, {}), (RequestKind.READ_BACK, {})]
)
def test_where_there_is_no_place_and_no_room_to_wait_callers_are_told_at_once(
    protected: Make, kind: RequestKind, effect: dict[str, str]
) -> None:
    protection = protected(Clock(), max_in_flight=8, max_queue=0)
    for _ in range(8):
        at_once(protection.acquire(kind, HOUR))
    expected = ("RESOURCE_EXHAUSTED", "GATEWAY_OVERLOADED", 0.1, effect)
    assert refused(lambda: at_once(protection.acquire(kind, HOUR))) == expected


def test_reads_and_read_backs_share_their_side_and_find_a_place_however_many_writes_there_are(protected: Make) -> None:
    protection = protected(Clock(), max_in_flight=16, max_queue=0)
    for _ in range(16):
        at_once(protection.acquire(RequestKind.WRITE, HOUR))
    at_once(protection.acquire(RequestKind.READ, HOUR))
    at_once(protection.acquire(RequestKind.READ_BACK, HOUR))
    assert refused(lambda: at_once(protection.acquire(RequestKind.READ, HOUR)))[1] == "GATEWAY_OVERLOADED"


def test_a_rate_limit_is_kept_and_its_refusals_say_when_to_come_back(protected: Make) -> None:
    clock = Clock()
    protection = protected(clock, rate_limit=0.5, rate_burst=3)
    for _ in range(3):
        at_once(protection.acquire(RequestKind.WRITE, HOUR)).release(CallOutcome.SUCCESS)
    assert refused(lambda: at_once(protection.acquire(RequestKind.WRITE, HOUR))) == (
        "RESOURCE_EXHAUSTED", "GATEWAY_OVERLOADED", 2.0, {"effect": "none"}
    )  # fmt: skip
    clock.advance(2.0)
    at_once(protection.acquire(RequestKind.WRITE, HOUR))


def test_what_upstream_asked_for_holds_everybody_back_and_is_told_as_its_wish(protected: Make) -> None:
    clock = Clock()
    protection = protected(clock)
    protection.throttled(4.0)
    for kind in KINDS:
        told = refused(partial(asked, protection, kind))
        assert told[:3] == ("RESOURCE_EXHAUSTED", "UPSTREAM_THROTTLED", 4.0)
    clock.advance(4.0)
    at_once(protection.acquire(RequestKind.WRITE, HOUR))


def test_the_budgets_are_those_of_the_settings_and_apart(protected: Make) -> None:
    protection = protected(Clock(), retry_budget_ratio=0.5, retry_budget_burst=2)
    assert [protection.retry_budget.withdraw() for _ in range(3)] == [True, True, False]
    for _ in range(2):
        protection.retry_budget.deposit()
    assert [protection.retry_budget.withdraw() for _ in range(2)] == [True, False]
    assert protection.read_budget.withdraw()


def test_by_default_400_writes_are_under_way_at_once_and_every_request_finds_a_connection(protected: Make) -> None:
    protection = protected(Clock(), max_queue=0)
    taken = 0
    for kind in (RequestKind.WRITE, RequestKind.READ):
        for _ in range(1000):
            try:
                at_once(protection.acquire(kind, HOUR))
            except GatewayError:
                break
            taken += 1
        if kind is RequestKind.WRITE:
            assert taken >= 400
    assert taken == Settings().ship.max_connections


@pytest.mark.parametrize("connections", [1, 2, 8, 9, 5000])
def test_however_few_connections_there_are_both_kinds_can_be_sent(protected: Make, connections: int) -> None:
    for kind in (RequestKind.WRITE, RequestKind.READ):
        at_once(protected(Clock(), max_connections=connections).acquire(kind, HOUR))


def test_metrics_tell_what_each_policy_did(protected: Make, metrics: Metrics) -> None:
    async def work() -> None:
        loop = asyncio.get_running_loop()
        protection = protected(loop.time, max_in_flight=20, max_queue=1)
        permits = [at_once(protection.acquire(RequestKind.WRITE, loop.time() + HOUR)) for _ in range(20)]
        waiting = asyncio.create_task(protection.acquire(RequestKind.WRITE, loop.time() + HOUR))
        await asyncio.sleep(0)
        assert metrics.read()["queue.length", "ship", "write"] == 1
        with pytest.raises(GatewayError):
            asked(protection, RequestKind.WRITE, loop.time() + HOUR)
        permits.pop().release(CallOutcome.SUCCESS)
        (await waiting).release(CallOutcome.SUCCESS)
        assert metrics.read()["breaker", "ship"] == 0
        for permit in permits:
            permit.release(CallOutcome.FAILURE)
        with pytest.raises(GatewayError):
            asked(protection, RequestKind.WRITE, loop.time() + HOUR)
        protection.retry_budget.withdraw()

    run(work())
    assert metrics.read() == {
        ("breaker", "ship"): 2,
        ("refusals", "ship", "queue"): 1,
        ("refusals", "ship", "breaker"): 1,
        ("queue.length", "ship", "write"): 0,
        ("queue.wait", "ship", "write"): 1,
        ("budget", "ship", "retries", "granted"): 1,
    }


def test_each_change_of_the_breaker_is_logged_once(protected: Make) -> None:
    clock = Clock()
    protection = protected(clock, breaker_probes=1)
    with capture_logs() as logs:
        opened(protection)
        clock.advance(5.0)
        at_once(protection.acquire(RequestKind.READ, HOUR)).release(CallOutcome.SUCCESS)
    assert logs == [
        {"event": "breaker_opened", "log_level": "warning", "api": "ship", "seconds": 5.0},
        {"event": "breaker_half_open", "log_level": "info", "api": "ship"},
        {"event": "breaker_closed", "log_level": "info", "api": "ship"},
    ]


def test_metrics_name_the_account_unless_it_is_the_one_of_the_settings(metrics: Metrics) -> None:
    for account in ("default", "north"):
        Protection("ship", Settings().ship, account=account, clock=lambda: 0.0, telemetry=metrics.telemetry)
    assert metrics.read() == {("breaker", "ship"): 0, ("breaker", "ship", "north"): 0}

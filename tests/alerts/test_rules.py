"""Each alert fires on what it is for, and clears when that is over: told by promtool, in the time of its series."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest
import yaml
from allocation_gateway.operations.streams import STREAMS, WATCHES
from allocation_gateway.operations.table import OPERATIONS

from helm import panels, rules

pytestmark = pytest.mark.alerts

ROOT: Final = Path(__file__).resolve().parents[2]
RULES: Final = ROOT / "helm" / "allocation-gateway" / "rules" / "allocation-gateway.yaml"
ALERTS: Final = {
    rule["alert"]: rule
    for group in yaml.safe_load(RULES.read_text())["groups"]
    for rule in group["rules"]
    if "alert" in rule
}
# It works for some ten seconds, and has other work beside it.
SECONDS: Final = 300.0
PLACES: Final = f"{ROOT / '.cache' / 'prometheus' / 'usr' / 'bin'}"
CALLS: Final = "rpc_server_call_duration_seconds_count"
REQUESTS: Final = "http_client_request_duration_seconds"


class Case(NamedTuple):
    """What happens, a sample each half minute, and when an alert has to fire, and to be over.

    Attributes:
        series: Series with their values.
        fires: A minute in which it fires; None if it never may.
        clear: A later one in which it does not.
        labels: The labels that it has beside those of the rule.
    """

    series: tuple[tuple[str, str], ...]
    fires: int | None
    clear: int
    labels: dict[str, str]


def minutes(*parts: tuple[int, float, float]) -> str:
    """Returns the samples of a series: for so many minutes each, from a value on, so much more each minute."""
    return " ".join(f"{start:g}+{more / 2:g}x{2 * count - 1}" for count, start, more in parts)


def counted(name: str, *parts: tuple[int, float]) -> tuple[str, str]:
    """Returns a counter that grows for so many minutes each by so much a minute."""
    told, value = [], 0.0
    for count, more in parts:
        told.append((count, value, more))
        value += count * more
    return name, minutes(*told)


def call(labels: str) -> str:
    return f'{CALLS}{{job="g",{labels}}}'


UNARY: Final = 'rpc_method="allocation.v1.S/R"'
GOOD_CALLS: Final = counted(call(f'{UNARY},error_type=""'), (300, 60))
BAD_CALLS: Final = counted(call(f'{UNARY},error_type="X"'), (70, 6), (230, 0))
# Five watches end by their deadline each minute, and streams with their connections.
PLANNED_ENDS: Final = (
    counted(call('rpc_method="allocation.v1.S/WatchShipmentAllocations",error_type="DEADLINE_EXCEEDED"'), (300, 5)),
    counted(call('rpc_method="allocation.v1.S/AllocateShipmentStream",error_type="GATEWAY_STOPPING"'), (300, 5)),
)


def refused(reason: str, *parts: tuple[int, float]) -> tuple[tuple[str, str], ...]:
    return counted(call(f'{UNARY},allocation_gateway_reason="{reason}"'), *parts), counted(call(UNARY), (120, 60))


def bucket(name: str, bound: str, labels: str, *parts: tuple[int, float]) -> tuple[str, str]:
    return counted(f'{name}_bucket{{job="g",le="{bound}",{labels}}}', *parts)


def lags(*parts: tuple[int, float, float]) -> tuple[tuple[str, str], ...]:
    """Returns measurements of the event loop's lag: for so many minutes so many seconds each, so many of them long."""
    name, of = "allocation_gateway_event_loop_lag_seconds", 'instance="i",allocation_gateway_worker="2"'
    others = f'{name}_%s{{job="g",instance="i",allocation_gateway_worker="1"%s}}'
    return (
        counted(f'{name}_sum{{job="g",{of}}}', *((count, seconds) for count, seconds, _ in parts)),
        counted(f'{name}_count{{job="g",{of}}}', *((count, 115.0) for count, _, _ in parts)),
        bucket(name, "0.25", of, *((count, 115.0 - long) for count, _, long in parts)),
        counted(others % ("sum", ""), (100, 0.1)),
        counted(others % ("count", ""), (100, 120)),
        counted(others % ("bucket", ',le="0.25"'), (100, 120)),
    )


def workers(*there: tuple[int, int]) -> tuple[tuple[str, str], ...]:
    """Returns a pod that should have three workers and has so many for so many minutes each."""

    def seen(worker: int) -> str:
        return " ".join(f"{1 if worker <= count else '_'}x{2 * length - 1}" for length, count in there)

    name = '{job="g",instance="i",allocation_gateway_worker="%d"}'
    return tuple(
        (metric + name % worker, seen(worker).replace("1x", f"{value}x"))
        for metric, value in (("allocation_gateway_serving", 1), ("allocation_gateway_workers", 3))
        for worker in (1, 2, 3)
    )


FIRST: Final = 'allocation_gateway_attempt_kind="first",server_address="s"'
OF_WORKER: Final = {"instance": "i", "allocation_gateway_worker": "2"}


def requests(error: str, *parts: tuple[int, float]) -> tuple[str, str]:
    return counted(f'{REQUESTS}_count{{job="g",{FIRST},error_type="{error}"}}', *parts)


def event(name: str, values: str) -> tuple[tuple[str, str], ...]:
    return ((f'allocation_gateway_write_events_total{{job="g",event="{name}",rpc_method="m"}}', values),)


def breaker(states: str, *refusals: tuple[int, float]) -> tuple[tuple[str, str], ...]:
    refused = 'allocation_gateway_upstream_refusals_total{job="g",api="ship",policy="breaker"}'
    return (('allocation_gateway_upstream_breaker{job="g",api="ship"}', states), counted(refused, *refusals))


RESTARTS: Final = 'allocation_gateway_worker_restarts{job="g",instance="i",worker="1"}'
OF_RESTARTS: Final = {"instance": "i", "worker": "1"}
CASES: Final[dict[str, list[Case]]] = {
    "AllocationGatewayErrorBudgetFast": [
        Case((GOOD_CALLS, BAD_CALLS), 60, 90, {}),
        Case((GOOD_CALLS, *PLANNED_ENDS), None, 200, {}),
    ],
    "AllocationGatewayErrorBudgetSlow": [
        Case((GOOD_CALLS, BAD_CALLS), 60, 120, {}),
        Case((GOOD_CALLS, *PLANNED_ENDS), None, 290, {}),
    ],
    "AllocationGatewayUpstreamKeyRejected": [
        Case(refused("UPSTREAM_CREDENTIALS_REJECTED", (20, 1), (60, 0)), 10, 26, {}),
        # One alone, and then no more.
        Case(refused("UPSTREAM_CREDENTIALS_REJECTED", (10, 0), (1, 4), (60, 0)), None, 13, {}),
    ],
    "AllocationGatewayUpstreamFailing": [
        Case(
            (requests("", (90, 60)), requests("404", (90, 60)), requests("503", (30, 12), (60, 0))),
            15,
            45,
            {"server_address": "s"},
        ),
        # What callers do not wait for, and what is not sent, is not Sorted's doing.
        Case((requests("", (90, 60)), requests("cancelled", (90, 30)), requests("not_sent", (90, 30))), None, 30, {}),
        Case(
            (requests("", (90, 60)), requests("deadline_exceeded", (30, 30), (60, 0))),
            15,
            45,
            {"server_address": "s"},
        ),
    ],
    "AllocationGatewayUpstreamSlow": [
        Case(
            (
                bucket(REQUESTS, "2.5", FIRST, (20, 90), (60, 100)),
                bucket(REQUESTS, "5.0", FIRST, (20, 90), (60, 100)),
                bucket(REQUESTS, "7.5", FIRST, (80, 100)),
                bucket(REQUESTS, "+Inf", FIRST, (80, 100)),
            ),
            18,
            40,
            {"server_address": "s"},
        )
    ],
    "AllocationGatewayBreakerOpen": [
        # Probes that fail in between do not end it.
        Case(breaker("0x10 2x9 1x1 2x9 1x1 2x9 0x60", (5, 0), (16, 30), (60, 0)), 14, 40, {"api": "ship"}),
        # Nobody calls any more: the next call would try.
        Case(breaker("0x10 2x2 1x100", (5, 0), (1, 30), (60, 0)), None, 30, {}),
        Case(breaker("0x10 2x100", (60, 0)), None, 30, {}),
    ],
    "AllocationGatewayContractBroken": [
        Case(
            (
                counted(
                    'allocation_gateway_upstream_undocumented_total{job="g",rpc_method="m",result="refused"}',
                    (20, 1),
                    (60, 0),
                ),
            ),
            15,
            45,
            {"rpc_method": "m"},
        )
    ],
    "AllocationGatewayClaimStoreDown": [
        Case(
            (
                ('allocation_gateway_claim_store_usable{job="g",instance="1"}', "1x120"),
                ('allocation_gateway_claim_store_usable{job="g",instance="2"}', "1x10 0x40 1x80"),
            ),
            10,
            40,
            {},
        )
    ],
    "AllocationGatewayWriteInDoubt": [
        Case(event("left_in_doubt", "0x20 1x160"), 14, 40, {"rpc_method": "m"}),
        Case(event("left_in_doubt", "0x120"), None, 30, {}),
    ],
    "AllocationGatewayOutcomeUnknown": [
        Case(event("undecided", "0x10 1x120"), 10, 40, {"rpc_method": "m"}),
        # Of a process whose first scrape comes after it.
        Case(event("undecided", "_x10 1x120"), 10, 40, {"rpc_method": "m"}),
        # It has happened while nobody has scraped.
        Case(event("undecided", "0x2 1x57 _x60 2x60"), 62, 80, {"rpc_method": "m"}),
        # What is there before a gap of scrapes is nothing new after it.
        Case(event("undecided", "_x2 7x40 _x40 7x60"), 10, 45, {"rpc_method": "m"}),
    ],
    "AllocationGatewayOverloaded": [
        Case(refused("GATEWAY_OVERLOADED", (20, 10), (60, 0)), 15, 26, {}),
        # A burst that is over.
        Case(refused("GATEWAY_OVERLOADED", (10, 0), (1, 500), (60, 0)), None, 16, {}),
        # One in a thousand.
        Case(refused("GATEWAY_OVERLOADED", (60, 0.06)), None, 40, {}),
    ],
    "AllocationGatewayCatalogueNotUsable": [
        Case(
            (
                ('allocation_gateway_service_group_usable{job="g",part="catalogue"}', "1x10 0x40 1x80"),
                ('allocation_gateway_service_group_usable{job="g",part="cache"}', "0x140"),
            ),
            15,
            40,
            {},
        )
    ],
    "AllocationGatewayEventLoopBlocked": [
        # For ten seconds of each minute: that is one measurement of some hundred.
        Case(lags((20, 10.0, 1.0), (60, 0.2, 0.0)), 15, 40, OF_WORKER),
        # For 0.4 s each ten seconds.
        Case(lags((20, 1.0, 1.8), (60, 0.2, 0.0)), 15, 40, OF_WORKER),
        Case(lags((80, 0.5, 0.0)), None, 40, {}),
    ],
    "AllocationGatewayWorkerRestarting": [
        Case(((RESTARTS, "0x10 1x4 2x160"),), 12, 60, OF_RESTARTS),
        # After the second time it does not come back.
        Case(((RESTARTS, "0x10 1x4 2x4 _x160"),), 20, 60, OF_RESTARTS),
    ],
    "AllocationGatewayWorkerMissing": [
        Case(workers((5, 3), (15, 2), (40, 3)), 15, 40, {"instance": "i"}),
        Case(workers((5, 3), (2, 2), (40, 3)), None, 10, {}),
    ],
}


def promtool(*arguments: str) -> None:
    command = shutil.which("promtool") or shutil.which("promtool", path=PLACES)
    assert command is not None, "promtool is missing"
    done = subprocess.run([command, *arguments], capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_a_case() -> None:
    assert CASES.keys() == ALERTS.keys()


def at(minute: int, name: str, fired: list[dict[str, Any]]) -> dict[str, Any]:
    return {"eval_time": f"{minute}m", "alertname": name, "exp_alerts": fired}


def test_alerts_fire_on_what_they_are_for_and_clear_and_do_not_fire_on_anything_else(tmp_path: Path) -> None:
    """All in one run of promtool, which is what takes its time."""
    tests = []
    for name, cases in CASES.items():
        rule = ALERTS[name]
        for number, case in enumerate(cases):
            fired = {
                "exp_labels": {"job": "g", **rule["labels"], **case.labels},
                "exp_annotations": rule["annotations"],
            }
            looks = [at(0, name, []), at(case.clear, name, [])]
            if case.fires is None:
                looks += [at(minute, name, []) for minute in range(1, case.clear)]
            else:
                looks.append(at(case.fires, name, [fired]))
            series = [{"series": series, "values": values} for series, values in case.series]
            looks.sort(key=lambda look: int(str(look["eval_time"]).removesuffix("m")))
            tests.append(
                {
                    "name": f"{name} {number}",
                    "interval": "30s",
                    "input_series": series,
                    "alert_rule_test": looks,
                }
            )
    file = tmp_path / "case.yaml"
    file.write_text(json.dumps({"rule_files": [str(RULES)], "evaluation_interval": "30s", "tests": tests}))
    promtool("test", "rules", str(file))


def test_the_rpcs_that_last_are_those_that_are_left_out_of_the_objective() -> None:
    lasting = {row.full_name for row in (*STREAMS, *WATCHES)}
    brief = {row.full_name for row in OPERATIONS}
    pattern = rules.BRIEF.split('"')[1]
    assert {name for name in lasting | brief if re.fullmatch(pattern, name)} == lasting


def test_prometheus_can_read_the_rules_and_every_query_of_a_panel(tmp_path: Path) -> None:
    promtool("check", "rules", str(RULES))
    queries: list[Any] = []
    for board in panels.BOARDS:
        for _, row in board.rows:
            for panel in row:
                for query in panel.queries:
                    text = query.expression.replace("$__rate_interval", "5m")
                    queries.append({"record": f"query:{len(queries)}", "expr": text})
    file = tmp_path / "queries.yaml"
    file.write_text(json.dumps({"groups": [{"name": "queries", "rules": queries}]}))
    promtool("check", "rules", str(file))

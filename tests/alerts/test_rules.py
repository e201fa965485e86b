"""Each alert fires on what it is for, and clears when that is over: told by promtool, in the time of its series."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest
import yaml

from helm import panels

pytestmark = pytest.mark.alerts

ROOT: Final = Path(__file__).resolve().parents[2]
RULES: Final = ROOT / "helm" / "allocation-gateway" / "rules" / "allocation-gateway.yaml"
ALERTS: Final = {
    rule["alert"]: rule
    for group in yaml.safe_load(RULES.read_text())["groups"]
    for rule in group["rules"]
    if "alert" in rule
}
PLACES: Final = f"{ROOT / '.cache' / 'prometheus' / 'usr' / 'bin'}"
CALLS: Final = "rpc_server_call_duration_seconds_count"
REQUESTS: Final = "http_client_request_duration_seconds"
GOOD_CALLS: Final = (f'{CALLS}{{job="g",rpc_method="allocation.v1.S/R",error_type=""}}', "0+60x600")
BAD_CALLS: Final = (f'{CALLS}{{job="g",rpc_method="allocation.v1.S/R",error_type="X"}}', "0+6x70 420+0x530")


class Case(NamedTuple):
    """What happens, a sample a minute, and when an alert has to fire, and to be over.

    Attributes:
        series: Series with their values.
        fires: A minute in which it fires.
        clear: A later one in which it does not.
        labels: The labels that it has beside those of the rule.
    """

    series: tuple[tuple[str, str], ...]
    fires: int
    clear: int
    labels: dict[str, str]


def refused(reason: str) -> tuple[tuple[str, str], ...]:
    name = f'{CALLS}{{job="g",rpc_method="allocation.v1.S/R",allocation_gateway_reason="{reason}"}}'
    return ((name, "0+1x20 20+0x60"),)


def bucket(name: str, bound: str, values: str, labels: str) -> tuple[str, str]:
    return f'{name}_bucket{{job="g",le="{bound}",{labels}}}', values


FIRST: Final = 'allocation_gateway_attempt_kind="first",server_address="s"'
SLOW: Final = "0+90x20 1900+100x60"
LAG: Final = "allocation_gateway_event_loop_lag_seconds"
UNDECIDED: Final = 'allocation_gateway_write_events_total{job="g",event="undecided",rpc_method="m"}'

CASES: Final = {
    "AllocationGatewayErrorBudgetFast": Case((GOOD_CALLS, BAD_CALLS), 60, 90, {}),
    "AllocationGatewayErrorBudgetSlow": Case((GOOD_CALLS, BAD_CALLS), 60, 120, {}),
    "AllocationGatewayUpstreamKeyRejected": Case(refused("UPSTREAM_CREDENTIALS_REJECTED"), 10, 35, {}),
    "AllocationGatewayUpstreamFailing": Case(
        (
            (f'{REQUESTS}_count{{job="g",{FIRST},error_type=""}}', "0+60x90"),
            (f'{REQUESTS}_count{{job="g",{FIRST},error_type="404"}}', "0+60x90"),
            (f'{REQUESTS}_count{{job="g",{FIRST},error_type="503"}}', "0+12x30 360+0x60"),
        ),
        15,
        45,
        {"server_address": "s"},
    ),
    "AllocationGatewayUpstreamSlow": Case(
        (
            bucket(REQUESTS, "2.5", SLOW, FIRST),
            bucket(REQUESTS, "5.0", SLOW, FIRST),
            bucket(REQUESTS, "7.5", "0+100x80", FIRST),
            bucket(REQUESTS, "+Inf", "0+100x80", FIRST),
        ),
        18,
        40,
        {"server_address": "s"},
    ),
    "AllocationGatewayBreakerOpen": Case(
        (('allocation_gateway_upstream_breaker{job="g",api="ship"}', "0x5 2x20 1x2 0x30"),), 12, 40, {"api": "ship"}
    ),
    "AllocationGatewayContractBroken": Case(
        (
            (
                'allocation_gateway_upstream_undocumented_total{job="g",rpc_method="m",result="refused"}',
                "0+1x20 20+0x60",
            ),
        ),
        15,
        45,
        {"rpc_method": "m"},
    ),
    "AllocationGatewayClaimStoreDown": Case(
        (
            ('allocation_gateway_claim_store_usable{job="g",instance="1"}', "1x60"),
            ('allocation_gateway_claim_store_usable{job="g",instance="2"}', "1x5 0x20 1x40"),
        ),
        10,
        40,
        {},
    ),
    "AllocationGatewayWriteInDoubt": Case(
        (('allocation_gateway_writes_longest_doubt_seconds{job="g"}', "0x5 60+60x10 0x30"),), 14, 30, {}
    ),
    "AllocationGatewayOutcomeUnknown": Case(((UNDECIDED, "_x5 1x60"),), 10, 40, {"rpc_method": "m"}),
    "AllocationGatewayOverloaded": Case(refused("GATEWAY_OVERLOADED"), 15, 35, {}),
    "AllocationGatewayCatalogueNotUsable": Case(
        (
            ('allocation_gateway_service_group_usable{job="g",part="catalogue"}', "1x5 0x20 1x40"),
            ('allocation_gateway_service_group_usable{job="g",part="cache"}', "0x70"),
        ),
        15,
        40,
        {},
    ),
    "AllocationGatewayEventLoopBlocked": Case(
        (
            bucket(LAG, "0.25", "0x20 0+120x60", 'instance="i"'),
            bucket(LAG, "0.5", "0+120x80", 'instance="i"'),
            bucket(LAG, "+Inf", "0+120x80", 'instance="i"'),
        ),
        15,
        40,
        {"instance": "i"},
    ),
    "AllocationGatewayWorkerRestarting": Case(
        (('allocation_gateway_worker_restarts{job="g",instance="i",worker="1"}', "0x5 1x2 2x80"),),
        12,
        60,
        {"instance": "i", "worker": "1"},
    ),
}


def promtool(*arguments: str) -> None:
    command = shutil.which("promtool") or shutil.which("promtool", path=PLACES)
    assert command is not None, "promtool is missing"
    done = subprocess.run([command, *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_a_case() -> None:
    assert CASES.keys() == ALERTS.keys()


@pytest.mark.parametrize("name", CASES)
def test_alert_fires_and_clears(name: str, tmp_path: Path) -> None:
    case, rule = CASES[name], ALERTS[name]
    fired = {"exp_labels": {"job": "g", **rule["labels"], **case.labels}, "exp_annotations": rule["annotations"]}
    content = {
        "rule_files": [str(RULES)],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [{"series": series, "values": values} for series, values in case.series],
                "alert_rule_test": [
                    {"eval_time": "0m", "alertname": name, "exp_alerts": []},
                    {"eval_time": f"{case.fires}m", "alertname": name, "exp_alerts": [fired]},
                    {"eval_time": f"{case.clear}m", "alertname": name, "exp_alerts": []},
                ],
            }
        ],
    }
    file = tmp_path / "case.yaml"
    file.write_text(json.dumps(content))
    promtool("test", "rules", str(file))


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

"""Writes the rules of the chart for Prometheus: what is recorded, and which alerts there are.

Usage: python -m helm.rules

A test that drives an alert by its real fault has the same rules made at another pace, so that nobody waits for an hour.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import yaml

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FILE: Final = Path(__file__).resolve().parent / "allocation-gateway" / "rules" / "allocation-gateway.yaml"
# The chart puts the address of the runbooks in its place.
RUNBOOKS: Final = "RUNBOOKS_URL"
_HEADER: Final = """\
# Rules for Prometheus, in the form that promtool reads. Made by helm/rules.py. The chart makes a PrometheusRule of
# them, and puts the value of `observability.runbooks` in the place of RUNBOOKS_URL. No annotation holds a template:
# labels tell the rest.
# yamllint disable rule:line-length
"""
_WIDTH: Final = 110
_SHORT: Final = 90
_UNITS: Final = (("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1))
_OF: Final = "cluster, namespace, job"
_CALLS: Final = "rpc_server_call_duration_seconds_count"
_OWN_CALLS: Final = 'rpc_method=~"allocation[.]v1[.].*"'
BRIEF: Final = 'rpc_method!~".*/(Allocate[A-Za-z]+Stream|Watch[A-Za-z]+)"'
"""What leaves out the rpcs that last: those end by their deadline, or with their connection, although all is well."""
_BRIEF_CALLS: Final = f"{_OWN_CALLS},{BRIEF}"
_REQUESTS: Final = "http_client_request_duration_seconds"
_OWN_REQUESTS: Final = 'allocation_gateway_attempt_kind!=""'
# Of these nothing can be said of Sorted: nothing was sent, or nobody has waited.
_ANSWERABLE: Final = 'error_type!~"not_sent|cancelled"'
_WRITE_EVENTS: Final = "allocation_gateway_write_events_total"
# The share of calls that may fail by a fault of the server's.
_ALLOWED: Final = "0.001"


class Alert(NamedTuple):
    """One alert.

    Attributes:
        name: What it is called after the name of the gateway.
        expression: In PromQL.
        minutes: For how long it has to hold.
        severity: `page` wakes somebody up, `ticket` can wait until the morning.
        summary: What is wrong.
        runbook: The file in docs/runbooks that says what to do.
    """

    name: str
    expression: str
    minutes: float
    severity: str
    summary: str
    runbook: str


class Pace(NamedTuple):
    """How soon rules see what they are for. As it is, that of production.

    Attributes:
        times: How many times sooner: windows, waiting times and ages are divided by it.
        slow: Seconds that are too many for a request to Sorted.
    """

    times: float = 1
    slow: float = 5

    def lasting(self, minutes: float) -> str:
        """Returns a duration of PromQL."""
        milliseconds = round(minutes * 60_000 / self.times)
        unit, size = next(each for each in _UNITS if milliseconds % each[1] == 0)
        return f"{milliseconds // size}{unit}"


def _grouped(function: str, selected: str, *labels: str) -> str:
    return f"{function} by ({', '.join((_OF, *labels))}) ({selected})"


def _records(pace: Pace) -> Iterator[tuple[str, str]]:
    for name, minutes in (("5m", 5), ("30m", 30), ("1h", 60), ("6h", 360)):
        window = pace.lasting(minutes)
        failed = _grouped("sum", f'rate({_CALLS}{{{_BRIEF_CALLS},error_type!=""}}[{window}])')
        yield (
            f"allocation_gateway:call_errors:ratio_rate{name}",
            f"{failed} / {_grouped('sum', f'rate({_CALLS}{{{_BRIEF_CALLS}}}[{window}])')}",
        )
    buckets = _grouped("sum", f"rate({_REQUESTS}_bucket{{{_OWN_REQUESTS}}}[{pace.lasting(5)}])", "server_address", "le")
    yield "allocation_gateway:upstream_duration_seconds:p95_rate5m", f"histogram_quantile(0.95, {buckets})"


def _burning(times: float, long: str, short: str) -> str:
    """Returns what holds while what may fail is used up so many times too fast, for long and still."""
    ratio = "allocation_gateway:call_errors:ratio_rate"
    return f"{ratio}{long} > {times} * {_ALLOWED} and {ratio}{short} > {times} * {_ALLOWED}"


def _failing_for(reason: str, pace: Pace) -> str:
    """Returns what holds while a share of the calls fails for a reason, and still does: not after one, or a burst."""
    of_it, all_of_them = f'{_OWN_CALLS},allocation_gateway_reason="{reason}"', _OWN_CALLS
    failed, calls = (
        _grouped("sum", f"rate({_CALLS}{{{matchers}}}[{pace.lasting(5)}])") for matchers in (of_it, all_of_them)
    )
    still = _grouped("sum", f"rate({_CALLS}{{{of_it}}}[{pace.lasting(2)}])")
    return f"{failed} / {calls} > 0.01 and {still} > 0"


def _happened(event: str, pace: Pace) -> str:
    """Returns what holds for a quarter of an hour after an event of writes, also if nobody has scraped meanwhile."""
    series, window = f'{_WRITE_EVENTS}{{event="{event}"}}', pace.lasting(15)
    more = _grouped("sum", f"increase({series}[{window}])", "rpc_method")
    # More than there ever were in the hours before, if nobody has scraped for a while; or some, of a process that
    # nobody has scraped before. What was there before a gap is not told of again.
    before = f"max_over_time({series}[{pace.lasting(360)}] offset {window})"
    found = (f"{series} > {before}", f"({series} > 0) unless {before}")
    return " or ".join((f"{more} > 0", *(_grouped("sum", each, "rpc_method") for each in found)))


def _about_callers(pace: Pace) -> Iterator[Alert]:
    # The objective is that 99.9 % of the calls do not fail by a fault of the server's, over thirty days. At 14.4 times
    # the rate that uses this up, 2 % of it are gone in an hour; at 6 times, 5 % in six hours.
    yield Alert(
        "ErrorBudgetFast",
        _burning(14.4, "1h", "5m"),
        2,
        "page",
        "Many calls fail by a fault of the server's.",
        "error-budget",
    )
    yield Alert(
        "ErrorBudgetSlow",
        _burning(6, "6h", "30m"),
        15,
        "ticket",
        "Calls have been failing by a fault of the server's for hours.",
        "error-budget",
    )
    yield Alert(
        "Overloaded",
        _failing_for("GATEWAY_OVERLOADED", pace),
        5,
        "page",
        "Calls are refused, since there are more than may be in hand, wait, or be sent in a second.",
        "overloaded",
    )


def _about_upstream(pace: Pace) -> Iterator[Alert]:
    window = pace.lasting(5)
    failed = f'rate({_REQUESTS}_count{{{_OWN_REQUESTS},error_type!~"|4..|not_sent|cancelled"}}[{window}])'
    all_of_them = f"rate({_REQUESTS}_count{{{_OWN_REQUESTS},{_ANSWERABLE}}}[{window}])"
    refused = f'rate(allocation_gateway_upstream_undocumented_total{{result="refused"}}[{pace.lasting(10)}])'
    yield Alert(
        "UpstreamKeyRejected",
        _failing_for("UPSTREAM_CREDENTIALS_REJECTED", pace),
        3,
        "page",
        "Sorted refuses the key of the gateway.",
        "upstream-key-rejected",
    )
    yield Alert(
        "UpstreamFailing",
        f"{_grouped('sum', failed, 'server_address')} / {_grouped('sum', all_of_them, 'server_address')} > 0.05",
        5,
        "page",
        "More than one request to Sorted in twenty fails or gets no answer.",
        "upstream-failing",
    )
    yield Alert(
        "UpstreamSlow",
        f"allocation_gateway:upstream_duration_seconds:p95_rate5m > {pace.slow}",
        10,
        "ticket",
        "Sorted takes more than five seconds for one request in twenty.",
        "upstream-slow",
    )
    yield Alert(
        "BreakerOpen",
        _grouped("max", "allocation_gateway_upstream_breaker", "api")
        + " > 0 and "
        + _grouped(
            "sum", f'rate(allocation_gateway_upstream_refusals_total{{policy="breaker"}}[{pace.lasting(2)}])', "api"
        )
        + " > 0",
        3,
        "page",
        "An API of Sorted's is left alone, since it fails too often, and calls fail for that.",
        "breaker-open",
    )
    yield Alert(
        "ContractBroken",
        _grouped("sum", refused, "rpc_method") + " > 0",
        5,
        "ticket",
        "Sorted answers what cannot be read.",
        "contract-broken",
    )


def _about_writes(pace: Pace) -> Iterator[Alert]:
    yield Alert(
        "ClaimStoreDown",
        _grouped("min", "allocation_gateway_claim_store_usable") + " == 0",
        1,
        "page",
        "The server that keeps the claims cannot be used, so that writes are refused.",
        "claim-store-down",
    )
    yield Alert(
        "WriteInDoubt",
        _happened("left_in_doubt", pace),
        0,
        "page",
        "The gateway has given up finding out what became of a write.",
        "write-in-doubt",
    )
    yield Alert(
        "OutcomeUnknown",
        _happened("undecided", pace),
        0,
        "ticket",
        "There are allocations of which nothing can tell who has made them.",
        "outcome-unknown",
    )


def _about_processes(pace: Pace) -> Iterator[Alert]:
    def lag(series: str) -> str:
        rate = f"rate(allocation_gateway_event_loop_lag_seconds_{series}[{pace.lasting(5)}])"
        return _grouped("sum", rate, "instance", "allocation_gateway_worker")

    held_up = lag("count") + " - " + lag('bucket{le="0.25"}')
    restarts = "allocation_gateway_worker_restarts"
    # Of a worker that is not there, what was told of it last.
    last, before = (f"{each}_over_time({restarts}[{pace.lasting(30)}])" for each in ("last", "min"))
    worker = ("instance", "worker")
    yield Alert(
        "CatalogueNotUsable",
        _grouped("min", 'allocation_gateway_service_group_usable{part="catalogue"}') + " == 0",
        5,
        "ticket",
        "The catalogue of service groups cannot be used as it is. The last good one stays in use.",
        "catalogue-not-usable",
    )
    yield Alert(
        "EventLoopBlocked",
        # However long it is held up, that is one measurement: so it is the time that counts, or how often it happens.
        f"{lag('sum')} > 0.05 or {held_up} > 0.02",
        5,
        "ticket",
        "A process is held up, and every call in it with it.",
        "event-loop-blocked",
    )
    yield Alert(
        "WorkerRestarting",
        f"{_grouped('max', last, *worker)} - {_grouped('min', before, *worker)} >= 2",
        0,
        "ticket",
        "A worker ends again and again.",
        "worker-restarting",
    )
    there = _grouped("count", "allocation_gateway_serving", "instance")
    yield Alert(
        "WorkerMissing",
        f"{there} < {_grouped('max', 'allocation_gateway_workers', 'instance')}",
        5,
        "ticket",
        "There are fewer workers than there should be: one does not start, or does not answer.",
        "worker-restarting",
    )


_ABOUT: Final[tuple[Callable[[Pace], Iterator[Alert]], ...]] = (
    _about_callers,
    _about_upstream,
    _about_writes,
    _about_processes,
)


class _Dumper(yaml.SafeDumper):
    """Indents lists as the rest of the chart does, and folds what is longer than a line."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        del indentless
        super().increase_indent(flow, False)

    def represent_str(self, data: str) -> yaml.ScalarNode:
        """Returns a text, folded if it is long."""
        return self.represent_scalar("tag:yaml.org,2002:str", data, style=">" if len(data) > _SHORT else None)


_Dumper.add_representer(str, _Dumper.represent_str)


def _rule(alert: Alert, pace: Pace) -> dict[str, Any]:
    return {
        "alert": f"AllocationGateway{alert.name}",
        "expr": alert.expression,
        **({"for": pace.lasting(alert.minutes)} if alert.minutes else {}),
        "labels": {"severity": alert.severity},
        "annotations": {"summary": alert.summary, "runbook_url": f"{RUNBOOKS}/{alert.runbook}.md"},
    }


def text(pace: Pace | None = None) -> str:
    """Returns the file of rules, at the pace of production if none is given."""
    at = pace or Pace()
    records = [{"record": name, "expr": expression} for name, expression in _records(at)]
    alerts = [_rule(alert, at) for about in _ABOUT for alert in about(at)]
    content = {
        "groups": [
            {"name": "allocation-gateway.records", "rules": records},
            {"name": "allocation-gateway.alerts", "rules": alerts},
        ]
    }
    return _HEADER + yaml.dump(content, Dumper=_Dumper, sort_keys=False, width=_WIDTH)


if __name__ == "__main__":
    FILE.write_text(text())

"""What the dashboards show: for each panel a question, what tells the answer, and the runbook to go on with.

dashboards.py makes the JSON of Grafana of it. Queries are for Prometheus, with the names that its exporter gives.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from helm.rules import BRIEF

SCOPE: Final = 'cluster=~"$cluster",namespace=~"$namespace",job=~"$job"'
_CALLS: Final = "rpc_server_call_duration_seconds"
_REQUESTS: Final = "http_client_request_duration_seconds"
# Other programs have metrics of these names, too.
_OWN: Final = {
    _CALLS: 'rpc_method=~"allocation[.]v1[.].*"',
    _REQUESTS: 'allocation_gateway_attempt_kind!=""',
    "http_client_open_connections": 'otel_scope_name="allocation_gateway"',
    "process_cpu_time_seconds_total": 'otel_scope_name="allocation_gateway"',
    "process_memory_usage_bytes": 'otel_scope_name="allocation_gateway"',
    "process_uptime_seconds": 'otel_scope_name="allocation_gateway"',
}


# The label of those that are by account, which is absent of the account of the settings.
_BY_ACCOUNT: Final = {
    **dict.fromkeys((_CALLS, _REQUESTS, "http_client_open_connections"), "allocation_gateway_account"),
    "allocation_gateway_upstream_connections_limit": "allocation_gateway_account",
    **dict.fromkeys(
        (
            "allocation_gateway_upstream_breaker",
            "allocation_gateway_upstream_refusals_total",
            "allocation_gateway_upstream_queue_length",
            "allocation_gateway_upstream_queue_wait_seconds",
            "allocation_gateway_upstream_budget_total",
            "allocation_gateway_service_group_usable",
            "allocation_gateway_service_group_known",
            "allocation_gateway_service_group_listing_age_seconds",
        ),
        "account",
    ),
}


class Query(NamedTuple):
    """What a panel asks.

    Attributes:
        expression: In PromQL.
        legend: What a series is called, by its labels.
        has_exemplars: Whether traces are to be shown beside it.
    """

    expression: str
    legend: str
    has_exemplars: bool = False


class Panel(NamedTuple):
    """One panel.

    Attributes:
        question: Its title.
        description: What the answer means.
        unit: The unit, as Grafana calls it.
        runbook: The file in docs/runbooks that goes on.
        queries: What it asks.
        is_number: Whether it shows the value of now instead of a graph.
    """

    question: str
    description: str
    unit: str
    runbook: str
    queries: tuple[Query, ...]
    is_number: bool = False


class Board(NamedTuple):
    """One dashboard: its name, its title, and its panels in rows."""

    name: str
    title: str
    rows: tuple[tuple[str, tuple[Panel, ...]], ...]


def series(metric: str, matchers: str = "") -> str:
    """Returns the selector of a metric, within what the variables of the dashboard choose."""
    name = metric.removesuffix("_count").removesuffix("_sum").removesuffix("_bucket")
    account = f'{_BY_ACCOUNT[name]}=~"$account"' if name in _BY_ACCOUNT else ""
    parts = [_OWN.get(name, ""), matchers, account, SCOPE]
    return f"{metric}{{{','.join(part for part in parts if part)}}}"


def rate(metric: str, matchers: str = "", by: str = "") -> str:
    """Returns how often something is counted in a second."""
    grouped = f"sum by ({by})" if by else "sum"
    return f"{grouped} (rate({series(metric, matchers)}[$__rate_interval]))"


def quantile(share: float, histogram: str, matchers: str = "", by: str = "") -> str:
    """Returns the duration that a share of what is measured does not exceed."""
    labels = f"le, {by}" if by else "le"
    return f"histogram_quantile({share}, {rate(f'{histogram}_bucket', matchers, labels)})"


def _quantiles(histogram: str, matchers: str = "") -> tuple[Query, ...]:
    return tuple(
        Query(quantile(share, histogram, matchers), f"{share:.0%}", has_exemplars=share > 0.9)
        for share in (0.5, 0.95, 0.99)
    )


_MATCH_BRIEF: Final = {True: f",{BRIEF}", False: ""}
# Whose reasons are those of calls that last, too, which are over although all is well.
_ENDS_OF_STREAMS: Final = frozenset({"the gateway", "time was up, or nobody knows"})
_FAULTS: Final = {
    "Sorted": "UPSTREAM_.*|RESOURCE_PROCESSING|ALLOCATION_FAILED|NO_QUOTES_AVAILABLE|LABEL_NOT_AVAILABLE",
    "the store": "CLAIM_STORE_UNAVAILABLE",
    "the gateway": "GATEWAY_DEFECT|GATEWAY_MISCONFIGURED|GATEWAY_STOPPING|API_NOT_CONFIGURED|OPERATION_DISABLED",
    "too many calls": "GATEWAY_OVERLOADED|CALLER_OVER_SHARE",
    "time was up, or nobody knows": "DEADLINE_EXCEEDED|OUTCOME_UNKNOWN",
    "the caller": "INVALID_REQUEST|.*_NOT_FOUND|INVALID_STATE|SERVICE_GROUP_AMBIGUOUS|REFRESH_NOT_ALLOWED|"
    "REQUEST_ID_REUSED|WRITE_IN_PROGRESS|CALLER_UNAUTHENTICATED|CALLER_NOT_ALLOWED",
}
"""Who is at fault, by reasons: each reason is in one of them."""
_SERVER_FAULTS: Final = rate(f"{_CALLS}_count", f'error_type!="",{BRIEF}')
_ACTIVE: Final = series("http_client_open_connections", 'http_connection_state="active"')
_LEFT: Final = 'event="left_in_doubt"'
_IN_DOUBT: Final = series("allocation_gateway_writes", 'phase="in doubt"')

OVERVIEW: Final = Board(
    "overview",
    "Allocation Gateway: who is at fault?",
    (
        (
            "Callers",
            (
                Panel(
                    "Do callers get answers?",
                    "The share of calls that did not fail by a fault of the server's. The objective is 99.9 %. "
                    "Streams and "
                    "watches are on a dashboard of their own: that they end says nothing of what became of their "
                    "items.",
                    "percentunit",
                    "error-budget",
                    (
                        Query(
                            f"1 - (({_SERVER_FAULTS}) or vector(0)) / {rate(f'{_CALLS}_count', BRIEF)}",
                            "answered",
                        ),
                    ),
                    is_number=True,
                ),
                Panel(
                    "Whose fault are the calls that fail?",
                    "Failed calls by who can mend it. Callers alone: nothing is wrong here. Sorted: go on to the "
                    "upstream dashboard. The store: to safety. Too many calls, or the gateway: to runtime. Streams "
                    "that are "
                    "over with their time, or with their connection, are left out.",
                    "reqps",
                    "error-budget",
                    tuple(
                        Query(
                            rate(
                                f"{_CALLS}_count",
                                f'allocation_gateway_reason=~"{reasons}"{_MATCH_BRIEF[fault in _ENDS_OF_STREAMS]}',
                            ),
                            fault,
                        )
                        for fault, reasons in _FAULTS.items()
                    ),
                ),
                Panel(
                    "Which reasons do failed calls have?",
                    "As callers see them. docs/errors.md says what each means.",
                    "reqps",
                    "error-budget",
                    (
                        Query(
                            rate(f"{_CALLS}_count", 'allocation_gateway_reason!=""', "allocation_gateway_reason"),
                            "{{allocation_gateway_reason}}",
                        ),
                    ),
                ),
                Panel(
                    "How many calls are there, and how do they end?",
                    "Calls by gRPC status.",
                    "reqps",
                    "error-budget",
                    (Query(rate(f"{_CALLS}_count", by="rpc_response_status_code"), "{{rpc_response_status_code}}"),),
                ),
                Panel(
                    "Are callers refused because of who they are?",
                    "Callers that are not known, may not do what they ask for, or have used up their share.",
                    "reqps",
                    "overloaded",
                    (Query(rate("allocation_gateway_caller_refusals_total", by="reason"), "{{reason}}"),),
                ),
                Panel(
                    "How long do calls take?",
                    "From the arrival of a call to its status, without streams and watches, which last. Exemplars "
                    "lead to "
                    "traces.",
                    "s",
                    "upstream-slow",
                    _quantiles(_CALLS, BRIEF),
                ),
                Panel(
                    "Which rpc is slow?",
                    "What 95 % of the calls of an rpc do not exceed.",
                    "s",
                    "upstream-slow",
                    (Query(quantile(0.95, _CALLS, BRIEF, by="rpc_method"), "{{rpc_method}}"),),
                ),
            ),
        ),
        (
            "What calls need",
            (
                Panel(
                    "How long does Sorted take?",
                    "Requests to upstream, of whatever kind. As long as calls take: it is Sorted that is slow.",
                    "s",
                    "upstream-slow",
                    _quantiles(_REQUESTS),
                ),
                Panel(
                    "Is the store there, and quick?",
                    "Steps of the store of claims. None, while there are writes: it is away, or claims are in memory.",
                    "s",
                    "claim-store-down",
                    _quantiles("allocation_gateway_claim_store_duration_seconds"),
                ),
                Panel(
                    "How full is the gateway?",
                    "Calls in hand, as a share of how many there may be. At 100 %, further ones are refused.",
                    "percentunit",
                    "overloaded",
                    (
                        Query(
                            f"max by (instance) ({series('allocation_gateway_calls_in_hand')}"
                            f" / {series('allocation_gateway_calls_limit')})",
                            "{{instance}}",
                        ),
                    ),
                ),
                Panel(
                    "Do all processes serve?",
                    "Processes that there should be, by what the others say; those there are; and those whose health "
                    "is "
                    "SERVING.",
                    "short",
                    "worker-restarting",
                    (
                        Query(f"sum(max by (instance) ({series('allocation_gateway_workers')}))", "there should be"),
                        Query(f"count({series('allocation_gateway_serving')})", "there are"),
                        Query(f"sum({series('allocation_gateway_serving')})", "serve"),
                    ),
                ),
            ),
        ),
    ),
)

UPSTREAM: Final = Board(
    "upstream",
    "Allocation Gateway: upstream",
    (
        (
            "Sorted",
            (
                Panel(
                    "What does Sorted answer?",
                    "Requests by HTTP status. 401 and 403: the key. 429: throttled. 5xx: Sorted itself.",
                    "reqps",
                    "upstream-failing",
                    (
                        Query(
                            rate(f"{_REQUESTS}_count", by="http_response_status_code"),
                            "{{http_response_status_code}}",
                        ),
                    ),
                ),
                Panel(
                    "How do requests fail?",
                    "By HTTP status from 400 on, or how there was no answer. not_sent and cancelled are not Sorted's "
                    "doing: nothing "
                    "left, or nobody waited.",
                    "reqps",
                    "upstream-failing",
                    (Query(rate(f"{_REQUESTS}_count", 'error_type!=""', "error_type"), "{{error_type}}"),),
                ),
                Panel(
                    "Which operation of Sorted is slow?",
                    "What 95 % of its requests do not exceed, with the wait for a connection.",
                    "s",
                    "upstream-slow",
                    (
                        Query(
                            quantile(0.95, _REQUESTS, by="http_request_method, url_template"),
                            "{{http_request_method}} {{url_template}}",
                            has_exemplars=True,
                        ),
                    ),
                ),
                Panel(
                    "Why are requests sent?",
                    "By kind of attempt. Repeats and read-backs are what failures cost on top; watch is what streams "
                    "read.",
                    "reqps",
                    "upstream-failing",
                    (
                        Query(
                            rate(f"{_REQUESTS}_count", by="allocation_gateway_attempt_kind"),
                            "{{allocation_gateway_attempt_kind}}",
                        ),
                    ),
                ),
                Panel(
                    "Is its answer as documented?",
                    "Successful answers that are not: read without a part, or refused.",
                    "reqps",
                    "contract-broken",
                    (
                        Query(
                            rate("allocation_gateway_upstream_undocumented_total", by="rpc_method, result"),
                            "{{rpc_method}} {{result}}",
                        ),
                    ),
                ),
            ),
        ),
        (
            "What protects it",
            (
                Panel(
                    "Is a breaker open?",
                    "0 closed, 2 open. 1: the next calls try whether Sorted answers again.",
                    "short",
                    "breaker-open",
                    (Query(f"max by (api) ({series('allocation_gateway_upstream_breaker')})", "{{api}}"),),
                ),
                Panel(
                    "What is kept from Sorted, and why?",
                    "Requests that a policy did not let pass.",
                    "reqps",
                    "breaker-open",
                    (
                        Query(
                            rate("allocation_gateway_upstream_refusals_total", by="api, policy"), "{{api}} {{policy}}"
                        ),
                    ),
                ),
                Panel(
                    "How many requests wait for their turn?",
                    "The queue in front of upstream, of all processes.",
                    "short",
                    "overloaded",
                    (
                        Query(
                            f"sum by (api, lane) ({series('allocation_gateway_upstream_queue_length')})",
                            "{{api}} {{lane}}",
                        ),
                    ),
                ),
                Panel(
                    "How long do they wait?",
                    "What 95 % of those that had to wait, and were sent then, did not exceed.",
                    "s",
                    "overloaded",
                    (
                        Query(
                            quantile(0.95, "allocation_gateway_upstream_queue_wait_seconds", by="api, lane"),
                            "{{api}} {{lane}}",
                        ),
                    ),
                ),
                Panel(
                    "Are there connections enough?",
                    "Those with a request under way, as a share of how many there may be. At 100 %, requests wait.",
                    "percentunit",
                    "upstream-slow",
                    (
                        Query(
                            "max by (api, server_address) ("
                            f"{_ACTIVE} / ignoring (http_connection_state) "
                            f"{series('allocation_gateway_upstream_connections_limit')})",
                            "{{api}} {{server_address}}",
                        ),
                    ),
                ),
                Panel(
                    "Do the budgets allow what is sent once more?",
                    "Repeats and readings that were refused, since too much fails.",
                    "reqps",
                    "upstream-failing",
                    (
                        Query(
                            rate("allocation_gateway_upstream_budget_total", 'result="refused"', "api, budget"),
                            "{{api}} {{budget}}",
                        ),
                    ),
                ),
            ),
        ),
    ),
)

SAFETY: Final = Board(
    "safety",
    "Allocation Gateway: safety",
    (
        (
            "Writes",
            (
                Panel(
                    "Of how many writes is it not known what became of them?",
                    "Writes in doubt that a process reads back now. When nothing that was sent can take effect any "
                    "more and "
                    "nobody waits, it is left to the next caller: the panel beside shows how often.",
                    "short",
                    "write-in-doubt",
                    (Query(f"sum({_IN_DOUBT})", "in doubt"),),
                    is_number=True,
                ),
                Panel(
                    "How many writes were left in doubt?",
                    "In a quarter of an hour. Nobody knows of them, until their caller repeats them, or another "
                    "write of the "
                    "same shipment finds out.",
                    "short",
                    "write-in-doubt",
                    (
                        Query(
                            "sum by (rpc_method) (increase("
                            f"{series('allocation_gateway_write_events_total', _LEFT)}[15m]))",
                            "{{rpc_method}}",
                        ),
                    ),
                ),
                Panel(
                    "For how long has the oldest been in doubt?",
                    "Of those that a process reads back now. It is over within `SETTLE_TIME` and some readings, or "
                    "when "
                    "the last caller has gone.",
                    "s",
                    "write-in-doubt",
                    (
                        Query(
                            f"max by (instance) ({series('allocation_gateway_writes_longest_doubt_seconds')})",
                            "{{instance}}",
                        ),
                    ),
                ),
                Panel(
                    "How far are the writes under way?",
                    "By phase. Waiting: for another write of the same shipment, or for a permit.",
                    "short",
                    "write-in-doubt",
                    (Query(f"sum by (phase) ({series('allocation_gateway_writes')})", "{{phase}}"),),
                ),
                Panel(
                    "What happens to writes on their way?",
                    "Beside being answered at the first attempt. In a quiet time there are none but joined and "
                    "remembered.",
                    "ops",
                    "write-in-doubt",
                    (Query(rate("allocation_gateway_write_events_total", by="event"), "{{event}}"),),
                ),
                Panel(
                    "How much is read back?",
                    "Readings of writes in doubt, by how they were answered.",
                    "reqps",
                    "write-in-doubt",
                    (
                        Query(
                            rate(
                                f"{_REQUESTS}_count",
                                'allocation_gateway_attempt_kind="read_back"',
                                "http_response_status_code",
                            ),
                            "{{http_response_status_code}}",
                        ),
                    ),
                ),
                Panel(
                    "How many callers were told that nobody knows?",
                    "Calls that ended with OUTCOME_UNKNOWN. A repeat with the same id finds out.",
                    "reqps",
                    "outcome-unknown",
                    (
                        Query(
                            rate(f"{_CALLS}_count", 'allocation_gateway_reason="OUTCOME_UNKNOWN"', "rpc_method"),
                            "{{rpc_method}}",
                        ),
                    ),
                ),
                Panel(
                    "How many writes go on without their caller?",
                    "Callers that went, or whose deadline passed, while a write was under way.",
                    "ops",
                    "upstream-slow",
                    (Query(rate("allocation_gateway_detached_writes_total", by="rpc_method"), "{{rpc_method}}"),),
                ),
            ),
        ),
        (
            "The store of claims",
            (
                Panel(
                    "Can the store be used?",
                    "1 of a process that can use it, 0 of one that cannot. Nothing: claims are in memory.",
                    "short",
                    "claim-store-down",
                    (Query(f"min by (instance) ({series('allocation_gateway_claim_store_usable')})", "{{instance}}"),),
                ),
                Panel(
                    "How long do its steps take?",
                    "What 99 % of them do not exceed.",
                    "s",
                    "claim-store-down",
                    (Query(quantile(0.99, "allocation_gateway_claim_store_duration_seconds", by="step"), "{{step}}"),),
                ),
                Panel(
                    "Which steps fail, and how?",
                    "Steps that failed, or were not answered in time.",
                    "ops",
                    "claim-store-down",
                    (
                        Query(
                            rate("allocation_gateway_claim_store_failures_total", by="step, error_type"),
                            "{{step}} {{error_type}}",
                        ),
                    ),
                ),
            ),
        ),
    ),
)

GROUPS: Final = Board(
    "service-groups",
    "Allocation Gateway: service groups",
    (
        (
            "Service groups",
            (
                Panel(
                    "How many groups are known, and where from?",
                    "By source. None of the catalogue: the file is missing or was refused.",
                    "short",
                    "catalogue-not-usable",
                    (
                        Query(
                            f"max by (api, source) ({series('allocation_gateway_service_group_known')})",
                            "{{api}} {{source}}",
                        ),
                    ),
                ),
                Panel(
                    "Can catalogue and cache be used?",
                    "1 if the file as it is now is in use, or the cache answers; else 0.",
                    "short",
                    "catalogue-not-usable",
                    (Query(f"min by (part) ({series('allocation_gateway_service_group_usable')})", "{{part}}"),),
                ),
                Panel(
                    "How old is Sorted's listing?",
                    "Since it was loaded last.",
                    "s",
                    "catalogue-not-usable",
                    (
                        Query(
                            f"max by (api) ({series('allocation_gateway_service_group_listing_age_seconds')})",
                            "{{api}}",
                        ),
                    ),
                ),
                Panel(
                    "Are the groups known that callers name?",
                    "Lookups by whether the group was known.",
                    "ops",
                    "catalogue-not-usable",
                    (Query(rate("allocation_gateway_service_group_lookups_total", by="result"), "{{result}}"),),
                ),
                Panel(
                    "What happens to the sources?",
                    "Files that were taken or refused, listings that were read or not, the cache that came and went.",
                    "ops",
                    "catalogue-not-usable",
                    (Query(rate("allocation_gateway_service_group_events_total", by="event"), "{{event}}"),),
                ),
            ),
        ),
    ),
)

RUNTIME: Final = Board(
    "runtime",
    "Allocation Gateway: runtime",
    (
        (
            "Processes",
            (
                Panel(
                    "Is the event loop held up?",
                    "How much later than asked for it wakes up a task, in 99 % of the measurements. Every call of the "
                    "process waits as long.",
                    "s",
                    "event-loop-blocked",
                    (
                        Query(
                            quantile(
                                0.99,
                                "allocation_gateway_event_loop_lag_seconds",
                                by="instance, allocation_gateway_worker",
                            ),
                            "{{instance}} {{allocation_gateway_worker}}",
                        ),
                    ),
                ),
                Panel(
                    "For how much of the time is it held up?",
                    "The lag that was measured, by second. What lasts for long is one measurement: it shows here.",
                    "percentunit",
                    "event-loop-blocked",
                    (
                        Query(
                            rate(
                                "allocation_gateway_event_loop_lag_seconds_sum",
                                by="instance, allocation_gateway_worker",
                            ),
                            "{{instance}} {{allocation_gateway_worker}}",
                        ),
                    ),
                ),
                Panel(
                    "How much of a core is used?",
                    "CPU time of a process in a second. One process uses one core at most.",
                    "percentunit",
                    "event-loop-blocked",
                    (
                        Query(
                            rate("process_cpu_time_seconds_total", by="instance, allocation_gateway_worker"),
                            "{{instance}} {{allocation_gateway_worker}}",
                        ),
                    ),
                ),
                Panel(
                    "How much memory is used?",
                    "Resident memory of a process.",
                    "bytes",
                    "worker-restarting",
                    (
                        Query(
                            f"max by (instance, allocation_gateway_worker) ({series('process_memory_usage_bytes')})",
                            "{{instance}} {{allocation_gateway_worker}}",
                        ),
                    ),
                ),
                Panel(
                    "How long does the garbage collector pause?",
                    "The share of the time in which nothing else runs, by generation.",
                    "percentunit",
                    "event-loop-blocked",
                    (
                        Query(
                            rate("allocation_gateway_gc_time_seconds_total", by="instance, cpython_gc_generation"),
                            "{{instance}} {{cpython_gc_generation}}",
                        ),
                    ),
                ),
                Panel(
                    "Are processes being restarted?",
                    "How long the youngest process of a pod has run.",
                    "s",
                    "worker-restarting",
                    (Query(f"min by (instance) ({series('process_uptime_seconds')})", "{{instance}}"),),
                ),
                Panel(
                    "How often were workers replaced?",
                    "Since the start of the pod. It grows when one ends without being told to.",
                    "short",
                    "worker-restarting",
                    (
                        Query(
                            f"max by (instance, worker) ({series('allocation_gateway_worker_restarts')})",
                            "{{instance}} {{worker}}",
                        ),
                    ),
                ),
                Panel(
                    "Are the files in use as they are now?",
                    "1 while the newest content of a file that is followed is in use, 0 while the one before still is.",
                    "short",
                    "catalogue-not-usable",
                    (Query(f"min by (file) ({series('allocation_gateway_file_usable')})", "{{file}}"),),
                ),
                Panel(
                    "How old is what is in use of each file?",
                    "Since the content was written. Pods that differ have not got the same file.",
                    "s",
                    "catalogue-not-usable",
                    (
                        Query(
                            f"time() - min by (instance, file) ({series('allocation_gateway_file_written_seconds')})",
                            "{{instance}} {{file}}",
                        ),
                    ),
                ),
                Panel(
                    "How many calls are in hand?",
                    "Beside how many there may be.",
                    "short",
                    "overloaded",
                    (
                        Query(f"max by (instance) ({series('allocation_gateway_calls_in_hand')})", "{{instance}}"),
                        Query(f"min({series('allocation_gateway_calls_limit')})", "limit"),
                    ),
                ),
            ),
        ),
    ),
)

_LASTS: Final = BRIEF.replace("!~", "=~")

STREAM: Final = Board(
    "streams",
    "Allocation Gateway: streams",
    (
        (
            "Streams",
            (
                Panel(
                    "What do the items of streams wait for?",
                    "Items in hand. Waiting: for Sorted's limits, or for an outage to end. Sending: in a write. "
                    "Followed: Sorted has queued them. Untold: for the caller to read.",
                    "short",
                    "overloaded",
                    (Query(f"sum by (api, state) ({series('allocation_gateway_stream_items')})", "{{api}} {{state}}"),),
                ),
                Panel(
                    "How far are streams behind?",
                    "For how long the oldest item has been in hand.",
                    "s",
                    "upstream-slow",
                    (Query(f"max by (api) ({series('allocation_gateway_stream_lag_seconds')})", "{{api}}"),),
                ),
                Panel(
                    "What do items come to?",
                    "Items that got their outcome.",
                    "ops",
                    "upstream-failing",
                    (
                        Query(
                            rate("allocation_gateway_stream_outcomes_total", by="api, outcome"), "{{api}} {{outcome}}"
                        ),
                    ),
                ),
                Panel(
                    "How many streams and watches are open?",
                    "Of all processes.",
                    "short",
                    "overloaded",
                    (Query(f"sum by (rpc_method) ({series('allocation_gateway_streams')})", "{{rpc_method}}"),),
                ),
            ),
        ),
        (
            "What they cost, and how they end",
            (
                Panel(
                    "How do streams and watches end?",
                    "By gRPC status. DEADLINE_EXCEEDED: their caller's time was up. OK: all was done.",
                    "reqps",
                    "error-budget",
                    (
                        Query(
                            rate(f"{_CALLS}_count", _LASTS, "rpc_method, rpc_response_status_code"),
                            "{{rpc_method}} {{rpc_response_status_code}}",
                        ),
                    ),
                ),
                Panel(
                    "Why do they end before all is done?",
                    "By reason. GATEWAY_STOPPING: the connection has come of age, or the pod is ending: callers "
                    "begin again.",
                    "reqps",
                    "error-budget",
                    (
                        Query(
                            rate(
                                f"{_CALLS}_count",
                                f'allocation_gateway_reason!="",{_LASTS}',
                                "rpc_method, allocation_gateway_reason",
                            ),
                            "{{rpc_method}} {{allocation_gateway_reason}}",
                        ),
                    ),
                ),
                Panel(
                    "How much is read for them?",
                    "Readings of what Sorted has queued, until it is final.",
                    "reqps",
                    "upstream-slow",
                    (
                        Query(
                            rate(
                                f"{_REQUESTS}_count",
                                'allocation_gateway_attempt_kind="watch"',
                                "http_response_status_code",
                            ),
                            "{{http_response_status_code}}",
                        ),
                    ),
                ),
            ),
        ),
    ),
)

_CALLERS: Final = "allocation_gateway_caller_call_duration_seconds"

CALLERS: Final = Board(
    "callers",
    "Allocation Gateway: callers and accounts",
    (
        (
            "Callers",
            (
                Panel(
                    "Who calls how often?",
                    "By the name that the certificate or the token gives. _OTHER: those beyond the first hundred, and "
                    "whom the policy does not know. Nothing: callers are not identified.",
                    "reqps",
                    "overloaded",
                    (Query(rate(f"{_CALLERS}_count", by="caller"), "{{caller}}"),),
                ),
                Panel(
                    "Whose calls fail, and how?",
                    "By gRPC status. One caller alone: look at what it sends. All of them: go on to the overview.",
                    "reqps",
                    "error-budget",
                    (
                        Query(
                            rate(
                                f"{_CALLERS}_count",
                                'rpc_response_status_code!="OK"',
                                "caller, rpc_response_status_code",
                            ),
                            "{{caller}} {{rpc_response_status_code}}",
                        ),
                    ),
                ),
                Panel(
                    "How long do the calls of each caller take?",
                    "What 95 % of them do not exceed.",
                    "s",
                    "upstream-slow",
                    (Query(quantile(0.95, _CALLERS, by="caller"), "{{caller}}"),),
                ),
                Panel(
                    "Whose calls take up the gateway?",
                    "How many calls of a caller are in hand, on average.",
                    "short",
                    "overloaded",
                    (Query(rate(f"{_CALLERS}_sum", by="caller"), "{{caller}}"),),
                ),
            ),
        ),
        (
            "Accounts",
            (
                Panel(
                    "Which account is called how often?",
                    "Calls by account; those of the account of the settings have no name.",
                    "reqps",
                    "overloaded",
                    (
                        Query(
                            rate(f"{_CALLS}_count", by="allocation_gateway_account"), "{{allocation_gateway_account}}"
                        ),
                    ),
                ),
                Panel(
                    "Of which account do calls fail, and why?",
                    "By reason. One account alone: its key, its limits, or what Sorted knows of it.",
                    "reqps",
                    "error-budget",
                    (
                        Query(
                            rate(
                                f"{_CALLS}_count",
                                'allocation_gateway_reason!=""',
                                "allocation_gateway_account, allocation_gateway_reason",
                            ),
                            "{{allocation_gateway_account}} {{allocation_gateway_reason}}",
                        ),
                    ),
                ),
                Panel(
                    "How long do the calls of each account take?",
                    "What 95 % of them do not exceed, without streams and watches.",
                    "s",
                    "upstream-slow",
                    (
                        Query(
                            quantile(0.95, _CALLS, BRIEF, by="allocation_gateway_account"),
                            "{{allocation_gateway_account}}",
                        ),
                    ),
                ),
                Panel(
                    "Of which account do requests to Sorted fail?",
                    "By HTTP status from 400 on, or how there was no answer.",
                    "reqps",
                    "upstream-failing",
                    (
                        Query(
                            rate(f"{_REQUESTS}_count", 'error_type!=""', "allocation_gateway_account, error_type"),
                            "{{allocation_gateway_account}} {{error_type}}",
                        ),
                    ),
                ),
            ),
        ),
        (
            "What they get",
            (
                Panel(
                    "Which carriers are allocated?",
                    "Allocations of one shipment or consignment, by the reference of the carrier.",
                    "ops",
                    "upstream-failing",
                    (Query(rate("allocation_gateway_allocations_total", by="api, carrier"), "{{api}} {{carrier}}"),),
                ),
                Panel(
                    "Why is no service left?",
                    "Services that were excluded where an allocation has failed, by why.",
                    "ops",
                    "upstream-failing",
                    (
                        Query(
                            rate("allocation_gateway_allocation_exclusions_total", by="api, code"), "{{api}} {{code}}"
                        ),
                    ),
                ),
            ),
        ),
    ),
)

BOARDS: Final = (OVERVIEW, UPSTREAM, SAFETY, STREAM, GROUPS, RUNTIME, CALLERS)

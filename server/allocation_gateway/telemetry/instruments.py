"""Every metric of the gateway's own, and the methods by which the rest of the gateway records into them.

Without a meter provider the instruments are no-ops, so that nobody has to ask whether metrics are on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from allocation_gateway.settings import DEFAULT_ACCOUNT
from allocation_gateway.telemetry.conventions import (
    DURATION_BUCKETS,
    ERROR_TYPE,
    RPC_METHOD,
    STATE,
    STORE_BUCKETS,
    account_attributes,
    call_attributes,
    request_attributes,
)
from allocation_gateway.telemetry.named import NamedInstruments
from allocation_gateway.telemetry.state import StateInstruments, callback

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import TypeAlias

    from opentelemetry.metrics import Meter

    from allocation_gateway.telemetry.conventions import Attributes, Call, Route
    from allocation_gateway.telemetry.histograms import Durations, HistogramFactory

    # Where requests wait: the API, writes or reads, and the account.
    _Queue: TypeAlias = tuple[str, str, str]

# Events of writes that an alert waits for.
_ALARMING_EVENTS: Final = ("undecided", "left_in_doubt")


class Instruments(StateInstruments):
    """The instruments, grouped by the part of the gateway that records into them.

    Attributes:
        call_duration: `rpc.server.call.duration`, by rpc, gRPC status code, reason and account.
        request_duration: `http.client.request.duration`, by route and HTTP status or kind of error.
        named: Those by names that others choose.
    """

    def __init__(self, meter: Meter, histograms: HistogramFactory, *, is_on: bool = True) -> None:
        super().__init__(meter)
        self.named = NamedInstruments(meter, histograms, is_on=is_on)
        self.call_duration: Durations[Call] = histograms.create(
            meter, "rpc.server.call.duration", "How long calls take.", call_attributes, DURATION_BUCKETS
        )
        self.request_duration: Durations[tuple[Route, int | str]] = histograms.create(
            meter,
            "http.client.request.duration",
            "How long requests to upstream take.",
            request_attributes,
            DURATION_BUCKETS,
        )
        self._create_for_writes(meter, histograms)
        self._create_for_service_groups(meter)
        self._create_for_protection(meter, histograms)
        self._caller_refusals = meter.create_counter(
            "allocation_gateway.caller.refusals",
            unit="{call}",
            description="Calls that were refused because of who made them.",
        )
        # Counted here and read by the exporter, since a wave has a million of them.
        self._stream_outcomes: dict[tuple[str, str], int] = {}
        outcomes = self._stream_outcomes
        meter.create_observable_counter(
            "allocation_gateway.stream.outcomes",
            callbacks=[
                callback(lambda: [(n, {"api": api, "outcome": kind}) for (api, kind), n in list(outcomes.items())])
            ],
            unit="{item}",
            description="Items of streams that have got their outcome, by what it is.",
        )
        self._loop_lags: Durations[None] = histograms.create(
            meter,
            "allocation_gateway.event_loop.lag",
            "How much later than asked for the event loop wakes up a task.",
            lambda _: {},
            STORE_BUCKETS,
        )

    # Writes, and the store of their claims.

    def _create_for_writes(self, meter: Meter, histograms: HistogramFactory) -> None:
        self._write_events = meter.create_counter(
            "allocation_gateway.write.events",
            unit="{event}",
            description="What happened to writes on their way, beside being answered at the first attempt.",
        )
        self._detached_writes = meter.create_counter(
            "allocation_gateway.detached_writes",
            unit="{write}",
            description="Writes that went on after their caller had gone or its deadline had passed.",
        )
        self._undocumented_responses = meter.create_counter(
            "allocation_gateway.upstream.undocumented",
            unit="{answer}",
            description="Successful answers of upstream's that are not as documented, by what became of them.",
        )
        self._store_durations: Durations[str] = histograms.create(
            meter,
            "allocation_gateway.claim_store.duration",
            "How long the steps of the store of claims take that were carried out.",
            lambda step: {"step": step},
            STORE_BUCKETS,
        )
        self._store_failures = meter.create_counter(
            "allocation_gateway.claim_store.failures",
            unit="{step}",
            description="Steps of the store of claims that failed, or were not answered in time.",
        )
        self._store_usable = meter.create_gauge(
            "allocation_gateway.claim_store.usable",
            unit=STATE,
            description="1 while the server that keeps the claims answers as it should; else 0.",
        )

    def write_event(self, event: str, method: str) -> None:
        """Counts something that happened to a write on its way."""
        self._write_events.add(1, {"event": event, RPC_METHOD: method})

    def expect_write_events(self, methods: Iterable[str]) -> None:
        """Tells of each rpc that writes that none of the events has happened yet which an alert waits for.

        Of a series that begins with its first event, nobody can tell that it is one more than before.
        """
        for method in methods:
            for event in _ALARMING_EVENTS:
                self._write_events.add(0, {"event": event, RPC_METHOD: method})

    def write_detached(self, method: str) -> None:
        """Counts a write that goes on although no caller waits for it."""
        self._detached_writes.add(1, {RPC_METHOD: method})

    def answer_undocumented(self, method: str, result: str) -> None:
        """Counts a response that is not as documented: `read` without a part of it, or `refused`."""
        self._undocumented_responses.add(1, {RPC_METHOD: method, "result": result})

    def store_step(self, step: str, seconds: float) -> None:
        """Records a step that the store of claims has carried out."""
        self._store_durations.record(step, seconds)

    def store_failure(self, step: str, error_type: str) -> None:
        """Counts a step of the store of claims that failed."""
        self._store_failures.add(1, {"step": step, ERROR_TYPE: error_type})

    def store_usable(self, *, usable: bool) -> None:
        """Records whether the server that keeps the claims can be used."""
        self._store_usable.set(int(usable))

    # Service groups.

    def _create_for_service_groups(self, meter: Meter) -> None:
        # Counted here and read by the exporter, since every call with a service group makes a lookup.
        self._lookups = {"hit": 0, "miss": 0}
        meter.create_observable_counter(
            "allocation_gateway.service_group.lookups",
            callbacks=[callback(lambda: [(n, {"result": result}) for result, n in self._lookups.items() if n])],
            unit="{lookup}",
            description="Service-group codes looked up, by whether they were known.",
        )
        self._group_events = meter.create_counter(
            "allocation_gateway.service_group.events",
            unit="{event}",
            description="What happened to the sources of service groups and to the cache that replicas share.",
        )
        self._usable_parts: dict[tuple[str, str], bool] = {}
        parts = self._usable_parts
        meter.create_observable_gauge(
            "allocation_gateway.service_group.usable",
            callbacks=[
                callback(
                    lambda: [
                        (int(usable), {"part": part, **account_attributes(account)})
                        for (part, account), usable in list(parts.items())
                    ]
                )
            ],
            unit=STATE,
            description="1 while the catalogue file as it is is in use, or the shared cache answers; else 0.",
        )

    def group_lookup(self, *, known: bool) -> None:
        """Counts a lookup of a service-group code."""
        self._lookups["hit" if known else "miss"] += 1

    def group_event(self, event: str) -> None:
        """Counts something that happened to the sources of service groups or to the cache that replicas share."""
        self._group_events.add(1, {"event": event})

    def group_part(self, part: str, *, usable: bool, account: str = DEFAULT_ACCOUNT) -> None:
        """Records whether a part that an account's service groups come from can be used: `catalogue` or `cache`."""
        self._usable_parts[part, account] = usable

    def forget_account(self, account: str) -> None:
        """Tells nothing more of the state of an account that there is no more: nobody has to be alarmed by it."""
        states: tuple[dict[Any, Any], ...] = (self._breakers, self._usable_parts, self._queue_lengths)
        for state in states:
            for key in [key for key in state if key[-1] == account]:
                del state[key]

    # The protection of upstream.

    def _create_for_protection(self, meter: Meter, histograms: HistogramFactory) -> None:
        # Read by the exporter, since time alone ends the state in which nothing is let through.
        self._breakers: dict[tuple[str, str], Callable[[], int]] = {}
        breakers = self._breakers
        meter.create_observable_gauge(
            "allocation_gateway.upstream.breaker",
            callbacks=[
                callback(
                    lambda: [
                        (read(), {"api": api, **account_attributes(account)})
                        for (api, account), read in list(breakers.items())
                    ]
                )
            ],
            unit=STATE,
            description="2 while the breaker lets nothing through, 1 while probes may try, 0 while it is closed.",
        )
        self._refusals = meter.create_counter(
            "allocation_gateway.upstream.refusals",
            unit="{request}",
            description="Requests to upstream that a policy did not let pass.",
        )
        # Kept here and read by the exporter, since each request that has to wait changes a length twice.
        self._queue_lengths: dict[_Queue, int] = {}
        lengths = self._queue_lengths
        meter.create_observable_gauge(
            "allocation_gateway.upstream.queue.length",
            callbacks=[callback(lambda: [(n, _queue_attributes(queue)) for queue, n in list(lengths.items())])],
            unit="{request}",
            description="Requests that wait for their turn with upstream.",
        )
        self._queue_waits: Durations[_Queue] = histograms.create(
            meter,
            "allocation_gateway.upstream.queue.wait",
            "How long the requests waited that could not be sent at once, and were sent then.",
            _queue_attributes,
            DURATION_BUCKETS,
        )
        self._budget_requests = meter.create_counter(
            "allocation_gateway.upstream.budget",
            unit="{request}",
            description="Further writes and read-backs that a budget was asked for.",
        )

    def observe_breaker(self, api: str, read: Callable[[], int], account: str = DEFAULT_ACCOUNT) -> None:
        """Registers what reads the state of the breaker of an account's API, in any thread, when metrics are collected.

        Args:
            api: The API.
            read: Returns the state: 0 closed, 1 half-open, 2 open.
            account: The account.
        """
        self._breakers[api, account] = read

    def upstream_refused(self, api: str, policy: str, account: str = DEFAULT_ACCOUNT) -> None:
        """Counts a request that a policy did not let pass: `breaker`, `queue`, `rate` or `throttle`."""
        self._refusals.add(1, {"api": api, "policy": policy, **account_attributes(account)})

    def queue_length(self, api: str, lane: str, length: int, account: str = DEFAULT_ACCOUNT) -> None:
        """Records how many writes or reads wait for their turn with an account's API."""
        self._queue_lengths[api, lane, account] = length

    def queue_waited(self, api: str, lane: str, seconds: float, account: str = DEFAULT_ACCOUNT) -> None:
        """Records how long a request has waited for its turn."""
        self._queue_waits.record((api, lane, account), seconds)

    def budget_asked(self, api: str, budget: str, *, granted: bool, account: str = DEFAULT_ACCOUNT) -> None:
        """Counts a further write or read-back that a budget was asked for: `retries` or `readings`."""
        result = "granted" if granted else "refused"
        self._budget_requests.add(1, {"api": api, "budget": budget, "result": result, **account_attributes(account)})

    # Callers.

    def caller_refused(self, reason: str) -> None:
        """Counts a call that was refused because of who made it, by the reason that its caller was told."""
        self._caller_refusals.add(1, {"reason": reason})

    # Streams.

    def stream_item_told(self, api: str, outcome: str) -> None:
        """Counts an item of a stream: `allocated`, `queued`, `refused` or `unknown`."""
        self._stream_outcomes[api, outcome] = self._stream_outcomes.get((api, outcome), 0) + 1

    # The event loop.

    def loop_lag(self, seconds: float) -> None:
        """Records by how much the event loop was late, as often as that is measured."""
        self.named.count()
        self._loop_lags.record(None, seconds)


def _queue_attributes(queue: _Queue) -> Attributes:
    api, lane, account = queue
    return {"api": api, "lane": lane, **account_attributes(account)}

"""The OpenTelemetry providers of a process: made from the standard OTEL_* variables, closed last of all."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import threading
from typing import TYPE_CHECKING, Final

from opentelemetry.metrics import Observation as Measured
from opentelemetry.propagate import extract, get_global_textmap
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import Decision, TraceIdRatioBased
from opentelemetry.trace import SpanKind

from allocation_gateway.telemetry import conventions, exporters, variables
from allocation_gateway.telemetry.conventions import BUCKETS, ERROR_TYPE, RPC_METHOD
from allocation_gateway.telemetry.observation import CallObservation, Observation
from allocation_gateway.telemetry.recording import Recorder, recorder_for
from allocation_gateway.version import __version__

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from opentelemetry.metrics import CallbackOptions, Counter, Meter
    from opentelemetry.metrics import _Gauge as Gauge
    from opentelemetry.sdk.trace.sampling import Sampler
    from opentelemetry.trace import Span, Tracer

    from allocation_gateway.telemetry.conventions import Route
    from allocation_gateway.telemetry.recording import Durations
    from allocation_gateway.telemetry.records import Forwarding

SCOPE: Final = "allocation_gateway"
# Random for each process, unless the variables say otherwise.
_INSTANCE: Final = "service.instance.id"
# How a sampler describes itself that keeps a share of the traces that begin here.
_BY_RATIO: Final = re.compile(r"(?:ParentBased\{root:)?TraceIdRatioBased\{([^}]+)\}")
_B3: Final = frozenset({"b3", "x-b3-traceid", "x-b3-spanid", "x-b3-sampled", "x-b3-flags"})
# Those of a server nearby, which answers in less than the first of the usual ones, in seconds.
STORE_BUCKETS: Final = (0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1)


class TraceIds(RandomIdGenerator):
    """Makes ids at random, and gives one trace the id for which it was decided that it is recorded.

    Attributes:
        drawn: That id; None if none is waiting for its trace.
    """

    def __init__(self) -> None:
        self.drawn: int | None = None

    def generate_trace_id(self) -> int:
        """Returns the id that waits, or a new one."""
        drawn, self.drawn = self.drawn, None
        return super().generate_trace_id() if drawn is None else drawn


class Telemetry:
    """Where observations go. Made without arguments it is off: no exporter, no thread, no span.

    Attributes:
        tracer: Makes spans; None if traces are off.
        call_duration: `rpc.server.call.duration`, by rpc and gRPC status code; None if metrics are off.
        request_duration: `http.client.request.duration`, by route and HTTP status or kind of error; None if metrics are
            off.
    """

    def __init__(
        self,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
        recorder: Recorder | None = None,
        forwarding: Forwarding | None = None,
    ) -> None:
        """Takes the providers, what completes the metrics that are exported, and what exports log lines."""
        self._forwarding = forwarding
        self._tracer_provider = tracer_provider
        self._meter_provider = meter_provider
        self.tracer: Tracer | None = None
        self.call_duration: Durations[tuple[str, str]] | None = None
        self.request_duration: Durations[tuple[Route, int | str]] | None = None
        # Counted here and fetched by the exporter: every call with a service group makes one.
        self._lookups = {True: 0, False: 0}
        self._events: Counter | None = None
        self._usable: Gauge | None = None
        self._detached: Counter | None = None
        self._undocumented: Counter | None = None
        self._store_steps: Durations[str] | None = None
        self._store_failures: Counter | None = None
        self._write_events: Counter | None = None
        self._breaker: Gauge | None = None
        self._refusals: Counter | None = None
        # Kept here and fetched by the exporter: each request that has to wait changes one twice.
        self._queue_lengths: dict[tuple[str, str], int] = {}
        self._queue_wait: Durations[tuple[str, str]] | None = None
        self._budgets: Counter | None = None
        self._propagated: frozenset[str] = frozenset()
        self._ids: TraceIds | None = None
        if tracer_provider is not None:
            self.tracer = tracer_provider.get_tracer(SCOPE, __version__)
            self._propagated = _propagated()
            self._sampler = tracer_provider.sampler
            self._bound = _bound(self._sampler)
            if isinstance(tracer_provider.id_generator, TraceIds):
                self._ids = tracer_provider.id_generator
        if meter_provider is not None:
            meter = meter_provider.get_meter(SCOPE, __version__)
            self._make_histograms(meter, Recorder(0) if recorder is None else recorder)
            self._make_instruments(meter)
            self._make_protection_instruments(meter)

    def _make_histograms(self, meter: Meter, recorder: Recorder) -> None:
        recorder.watch(meter)
        self.call_duration = recorder.durations(
            meter, "rpc.server.call.duration", "How long calls take.", conventions.of_call, BUCKETS
        )
        self.request_duration = recorder.durations(
            meter,
            "http.client.request.duration",
            "How long requests to upstream take.",
            conventions.of_request,
            BUCKETS,
        )
        self._store_steps = recorder.durations(
            meter,
            "allocation_gateway.claim_store.duration",
            "How long the steps of the store of claims take that were carried out.",
            lambda step: {"step": step},
            STORE_BUCKETS,
        )
        self._queue_wait = recorder.durations(
            meter,
            "allocation_gateway.upstream.queue.wait",
            "How long the requests waited that could not be sent at once, and were sent then.",
            _of_line,
            BUCKETS,
        )

    def _make_instruments(self, meter: Meter) -> None:
        meter.create_observable_counter(
            "allocation_gateway.service_group.lookups",
            callbacks=[self._observe_lookups],
            unit="{lookup}",
            description="Service-group codes looked up, by whether they were known.",
        )
        self._events = meter.create_counter(
            "allocation_gateway.service_group.events",
            unit="{event}",
            description="What happened to the sources of service groups and to the cache that replicas share.",
        )
        self._usable = meter.create_gauge(
            "allocation_gateway.service_group.usable",
            unit="1",
            description="1 while the catalogue file as it is is in use, or the shared cache answers; else 0.",
        )
        self._detached = meter.create_counter(
            "allocation_gateway.detached_writes",
            unit="{write}",
            description="Writes that went on after their caller had gone or its deadline had passed.",
        )
        self._undocumented = meter.create_counter(
            "allocation_gateway.upstream.undocumented",
            unit="{answer}",
            description="Successful answers of upstream's that are not as documented, by what became of them.",
        )
        self._write_events = meter.create_counter(
            "allocation_gateway.write.events",
            unit="{event}",
            description="What happened to writes on their way, beside being answered at the first attempt.",
        )
        self._store_failures = meter.create_counter(
            "allocation_gateway.claim_store.failures",
            unit="{step}",
            description="Steps of the store of claims that failed, or were not answered in time.",
        )

    def _make_protection_instruments(self, meter: Meter) -> None:
        self._breaker = meter.create_gauge(
            "allocation_gateway.upstream.breaker",
            unit="1",
            description="2 while the breaker is open, 1 while probes try upstream, 0 while it is closed.",
        )
        self._refusals = meter.create_counter(
            "allocation_gateway.upstream.refusals",
            unit="{request}",
            description="Requests to upstream that a policy did not let pass.",
        )
        meter.create_observable_gauge(
            "allocation_gateway.upstream.queue.length",
            callbacks=[self._observe_queues],
            unit="{request}",
            description="Requests that wait for their turn with upstream.",
        )
        self._budgets = meter.create_counter(
            "allocation_gateway.upstream.budget",
            unit="{request}",
            description="Further writes and read-backs that a budget was asked for.",
        )

    def call(self, method: str, metadata: Collection[tuple[str, str | bytes]]) -> CallObservation:
        """Starts observing an rpc."""
        return CallObservation(self, method, metadata)

    def group_lookup(self, known: bool) -> None:
        """Counts a lookup of a service-group code."""
        self._lookups[known] += 1

    def _observe_lookups(self, _: CallbackOptions) -> Iterable[Measured]:
        names = {True: "hit", False: "miss"}
        return [Measured(count, {"result": names[known]}) for known, count in self._lookups.items() if count]

    def group_event(self, event: str) -> None:
        """Counts something that happened to the sources of service groups or to the cache that replicas share."""
        if self._events is not None:
            self._events.add(1, {"event": event})

    def group_part(self, part: str, *, usable: bool) -> None:
        """Records whether a part that service groups come from can be used: `catalogue` or `cache`."""
        if self._usable is not None:
            self._usable.set(int(usable), {"part": part})

    def background(self) -> Observation:
        """Starts observing what the gateway does of its own accord."""
        return Observation(self)

    def write_event(self, event: str, method: str) -> None:
        """Counts something that happened to a write on its way."""
        if self._write_events is not None:
            self._write_events.add(1, {"event": event, RPC_METHOD: method})

    def write_detached(self, method: str) -> None:
        """Counts a write that goes on although nobody waits for it."""
        if self._detached is not None:
            self._detached.add(1, {RPC_METHOD: method})

    def answer_undocumented(self, method: str, result: str) -> None:
        """Counts an answer that is not as documented: `read` without a part of it, or `refused`."""
        if self._undocumented is not None:
            self._undocumented.add(1, {RPC_METHOD: method, "result": result})

    def breaker_state(self, api: str, state: int) -> None:
        """Records the state of an API's breaker: 0 closed, 1 half-open, 2 open."""
        if self._breaker is not None:
            self._breaker.set(state, {"api": api})

    def upstream_refused(self, api: str, policy: str) -> None:
        """Counts a request that a policy did not let pass: `breaker`, `queue`, `rate` or `throttle`."""
        if self._refusals is not None:
            self._refusals.add(1, {"api": api, "policy": policy})

    def queue_length(self, api: str, lane: str, length: int) -> None:
        """Records how many writes or reads wait for their turn with an API."""
        self._queue_lengths[api, lane] = length

    def _observe_queues(self, _: CallbackOptions) -> Iterable[Measured]:
        return [Measured(length, _of_line(line)) for line, length in list(self._queue_lengths.items())]

    def queue_waited(self, api: str, lane: str, seconds: float) -> None:
        """Records how long a request has waited for its turn."""
        if self._queue_wait is not None:
            self._queue_wait.record((api, lane), seconds)

    def budget_asked(self, api: str, budget: str, *, granted: bool) -> None:
        """Counts a further write or read-back that a budget was asked for: `retries` or `readings`."""
        if self._budgets is not None:
            self._budgets.add(1, {"api": api, "budget": budget, "result": "granted" if granted else "refused"})

    def server_span(self, method: str, metadata: Collection[tuple[str, str | bytes]]) -> Span | None:
        """Starts the span of a call; None if traces are off, or if it belongs to no trace and begins none."""
        if self.tracer is None:
            return None
        for key, _ in metadata:
            if key in self._propagated:
                return self._start_span(self.tracer, method, metadata)
        return self._start_span(self.tracer, method, ()) if self._begins_trace(method) else None

    def _start_span(self, tracer: Tracer, method: str, metadata: Iterable[tuple[str, str | bytes]]) -> Span:
        carrier = {key: value for key, value in metadata if key in self._propagated and isinstance(value, str)}
        attributes = conventions.of_method(method)
        return tracer.start_span(method, context=extract(carrier), kind=SpanKind.SERVER, attributes=attributes)

    def _begins_trace(self, method: str) -> bool:
        """Decides whether a call that belongs to no trace begins one.

        The sampler decides as it would when the span is made; a call that it lets pass unseen costs no span at all.
        """
        if self._ids is None:
            return True
        drawn = self._ids.generate_trace_id()
        if drawn & TraceIdRatioBased.TRACE_ID_LIMIT >= self._bound:
            return False
        attributes = conventions.of_method(method)
        result = self._sampler.should_sample(None, drawn, method, SpanKind.SERVER, attributes)
        if result.decision is Decision.DROP:
            return False
        self._ids.drawn = drawn
        return True

    def store_step(self, step: str, seconds: float) -> None:
        """Records a step that the store of claims has carried out."""
        if self._store_steps is not None:
            self._store_steps.record(step, seconds)

    def store_failure(self, step: str, error_type: str) -> None:
        """Counts a step of the store of claims that failed."""
        if self._store_failures is not None:
            self._store_failures.add(1, {"step": step, ERROR_TYPE: error_type})

    async def close(self, bound: float) -> None:
        """Sends off what is left, within a bound in seconds even if nobody takes it."""
        parts = (self._tracer_provider, self._meter_provider, self._forwarding)
        providers = [part for part in parts if part is not None]
        if providers:
            await asyncio.wait([_shut_down(provider) for provider in providers], timeout=bound)


def _propagated() -> frozenset[str]:
    """Returns the metadata that says to which trace a call belongs."""
    fields = frozenset(get_global_textmap().fields)
    # Each propagator of B3 reads both spellings, and a header for debugging that it does not list.
    return fields | _B3 if fields & _B3 else fields


def _bound(sampler: Sampler) -> int:
    """Returns below what the lower half of a trace's id must be for a sampler to keep it, which is cheap to compare."""
    ratio = _BY_RATIO.match(sampler.get_description())
    return TraceIdRatioBased.get_bound_for_rate(1.0 if ratio is None else float(ratio[1]))


def _of_line(line: tuple[str, str]) -> Mapping[str, str | int]:
    api, lane = line
    return {"api": api, "lane": lane}


def _shut_down(provider: TracerProvider | MeterProvider | Forwarding) -> asyncio.Future[None]:
    """Shuts a provider down in a thread of its own. Exporters retry on their own clock: it may be left behind."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()

    def finish() -> None:
        if not done.done():
            done.set_result(None)

    def work() -> None:
        try:
            provider.shutdown()
        finally:
            with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(finish)

    threading.Thread(target=work, daemon=True).start()
    return done


def from_environment(environ: Mapping[str, str], *, worker: int | None = None) -> Telemetry:
    """Makes what the standard variables ask for: a signal is exported if its exporter or an OTLP endpoint is set.

    Args:
        environ: The variables, which have been prepared.
        worker: The number of this process, if it is one of several that have the same variables.

    Raises:
        ConfigurationError: A variable asks for something that cannot be had.
    """
    if variables.is_disabled(environ):
        return Telemetry()
    variables.check(environ)
    traces, metrics, records = (variables.exporters(signal, environ) for signal in variables.SIGNALS)
    if not traces and not metrics and not records:
        return Telemetry()
    logging.getLogger("opentelemetry").setLevel(_level(environ.get("OTEL_LOG_LEVEL", "")))
    ours = Resource.create({"service.name": "allocation-gateway", "service.version": __version__})
    resource = ours.merge(_named(OTELResourceDetector().detect(), worker))
    tracer_provider = meter_provider = recorder = forwarding = None
    if metrics:
        # First, since it is the one that can fail: a port may be taken.
        recorder = recorder_for(environ, readers=len(metrics))
        readers = [exporters.metric_reader(name, environ, recorder) for name in metrics]
        meter_provider = MeterProvider(readers, resource=resource, shutdown_on_exit=False)
    if traces:
        tracer_provider = TracerProvider(resource=resource, shutdown_on_exit=False, id_generator=TraceIds())
        for name in traces:
            tracer_provider.add_span_processor(BatchSpanProcessor(exporters.span_exporter(name, environ)))
    if records:
        # On demand: few have their log lines sent.
        from allocation_gateway.telemetry.records import Forwarding

        forwarding = Forwarding([exporters.log_exporter(name, environ) for name in records], resource)
        forwarding.begin()
    return Telemetry(tracer_provider, meter_provider, recorder, forwarding)


def _level(name: str) -> int:
    """Returns from which level on the SDK is heard: never below warnings, which is where libraries quote headers."""
    if name.lower() == "none":
        return logging.CRITICAL + 1
    return logging.ERROR if name.lower() == "error" else logging.WARNING


def _named(given: Resource, worker: int | None) -> Resource:
    """Tells workers apart whom the variables give one name: their metrics would overwrite each other."""
    instance = given.attributes.get(_INSTANCE)
    if worker is None or instance is None:
        return given
    return given.merge(Resource({_INSTANCE: f"{instance}/{worker}"}))

"""The OpenTelemetry providers of a process, made from the standard OTEL_* variables."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio

from allocation_gateway.telemetry import exporters, variables
from allocation_gateway.telemetry.conventions import WORKER
from allocation_gateway.telemetry.histograms import aggregation_for
from allocation_gateway.telemetry.sampling import TraceIds
from allocation_gateway.telemetry.telemetry import Telemetry
from allocation_gateway.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from opentelemetry.sdk.trace.sampling import Sampler

    from allocation_gateway.telemetry.log_export import LogExport
    from allocation_gateway.telemetry.pages import SharedPage

# Random for each process, unless the variables say otherwise.
_INSTANCE_ID: Final = "service.instance.id"


def from_environment(
    environ: Mapping[str, str], *, worker: int | None = None, shared: SharedPage | None = None
) -> Telemetry:
    """Makes what the standard variables ask for: a signal is exported if its exporter or an OTLP endpoint is set.

    Args:
        environ: The variables, as variables.prepare() has left them.
        worker: The number of this process, if it is one of several that have the same variables.
        shared: The page for Prometheus that they share, if there is one.

    Raises:
        ConfigurationError: A variable asks for something that cannot be had.
    """
    if variables.is_disabled(environ):
        return Telemetry()
    variables.check(environ)
    traces, metrics, logs = (variables.exporters(signal, environ) for signal in variables.SIGNALS)
    if not traces and not metrics and not logs:
        return Telemetry()
    logging.getLogger("opentelemetry").setLevel(_sdk_log_level(environ.get("OTEL_LOG_LEVEL", "")))
    resource = _resource(worker)
    aggregation = aggregation_for(environ, readers=len(metrics))
    meter_provider = tracer_provider = log_export = None
    if metrics:
        # First, since it is the one that can fail: a port may be taken.
        readers = [exporters.metric_reader(name, environ, aggregation, shared, worker or 0) for name in metrics]
        meter_provider = MeterProvider(readers, resource=resource, shutdown_on_exit=False)
    if traces:
        tracer_provider = _tracer_provider(traces, environ, resource)
    if logs:
        log_export = _log_export(logs, environ, resource)
    return Telemetry(tracer_provider, meter_provider, aggregation, log_export)


def _tracer_provider(names: Sequence[str], environ: Mapping[str, str], resource: Resource) -> TracerProvider:
    provider = TracerProvider(_sampler(environ), resource, shutdown_on_exit=False, id_generator=TraceIds())
    for name in names:
        provider.add_span_processor(BatchSpanProcessor(exporters.span_exporter(name, environ)))
    return provider


def _sampler(environ: Mapping[str, str]) -> Sampler | None:
    """Returns the sampler of a gateway whose variables name none; None if they do, and the SDK makes it."""
    if environ.get(variables.SAMPLER):
        return None
    return ParentBasedTraceIdRatio(float(environ.get(variables.SAMPLER_ARGUMENT, variables.DEFAULT_SHARE)))


def _log_export(names: Sequence[str], environ: Mapping[str, str], resource: Resource) -> LogExport:
    # Imported on demand: few gateways have their log lines exported.
    from allocation_gateway.telemetry.log_export import LogExport

    export = LogExport([exporters.log_exporter(name, environ) for name in names], resource)
    export.start()
    return export


def _sdk_log_level(name: str) -> int:
    """Returns the level of the SDK's own log lines: never below warnings, where libraries quote headers."""
    if name.lower() == "none":
        return logging.CRITICAL + 1
    return logging.ERROR if name.lower() == "error" else logging.WARNING


def _resource(worker: int | None) -> Resource:
    """Returns the attributes of this process.

    Workers for whom the variables give one instance id get different ones: their metrics would overwrite each other.
    """
    configured = OTELResourceDetector().detect()
    instance = configured.attributes.get(_INSTANCE_ID)
    if worker is not None:
        configured = configured.merge(Resource({WORKER: str(worker)}))
        if instance is not None:
            configured = configured.merge(Resource({_INSTANCE_ID: f"{instance}/{worker}"}))
    ours = Resource.create({"service.name": "allocation-gateway", "service.version": __version__})
    return ours.merge(configured)

"""Exemplars on the page for Prometheus: traces of durations, which the exporter of OpenTelemetry leaves out."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from opentelemetry.sdk.metrics.export import Histogram
from prometheus_client.samples import Exemplar

from allocation_gateway.telemetry.conventions import WORKER

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from opentelemetry.sdk.metrics.export import MetricsData
    from prometheus_client import Metric
    from prometheus_client.samples import Sample

    Found: TypeAlias = Mapping[tuple[str, frozenset[tuple[str, str]]], Sequence[Any]]

_UNNAMEABLE: Final = re.compile(r"[^a-zA-Z0-9]+")
# What the exporter adds to the attributes of a data point.
_ADDED: Final = re.compile(rf"le|otel_scope_.*|{WORKER.replace('.', '_')}")


def with_exemplars(families: Iterable[Metric], collected: MetricsData | None) -> Iterator[Metric]:
    """Yields metrics of Prometheus, the buckets of histograms with the exemplars that have fallen into them.

    Args:
        families: The metrics, as the exporter has made them.
        collected: What it has made them of.
    """
    found = {} if collected is None else _exemplars(collected)
    names = {name for name, _ in found}
    for family in families:
        if family.name in names and family.type == "histogram":
            family.samples = list(_marked(family.name, family.samples, found))
        yield family


def _exemplars(collected: MetricsData) -> Found:
    """Returns the exemplars of each series, the latest first."""
    return {
        (_name(metric.name), _identity(point.attributes or {})): sorted(
            point.exemplars, key=lambda exemplar: -exemplar.time_unix_nano
        )
        for resource in collected.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        if isinstance(metric.data, Histogram)
        for point in metric.data.data_points
        if point.exemplars
    }


def _name(name: str) -> str:
    return f"{_UNNAMEABLE.sub('_', name)}_seconds"


def _identity(attributes: Mapping[str, Any]) -> frozenset[tuple[str, str]]:
    texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in attributes.items()}
    return frozenset((_UNNAMEABLE.sub("_", name), text) for name, text in texts.items() if text)


def _marked(family: str, samples: Iterable[Sample], found: Found) -> Iterator[Sample]:
    """Yields samples, in which the buckets of a series stand together, in the order of their bounds."""
    below = 0.0
    # Those of the series: it is told once from the others, and not for each of its buckets.
    exemplars: Sequence[Any] | None = None
    for sample in samples:
        bound = sample.labels.get("le")
        if bound is None:
            below, exemplars = 0.0, None
            yield sample
            continue
        if exemplars is None:
            own = {name: text for name, text in sample.labels.items() if not _ADDED.fullmatch(name)}
            exemplars = found.get((family, _identity(own)), ())
        upper = float(bound)
        fallen = next((each for each in exemplars if below <= each.value <= upper), None)
        below = upper
        yield sample if fallen is None else sample._replace(exemplar=_told(fallen))


def _told(exemplar: Any) -> Exemplar:
    ids = {"trace_id": format(exemplar.trace_id, "032x"), "span_id": format(exemplar.span_id, "016x")}
    return Exemplar(ids, exemplar.value, exemplar.time_unix_nano / 1e9)

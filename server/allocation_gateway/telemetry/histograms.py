"""Histograms of durations that aggregate outside of the OpenTelemetry SDK.

The SDK takes several microseconds for a measurement, and each call makes some. Here a measurement is appended to a
list. When metrics are collected, the SDK is given one duration of each series, so that it makes the data point with
its start and temporality, and within its limit of series. The other durations are added to that point before it is
exported. The SDK is also given the first duration of a series at once, since the data point starts with it, and of
those that belong to recorded traces one a second for each bucket: it keeps one exemplar of a bucket until metrics are
collected.
"""

from __future__ import annotations

import math
import time
from bisect import bisect_left, bisect_right
from collections.abc import Hashable
from dataclasses import replace
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeVar

from opentelemetry import trace
from opentelemetry.sdk.metrics.export import AggregationTemporality, PeriodicExportingMetricReader
from opentelemetry.sdk.metrics.export import Histogram as HistogramData
from opentelemetry.trace import NonRecordingSpan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from opentelemetry.metrics import CallbackOptions, Histogram, Meter, Observation
    from opentelemetry.sdk.metrics.export import HistogramDataPoint, Metric, MetricExporter, MetricsData
    from opentelemetry.trace import SpanContext

    from allocation_gateway.telemetry.conventions import Attributes

Key = TypeVar("Key", bound=Hashable)
RecordedKey = TypeVar("RecordedKey", bound=Hashable, contravariant=True)

MAX_SERIES: Final = 2000
"""As many series as the SDK keeps of a histogram. Those beyond are left to the SDK."""
# The attributes of the point in which the SDK puts together what is beyond its limit of series.
_OVERFLOW: Final = frozenset({("otel.metric.overflow", True)})
# How many durations are kept before they are aggregated. Fewer cost more, and more hold up the event loop for longer.
_BATCH: Final = 256
# Of the traced durations that fall into one bucket, the SDK is given one in so many seconds.
_EXEMPLAR_SECONDS: Final = 1.0


class Durations(Protocol[RecordedKey]):
    """Takes durations."""

    def record(self, key: RecordedKey, seconds: float, span: SpanContext | None = None) -> None:
        """Records a duration.

        Args:
            key: Identifies the series.
            seconds: The duration.
            span: The span that it is the duration of, if that is recorded.
        """


class HistogramFactory(Protocol):
    """Makes histograms of durations."""

    def create(
        self,
        meter: Meter,
        name: str,
        description: str,
        attributes: Callable[[Key], Attributes],
        bounds: Sequence[float],
    ) -> Durations[Key]:
        """Makes a histogram.

        Args:
            meter: Makes the instrument of the SDK.
            name: Its name.
            description: What it measures.
            attributes: Makes the attributes of a series from its key.
            bounds: The upper bounds of its buckets, in seconds.
        """


class NoOpDurations:
    """Takes durations while metrics are off."""

    def record(self, key: object, seconds: float, span: SpanContext | None = None) -> None:
        """Drops a duration."""


class NoOpHistograms:
    """Makes histograms while metrics are off."""

    def create(
        self,
        meter: Meter,
        name: str,
        description: str,
        attributes: Callable[[Key], Attributes],
        bounds: Sequence[float],
    ) -> Durations[Key]:
        """Makes a histogram that keeps nothing."""
        del meter, name, description, attributes, bounds
        return NoOpDurations()


class _Series:
    """The durations of one series that the SDK has not been given.

    Attributes:
        attributes: The attributes of the series.
        identity: The same in a form that can be looked up.
        pending: The durations that are not aggregated yet. The event loop appends to it without the lock, which is a
            single step of the interpreter.
    """

    __slots__ = (
        "_bounds",
        "_counts",
        "_exemplars",
        "_lock",
        "_max",
        "_min",
        "_sum",
        "attributes",
        "identity",
        "pending",
    )

    def __init__(self, attributes: Attributes, bounds: Sequence[float]) -> None:
        self.attributes = attributes
        self.identity = frozenset(attributes.items())
        self.pending: list[float] = []
        self._bounds = (*bounds, math.inf)
        self._lock = Lock()
        # When the SDK was given an exemplar of each bucket last, since metrics were collected.
        self._exemplars: dict[int, float] = {}
        self._reset()

    def _reset(self) -> None:
        self._counts = [0] * len(self._bounds)
        self._sum = 0.0
        self._min = math.inf
        self._max = -math.inf

    def wants_exemplar(self, seconds: float) -> bool:
        """Returns whether the SDK is to be given a duration of a trace, as it is from then on taken to be."""
        bucket, now = bisect_left(self._bounds, seconds), time.monotonic()
        if now - self._exemplars.get(bucket, -math.inf) < _EXEMPLAR_SECONDS:
            return False
        self._exemplars[bucket] = now
        return True

    def aggregate(self) -> None:
        """Aggregates the pending durations, except for one that the SDK will be given."""
        with self._lock:
            batch = self.pending[:-1]
            del self.pending[: len(batch)]
            self._add(batch)

    def collect(self) -> float | None:
        """Aggregates the pending durations, except for one, which is returned. Returns None if none is pending."""
        self._exemplars.clear()
        with self._lock:
            batch = self.pending[:]
            del self.pending[: len(batch)]
            one = batch.pop() if batch else None
            self._add(batch)
        return one

    def _add(self, batch: list[float]) -> None:
        if not batch:
            return
        self._sum += sum(batch)
        batch.sort()
        self._min = min(self._min, batch[0])
        self._max = max(self._max, batch[-1])
        below = 0
        for bucket, bound in enumerate(self._bounds):
            up_to = bisect_right(batch, bound, below)
            self._counts[bucket] += up_to - below
            below = up_to

    def merged_into(self, point: HistogramDataPoint, *, reset: bool) -> HistogramDataPoint:
        """Returns a data point of the SDK with the aggregated durations added, and forgets them if asked to."""
        with self._lock:
            merged = replace(
                point,
                count=point.count + sum(self._counts),
                sum=point.sum + self._sum,
                bucket_counts=tuple(map(sum, zip(point.bucket_counts, self._counts, strict=True))),
                min=min(point.min, self._min),
                max=max(point.max, self._max),
            )
            if reset:
                self._reset()
        return merged


class DurationHistogram(Generic[Key]):
    """A histogram of durations in seconds. Only the event loop may record into it."""

    def __init__(
        self, histogram: Histogram, bounds: Sequence[float], attributes: Callable[[Key], Attributes], max_series: int
    ) -> None:
        """Wraps a histogram of the SDK.

        Args:
            histogram: The histogram of the SDK.
            bounds: The upper bounds of its buckets, in seconds.
            attributes: Makes the attributes of a series from its key, which is quicker to look up.
            max_series: How many series are aggregated here at most. The SDK is given every duration of the others.
        """
        self._histogram = histogram
        self._bounds = bounds
        self._attributes = attributes
        self._max_series = max_series
        self._series: dict[Key, _Series] = {}

    def record(self, key: Key, seconds: float, span: SpanContext | None = None) -> None:
        """Records a duration: see Durations."""
        series = self._series.get(key)
        if series is None or (span is not None and series.wants_exemplar(seconds)):
            self._record_with_sdk(key, seconds, span)
            return
        pending = series.pending
        pending.append(seconds)
        if len(pending) > _BATCH:
            series.aggregate()

    def _record_with_sdk(self, key: Key, seconds: float, span: SpanContext | None) -> None:
        context = None if span is None else trace.set_span_in_context(NonRecordingSpan(span))
        attributes = self._attributes(key)
        self._histogram.record(seconds, attributes, context=context)
        if key not in self._series and len(self._series) < self._max_series:
            self._series[key] = _Series(attributes, self._bounds)

    def collect(self) -> None:
        """Aggregates the pending durations, except for one of each series, which the SDK is given."""
        for series in list(self._series.values()):
            one = series.collect()
            if one is not None:
                self._histogram.record(one, series.attributes)

    def merged_into(self, data: HistogramData) -> HistogramData:
        """Returns what the SDK has collected with the durations added that were aggregated here."""
        points = {frozenset((point.attributes or {}).items()): point for point in data.data_points}
        is_delta = data.aggregation_temporality is AggregationTemporality.DELTA
        for series in list(self._series.values()):
            identity = series.identity if series.identity in points else _OVERFLOW
            # A series without a point began after the SDK had collected, or was idle: its next point takes them.
            if identity in points:
                points[identity] = series.merged_into(points[identity], reset=is_delta)
        return replace(data, data_points=list(points.values()))


class HistogramAggregation:
    """The aggregates of all histograms, which are added to what the SDK has collected."""

    def __init__(self, max_series: int = MAX_SERIES) -> None:
        """Starts without histograms.

        Args:
            max_series: How many series of a histogram are aggregated here at most: 0 if nobody calls merged_into().
        """
        self._max_series = max_series
        self._histograms: dict[str, DurationHistogram[Any]] = {}

    def watch(self, meter: Meter) -> None:
        """Registers a callback for each collection of the SDK, by an instrument that never has a data point."""
        meter.create_observable_gauge("allocation_gateway.collection", callbacks=[self._collect])

    def create(
        self,
        meter: Meter,
        name: str,
        description: str,
        attributes: Callable[[Key], Attributes],
        bounds: Sequence[float],
    ) -> Durations[Key]:
        """Makes a histogram: see HistogramFactory."""
        histogram = meter.create_histogram(
            name, unit="s", description=description, explicit_bucket_boundaries_advisory=bounds
        )
        made = self._histograms[name] = DurationHistogram(histogram, bounds, attributes, self._max_series)
        return made

    def _collect(self, _: CallbackOptions) -> Iterable[Observation]:
        for histogram in self._histograms.values():
            histogram.collect()
        return ()

    def merged_into(self, collected: MetricsData) -> MetricsData:
        """Returns what the SDK has collected with the durations added that were aggregated here."""
        return replace(
            collected,
            resource_metrics=[
                replace(
                    resource,
                    scope_metrics=[
                        replace(scope, metrics=[self._merged_into_metric(metric) for metric in scope.metrics])
                        for scope in resource.scope_metrics
                    ],
                )
                for resource in collected.resource_metrics
            ],
        )

    def _merged_into_metric(self, metric: Metric) -> Metric:
        histogram = self._histograms.get(metric.name)
        if histogram is None or not isinstance(metric.data, HistogramData):
            return metric
        return replace(metric, data=histogram.merged_into(metric.data))


class MergingReader(PeriodicExportingMetricReader):
    """Exports at intervals what the SDK has collected, with the durations added that were aggregated here."""

    def __init__(self, exporter: MetricExporter, aggregation: HistogramAggregation) -> None:
        self._aggregation = aggregation
        super().__init__(exporter)

    def _receive_metrics(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any) -> None:
        super()._receive_metrics(self._aggregation.merged_into(metrics_data), timeout_millis, **kwargs)


def aggregation_for(environ: Mapping[str, str], *, readers: int = 1) -> HistogramAggregation:
    """Returns the aggregation that the standard variables allow: none if they ask for what only the SDK can do.

    Buckets that move, and exemplars without a trace, need every duration. So do several readers of which one exports
    deltas: what is aggregated here is forgotten once that reader has collected it.
    """
    temporality = environ.get("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "cumulative").strip().lower()
    if readers > 1 and temporality != "cumulative":
        return HistogramAggregation(0)
    has_moving_buckets = environ.get("OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION") == (
        "base2_exponential_bucket_histogram"
    )
    if has_moving_buckets or environ.get("OTEL_METRICS_EXEMPLAR_FILTER") == "always_on":
        return HistogramAggregation(0)
    return HistogramAggregation()

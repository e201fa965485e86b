"""Histograms of durations, of which the OpenTelemetry SDK sees few.

One measurement costs the SDK several microseconds, and each call makes some. Here it is put on a list, and that is all.
When metrics are collected, the SDK is given one duration of each list: so it is the SDK that makes a data point of the
series, with its start and its temporality, and within its limit of series. The others are added to that point on its
way to the exporter. The first duration of a series goes to the SDK at once, since the data point starts with it; and so
does every one that belongs to a trace, which the SDK notes as an exemplar.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Hashable
from dataclasses import replace
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from opentelemetry.sdk.metrics.export import AggregationTemporality, PeriodicExportingMetricReader
from opentelemetry.sdk.metrics.export import Histogram as HistogramData

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from opentelemetry.context import Context
    from opentelemetry.metrics import CallbackOptions, Histogram, Meter
    from opentelemetry.metrics import Observation as Measured
    from opentelemetry.sdk.metrics.export import HistogramDataPoint, Metric, MetricExporter, MetricsData

    from allocation_gateway.telemetry.conventions import Attributes

Key = TypeVar("Key", bound=Hashable)

# As many series as the SDK keeps of a histogram. What comes after them is left to it.
LIMIT: Final = 2000
# Under which the SDK puts together what is beyond its limit.
_OVERFLOW: Final = frozenset({("otel.metric.overflow", True)})
# So many durations wait before they are counted: fewer cost more, more hold up the event loop for longer.
_BATCH: Final = 256


class _Series:
    """Durations with the same attributes that the SDK has not seen.

    Attributes:
        attributes: Those attributes.
        identity: The same, to be looked up.
        waiting: What is not counted yet. The event loop appends to it without the lock: that is one step of the
            interpreter.
    """

    __slots__ = ("_bounds", "_counts", "_least", "_lock", "_most", "_total", "attributes", "identity", "waiting")

    def __init__(self, attributes: Attributes, bounds: Sequence[float]) -> None:
        self.attributes = attributes
        self.identity = frozenset(attributes.items())
        self.waiting: list[float] = []
        self._bounds = (*bounds, math.inf)
        self._lock = Lock()
        self._clear()

    def _clear(self) -> None:
        self._counts = [0] * len(self._bounds)
        self._total = 0.0
        self._least = math.inf
        self._most = -math.inf

    def count(self) -> None:
        """Counts what waits, but for one duration, which the SDK will be given."""
        with self._lock:
            batch = self.waiting[:-1]
            del self.waiting[: len(batch)]
            self._add(batch)

    def settle(self) -> float | None:
        """Counts what waits, but for one duration, which is returned; None if nothing waits."""
        with self._lock:
            batch = self.waiting[:]
            del self.waiting[: len(batch)]
            one = batch.pop() if batch else None
            self._add(batch)
        return one

    def _add(self, batch: list[float]) -> None:
        if not batch:
            return
        self._total += sum(batch)
        batch.sort()
        self._least = min(self._least, batch[0])
        self._most = max(self._most, batch[-1])
        below = 0
        for bucket, bound in enumerate(self._bounds):
            upto = bisect_right(batch, bound, below)
            self._counts[bucket] += upto - below
            below = upto

    def added_to(self, point: HistogramDataPoint, *, clear: bool) -> HistogramDataPoint:
        """Returns a data point of the SDK with what was counted here added, and forgets that if asked to."""
        with self._lock:
            whole = replace(
                point,
                count=point.count + sum(self._counts),
                sum=point.sum + self._total,
                bucket_counts=tuple(map(sum, zip(point.bucket_counts, self._counts, strict=True))),
                min=min(point.min, self._least),
                max=max(point.max, self._most),
            )
            if clear:
                self._clear()
        return whole


class Durations(Generic[Key]):
    """A histogram of durations in seconds, into which the event loop alone records."""

    def __init__(
        self, histogram: Histogram, bounds: Sequence[float], attributes: Callable[[Key], Attributes], limit: int
    ) -> None:
        """Takes the SDK's histogram.

        Args:
            histogram: The SDK's histogram.
            bounds: The upper bounds of its buckets.
            attributes: Makes the attributes of a series from its key, which is quicker to look up.
            limit: How many series are counted here at most. The SDK is given all of the others.
        """
        self._histogram = histogram
        self._bounds = bounds
        self._attributes = attributes
        self._limit = limit
        self._series: dict[Key, _Series] = {}

    def record(self, key: Key, seconds: float, context: Context | None = None) -> None:
        """Records a duration of the series that a key stands for; the context is of its trace, if one is recorded."""
        series = self._series.get(key)
        if series is None or context is not None:
            self._record_with_sdk(key, seconds, context)
            return
        waiting = series.waiting
        waiting.append(seconds)
        if len(waiting) > _BATCH:
            series.count()

    def _record_with_sdk(self, key: Key, seconds: float, context: Context | None) -> None:
        attributes = self._attributes(key)
        self._histogram.record(seconds, attributes, context=context)
        if key not in self._series and len(self._series) < self._limit:
            self._series[key] = _Series(attributes, self._bounds)

    def settle(self) -> None:
        """Counts what waits, but for one duration of each series, which the SDK is given."""
        for series in list(self._series.values()):
            one = series.settle()
            if one is not None:
                self._histogram.record(one, series.attributes)

    def complete(self, data: HistogramData) -> HistogramData:
        """Returns what the SDK has collected with what was counted here added."""
        points = {frozenset((point.attributes or {}).items()): point for point in data.data_points}
        is_delta = data.aggregation_temporality is AggregationTemporality.DELTA
        for series in list(self._series.values()):
            identity = series.identity if series.identity in points else _OVERFLOW
            # Without a point, it was counted after the SDK had collected, or has been idle: the next point takes it.
            if identity in points:
                points[identity] = series.added_to(points[identity], clear=is_delta)
        return replace(data, data_points=list(points.values()))


class Recorder:
    """Makes histograms, and completes what the SDK has collected of them."""

    def __init__(self, limit: int = LIMIT) -> None:
        """Takes how many series of a histogram are counted here at most: none if nobody completes them."""
        self._limit = limit
        self._durations: dict[str, Durations[Any]] = {}

    def watch(self, meter: Meter) -> None:
        """Has the SDK tell when it collects: it asks an instrument, which shows nothing."""
        meter.create_observable_gauge("allocation_gateway.collection", callbacks=[self._settle])

    def _settle(self, _: CallbackOptions) -> Iterable[Measured]:
        for durations in self._durations.values():
            durations.settle()
        return ()

    def durations(
        self,
        meter: Meter,
        name: str,
        description: str,
        attributes: Callable[[Key], Attributes],
        bounds: Sequence[float],
    ) -> Durations[Key]:
        """Makes a histogram."""
        histogram = meter.create_histogram(
            name, unit="s", description=description, explicit_bucket_boundaries_advisory=bounds
        )
        made = self._durations[name] = Durations(histogram, bounds, attributes, self._limit)
        return made

    def complete(self, collected: MetricsData) -> MetricsData:
        """Returns what the SDK has collected with what was counted here added."""
        return replace(
            collected,
            resource_metrics=[
                replace(
                    resource,
                    scope_metrics=[
                        replace(scope, metrics=[self._completed(metric) for metric in scope.metrics])
                        for scope in resource.scope_metrics
                    ],
                )
                for resource in collected.resource_metrics
            ],
        )

    def _completed(self, metric: Metric) -> Metric:
        durations = self._durations.get(metric.name)
        if durations is None or not isinstance(metric.data, HistogramData):
            return metric
        return replace(metric, data=durations.complete(metric.data))


class CompletingReader(PeriodicExportingMetricReader):
    """Exports at intervals what the SDK has collected, completed by a recorder."""

    def __init__(self, exporter: MetricExporter, recorder: Recorder) -> None:
        self._recorder = recorder
        super().__init__(exporter)

    def _receive_metrics(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any) -> None:
        super()._receive_metrics(self._recorder.complete(metrics_data), timeout_millis, **kwargs)


def recorder_for(environ: Mapping[str, str], *, readers: int = 1) -> Recorder:
    """Makes a recorder that leaves to the SDK what only the SDK can do, if the standard variables ask for that.

    Buckets that move, and exemplars without a trace, need every duration. So do several readers of which one tells only
    what is new: what is counted here is forgotten once that one has been told.
    """
    preference = environ.get("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "cumulative").strip().lower()
    if readers > 1 and preference != "cumulative":
        return Recorder(0)
    moves = environ.get("OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION") == (
        "base2_exponential_bucket_histogram"
    )
    return Recorder(0) if moves or environ.get("OTEL_METRICS_EXEMPLAR_FILTER") == "always_on" else Recorder()

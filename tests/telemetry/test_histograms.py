"""Histograms that are counted beside the SDK tell what the SDK would have told."""

from __future__ import annotations

import sys
import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final

import pytest
from allocation_gateway.telemetry import histograms
from allocation_gateway.telemetry.histograms import (
    MAX_SERIES,
    DurationHistogram,
    HistogramAggregation,
    MergingReader,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.sdk.metrics import Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    MetricExporter,
    MetricExportResult,
    MetricsData,
    PeriodicExportingMetricReader,
)
from opentelemetry.trace import SpanContext, TraceFlags

if TYPE_CHECKING:
    from collections.abc import Iterator

    from allocation_gateway.telemetry.histograms import Durations

DELTA: Final = AggregationTemporality.DELTA
CUMULATIVE: Final = AggregationTemporality.CUMULATIVE
BOUNDS: Final = (0.01, 0.1, 1, 10)
NAME: Final = "some.duration"
RECORDED: Final = 2_000_000
TRACE: Final = 0x4BF92F3577B34DA6A3CE929D0E0E4736


class Kept(MetricExporter):
    """Keeps what is exported."""

    def __init__(self, temporality: AggregationTemporality) -> None:
        super().__init__(preferred_temporality={Histogram: temporality})
        self.exports: list[MetricsData] = []
        self.is_delta = temporality is DELTA

    def export(self, metrics_data: MetricsData, *_: object, **__: object) -> MetricExportResult:
        self.exports.append(metrics_data)
        return MetricExportResult.SUCCESS

    def force_flush(self, *_: object, **__: object) -> bool:
        return True

    def shutdown(self, *_: object, **__: object) -> None:
        pass

    def metrics(self) -> list[Any]:
        """Returns the histogram as it was exported each time."""
        return [
            metric
            for data in self.exports
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        ]

    def points(self) -> list[Any]:
        """Returns all data points that were exported."""
        return [point for metric in self.metrics() for point in metric.data.data_points]


class Pipe:
    """A histogram and where it is exported to."""

    def __init__(self, temporality: AggregationTemporality, *, limit: int = MAX_SERIES) -> None:
        self.kept = Kept(temporality)
        aggregation = HistogramAggregation(limit)
        self.provider = MeterProvider([MergingReader(self.kept, aggregation)], shutdown_on_exit=False)
        meter = self.provider.get_meter("some_scope", "1")
        aggregation.watch(meter)
        self.durations: Durations[int] = aggregation.create(
            meter, NAME, "How long.", lambda key: {"key": key, "parity": "odd" if key % 2 else "even"}, BOUNDS
        )

    def flush(self) -> None:
        """Exports what there is."""
        self.provider.force_flush()


class Reference:
    """The same by the SDK alone."""

    def __init__(self, temporality: AggregationTemporality) -> None:
        self.kept = Kept(temporality)
        self.provider = MeterProvider([PeriodicExportingMetricReader(self.kept)], shutdown_on_exit=False)
        self.histogram = self.provider.get_meter("some_scope", "1").create_histogram(
            NAME, unit="s", description="How long.", explicit_bucket_boundaries_advisory=BOUNDS
        )

    def record(self, key: int, seconds: float) -> None:
        """Records a duration with the attributes that the other one makes."""
        self.histogram.record(seconds, {"key": key, "parity": "odd" if key % 2 else "even"})


@pytest.fixture(autouse=True)
def no_exports_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", "100000000")


@pytest.fixture
def pipe(request: pytest.FixtureRequest) -> Iterator[Pipe]:
    made = Pipe(getattr(request, "param", DELTA))
    yield made
    made.provider.shutdown()


def told(kept: Kept) -> list[Any]:
    """Returns what a collector knows of each export, but for times and sums."""
    return [
        (
            metric.name,
            metric.unit,
            metric.description,
            metric.data.aggregation_temporality,
            {
                frozenset(point.attributes.items()): (
                    point.count,
                    tuple(point.bucket_counts),
                    tuple(point.explicit_bounds),
                    point.min,
                    point.max,
                    len(point.exemplars),
                )
                for point in metric.data.data_points
            },
        )
        for metric in kept.metrics()
    ]


def sums(kept: Kept) -> list[float]:
    """Returns the sums of all points: rounding depends on the order in which one adds."""
    points = [sorted(metric.data.data_points, key=lambda point: point.attributes["key"]) for metric in kept.metrics()]
    return [point.sum for export in points for point in export]


# Values on the bounds too, which belong to the bucket below.
SECONDS: Final = st.one_of(st.sampled_from((0.0, *BOUNDS)), st.floats(0, 100, allow_subnormal=False))
# One of few series, a duration, and how often: also so often that it is counted between exports.
MEASUREMENTS: Final = st.lists(st.tuples(st.integers(0, 3), SECONDS, st.sampled_from((1, 2, 300))), max_size=12)


@pytest.mark.parametrize("temporality", [DELTA, CUMULATIVE], ids=["delta", "cumulative"])
@settings(max_examples=60, deadline=None)
@given(intervals=st.lists(MEASUREMENTS, min_size=1, max_size=5))
def test_the_same_is_exported_as_by_the_sdk(
    temporality: AggregationTemporality, intervals: list[list[tuple[int, float, int]]]
) -> None:
    ours, theirs = Pipe(temporality), Reference(temporality)
    for interval in intervals:
        for key, seconds, times in interval:
            for _ in range(times):
                ours.durations.record(key, seconds)
                theirs.record(key, seconds)
        ours.flush()
        theirs.provider.force_flush()
    ours.provider.shutdown()
    theirs.provider.shutdown()
    assert told(ours.kept) == told(theirs.kept)
    assert sums(ours.kept) == pytest.approx(sums(theirs.kept))


@pytest.mark.parametrize("pipe", [CUMULATIVE], indirect=True)
def test_cumulative_points_go_on_from_the_first_measurement(pipe: Pipe) -> None:
    for _ in range(3):
        pipe.durations.record(1, 0.5)
        pipe.durations.record(1, 0.5)
        pipe.flush()
    points = pipe.kept.points()
    assert [point.count for point in points] == [2, 4, 6]
    assert len({point.start_time_unix_nano for point in points}) == 1
    assert points[0].start_time_unix_nano < points[0].time_unix_nano < points[1].time_unix_nano


def test_delta_points_join_without_a_gap(pipe: Pipe) -> None:
    for count in (3, 1, 2):
        for _ in range(count):
            pipe.durations.record(1, 0.5)
        pipe.flush()
    points = pipe.kept.points()
    assert [point.count for point in points] == [3, 1, 2]
    assert [point.start_time_unix_nano for point in points[1:]] == [point.time_unix_nano for point in points[:-1]]


def test_interval_has_its_point_also_if_all_of_it_is_counted_before_the_end(pipe: Pipe) -> None:
    """Whenever that is: some number of durations is the one at which they are counted."""
    for count in range(1, 600):
        for _ in range(count):
            pipe.durations.record(1, 0.5)
        pipe.flush()
    assert [point.count for point in pipe.kept.points()] == list(range(1, 600))


def test_a_quiet_interval_has_no_delta_point(pipe: Pipe) -> None:
    for _ in range(3):
        pipe.durations.record(1, 0.5)
    pipe.flush()
    pipe.flush()
    assert len(pipe.kept.points()) == 1


def test_what_belongs_to_a_trace_is_told_as_an_exemplar(pipe: Pipe) -> None:
    traced = SpanContext(TRACE, 7, is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED))
    for _ in range(5):
        pipe.durations.record(1, 0.5)
    pipe.durations.record(1, 0.25, traced)
    pipe.durations.record(1, 0.5)
    pipe.flush()
    (point,) = pipe.kept.points()
    assert point.count == 7
    assert [(exemplar.trace_id, exemplar.value) for exemplar in point.exemplars] == [(TRACE, 0.25)]


@pytest.mark.parametrize("pipe", [DELTA, CUMULATIVE], ids=["delta", "cumulative"], indirect=True)
def test_each_interval_has_its_exemplars_however_soon_it_is_over(pipe: Pipe) -> None:
    """Of many durations of traces, the SDK is given few: none is lost over it, and none counts twice."""
    for interval in range(1, 4):
        span = SpanContext(interval, 7, is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED))
        for _ in range(500):
            pipe.durations.record(1, 0.05, span)
            pipe.durations.record(1, 0.5, span)
        pipe.flush()
        point = pipe.kept.points()[-1]
        assert {exemplar.trace_id for exemplar in point.exemplars} == {interval}
        assert {exemplar.value for exemplar in point.exemplars} == {0.05, 0.5}
        counted = sum(each.count for each in pipe.kept.points())
        assert (counted if pipe.kept.is_delta else point.count) == 1000 * interval


class Counted:
    """A histogram of the SDK, and how often it has measured."""

    def __init__(self, histogram: Any) -> None:
        self.times = 0
        self._histogram = histogram

    def record(self, *given: Any, **named: Any) -> None:
        self.times += 1
        self._histogram.record(*given, **named)


def test_of_durations_of_traces_the_sdk_is_given_one_a_second_for_each_bucket(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(histograms, "time", SimpleNamespace(monotonic=lambda: now))
    counted: Any = Counted(Reference(DELTA).histogram)
    durations = DurationHistogram[int](counted, BOUNDS, lambda key: {"key": key}, MAX_SERIES)
    span = SpanContext(TRACE, 7, is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED))
    # The series begins.
    durations.record(1, 0.25)
    measured = []
    for seconds in (0.0, 0.9, 1.1):
        now = 100.0 + seconds
        for _ in range(300):
            durations.record(1, min(BOUNDS), span)
            durations.record(1, max(BOUNDS), span)
        measured.append(counted.times)
    assert measured == [3, 3, 5]


def test_series_beyond_the_limit_are_left_to_the_sdk() -> None:
    """It puts together what is beyond a limit of its own, and nothing is lost over either of them."""
    pipe, reference = Pipe(CUMULATIVE, limit=MAX_SERIES + 20), Reference(CUMULATIVE)
    for _ in range(2):
        for key in (*range(MAX_SERIES + 50), *range(MAX_SERIES + 50), *range(MAX_SERIES + 50)):
            pipe.durations.record(key, 0.5)
            reference.record(key, 0.5)
        pipe.flush()
        reference.provider.force_flush()
    pipe.provider.shutdown()
    reference.provider.shutdown()

    def counts(kept: Kept) -> dict[frozenset[Any], int]:
        return {frozenset(point.attributes.items()): point.count for point in kept.metrics()[-1].data.data_points}

    assert counts(pipe.kept) == counts(reference.kept)
    assert counts(pipe.kept)[frozenset({("otel.metric.overflow", True)})] == 300


@pytest.fixture
def restless_threads() -> Iterator[None]:
    """Has threads take turns as often as can be."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(usual)


@pytest.mark.usefixtures("restless_threads")
def test_nothing_is_lost_or_told_twice_while_exports_go_on(pipe: Pipe) -> None:
    """Another thread exports all the time."""
    done = threading.Event()

    def export() -> None:
        while not done.is_set():
            pipe.flush()

    thread = threading.Thread(target=export)
    thread.start()
    for number in range(RECORDED):
        pipe.durations.record(number % 3, 0.5)
    done.set()
    thread.join()
    pipe.flush()
    pipe.provider.shutdown()
    points = pipe.kept.points()
    assert sum(point.count for point in points) == RECORDED
    assert all(point.count == sum(point.bucket_counts) == point.sum / 0.5 for point in points)
    assert len(pipe.kept.exports) > 2


def test_what_is_left_is_exported_at_the_end(pipe: Pipe) -> None:
    for _ in range(4):
        pipe.durations.record(1, 0.5)
    pipe.provider.shutdown()
    assert [point.count for point in pipe.kept.points()] == [4]

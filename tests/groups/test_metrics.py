"""What the service groups tell by metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from allocation_gateway.groups.directory import Options
from allocation_gateway.groups.listing import Listings
from allocation_gateway.groups.service_groups import CACHE, CATALOGUE, ServiceGroups
from allocation_gateway.operations.model import Api
from allocation_gateway.telemetry.telemetry import Telemetry
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

if TYPE_CHECKING:
    from collections.abc import Iterator


class Metrics:
    """Metrics of a directory, as they would be exported."""

    def __init__(self) -> None:
        self._reader = InMemoryMetricReader()
        self.provider = MeterProvider([self._reader])
        telemetry = Telemetry(None, self.provider)
        self.groups = ServiceGroups(Options(), listings=Listings({}, telemetry), telemetry=telemetry)

    def read(self) -> dict[tuple[str, str], int]:
        """Returns the value of each metric of service groups by its name and its only attribute."""
        data: Any = self._reader.get_metrics_data()
        metrics = [] if data is None else data.resource_metrics[0].scope_metrics[0].metrics
        return {
            (metric.name.removeprefix("allocation_gateway.service_group."), next(iter(point.attributes.values()))): (
                point.value
            )
            for metric in metrics
            for point in metric.data.data_points
        }


@pytest.fixture
def metrics() -> Iterator[Metrics]:
    found = Metrics()
    yield found
    found.provider.shutdown()


def test_each_lookup_is_counted_once_by_whether_it_was_known(metrics: Metrics) -> None:
    metrics.groups.directory.observe(Api.SHIP, "known")
    for text in ("known", "unknown", "known"):
        metrics.groups.resolver.lookup(Api.SHIP, text, None)
    assert metrics.read() == {("lookups", "hit"): 2, ("lookups", "miss"): 1}


def test_a_part_is_usable_or_not_and_changes_are_counted(metrics: Metrics) -> None:
    metrics.groups.set_usable(CATALOGUE, usable=True)
    metrics.groups.set_usable(CACHE, usable=False)
    assert metrics.read() == {("usable", "catalogue"): 1, ("usable", "cache"): 0}
    metrics.groups.set_usable(CATALOGUE, usable=False)
    metrics.groups.set_usable(CACHE, usable=True)
    assert metrics.read() == {
        ("usable", "catalogue"): 0,
        ("usable", "cache"): 1,
        ("events", "catalogue_not_usable"): 1,
        ("events", "cache_usable"): 1,
    }

"""What several tests of protection need."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from allocation_gateway.protection.protection import Protection
from allocation_gateway.settings.api import ShipSettings
from allocation_gateway.telemetry.telemetry import Telemetry
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PREFIX = "allocation_gateway.upstream."


class Metrics:
    """Metrics of protection, as they would be exported."""

    def __init__(self) -> None:
        self._reader = InMemoryMetricReader()
        self.provider = MeterProvider([self._reader])
        self.telemetry = Telemetry(None, self.provider)

    def read(self) -> dict[tuple[str, ...], float]:
        """Returns the value, or the count, of each metric by its name and the values of its attributes."""
        data: Any = self._reader.get_metrics_data()
        return {
            (metric.name.removeprefix(PREFIX), *point.attributes.values()): (
                point.value if hasattr(point, "value") else point.count
            )
            for metric in data.resource_metrics[0].scope_metrics[0].metrics
            for point in metric.data.data_points
        }


@pytest.fixture
def metrics() -> Iterator[Metrics]:
    """Where the protection under test tells its metrics."""
    found = Metrics()
    yield found
    found.provider.shutdown()


@pytest.fixture
def protected(metrics: Metrics) -> Callable[..., Protection]:
    """Makes the protection of an account by its settings and a clock."""

    def make(clock: Callable[[], float], **settings: Any) -> Protection:
        api = ShipSettings(**settings)
        return Protection("ship", api, clock=clock, telemetry=metrics.telemetry, uniform=lambda: 0.0)

    return make

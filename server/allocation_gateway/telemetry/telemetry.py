"""What the rest of the gateway observes itself with."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import TYPE_CHECKING, Protocol

from opentelemetry.metrics import NoOpMeter

from allocation_gateway.telemetry.conventions import SCOPE
from allocation_gateway.telemetry.histograms import HistogramAggregation, NoOpHistograms
from allocation_gateway.telemetry.instruments import Instruments
from allocation_gateway.telemetry.tracing import NoTracing, Tracing
from allocation_gateway.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.trace import TracerProvider

    from allocation_gateway.telemetry.observation import CallObservation, Observation


class Exporting(Protocol):
    """Something that exports in the background, and what is left when it is shut down."""

    def shutdown(self) -> None:
        """Exports what is left."""


class Telemetry:
    """Metrics and traces of one process. Without providers it is off: no exporter, no thread, no span.

    Attributes:
        metrics: The instruments.
        call: Starts observing an rpc, by its method and the metadata of the call.
        background: Starts observing what the gateway does of its own accord.
    """

    def __init__(
        self,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
        aggregation: HistogramAggregation | None = None,
        log_export: Exporting | None = None,
    ) -> None:
        """Chooses what is real and what is a no-op.

        Args:
            tracer_provider: Makes spans; None if traces are off.
            meter_provider: Makes instruments; None if metrics are off.
            aggregation: What the readers of the meter provider add to what they have collected; None if nothing.
            log_export: Exports log records; None if they are off.
        """
        self.metrics = _instruments(meter_provider, aggregation or HistogramAggregation(0))
        tracing = NoTracing(self.metrics) if tracer_provider is None else Tracing(self.metrics, tracer_provider)
        self.call: Callable[[str, Collection[tuple[str, str | bytes]]], CallObservation] = tracing.call
        self.background: Callable[[], Observation] = tracing.background
        parts: tuple[Exporting | None, ...] = (tracer_provider, meter_provider, log_export)
        self._exporting = [part for part in parts if part is not None]

    async def close(self, bound: float) -> None:
        """Exports what is left, within a bound in seconds even if no collector answers."""
        if self._exporting:
            await asyncio.wait([_shut_down(part) for part in self._exporting], timeout=bound)


def _instruments(provider: MeterProvider | None, aggregation: HistogramAggregation) -> Instruments:
    if provider is None:
        return Instruments(NoOpMeter(SCOPE), NoOpHistograms(), is_on=False)
    meter = provider.get_meter(SCOPE, __version__)
    aggregation.watch(meter)
    return Instruments(meter, aggregation)


def _shut_down(part: Exporting) -> asyncio.Future[None]:
    """Shuts a part down in a thread of its own, which may outlive the process's end: exporters retry for long."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()

    def finish() -> None:
        if not done.done():
            done.set_result(None)

    def work() -> None:
        try:
            part.shutdown()
        finally:
            with contextlib.suppress(RuntimeError):  # the loop may be closed by now
                loop.call_soon_threadsafe(finish)

    threading.Thread(target=work, daemon=True).start()
    return done

"""Log lines as log records of OpenTelemetry, sent in batches by a thread of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec
from opentelemetry import trace
from opentelemetry._logs import SeverityNumber
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from allocation_gateway.telemetry import logs
from allocation_gateway.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from opentelemetry.context import Context
    from opentelemetry.sdk._logs.export import LogRecordExporter
    from opentelemetry.sdk.resources import Resource

SCOPE: Final = "allocation_gateway"
_SEVERITIES: Final = {
    "debug": SeverityNumber.DEBUG,
    "info": SeverityNumber.INFO,
    "warning": SeverityNumber.WARN,
    "error": SeverityNumber.ERROR,
    "critical": SeverityNumber.FATAL,
}
# What a record has places of its own for.
_OWN_PLACES: Final = frozenset({"event", "level", "timestamp", "trace_id", "span_id", "exception"})
# What the SDK and its exporters log goes to standard error alone: that a record could not be sent is no record to send.
_OWN_TROUBLE: Final = "opentelemetry"


class Forwarding:
    """Makes log records of log lines."""

    def __init__(self, exporters: Iterable[LogRecordExporter], resource: Resource) -> None:
        """Takes what sends them, and what they are told to be of."""
        self._provider = LoggerProvider(resource=resource, shutdown_on_exit=False)
        for exporter in exporters:
            self._provider.add_log_record_processor(BatchLogRecordProcessor(exporter))
        self._logger = self._provider.get_logger(SCOPE, __version__)

    def begin(self) -> None:
        """Takes every log line from now on."""
        logs.forward(self)

    def __call__(self, level: str, nanoseconds: int, line: Mapping[str, Any]) -> None:
        """Takes a line, which waits in a queue until it is sent."""
        if str(line.get("logger", "")).partition(".")[0] == _OWN_TROUBLE:
            return
        event = str(line.get("event", ""))
        attributes = {name: _plain(value) for name, value in line.items() if name not in _OWN_PLACES}
        if "exception" in line:
            attributes["exception.stacktrace"] = str(line["exception"])
        self._logger.emit(
            timestamp=nanoseconds,
            observed_timestamp=nanoseconds,
            context=_context(line),
            severity_number=_SEVERITIES.get(level, SeverityNumber.ERROR),
            severity_text=level,
            body=event,
            attributes=attributes,
            event_name=event,
        )

    def shutdown(self) -> None:
        """Sends what waits. Later lines are on standard error alone."""
        logs.forward(None)
        self._provider.shutdown()


def _plain(value: object) -> Any:
    """Returns a value as a record can hold it."""
    return value if isinstance(value, str | int | float) else msgspec.to_builtins(value, enc_hook=str, str_keys=True)


def _context(line: Mapping[str, Any]) -> Context | None:
    """Returns the trace that a line names."""
    if "trace_id" not in line:
        return None
    span = SpanContext(int(line["trace_id"], 16), int(line["span_id"], 16), is_remote=False, trace_flags=TraceFlags(0))
    return trace.set_span_in_context(NonRecordingSpan(span))

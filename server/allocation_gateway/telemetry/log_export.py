"""Log lines as log records of OpenTelemetry, exported in batches by a background thread."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec
from opentelemetry import trace
from opentelemetry._logs import SeverityNumber
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from allocation_gateway.telemetry import logs
from allocation_gateway.telemetry.conventions import SCOPE
from allocation_gateway.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from opentelemetry.context import Context
    from opentelemetry.sdk._logs.export import LogRecordExporter
    from opentelemetry.sdk.resources import Resource

_SEVERITIES: Final = {
    "debug": SeverityNumber.DEBUG,
    "info": SeverityNumber.INFO,
    "warning": SeverityNumber.WARN,
    "error": SeverityNumber.ERROR,
    "critical": SeverityNumber.FATAL,
}
# The fields of a line that a record has a place for outside of its attributes.
_RECORD_FIELDS: Final = frozenset({"event", "level", "timestamp", "trace_id", "span_id", "exception"})
# The lines of the SDK and its exporters are not exported: a failure to export would cause the next record.
_SDK_LOGGER: Final = "opentelemetry"


class LogExport:
    """Makes log records of log lines, and exports them."""

    def __init__(self, exporters: Iterable[LogRecordExporter], resource: Resource) -> None:
        """Takes the exporters, and the attributes of this process."""
        self._provider = LoggerProvider(resource=resource, shutdown_on_exit=False)
        for exporter in exporters:
            self._provider.add_log_record_processor(BatchLogRecordProcessor(exporter))
        self._logger = self._provider.get_logger(SCOPE, __version__)

    def start(self) -> None:
        """Exports every log line from now on."""
        logs.set_sink(self)

    def __call__(self, level: str, nanoseconds: int, line: Mapping[str, Any]) -> None:
        """Puts a line into the queue for export: see logs.Sink."""
        if str(line.get("logger", "")).partition(".")[0] == _SDK_LOGGER:
            return
        event = str(line.get("event", ""))
        attributes = {name: _attribute(value) for name, value in line.items() if name not in _RECORD_FIELDS}
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
        """Exports what is in the queue. Later lines are on standard error alone."""
        logs.reset_sink()
        self._provider.shutdown()


def _attribute(value: object) -> Any:
    """Returns a field of a line as an attribute can hold it."""
    return value if isinstance(value, str | int | float) else msgspec.to_builtins(value, enc_hook=str, str_keys=True)


def _context(line: Mapping[str, Any]) -> Context | None:
    """Returns the context of the trace that a line names; None if it names none."""
    if "trace_id" not in line:
        return None
    span = SpanContext(int(line["trace_id"], 16), int(line["span_id"], 16), is_remote=False, trace_flags=TraceFlags(0))
    return trace.set_span_in_context(NonRecordingSpan(span))

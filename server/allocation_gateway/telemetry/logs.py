"""Structured log lines on standard error."""

from __future__ import annotations

import logging
import math
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec
import structlog

from allocation_gateway.settings import KNOWN
from allocation_gateway.telemetry.line_buffer import LineBuffer

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from structlog.typing import EventDict, FilteringBoundLogger

# Events that each call may have. The lines of all others are rare, and may be the last that the process can write.
_BUFFERED_EVENTS: Final = frozenset({"call", "audit"})


# For how many seconds OpenTelemetry is not heard again about the same trouble, and how many troubles are remembered.
_UNREPEATED: Final = 60.0
_MOST_TROUBLES: Final = 100


class Sink(Protocol):
    """What log lines go to besides standard error."""

    def __call__(self, level: str, nanoseconds: int, line: Mapping[str, Any]) -> None:
        """Takes a line.

        Args:
            level: Its level, such as `info`.
            nanoseconds: When it was written, since the epoch.
            line: Its fields, with the event.
        """


def _discard(level: str, nanoseconds: int, line: Mapping[str, Any]) -> None:
    """The sink as long as lines go to standard error alone."""


class _CurrentSink:
    """The sink of this process.

    Attributes:
        write: Takes lines.
    """

    __slots__ = ("write",)

    def __init__(self) -> None:
        self.write: Sink = _discard


_sink: Final = _CurrentSink()


def set_sink(sink: Sink) -> None:
    """Sends every line from now on to a sink too."""
    _sink.write = sink


def reset_sink() -> None:
    """Sends every line from now on to standard error alone."""
    _sink.write = _discard


class _LibraryHandler(logging.Handler):
    """Writes what libraries log as structured lines too, so that all of standard error can be parsed."""

    def emit(self, record: logging.LogRecord) -> None:
        """Writes a record as one line."""
        try:
            structlog.get_logger().log(
                record.levelno,
                "library",
                logger=record.name,
                message=record.getMessage(),
                exc_info=record.exc_info or False,
            )
        except Exception:  # noqa: BLE001 - a line that cannot be written must not end the work that it is about
            self.handleError(record)


class _Repetitions(logging.Filter):
    """Drops what OpenTelemetry says again and again: an exporter tells of a collector's refusal with every batch."""

    def __init__(self) -> None:
        super().__init__()
        self._told: dict[tuple[str, int, str], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Tells whether a record is passed."""
        if not record.name.startswith("opentelemetry."):
            return True
        # Not what the message is about, which differs each time: how long it waits, how often it has tried.
        trouble = (record.name, record.levelno, str(record.msg))
        now = time.monotonic()
        if now - self._told.get(trouble, -math.inf) < _UNREPEATED:
            return False
        if len(self._told) >= _MOST_TROUBLES:
            self._told.clear()
        self._told[trouble] = now
        return True


def configure(level: str, form: str, *, worker: int | None = None) -> None:
    """Sets up logging.

    Args:
        level: The least severe level that is written.
        form: `json`, or `console` for lines that people read.
        worker: The number that every line names, if this process is one of several.
    """
    worker_field = {} if worker is None else {"worker": worker}
    filtering = structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()])
    lines = LineBuffer(sys.stderr.buffer)
    if form == "json":
        structlog.configure(
            wrapper_class=_json_logger(filtering, worker_field),
            logger_factory=lambda *_: lines,
            cache_logger_on_first_use=True,
        )
    else:
        writer = _ConsoleWriter(lines)
        structlog.configure(
            processors=[
                lambda _, __, event: {**event, **worker_field},
                structlog.processors.add_log_level,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
                structlog.processors.format_exc_info,
                _without_secrets,
                _pass_to_sink,
                structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()),
            ],
            wrapper_class=filtering,
            logger_factory=lambda *_: writer,
            cache_logger_on_first_use=True,
        )
    # Never below warnings, whatever the level of our own lines is: there, libraries quote headers.
    handler = _LibraryHandler()
    handler.addFilter(_Repetitions())
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)


def tell_crashes() -> None:
    """Logs uncaught exceptions of every thread as lines, in place of Python's own output."""

    def crashed(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
        structlog.get_logger().critical("crashed", exc_info=(kind, error, trace))

    def thread_crashed(told: threading.ExceptHookArgs) -> None:
        # It ends a thread as it should.
        if not issubclass(told.exc_type, SystemExit):
            crashed(told.exc_type, told.exc_value, told.exc_traceback)

    def ignored(told: sys.UnraisableHookArgs) -> None:
        trace = (told.exc_type, told.exc_value, told.exc_traceback)
        structlog.get_logger().error("defect", part="clean-up", exc_info=trace)

    sys.excepthook, threading.excepthook, sys.unraisablehook = crashed, thread_crashed, ignored


def _without_secrets(_: object, __: str, line: EventDict) -> EventDict:
    """A processor of structlog that takes known secrets out of console lines."""
    return {name: KNOWN.without(value) if isinstance(value, str) else value for name, value in line.items()}


def _pass_to_sink(_: object, level: str, line: EventDict) -> EventDict:
    """A processor of structlog that passes console lines to the sink."""
    _sink.write(level, time.time_ns(), line)
    return line


class _ConsoleWriter:
    """Writes each line at once, for the person who watches."""

    def __init__(self, lines: LineBuffer) -> None:
        self._lines = lines

    def write(self, line: str) -> None:
        self._lines.write(line.encode(errors="backslashreplace"), at_once=True)

    debug = info = warning = error = critical = write


def _json_logger(filtering: type[FilteringBoundLogger], worker_field: Mapping[str, int]) -> type[FilteringBoundLogger]:
    """Returns a class of loggers that write JSON without a chain of processors, which would take twice as long."""
    encode = msgspec.json.Encoder(enc_hook=str).encode
    timestamps = Timestamps()

    def write(self: Any, level: str, event: str, **fields: Any) -> None:
        now = time.time_ns()
        common = {"event": event, **worker_field, "level": level, "timestamp": timestamps.of(now)}
        line: EventDict = {**self._context, **fields, **common}
        if "exc_info" in line:
            line = structlog.processors.format_exc_info(None, level, line)
        encoded = encode(line)
        if (at_once := event not in _BUFFERED_EVENTS) and (cleaned := KNOWN.without_bytes(encoded)) is not encoded:
            encoded, line = cleaned, msgspec.json.decode(cleaned)
        self._logger.write(encoded, at_once=at_once)
        _sink.write(level, now, line)

    return type("JsonLogger", (filtering,), {"_proxy_to_logger": write})


class Timestamps:
    """Formats times for log lines: UTC, in microseconds. All but the fraction is kept from one line to the next."""

    def __init__(self) -> None:
        self._last: tuple[int, str] = (0, "1970-01-01T00:00:00")

    def of(self, nanoseconds: int) -> str:
        """Returns a time since the epoch as text."""
        second, fraction = divmod(nanoseconds // 1000, 1_000_000)
        known, text = self._last
        if second != known:
            text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
            self._last = (second, text)
        return f"{text}.{fraction:06d}Z"

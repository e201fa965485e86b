"""Structured log lines on standard error."""

from __future__ import annotations

import logging
import sys
import time
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec
import structlog

from allocation_gateway.telemetry.lines import Lines

if TYPE_CHECKING:
    from collections.abc import Mapping

    from structlog.typing import EventDict, FilteringBoundLogger

# Events of which each call has one. All others are rare, and what they tell may be the last that can be told.
_FREQUENT: Final = frozenset({"call"})


class Forward(Protocol):
    """What log lines are given to besides."""

    def __call__(self, level: str, nanoseconds: int, line: Mapping[str, Any]) -> None:
        """Takes a line.

        Args:
            level: Its level, such as `info`.
            nanoseconds: When it was written, since the epoch.
            line: Its fields, with the event.
        """


class _Forwards:
    """Where lines go besides standard error.

    Attributes:
        to: What they are given to; None if nothing.
    """

    __slots__ = ("to",)

    def __init__(self) -> None:
        self.to: Forward | None = None


_forwards: Final = _Forwards()


def forward(to: Forward | None) -> None:
    """Gives every line from now on to something besides standard error; to nothing any more if that is None."""
    _forwards.to = to


class _LibraryLines(logging.Handler):
    """Takes what libraries log into the same stream: the rest of standard error would not be JSON."""

    def emit(self, record: logging.LogRecord) -> None:
        """Writes a record as one structured line."""
        try:
            structlog.get_logger().log(
                record.levelno,
                "library",
                logger=record.name,
                message=record.getMessage(),
                exc_info=record.exc_info or False,
            )
        except Exception:  # noqa: BLE001 - a log line that cannot be written must not end what it tells of
            self.handleError(record)


def configure(level: str, form: str, *, worker: int | None = None) -> None:
    """Sets the least severe level that is written, and whether lines are JSON or for the eye.

    Args:
        level: The level.
        form: `json` or `console`.
        worker: The number that every line names, if this process is one of several.
    """
    of_worker = {} if worker is None else {"worker": worker}
    filtering = structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()])
    lines = Lines(sys.stderr.buffer)
    if form == "json":
        structlog.configure(
            wrapper_class=_json_logger(filtering, of_worker),
            logger_factory=lambda *_: lines,
            cache_logger_on_first_use=True,
        )
    else:
        text = _Text(lines)
        structlog.configure(
            processors=[
                lambda _, __, event: {**event, **of_worker},
                structlog.processors.add_log_level,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
                structlog.processors.format_exc_info,
                _forwarded,
                structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()),
            ],
            wrapper_class=filtering,
            logger_factory=lambda *_: text,
            cache_logger_on_first_use=True,
        )
    # Never more than warnings, at whatever level our own lines are: below that, libraries quote headers.
    logging.basicConfig(handlers=[_LibraryLines()], level=logging.WARNING, force=True)


def _forwarded(_: object, level: str, line: EventDict) -> EventDict:
    """Gives a line on. A processor of the lines for the eye."""
    if (to := _forwards.to) is not None:
        to(level, time.time_ns(), line)
    return line


class _Text:
    """Writes each line as it comes: who looks at it is not to wait."""

    def __init__(self, lines: Lines) -> None:
        self._lines = lines

    def write(self, line: str) -> None:
        self._lines.write(line.encode(errors="backslashreplace"), at_once=True)

    debug = info = warning = error = critical = write


def _json_logger(filtering: type[FilteringBoundLogger], of_worker: Mapping[str, int]) -> type[FilteringBoundLogger]:
    """Returns loggers that write JSON without a chain of processors, which would take twice as long."""
    encode = msgspec.json.Encoder(enc_hook=str).encode
    timestamps = Timestamps()

    def write(self: Any, level: str, event: str, **fields: Any) -> None:
        now = time.time_ns()
        named = {"event": event, **of_worker, "level": level, "timestamp": timestamps.of(now)}
        line: EventDict = {**self._context, **fields, **named}
        if "exc_info" in line:
            line = structlog.processors.format_exc_info(None, level, line)
        self._logger.write(encode(line), at_once=event not in _FREQUENT)
        if (to := _forwards.to) is not None:
            to(level, now, line)

    return type("JsonLogger", (filtering,), {"_proxy_to_logger": write})


class Timestamps:
    """Times as log lines have them: UTC, in microseconds. Only the fraction of a second is made anew for each."""

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

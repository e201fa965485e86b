"""Structured log lines on standard error."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

import msgspec
import structlog

if TYPE_CHECKING:
    from collections.abc import Callable

    from structlog.typing import EventDict, Processor


class _Forward(logging.Handler):
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
    renderer: Processor
    factory: Callable[..., object]
    if form == "json":
        renderer = structlog.processors.JSONRenderer(
            serializer=lambda value, **_: msgspec.json.encode(value, enc_hook=str)
        )
        factory = structlog.BytesLoggerFactory(sys.stderr.buffer)
    else:
        renderer = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
        factory = structlog.PrintLoggerFactory(sys.stderr)
    structlog.configure(
        processors=[
            *([] if worker is None else [_of_worker(worker)]),
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=factory,
        cache_logger_on_first_use=True,
    )
    # Never more than warnings, at whatever level our own lines are: below that, libraries quote headers.
    logging.basicConfig(handlers=[_Forward()], level=logging.WARNING, force=True)


def _of_worker(number: int) -> Processor:
    def add(_: object, __: str, event: EventDict) -> EventDict:
        event["worker"] = number
        return event

    return add

"""What log lines look like, and how they are written, by a process of their own."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest
from allocation_gateway.telemetry.logs import Timestamps
from hypothesis import given
from hypothesis import strategies as st

SECONDS: Final = 60


def lines(form: str, code: str, *, level: str = "info", worker: int | None = None) -> list[bytes]:
    """Runs code with a logger `log`. Returns what each of its writes to standard error has written."""
    start = (
        "import logging, structlog\n"
        "from allocation_gateway.telemetry import logs\n"
        "log = structlog.get_logger()\n"
        f"logs.configure({level!r}, {form!r}, worker={worker!r})\n"
    )
    # A socket that keeps writes apart.
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with here:
        with there:
            process = subprocess.Popen([sys.executable, "-c", start + code], stderr=there.fileno())
        here.settimeout(SECONDS)
        written = list(iter(lambda: here.recv(65536), b""))
        assert process.wait(SECONDS) == 0, written
    return written


def objects(code: str, **settings: Any) -> list[dict[str, Any]]:
    """Returns the objects that code has logged, one of each write."""
    written = lines("json", code, **settings)
    assert all(line.endswith(b"\n") and line.count(b"\n") == 1 for line in written)
    return [json.loads(line) for line in written]


def test_line_has_its_fields_in_order_and_when_and_how_bad_it_was() -> None:
    before = datetime.now(UTC)
    (line,) = objects("log.info('call', code='OK', rpc='AllocateShipment', duration_ms=1.5)")
    assert list(line) == ["code", "rpc", "duration_ms", "event", "level", "timestamp"]
    assert (line["event"], line["level"], line["code"], line["duration_ms"]) == ("call", "info", "OK", 1.5)
    assert line["timestamp"].endswith("Z")
    assert before <= datetime.fromisoformat(line["timestamp"]) <= datetime.now(UTC)


def test_worker_is_named_in_each_line() -> None:
    written = objects("log.info('a'); log.bind(api='ship').warning('b', file='c')", worker=7)
    assert [list(line) for line in written] == [
        ["event", "worker", "level", "timestamp"],
        ["api", "file", "event", "worker", "level", "timestamp"],
    ]
    assert [(line["worker"], line["level"]) for line in written] == [(7, "info"), (7, "warning")]


@pytest.mark.parametrize(("level", "events"), [("info", ["b", "c", "d"]), ("warning", ["c", "d"]), ("error", ["d"])])
def test_less_severe_lines_are_not_written(level: str, events: list[str]) -> None:
    code = "log.debug('a'); log.info('b'); log.warning('c'); log.error('d')"
    assert [line["event"] for line in objects(code, level=level)] == events


def test_exception_is_told_with_where_it_came_from() -> None:
    (line,) = objects("try:\n    1 / 0\nexcept ZeroDivisionError:\n    log.exception('defect', rpc='x')")
    assert list(line) == ["rpc", "event", "level", "timestamp", "exception"]
    assert line["level"] == "error"
    assert line["exception"].startswith("Traceback (most recent call last):\n")
    assert line["exception"].endswith("ZeroDivisionError: division by zero")


def test_nothing_breaks_out_of_a_line() -> None:
    text = 'a"b\\c\nd\x00e\u2028\u00e9\U0001f600'
    (line,) = objects(f"log.info('call', message={text!r}, other={{1: [b'x', ValueError('y'), float('nan')]}})")
    assert line["message"] == text
    assert line["other"] == {"1": ["eA==", "y", None]}


def test_library_is_heard_from_warnings_on() -> None:
    code = "logging.getLogger('lib').info('no'); logging.getLogger('lib').error('%s is gone', 'it')"
    (line,) = objects(code, worker=2)
    assert {**line, "timestamp": ""} == {
        "event": "library",
        "logger": "lib",
        "message": "it is gone",
        "worker": 2,
        "level": "error",
        "timestamp": "",
    }


def test_threads_do_not_mix_their_lines() -> None:
    code = (
        "import threading\n"
        "def work(n):\n    for _ in range(50): log.info('x', text=str(n) * 20000)\n"
        "threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]\n"
        "[thread.start() for thread in threads]; [thread.join() for thread in threads]"
    )
    written = objects(code)
    assert len(written) == 200
    assert {line["text"] for line in written} == {str(n) * 20000 for n in range(4)}


def test_console_is_for_the_eye() -> None:
    line = b"".join(lines("console", "log.info('call', code='OK')", worker=3))
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    for part in (b"[info", b"call", b"code=OK", b"worker=3"):
        assert part in line
    assert b"{" not in line


MOMENTS: Final = st.integers(0, 4_000_000_000_000_000)


@given(st.lists(st.one_of(MOMENTS, st.integers(1_800_000_000_000_000, 1_800_000_003_000_000)), max_size=20))
def test_timestamps_are_those_of_the_calendar(microseconds: list[int]) -> None:
    """Also forth and back over the end of a second."""
    timestamps = Timestamps()
    for moment in microseconds:
        expected = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=moment)
        text = timestamps.of(moment * 1000 + 999)
        assert text == expected.isoformat(timespec="microseconds").replace("+00:00", "Z")

"""What log lines look like, and how they are written, by a process of their own."""

from __future__ import annotations

import json
import re
import select
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import pytest
from allocation_gateway.telemetry.logs import Timestamps
from hypothesis import given
from hypothesis import strategies as st
from support.front import LONG
from support.gateway import COMMAND, environment

if TYPE_CHECKING:
    from collections.abc import Iterator

SECONDS: Final = 60


@contextmanager
def logging(
    code: str, *, form: str = "json", level: str = "info", worker: int | None = None, ends: int = 0
) -> Iterator[socket.socket]:
    """Runs code with a logger `log`, and yields where each of its writes to standard error arrives by itself.

    It can wait with `sys.stdin.read()` until nobody asks for more. Then it has to end in that way.
    """
    start = (
        "import asyncio, logging, os, sys, structlog\n"
        "from allocation_gateway.telemetry import logs\n"
        "log = structlog.get_logger()\n"
        f"logs.configure({level!r}, {form!r}, worker={worker!r})\n"
    )
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with here:
        with there:
            command = [sys.executable, "-c", start + code]
            process = subprocess.Popen(command, stderr=there.fileno(), stdin=subprocess.PIPE)
        here.settimeout(SECONDS)
        with process:
            try:
                yield here
            finally:
                process.communicate(timeout=SECONDS)
    assert process.returncode == ends


def lines(form: str, code: str, **settings: Any) -> list[bytes]:
    """Runs code with a logger `log`. Returns what each of its writes to standard error has written."""
    with logging(code, form=form, **settings) as arriving:
        return list(iter(lambda: arriving.recv(65536), b""))


def several(written: bytes) -> list[dict[str, Any]]:
    """Returns the objects that one write has written."""
    assert written.endswith(b"\n")
    return [json.loads(line) for line in written.splitlines()]


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


@pytest.mark.parametrize("form", ["json", "console"])
def test_known_secret_is_written_nowhere(form: str) -> None:
    """Whoever has put it into a line: a library, or an error."""
    code = (
        "from allocation_gateway.settings import Secret\n"
        "key = 'a\"key\\\\that-nobody-may-see'\n"
        "Secret(key)\n"
        "log.error('a', message=f'they said: {key}, {key!r}')\n"
        "logging.getLogger('lib').error('refused %s', {'key': key})\n"
        "try:\n    raise ValueError([key])\nexcept ValueError:\n    log.exception('defect')"
    )
    written = b"".join(lines(form, code))
    assert b"nobody-may-see" not in written
    assert written.count(b"********") >= 4


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


def test_lines_of_calls_are_written_together() -> None:
    """In order, whole, and soon: nothing else has to happen for it."""
    code = (
        "async def main():\n"
        "    for number in range(100): log.info('call', number=number)\n"
        "    await asyncio.to_thread(sys.stdin.read)\n"
        "asyncio.run(main())"
    )
    found: list[dict[str, Any]] = []
    writes = 0
    with logging(code) as arriving:
        while len(found) < 100:
            written = arriving.recv(65536)
            assert len(written) <= select.PIPE_BUF
            found += several(written)
            writes += 1
    assert [line["number"] for line in found] == list(range(100))
    assert writes < 5


@pytest.mark.parametrize(
    "last", ["log.info('other')", "log.error('defect')", "threading.Thread(target=log.info, args=('call',)).start()"]
)
def test_what_is_rare_and_what_no_loop_can_wait_for_is_written_at_once_after_what_waits(last: str) -> None:
    """The process may not get to do anything afterwards."""
    code = (
        "import threading, signal\n"
        "async def main():\n"
        f"    log.info('call', number=1); log.error('call', number=2); {last}\n"
        "    while threading.active_count() > 1: pass\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "asyncio.run(main())"
    )
    with logging(code, ends=-signal.SIGKILL) as arriving:
        first, second, third = several(arriving.recv(65536))
        assert arriving.recv(65536) == b""
    assert (first["number"], second["number"]) == (1, 2)
    assert "number" not in third


def test_what_the_garbage_collector_has_logged_meanwhile_is_written_too() -> None:
    """It runs anywhere, also while a line is being written, and in the same thread."""
    start = (
        "import gc\n"
        "from allocation_gateway.telemetry.line_buffer import LineBuffer\n"
        "class Stream:\n"
        "    def write(self, data): gc.collect(); sys.stderr.buffer.write(data)\n"
        "    def flush(self): sys.stderr.buffer.flush()\n"
        "lines = LineBuffer(Stream())\n"
        "class Found:\n"
        "    def __init__(self): self.itself = self\n"
        "    def __del__(self): lines.write(b'found', at_once=True)\n"
    )
    code = "for number in range(3): Found(); lines.write(b'%d' % number, at_once=True)"
    with logging(start + code) as arriving:
        found = b"".join(iter(lambda: arriving.recv(65536), b"")).split()
    assert sorted(found) == [b"0", b"1", b"2", b"found", b"found", b"found"]


@pytest.mark.parametrize("after", ["", "log.info('call', number=2)", "asyncio.run(main(2))"])
def test_what_waits_when_a_loop_ends_is_written_all_the_same(after: str) -> None:
    code = f"async def main(number): log.info('call', number=number)\nasyncio.run(main(1))\n{after}"
    with logging(code) as arriving:
        found = several(b"".join(iter(lambda: arriving.recv(65536), b"")))
    assert [line["number"] for line in found] == ([1, 2] if after else [1])


@pytest.mark.parametrize("form", ["json", "console"])
def test_log_that_nobody_reads_is_no_failure(form: str) -> None:
    """Whatever is done then is done, and is answered."""
    settings = {"LOG_FORMAT": form, "PORT": "0", "SANDBOX_PORT": "0", "SHUTDOWN_DELAY": "0"}
    command = [COMMAND, "serve", "--sandbox"]
    with (
        subprocess.Popen(command, env=environment(settings), stderr=subprocess.PIPE, text=True) as process,
        ExitStack() as stack,
    ):
        stack.callback(process.kill)
        assert process.stderr is not None
        told = next(line for line in process.stderr if "listening" in line)
        process.stderr.close()
        addresses = dict(re.findall(r"\b(address|sandbox)\W+((?:http://)?127\.0\.0\.1:\d+)", told))
        demo = [COMMAND, "demo", "--address", addresses["address"], "--sandbox", addresses["sandbox"]]
        for _ in range(2):
            subprocess.run(demo, check=True, timeout=LONG, stdout=subprocess.DEVNULL)
        process.terminate()
        assert process.wait(LONG) == 0


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


def test_what_opentelemetry_says_for_every_batch_is_written_once() -> None:
    code = (
        "for number in range(3):\n"
        "    logging.getLogger('opentelemetry.spans').error('failed after %d', number)\n"
        "    logging.getLogger('opentelemetry.spans').warning('tried %d times', number)\n"
        "    logging.getLogger('opentelemetry.metrics').error('failed after %d', number)\n"
        "    logging.getLogger('asyncio').error('failed after %d', number)\n"
    )
    told = [json.loads(line) for line in lines("json", code)]
    assert [(line["logger"], line["message"]) for line in told] == [
        ("opentelemetry.spans", "failed after 0"),
        ("opentelemetry.spans", "tried 0 times"),
        ("opentelemetry.metrics", "failed after 0"),
        *(("asyncio", f"failed after {number}") for number in range(3)),
    ]

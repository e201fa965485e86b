"""The command line's waves: a file in one call, broken off and gone on with."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import termios
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import pytest
from allocation_gateway_client.cli import commands
from click.testing import CliRunner
from clients.conftest import MANY, many_shipments
from support.losing import losing_wire

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from click.testing import Result
    from support.gateway import Gateway
    from support.sandbox import Sandbox

COMMAND: Final = (sys.executable, "-c", "from allocation_gateway_client.cli import main; main()")
LONG: Final = 60.0
WAVE: Final = [f"sp_{index:032d}" for index in range(1, MANY + 1)]
NOBODY: Final = "sp_99999999999999999999999999999999"


@pytest.fixture(scope="module")
def running() -> Iterator[tuple[Gateway, Sandbox]]:
    with many_shipments() as running:
        yield running


@pytest.fixture
def sandbox(running: tuple[Gateway, Sandbox]) -> Sandbox:
    """With nothing allocated, and ready to book twice what is asked for twice."""
    sandbox = running[1]
    sandbox.call("POST", "reset")
    sandbox.call("PUT", "switches", {"ship": {"guard": False}})
    return sandbox


def arguments(gateway: Gateway, file: Path, *more: str) -> list[str]:
    return ["allocate", "--plaintext", "--address", gateway.address, "--stream", "--file", str(file), *more]


def run(command: Sequence[str]) -> Result:
    return CliRunner().invoke(commands.allocctl, list(command), catch_exceptions=False)


def written(folder: Path, references: Sequence[str]) -> Path:
    file = folder / "wave.csv"
    file.write_text("\n".join(["reference", *references, ""]))
    return file


def lines(results: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in results.read_text().splitlines()]


def test_a_file_is_allocated_in_one_call(running: tuple[Gateway, Sandbox], sandbox: Sandbox, tmp_path: Path) -> None:
    gateway, _ = running
    gateway.forget()
    file = written(tmp_path, [*WAVE, NOBODY])
    done = run(arguments(gateway, file, "--json"))
    assert json.loads(done.stdout) == {
        "results": str(tmp_path / "wave.results.jsonl"),
        "done": MANY,
        "refused": 1,
        "open": 0,
    }
    assert done.exit_code == 4
    head, *told = lines(tmp_path / "wave.results.jsonl")
    assert head["stream"] is True
    by_reference = {one["reference"]: one for one in told}
    assert by_reference[NOBODY]["reason"] == "SHIPMENT_NOT_FOUND"
    one = by_reference[WAVE[0]]
    assert (one["outcome"], one["state"], one["price"][-3:]) == ("done", "allocated", "GBP")
    assert sandbox.all_bookings() == dict.fromkeys(WAVE, (1, 0))
    gateway.wait_for("call", rpc="AllocateShipmentStream")
    # Nothing is left to be done, but for what is asked for once more as another request.
    left = run(arguments(gateway, file))
    assert (left.exit_code, "--retry-failed" in left.stderr) == (4, True)
    assert run(arguments(gateway, file, "--retry-failed")).exit_code == 4
    assert len(lines(tmp_path / "wave.results.jsonl")) == MANY + 3
    ids = {one["request_id"] for one in lines(tmp_path / "wave.results.jsonl")[1:] if one["reference"] == NOBODY}
    assert len(ids) == 2
    # The ids of single calls are others.
    other = run([name for name in arguments(gateway, file) if name != "--stream"])
    assert other.exit_code == 2
    assert "begun with --stream" in other.stderr


def test_what_streams_do_not_offer_is_told_before_anything_is_sent(tmp_path: Path) -> None:
    file = tmp_path / "wave.csv"
    file.write_text(f"reference,quote\n{WAVE[0]},q\n")
    for command in (["--stream", "--file", str(file)], ["--queued", "--file", str(file)], ["--stream", WAVE[0]]):
        assert run(["allocate", "--plaintext", *command]).exit_code == 2
    assert not (tmp_path / "wave.results.jsonl").exists()


def test_queued_is_enough_if_the_caller_says_so(
    running: tuple[Gateway, Sandbox], sandbox: Sandbox, tmp_path: Path
) -> None:
    done = run(arguments(running[0], written(tmp_path, WAVE[:5]), "--queued"))
    assert done.exit_code == 0
    assert {one["state"] for one in lines(tmp_path / "wave.results.jsonl")[1:]} == {"queued"}
    assert "5 done" in done.stderr
    assert sandbox.bookings(NOBODY) == (0, 0)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["interrupted", "killed"])
def test_a_run_that_ends_early_goes_on_where_it_was(
    running: tuple[Gateway, Sandbox], sandbox: Sandbox, tmp_path: Path, number: signal.Signals
) -> None:
    slow = {"type": "latency", "seconds": 0.1, "when": "before"}
    sandbox.call("POST", "faults", {"match": {"method": "GET"}, "count": None, "action": slow})
    command = arguments(running[0], written(tmp_path, WAVE))
    results = tmp_path / "wave.results.jsonl"
    begun = subprocess.Popen([*COMMAND, *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    end = time.monotonic() + LONG
    while not results.exists() or len(results.read_bytes().splitlines()) < MANY // 8:
        assert begun.poll() is None
        assert time.monotonic() < end
        time.sleep(0.01)
    begun.send_signal(number)
    assert begun.wait(LONG) == (130 if number is signal.SIGINT else -signal.SIGKILL)
    assert len(lines(results)) < MANY
    sandbox.call("DELETE", "faults")
    done = run([*command, "--json"])
    assert json.loads(done.stdout)["done"] == MANY
    assert sandbox.all_bookings() == dict.fromkeys(WAVE, (1, 0))


# Makes the terminal that it is given its own, as a login does: so that Ctrl-C is what interrupts it.
_IN_TERMINAL: Final = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
)
_STYLES: Final = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]")
_BAR: Final = rb"allocating \xe2\x94\x81[^\r\n]* (\d{3,})/10000 [1-9]\d*/s \d:\d\d:\d\d"
WHOLE: Final = 10_000


class Terminal:
    """A terminal, with a program in it.

    Attributes:
        shown: What it has been given to show.
        process: The program.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self.shown = b""
        self._own, its = pty.openpty()
        termios.tcsetwinsize(its, (24, 120))
        environment = {**os.environ, "TERM": "xterm"}
        self.process = subprocess.Popen(
            [sys.executable, "-c", _IN_TERMINAL, *command],
            stdin=its,
            stdout=its,
            stderr=its,
            env=environment,
            start_new_session=True,
        )
        os.close(its)
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def type(self, keys: bytes) -> None:
        """Types."""
        os.write(self._own, keys)

    def wait_for(self, pattern: bytes) -> re.Match[bytes]:
        """Waits until something is shown."""
        end = time.monotonic() + LONG
        while (found := re.search(pattern, _STYLES.sub(b"", self.shown))) is None:
            assert self.process.poll() is None, self.shown[-1000:]
            assert time.monotonic() < end, self.shown[-1000:]
            time.sleep(0.01)
        return found

    def close(self) -> int:
        """Waits for the end of the program, and returns its exit code."""
        try:
            return self.process.wait(LONG)
        finally:
            self.process.kill()
            self._reader.join(LONG)
            os.close(self._own)

    def _read(self) -> None:
        # It cannot be read any more when nobody has it open.
        try:
            while text := os.read(self._own, 65_536):
                self.shown += text
        except OSError:
            pass


@contextmanager
def terminal(command: Sequence[str]) -> Iterator[Terminal]:
    """Runs a program in a terminal, and ends it if the block does not."""
    made = Terminal(command)
    try:
        yield made
    finally:
        if made.process.poll() is None:
            made.process.kill()
            made.close()


def test_ten_thousand_rows_are_allocated_in_a_terminal_which_is_interrupted_and_gone_on_with(tmp_path: Path) -> None:
    """A bar, the rate and the time that is left are shown. Nothing is booked twice."""
    wave = [f"sp_{index:032d}" for index in range(1, WHOLE + 1)]
    results = tmp_path / "wave.results.jsonl"
    with many_shipments(WHOLE) as (gateway, sandbox):
        sandbox.call("PUT", "switches", {"ship": {"guard": False}})
        # As they are queued: to follow each of so many until it is allocated would take a minute of a core.
        command = arguments(gateway, written(tmp_path, wave), "--queued")
        with terminal([*COMMAND, *command]) as shown:
            done = int(shown.wait_for(_BAR)[1])
            assert done < WHOLE
            shown.type(b"\x03")
            assert shown.close() == 130
        assert b"Run the same command again" in shown.shown
        count = len(lines(results)) - 1
        assert done <= count < WHOLE
        second = run([*command, "--json"])
        assert (second.exit_code, json.loads(second.stdout)["done"]) == (0, WHOLE)
        # What is queued is booked a moment later.
        end = time.monotonic() + LONG
        while (0, 0) in (bookings := sandbox.all_bookings()).values():
            assert time.monotonic() < end
            time.sleep(0.1)
        assert bookings == dict.fromkeys(wave, (1, 0))
    assert len(lines(results)) == WHOLE + 1


def test_a_run_goes_on_when_its_connection_is_lost(
    running: tuple[Gateway, Sandbox], sandbox: Sandbox, tmp_path: Path
) -> None:
    """The client begins again by itself: the file of results has one line for each row, and no row is booked twice."""
    slow = {"type": "latency", "seconds": 0.5, "when": "before"}
    sandbox.call("POST", "faults", {"match": {"method": "GET"}, "count": None, "action": slow})
    with losing_wire(running[0].address) as wire:
        command = arguments(running[0], written(tmp_path, WAVE), "--json", "--address", wire.address)
        with subprocess.Popen([*COMMAND, *command], stdout=subprocess.PIPE, text=True) as begun:
            end = time.monotonic() + LONG
            while len(sandbox.all_bookings()) < MANY // 2:
                assert time.monotonic() < end
                time.sleep(0.01)
            wire.cut()
            sandbox.call("DELETE", "faults")
            told, _ = begun.communicate(timeout=LONG)
    assert json.loads(told)["done"] == MANY
    assert [one["outcome"] for one in lines(tmp_path / "wave.results.jsonl")[1:]] == ["done"] * MANY
    assert sandbox.all_bookings() == dict.fromkeys(WAVE, (1, 0))


def test_a_run_stops_by_itself_when_nobody_answers(tmp_path: Path) -> None:
    file = written(tmp_path, WAVE)
    nowhere = ["--address", "127.0.0.1:1", "--timeout", "0.5"]
    done = run(["allocate", "--plaintext", *nowhere, "--stream", "--file", str(file)])
    assert done.exit_code == 6
    assert "check --address" in done.stderr
    assert "Run the same command again" in done.stderr

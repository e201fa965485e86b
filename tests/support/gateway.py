"""Runs the real gateway as a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from support import canaries

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

COMMAND = str(Path(sys.executable).parent / "allocation-gateway")
# What takes the arguments of the gateway's own command, unless a test says otherwise.
command_line: tuple[str, ...] = (COMMAND,)
# It takes a second; a machine that is very busy may take its time.
START_TIMEOUT = 90.0
# Seconds that a log line is waited for.
line_timeout = 90.0
STOP_TIMEOUT = 90.0
PREFIX = "ALLOCATION_GATEWAY_"
# Tests look at the spans of each call. In production a share of them is kept.
EVERY_TRACE = "parentbased_always_on"


@dataclass
class Gateway:
    """A running gateway.

    Attributes:
        process: The process.
        address: Where it listens, as host:port.
        sandbox_url: Where its sandbox listens; empty without one.
        lines: Its log lines so far.
        leaks: Those that a secret was in, also of lines that were dropped.
    """

    process: subprocess.Popen[str]
    address: str = ""
    sandbox_url: str = ""
    lines: list[dict[str, Any]] = field(default_factory=list)
    leaks: list[str] = field(default_factory=list)
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def follow(self) -> None:
        """Reads the log until the process ends."""
        assert self.process.stderr is not None
        for text in self.process.stderr:
            if canaries.has_secret(text):
                self.leaks.append(text)
            with self._changed:
                try:
                    self.lines.append(json.loads(text))
                except json.JSONDecodeError:
                    self.lines.append({"event": "text", "text": text.rstrip()})
                self._changed.notify_all()
        self.process.wait(STOP_TIMEOUT)
        with self._changed:
            self._changed.notify_all()

    def wait_for(self, event: str, timeout: float | None = None, **fields: object) -> dict[str, Any]:
        """Waits for a log line and returns it."""
        timeout = line_timeout if timeout is None else timeout

        def found() -> dict[str, Any] | None:
            wanted = {"event": event, **fields}
            return next((line for line in self.lines if wanted.items() <= line.items()), None)

        with self._changed:
            if not self._changed.wait_for(lambda: found() or self.process.poll() is not None, timeout):
                raise AssertionError(f"no {event!r} with {fields} within {timeout} s: {self.lines[-5:]}")
            line = found()
        if line is None:
            raise AssertionError(f"the gateway ended with {self.process.poll()} before {event!r}: {self.lines[-5:]}")
        return line

    def forget(self) -> None:
        """Drops the log lines so far."""
        with self._changed:
            self.lines.clear()

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Signals the process, waits for its end and returns its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(STOP_TIMEOUT)


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    """Returns this process's environment without what would configure a gateway, and with the given settings."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith((PREFIX, "OTEL_"))}
    named = {name if name.startswith((PREFIX, "OTEL_")) else PREFIX + name: text for name, text in settings.items()}
    return {**clean, **named}


@contextmanager
def running_gateway(
    settings: Mapping[str, str],
    *arguments: str,
    extra: Mapping[str, str] | None = None,
    command: Sequence[str] = (),
    leaks: bool = False,
) -> Iterator[Gateway]:
    """Runs `allocation-gateway serve` on free ports, and ends it however the block ends.

    Nothing that it writes may have a secret in it.

    Args:
        settings: Environment variables; the prefix may be left out.
        arguments: Further arguments, such as `--sandbox`.
        extra: Environment variables that are no settings of the gateway.
        command: What takes the arguments of the gateway's own command, if it is not that command itself.
        leaks: Whether it may write secrets all the same, since what keeps it from that was taken away.
    """
    defaults = {"PORT": "0", "SANDBOX_PORT": "0", "SHUTDOWN_DELAY": "0", "OTEL_TRACES_SAMPLER": EVERY_TRACE}
    if "--sandbox" not in arguments:
        # A scripted upstream answers in order: nothing may be asked that the test does not know of.
        defaults["SERVICE_GROUP_LISTING"] = "false"
    process = subprocess.Popen(
        [*(command or command_line), "serve", *arguments],
        env={**environment({**defaults, **settings}), **(extra or {})},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    gateway = Gateway(process)
    reader = threading.Thread(target=gateway.follow, daemon=True)
    reader.start()
    try:
        line = gateway.wait_for("listening", START_TIMEOUT)
        gateway.address = line["address"]
        gateway.sandbox_url = line.get("sandbox", "")
        yield gateway
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(STOP_TIMEOUT)
        reader.join(STOP_TIMEOUT)
        assert process.stderr is not None
        process.stderr.close()
    assert leaks or not gateway.leaks, gateway.leaks[:3]

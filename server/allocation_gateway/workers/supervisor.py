"""Keeps several workers running: starts them, replaces those that end, and takes all of them down together.

It has neither gRPC nor telemetry, and starts processes by spawning alone: nothing that a worker makes for itself is
ever inherited. Besides its own processes it reaps whatever else becomes its child, since it may be process 1.
"""

from __future__ import annotations

import os
import selectors
import signal
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final

import msgspec
import structlog

from allocation_gateway import ports
from allocation_gateway.ports import Reservation
from allocation_gateway.settings import ConfigurationError
from allocation_gateway.telemetry import pages
from allocation_gateway.workers.backoff import RestartBackoff
from allocation_gateway.workers.child import Child
from allocation_gateway.workers.messages import ConfigurationRefused, Listening, Opened, SandboxTask, Serve, WorkerTask
from allocation_gateway.workers.signals import Signals

if TYPE_CHECKING:
    from collections.abc import Callable

    from allocation_gateway.settings import Settings
    from allocation_gateway.telemetry.pages import SharedPage
    from allocation_gateway.workers.messages import Task

_WORKER: Final = "allocation_gateway.workers.worker"
_SANDBOX: Final = "allocation_gateway.workers.sandbox"
_TOLD_TO_STOP: Final = (signal.SIGTERM, signal.SIGINT)
# What a worker takes at most to end, beside what its settings allow. Less than what Kubernetes adds to these.
_MARGIN: Final = 2.0
_SANDBOX_GRACE: Final = 4.0
# How long a worker may be silent at first: it imports, on a machine that may be busy.
_START: Final = 60.0
_NEVER: Final = float("inf")
_log = structlog.get_logger()


@dataclass
class _Place:
    """The place of one worker, which is filled anew whenever its worker ends.

    Attributes:
        number: Its number, from 1 on.
        due: When to fill it, if it is empty.
        child: Its worker.
        started: When the worker was started.
        overdue: When the worker must have been heard of.
        accepts: Whether the worker accepts calls.
        starts: How many workers it has had.
    """

    number: int
    due: float = 0.0
    child: Child | None = None
    started: float = 0.0
    overdue: float = _NEVER
    accepts: bool = False
    starts: int = 0
    backoff: RestartBackoff = field(default_factory=RestartBackoff)


def run(settings: Settings, *, with_sandbox: bool, on_ready: Callable[[str, str], None]) -> int:
    """Runs several workers until this process is told to stop, and then until they have ended.

    Args:
        settings: The configuration.
        with_sandbox: Whether one sandbox is started for all workers, and stands in for upstream.
        on_ready: Is told the gateway's address and the sandbox's URL (empty without one) once all workers accept calls.

    Returns:
        The exit code: 0 if all went as it should, 1 if something had to be killed, 128 and a signal's number if that
        came as a second one.

    Raises:
        ConfigurationError: They cannot start: a port is taken, or a worker cannot use the configuration.
    """
    with ExitStack() as stack:
        signals = stack.enter_context(Signals(*_TOLD_TO_STOP, signal.SIGCHLD, signal.SIGHUP))
        reserved = {}
        for name in ("port", "health_port"):
            if (asked := getattr(settings, name)) is not None:
                reservation = Reservation(ports.bind(name, settings.host, asked, shared=False))
                stack.callback(reservation.close)
                reserved[name] = reservation.port
        page = None
        if (reserved_page := pages.reserve(os.environ, settings.workers)) is not None:
            page, reservation = reserved_page
            stack.callback(reservation.close)
        settings = msgspec.structs.replace(settings, **reserved)
        return _Supervisor(settings, with_sandbox, on_ready, signals, page).run()


class _Supervisor:
    """What run() does, after the ports have been reserved."""

    def __init__(
        self,
        settings: Settings,
        with_sandbox: bool,
        on_ready: Callable[[str, str], None],
        signals: Signals,
        page: SharedPage | None,
    ) -> None:
        self._settings = settings
        self._page = page
        self._on_ready = on_ready
        self._signals = signals
        self._selector = selectors.DefaultSelector()
        self._selector.register(signals, selectors.EVENT_READ)
        # Workers are told where the sandbox is: they wait for it.
        due = _NEVER if with_sandbox else 0.0
        self._places = [_Place(number, due) for number in range(1, settings.workers + 1)]
        self._sandbox: Child | None = None
        self._sandbox_url = ""
        if with_sandbox:
            task = SandboxTask(settings.sandbox_port, settings.sandbox_shipments)
            self._sandbox = self._spawn(_SANDBOX, task, self._hear_sandbox)
        self._ready = False
        self._refusal = ""
        self._ending = False
        self._deadline = _NEVER
        self._sandbox_told = False
        self._second_signal = 0
        self._code = 0

    def run(self) -> int:
        """Runs until there is nothing left to run. Returns the exit code."""
        self._reap()
        while not self._ending or self._workers() or self._sandbox is not None:
            self._fill()
            self._wait()
            if self._second_signal:
                self._kill_all()
                return 128 + self._second_signal
            self._judge()
        if self._refusal:
            raise ConfigurationError(self._refusal)
        _log.info("stopped")
        return self._code

    def _workers(self) -> list[tuple[_Place, Child]]:
        return [(place, place.child) for place in self._places if place.child is not None]

    def _spawn(self, module: str, task: Task, hear: Callable[[], None]) -> Child:
        child = Child(module, task)
        self._selector.register(child, selectors.EVENT_READ, hear)
        return child

    def _forget(self, child: Child) -> None:
        if not child.closed:
            self._selector.unregister(child)
        child.let_go()

    def _fill(self) -> None:
        """Starts the workers that are due."""
        now = time.monotonic()
        for place in self._places:
            if place.child is None and place.due <= now and not self._ending:
                task = WorkerTask(place.number, self._settings, place.starts, self._page)
                try:
                    place.child = self._spawn(_WORKER, task, partial(self._hear, place))
                except OSError as error:
                    # Out of memory, processes or files, perhaps for a while. The others must not suffer from it.
                    place.due = now + place.backoff.pause(0.0)
                    _log.error("worker_not_started", worker=place.number, message=str(error))
                    continue
                place.starts += 1
                place.started = time.monotonic()
                place.overdue = place.started + max(self._settings.worker_timeout, _START)

    def _wait(self) -> None:
        """Waits until something has happened or is due, and takes note of it."""
        moments = [self._deadline]
        if not self._ending:
            moments += [place.due if place.child is None else place.overdue for place in self._places]
        pause = max(min(moments) - time.monotonic(), 0.0)
        for key, _ in self._selector.select(None if pause == _NEVER else pause):
            if key.data is not None:
                key.data()
        # Last: what a process has said counts before its end does.
        for number in self._signals.take():
            if number == signal.SIGCHLD:
                self._reap()
            elif number == signal.SIGHUP:
                self._have_files_reread()
            elif self._ending:
                self._second_signal = number
            else:
                self._end(number)

    def _have_files_reread(self) -> None:
        for place, child in self._workers():
            # One that does not accept calls reads them as it starts.
            if place.accepts:
                child.signal(signal.SIGHUP)

    def _hear(self, place: _Place) -> None:
        """Records what a worker says."""
        if place.child is None:
            return
        for report in place.child.reports():
            place.overdue = time.monotonic() + self._settings.worker_timeout
            if isinstance(report, Listening):
                self._accepts(place, place.child, report)
            elif isinstance(report, ConfigurationRefused):
                self._refused(place, report.text)
        if place.child.closed:
            self._selector.unregister(place.child)

    def _accepts(self, place: _Place, child: Child, listening: Listening) -> None:
        place.accepts = True
        _log.info("worker_started", worker=place.number, pid=child.pid)
        if self._ready:
            child.send(Serve())
        elif all(other.accepts for other in self._places):
            self._ready = True
            for _, other in self._workers():
                other.send(Serve())
            where = {"address": listening.address, "health": listening.health_address, "sandbox": self._sandbox_url}
            shown = {name: address for name, address in where.items() if address}
            _log.info("listening", workers=len(self._places), **shown)
            self._on_ready(listening.address, self._sandbox_url)

    def _refused(self, place: _Place | None, text: str) -> None:
        """Ends everything if the configuration has never worked. Later, the others go on."""
        if self._ready and place is not None:
            _log.error("worker_refused", worker=place.number, message=text)
        elif not self._ending:
            self._refusal = text
            self._ending = True
            self._kill_all()  # nobody has been told yet that calls are accepted

    def _hear_sandbox(self) -> None:
        """Records what the sandbox says."""
        if self._sandbox is None:
            return
        for report in self._sandbox.reports():
            if isinstance(report, ConfigurationRefused):
                self._refused(None, report.text)
            elif isinstance(report, Opened):
                self._sandbox_url = report.base_url
                self._settings = self._settings.at(
                    ship_base_url=report.ship_base_url, consignments_base_url=report.consignments_base_url
                )
                for place in self._places:
                    place.due = time.monotonic()
        if self._sandbox.closed:
            self._selector.unregister(self._sandbox)

    def _reap(self) -> None:
        """Records every process that has ended."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            code = os.waitstatus_to_exitcode(status)
            if self._sandbox is not None and self._sandbox.pid == pid:
                self._sandbox_ended(self._sandbox, code)
            for place, child in self._workers():
                if child.pid == pid:
                    self._worker_ended(place, child, code)

    def _worker_ended(self, place: _Place, child: Child, code: int) -> None:
        if not child.closed:
            self._hear(place)
        self._forget(child)
        accepted, place.child, place.accepts = place.accepts, None, False
        if self._ending:
            self._code = 1 if accepted and code != 0 else self._code
            return
        now = time.monotonic()
        pause = place.backoff.pause(now - place.started)
        place.due = now + pause
        _log.warning(
            "worker_ended",
            worker=place.number,
            pid=child.pid,
            exit_code=code,
            failures=place.backoff.failures,
            restart_in=pause,
        )

    def _sandbox_ended(self, child: Child, code: int) -> None:
        if not child.closed:
            self._hear_sandbox()
        self._forget(child)
        self._sandbox = None
        if not self._ending:
            _log.error("sandbox_ended", exit_code=code)
            self._code = 1
            self._end(signal.SIGINT)

    def _end(self, number: int) -> None:
        """Lets all workers drain at the same time, each as if it had been signalled alone."""
        self._ending = True
        settings = self._settings
        delay = settings.shutdown_delay if number == signal.SIGTERM else 0.0
        bound = delay + settings.shutdown_grace + settings.telemetry_flush_timeout + _MARGIN
        self._deadline = time.monotonic() + bound
        for place, child in self._workers():
            # One that does not accept calls has nothing in hand, and may not even listen to signals yet.
            child.signal(number if place.accepts else signal.SIGKILL)

    def _judge(self) -> None:
        """Kills what has been silent for too long, or outlives its time."""
        now = time.monotonic()
        if not self._ending:
            for place, child in self._workers():
                if now >= place.overdue:
                    _log.error("worker_stuck", worker=place.number, pid=child.pid)
                    child.signal(signal.SIGKILL)
                    place.overdue = _NEVER
            return
        if now >= self._deadline:
            for place, child in self._workers():
                _log.error("worker_killed", worker=place.number, pid=child.pid)
            self._kill_all()
            self._deadline = _NEVER
        elif self._sandbox is not None and not self._sandbox_told and not self._workers():
            # Last, since the calls in hand needed it.
            self._sandbox_told = True
            self._deadline = now + _SANDBOX_GRACE
            self._sandbox.end()

    def _kill_all(self) -> None:
        for _, child in self._workers():
            child.signal(signal.SIGKILL)
        if self._sandbox is not None:
            self._sandbox.signal(signal.SIGKILL)

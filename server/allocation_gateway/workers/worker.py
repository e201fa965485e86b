"""One of several gateways behind one port: `python -m allocation_gateway.workers.worker`, run by a supervisor."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from typing import TYPE_CHECKING, Final

import uvloop

from allocation_gateway import app
from allocation_gateway.settings import ConfigurationError
from allocation_gateway.telemetry import credentials, logs
from allocation_gateway.workers.link import Link
from allocation_gateway.workers.messages import Beat, ConfigurationRefused, Listening, WorkerTask

if TYPE_CHECKING:
    from allocation_gateway.app import Stop
    from allocation_gateway.rpc.listener import Listener

# How many beats fit into the silence that the supervisor puts up with.
_BEATS: Final = 4
_SLOWEST_BEAT: Final = 1.0


class _Supervised:
    """The supervision of this worker, as the gateway knows it."""

    def __init__(self, link: Link, task: WorkerTask) -> None:
        self.worker = task.number
        self.restarts = task.restarts
        self.page = task.page
        self._link = link
        self._pause = min(task.settings.worker_timeout / _BEATS, _SLOWEST_BEAT)
        self._all_accept_calls = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def begin(self, stop: Stop) -> None:
        """Follows the supervisor from now on, and wishes the end when the supervisor has gone."""
        self._tasks = [asyncio.create_task(self._follow(stop)), asyncio.create_task(self._beat())]

    async def join(self, listener: Listener) -> None:
        """Tells that calls are accepted, and waits until all workers accept them."""
        self._link.send(Listening(listener.address, listener.health_address))
        await self._all_accept_calls.wait()

    async def _follow(self, stop: Stop) -> None:
        with contextlib.suppress(OSError):
            lines = await self._link.lines()
            while await lines.readline():
                # There is but one message after the task.
                self._all_accept_calls.set()
        stop.wish()

    async def _beat(self) -> None:
        # From within the loop that answers calls: a loop that is stuck is silent.
        while True:
            self._link.send(Beat())
            await asyncio.sleep(self._pause)


async def _serve(link: Link, task: WorkerTask) -> None:
    await app.serve(task.settings, os.environ, supervision=_Supervised(link, task))


def main() -> int:
    """Serves until the supervisor says otherwise, or has gone. Returns the exit code."""
    # Until it is listened to, it must not end the process.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    link = Link()
    if not isinstance(link.task, WorkerTask):
        return 0
    settings = link.task.settings
    credentials.note(os.environ)
    logs.configure(settings.log_level, settings.log_format, worker=link.task.number)
    logs.tell_crashes()
    try:
        uvloop.run(_serve(link, link.task))
    except ConfigurationError as error:
        link.send(ConfigurationRefused(str(error)))
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

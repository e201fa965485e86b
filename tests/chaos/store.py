"""The store that gateways share: a real server that keeps everything on disk, and the wire to it."""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
import uuid
from collections import Counter, deque
from typing import TYPE_CHECKING, Final, Self

from chaos.history import Incident
from chaos.plan import REFERENCE, spread
from chaos.sockets import reset, steady_port
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import ConstantBackoff
from support.cache import program

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path
    from types import TracebackType

    from chaos.history import History
    from chaos.plan import Plan

# Ten seconds for a server to start, and to read what it had written.
_UNTIL_UP: Final = Retry(ConstantBackoff(0.02), 500)
_CHUNK: Final = 65_536
# Seconds by which a slow store holds up a command: some take longer than the gateway waits, and some so much longer
# that whoever sent them has done other things since.
_SLOW: Final = (0.01, 8.0)
# Of the commands that are struck, so many are slow; of the others, the connection is reset before or after them.
_SLOW_SHARE: Final = 0.6
# Seconds after which a command that was passed on has been answered.
_ANSWERED: Final = 0.25
_REQUEST_ID: Final = re.compile(rb"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Store:
    """A Valkey or Redis server with an append-only file, behind a proxy that can hold up and lose commands.

    Attributes:
        url: Where gateways find it.
        struck: How many commands each kind of fault has struck.
    """

    def __init__(self, plan: Plan, history: History, directory: Path, rate: float) -> None:
        self._plan = plan
        self._history = history
        self._directory = directory
        self._rate = rate
        self._port = steady_port()
        self._process: asyncio.subprocess.Process | None = None
        self._server: asyncio.Server | None = None
        self._handlers: set[asyncio.Task[None]] = set()
        self._commands = 0
        self.calm = False
        self.url = ""
        self.struck: Counter[str] = Counter()

    async def __aenter__(self) -> Self:
        self._directory.mkdir(parents=True)
        await self._start()
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"redis://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/0"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._handlers:
            task.cancel()
        await asyncio.gather(*self._handlers, return_exceptions=True)
        if self._process is not None:
            self._process.kill()
            await self._process.wait()

    async def _start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            program(),
            *("--port", str(self._port), "--bind", "127.0.0.1", "--dir", str(self._directory), "--save", ""),
            *("--appendonly", "yes", "--appendfsync", "everysec", "--maxmemory-policy", "noeviction"),
            stdout=asyncio.subprocess.DEVNULL,
        )
        async with Redis(host="127.0.0.1", port=self._port, retry=_UNTIL_UP) as client:
            await client.ping()

    async def restart(self, touched: int) -> None:
        """Ends the server in the midst of everything, and starts it on what it had written to disk."""
        started = time.time()
        assert self._process is not None
        self._process.kill()
        await self._process.wait()
        await self._start()
        self._history.add(Incident("store restarted", started, time.time(), touched=touched))

    async def wipe(self, touched: int) -> None:
        """Empties it."""
        started = time.time()
        async with Redis(host="127.0.0.1", port=self._port) as client:
            await client.flushall()
        self._history.add(Incident("store wiped", started, time.time(), touched=touched))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._handlers.add(task)
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._port)
        except OSError:
            writer.transport.abort()
            self._handlers.discard(task)
            return
        answers = asyncio.create_task(_pump(there, writer))
        # The commands of this connection that may have had no answer yet: when they were passed on, and what they name.
        passed: deque[tuple[float, tuple[str, ...]]] = deque()
        try:
            while data := await reader.read(_CHUNK):
                await self._pass(data, reader, writer, back, passed)
        except OSError:
            pass
        finally:
            answers.cancel()
            self._handlers.discard(task)
            for one in (writer, back):
                one.close()

    async def _pass(
        self,
        data: bytes,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        back: asyncio.StreamWriter,
        passed: deque[tuple[float, tuple[str, ...]]],
    ) -> None:
        """Passes on commands. A gateway has one connection: a fault befalls all that is under way on it."""
        self._commands += 1
        dice = self._plan.generator("store", self._commands)
        started = time.time()
        while passed and passed[0][0] < started - _ANSWERED:
            passed.popleft()
        passed.append((started, named(data)))
        if self.calm or dice.random() >= self._rate:
            back.write(data)
            return
        slow, early = dice.random() < _SLOW_SHARE, dice.random() < 0.5
        kind = "slow store" if slow else "store connection lost"
        if slow:
            data += (behind := await _arriving(reader, spread(dice.random(), *_SLOW)))
            passed.append((time.time(), named(behind)))
        if slow or not early:
            back.write(data)
        if not slow:
            reset(writer)
        self.struck[kind] += 1
        self._history.add(Incident(kind, started, time.time(), named=_all_of(passed)))
        if not slow:
            raise ConnectionResetError


def named(command: bytes) -> tuple[str, ...]:
    """Returns the request ids and references that a command names."""
    ids = (uuid.UUID(one.decode()).hex for one in _REQUEST_ID.findall(command))
    return tuple(dict.fromkeys((*ids, *REFERENCE.findall(command.decode("latin-1")))))


def _all_of(passed: Iterable[tuple[float, tuple[str, ...]]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for _, names in passed for name in names))


async def _arriving(reader: asyncio.StreamReader, seconds: float) -> bytes:
    """Waits, and returns what arrives meanwhile."""
    arrived = b""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while data := await reader.read(_CHUNK):
                arrived += data
            await asyncio.Event().wait()
    return arrived


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(_CHUNK):
            writer.write(data)
    writer.close()

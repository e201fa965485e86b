"""The processes under chaos: gateways that are killed, stopped and replaced, and the sandbox."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

import aiohttp
from allocation_gateway.sandbox.consignments.states import CANCELLED as CONSIGNMENT_CANCELLED
from chaos import configuration
from chaos.history import CANCELLED, Effect, Incident
from chaos.sockets import steady_port
from support.gateway import COMMAND

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

    from chaos.history import History

# Several processes start at the same time, on two cores.
_START: Final = 90.0
_STOP: Final = 15.0
_LOOK: Final = 0.05
_AT_ONCE: Final = 8


class Gateways:
    """Gateways on ports of their own, which stay the same for whoever replaces them.

    Attributes:
        addresses: Where they listen.
    """

    def __init__(
        self,
        history: History,
        directory: Path,
        arguments: Sequence[Sequence[str]],
        pace: configuration.Pace = configuration.SHORT,
    ) -> None:
        """Takes the command line of each gateway, without `serve`, and the times of all."""
        self._pace = pace
        self._history = history
        self._directory = directory
        self._arguments = arguments
        self._ports = [steady_port() for _ in arguments]
        self._settings: list[dict[str, str]] = []
        self._processes: list[asyncio.subprocess.Process | None] = [None for _ in arguments]
        self._starts = 0
        self.addresses = [f"127.0.0.1:{port}" for port in self._ports]

    async def start(
        self,
        upstreams: Sequence[tuple[str, str]],
        store: str = "",
        more: Mapping[str, str] | None = None,
        own: Sequence[Mapping[str, str]] = (),
    ) -> None:
        """Starts all of them.

        Args:
            upstreams: The Ship API and the Consignments API of each.
            store: The URL of the store that they share; empty if they have none.
            more: Further settings of all.
            own: Further settings of each; none if it is empty.
        """
        self._settings = [
            configuration.settings(ship, consignments, port, store, {**(more or {}), **further}, self._pace)
            for port, (ship, consignments), further in zip(
                self._ports, upstreams, own or [{}] * len(self._ports), strict=True
            )
        ]
        await asyncio.gather(*(self._start(replica) for replica in range(len(self._ports))))

    async def _start(self, replica: int) -> None:
        self._starts += 1
        path = self._directory / f"gateway-{replica}-{self._starts}.log"
        with path.open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                *self._arguments[replica],
                "serve",
                env=configuration.variables(self._settings[replica]),
                stdout=asyncio.subprocess.DEVNULL,
                stderr=log,
            )
        self._processes[replica] = process
        async with asyncio.timeout(_START):
            while b'"listening"' not in path.read_bytes():
                if process.returncode is not None:
                    raise RuntimeError(f"a gateway ended with {process.returncode}: {path.read_text()}")
                await asyncio.sleep(_LOOK)

    def _process(self, replica: int) -> asyncio.subprocess.Process:
        process = self._processes[replica]
        assert process is not None
        return process

    def cpu_seconds(self, replica: int) -> float:
        """Returns how long one has kept a core busy since its start."""
        fields = Path(f"/proc/{self._process(replica).pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    async def kill(self, replica: int, touched: int) -> None:
        """Ends one with SIGKILL, and replaces it."""
        await self._replace(replica, signal.SIGKILL, "gateway killed", touched)

    async def terminate(self, replica: int, touched: int) -> None:
        """Ends one with SIGTERM, and replaces it."""
        await self._replace(replica, signal.SIGTERM, "gateway terminated", touched)

    async def _replace(self, replica: int, number: signal.Signals, kind: str, touched: int) -> None:
        started = time.time()
        process = self._process(replica)
        process.send_signal(number)
        await asyncio.wait_for(process.wait(), _STOP)
        await self._start(replica)
        self._history.add(Incident(kind, started, time.time(), replica, touched))

    async def pause(self, replica: int, seconds: float, touched: int) -> None:
        """Stops one with SIGSTOP, and lets it go on."""
        started = time.time()
        process = self._process(replica)
        process.send_signal(signal.SIGSTOP)
        await asyncio.sleep(seconds)
        process.send_signal(signal.SIGCONT)
        self._history.add(Incident("gateway stopped", started, time.time(), replica, touched))

    async def stop(self) -> None:
        """Ends all of them."""
        left = [process for process in self._processes if process is not None and process.returncode is None]
        for process in left:
            process.send_signal(signal.SIGCONT)
            process.terminate()
        for process in left:
            try:
                await asyncio.wait_for(process.wait(), _STOP)
            except TimeoutError:
                process.kill()
                await process.wait()


def gateway_command() -> list[str]:
    """Returns the command of the real gateway."""
    return [COMMAND]


def broken_command(policy: str) -> list[str]:
    """Returns the command of a gateway with a broken policy."""
    return [sys.executable, "-m", "chaos.broken", policy]


class Witness:
    """The sandbox: upstream, and the journal that says what really happened.

    Its clock is wrong by some time, and the journal's times with it. The history has them as they really were.

    Attributes:
        port: Where it listens.
    """

    def __init__(self, history: History, shipments: int, skew: int = 0, key: str = configuration.KEY) -> None:
        """Does not start it yet.

        Args:
            history: Where what it says is written down.
            shipments: How many it has.
            skew: Seconds by which its clock is fast.
            key: The key of both APIs.
        """
        self._key = key
        self._skew = skew
        self._history = history
        self._shipments = shipments
        self._process: asyncio.subprocess.Process | None = None
        self._http: aiohttp.ClientSession | None = None
        self.port = steady_port()

    @property
    def http(self) -> aiohttp.ClientSession:
        """A client of it, with the keys of both APIs."""
        assert self._http is not None
        return self._http

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            *(COMMAND, "sandbox", "--port", str(self.port), "--shipments", str(self._shipments)),
            *("--api-key", self._key),
            stdout=asyncio.subprocess.PIPE,
        )
        assert self._process.stdout is not None
        await asyncio.wait_for(self._process.stdout.readline(), _START)
        self._http = aiohttp.ClientSession(
            f"http://127.0.0.1:{self.port}",
            headers={
                "x-api-key": self._key,
                "x-api-version": "1.1",
                "ocp-apim-subscription-key": self._key,
                "electio-api-version": "1.1",
            },
        )
        if self._skew:
            async with self.http.post("/_sandbox/clock", json={"advance": self._skew}) as answer:
                answer.raise_for_status()
        if not self._history.run.guard:
            off = {"guard": False}
            async with self.http.put("/_sandbox/switches", json={"ship": off, "consignments": off}) as answer:
                answer.raise_for_status()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.http.close()
        assert self._process is not None
        self._process.terminate()
        await asyncio.wait_for(self._process.wait(), _STOP)

    async def testify(self) -> None:
        """Reads the whole journal into the history."""
        references: list[str] = []
        after: str | None = ""
        while after is not None:
            async with self.http.get("/_sandbox/journal", params={"after": after}) as answer:
                page = await answer.json()
            references += [one["reference"] for one in page["references"]]
            after = page["next"]
        # A few at once: every answer is a small one.
        for start in range(0, len(references), _AT_ONCE):
            await asyncio.gather(*map(self._about, references[start : start + _AT_ONCE]))

    async def _about(self, reference: str) -> None:
        async with self.http.get("/_sandbox/journal", params={"reference": reference}) as answer:
            about = await answer.json()
        for event in about["events"]:
            trace = event["arrival"].get("traceparent", "")[3:35]
            real = _seconds(event["time"]) - self._skew
            service = event.get("service_reference") or ""
            # The one API has a word of its own for that, and the other says what the state is now.
            effect = CANCELLED if event.get("after") == CONSIGNMENT_CANCELLED else event["effect"]
            self._history.add(Effect(reference, effect, real, trace, service))


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()

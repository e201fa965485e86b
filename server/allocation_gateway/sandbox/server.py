"""The sandbox as one thing that can be started and stopped: the composition of its parts, read top to bottom."""

from __future__ import annotations

import os
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Self

from aiohttp import web

from allocation_gateway.sandbox.clock import Clock
from allocation_gateway.sandbox.consignments.api import ConsignmentsApi
from allocation_gateway.sandbox.control import Control
from allocation_gateway.sandbox.delivery import Delivery
from allocation_gateway.sandbox.faults import FaultBook
from allocation_gateway.sandbox.http_handler import HttpHandler
from allocation_gateway.sandbox.journal import Journal
from allocation_gateway.sandbox.options import SandboxOptions
from allocation_gateway.sandbox.ship.api import ShipApi
from allocation_gateway.sandbox.tracing import NoSpans
from allocation_gateway.sandbox.traffic import Traffic

if TYPE_CHECKING:
    from types import TracebackType

    from allocation_gateway.sandbox.tracing import Spans

# Waits of faults end at once when the server stops; this is for answers that are being written.
SHUTDOWN_SECONDS = 2.0


class Sandbox:
    """The sandbox, listening from entering the context until leaving it.

    `ship` and `consignments` are the API objects, whose `world` and `switches` a test may change directly; the control
    paths do the same over HTTP.

    Raises:
        OSError: on entering, if the port cannot be had.
    """

    def __init__(
        self, options: SandboxOptions | None = None, *, clock: Clock | None = None, spans: Spans | None = None
    ) -> None:
        self._spans = spans or NoSpans()
        self.options = options or SandboxOptions()
        self.clock = clock or Clock()
        self.journal = Journal(self.clock, self.options.journal_events)
        self.ship = ShipApi(
            api_key=self.options.api_key,
            extra_shipments=self.options.shipments,
            bulk_delay=self.options.bulk_delay,
            journal=self.journal,
            clock=self.clock,
        )
        self.consignments = ConsignmentsApi(
            api_key=self.options.api_key,
            extra_consignments=self.options.shipments,
            delay=self.options.bulk_delay,
            journal=self.journal,
            clock=self.clock,
        )
        self._port = 0
        self._stack = AsyncExitStack()

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self._port

    @property
    def base_url(self) -> str:
        """The server's address, without a slash at its end."""
        host = f"[{self.options.host}]" if ":" in self.options.host else self.options.host
        return f"http://{host}:{self._port}"

    @property
    def ship_base_url(self) -> str:
        """Where Ship's paths begin."""
        return f"{self.base_url}/{self.ship.prefix}"

    @property
    def consignments_base_url(self) -> str:
        """Where the paths of the Consignments API begin."""
        return self.base_url

    @property
    def control_url(self) -> str:
        """Where the control paths begin."""
        return f"{self.base_url}/_sandbox"

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            await self._start(stack)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def _start(self, stack: AsyncExitStack) -> None:
        traffic, faults, delivery = Traffic(self.clock), FaultBook(), Delivery(self.clock)
        apis = (self.ship, self.consignments)
        control = Control(apis, self.journal, traffic, faults, delivery, self.clock)
        handler = HttpHandler(apis, control, traffic, faults, delivery, self._spans)
        for api in apis:
            api.start()
            stack.push_async_callback(api.stop)
        # Compressed request bodies are nowhere documented, so they are what they look like: not JSON.
        server = web.Server(handler.handle, access_log=None, auto_decompress=False)
        runner = web.ServerRunner(server, shutdown_timeout=SHUTDOWN_SECONDS)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        # Entered last and so left first: requests that wait let go before the server waits for them.
        stack.push_async_callback(delivery.close)
        await self._listen(runner)

    async def _listen(self, runner: web.ServerRunner) -> None:
        host, port = self.options.host, self.options.port
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            # The loop's own text repeats the address; a failed look-up of the host has a number of another kind.
            number = error.errno or 0
            reason = os.strerror(number) if number > 0 else error.strerror
            raise OSError(error.errno, f"the sandbox cannot listen on {host}:{port}: {reason}") from error
        self._port = runner.addresses[0][1]

"""The composition root: builds a gateway from its settings, runs it, and takes it down in the right order."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Final

import msgspec
import structlog

from allocation_gateway.groups.directory import open_groups
from allocation_gateway.groups.listing import Listings
from allocation_gateway.operations.model import Api
from allocation_gateway.policy.admission import Admission
from allocation_gateway.policy.patience import Writes
from allocation_gateway.rpc.answering import Gateway
from allocation_gateway.rpc.listener import Listener
from allocation_gateway.settings import ConfigurationError, variable
from allocation_gateway.telemetry import telemetry
from allocation_gateway.upstream.client import Upstream

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from allocation_gateway.sandbox.options import SandboxOptions
    from allocation_gateway.settings import Settings

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
_log = structlog.get_logger()


class Stop:
    """The wish to stop, from outside. A second signal ends the process at once."""

    def __init__(self) -> None:
        self._wished = asyncio.Event()
        self.by_hand = False
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            loop.add_signal_handler(number, self._signalled, number)

    def _signalled(self, number: signal.Signals) -> None:
        if self._wished.is_set():
            os._exit(128 + number)
        self.by_hand = number is signal.SIGINT
        self._wished.set()

    async def wait(self) -> None:
        """Waits for the first signal."""
        await self._wished.wait()


async def serve(
    settings: Settings,
    environ: Mapping[str, str],
    *,
    sandbox: SandboxOptions | None,
    on_ready: Callable[[str, str], None],
) -> None:
    """Runs a gateway until it is told to stop, and then drains it.

    Args:
        settings: The configuration.
        environ: The process's environment, for the variables of OpenTelemetry.
        sandbox: If given, a sandbox is started too, and stands in for upstream.
        on_ready: Is told the gateway's address and the sandbox's URL (empty without one) once calls are accepted.

    Raises:
        ConfigurationError: It cannot start: a port is taken, or a file cannot be used.
    """
    stop = Stop()
    async with AsyncExitStack() as stack:
        # Left last: whatever happens while the rest is taken down is still told.
        observed = telemetry.from_environment(environ)
        stack.push_async_callback(observed.close, settings.telemetry_flush_timeout)
        sandbox_url = ""
        if sandbox is not None:
            settings, sandbox_url = await _start_sandbox(settings, sandbox, stack)
        upstreams = configured_upstreams(settings)
        for upstream in upstreams.values():
            stack.push_async_callback(upstream.close)
        groups = open_groups(
            settings, Listings(upstreams if settings.service_group_listing else {}, observed), observed
        )
        stack.push_async_callback(groups.close)
        gateway = Gateway(
            settings=settings,
            telemetry=observed,
            groups=groups,
            admission=Admission(settings.max_concurrent_calls),
            writes=Writes(),
            upstreams=upstreams,
        )
        listener = Listener(settings, gateway)
        await listener.start()
        addresses = {"address": listener.address, "health": listener.health_address, "sandbox": sandbox_url}
        _log.info("listening", **{name: address for name, address in addresses.items() if address})
        on_ready(listener.address, sandbox_url)
        await stop.wait()
        await _drain(settings, listener, gateway, delay=0.0 if stop.by_hand else settings.shutdown_delay)
    _log.info("stopped")


async def _start_sandbox(settings: Settings, options: SandboxOptions, stack: AsyncExitStack) -> tuple[Settings, str]:
    # On demand: a gateway in production pays neither the memory nor the start-up time of another HTTP server.
    from allocation_gateway.sandbox.server import Sandbox

    try:
        sandbox = await stack.enter_async_context(Sandbox(options))
    except OSError as error:
        raise ConfigurationError(f"{variable('sandbox_port')}: {error.strerror}") from error
    pointed = msgspec.structs.replace(
        settings,
        ship_base_url=sandbox.ship_base_url,
        consignments_base_url=sandbox.consignments_base_url,
    )
    return pointed, sandbox.base_url


def configured_upstreams(settings: Settings) -> Mapping[Api, Upstream]:
    """Returns the APIs that are configured, which those with a key are."""
    keys = {api: settings.key(api.value) for api in Api}
    return {api: Upstream(settings, api, key) for api, key in keys.items() if key}


async def _drain(settings: Settings, listener: Listener, gateway: Gateway, delay: float) -> None:
    """Ends the service: first nobody new is sent here, then nobody new is let in, then everyone is seen off."""
    _log.info("draining", in_hand=gateway.admission.in_hand)
    await listener.stop_serving()
    # Whoever routes calls here learns of it only after a while; until then they are still answered.
    await asyncio.sleep(delay)
    clock = asyncio.get_running_loop().time
    end = clock() + settings.shutdown_grace
    await listener.stop(settings.shutdown_grace)
    given_up = await gateway.writes.drain(max(end - clock(), 0.0))
    if given_up:
        _log.error("writes_given_up", count=given_up)

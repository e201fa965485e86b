"""The composition root: builds a gateway from its settings, runs it, and takes it down in the right order."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

import structlog

from allocation_gateway import stand_in
from allocation_gateway.accounts.book import Accounts
from allocation_gateway.accounts.file import AccountsFile
from allocation_gateway.accounts.opening import Opener
from allocation_gateway.callers.opening import open_guard
from allocation_gateway.claims.opening import open_stores
from allocation_gateway.following import FollowedFiles
from allocation_gateway.operations import table as operations
from allocation_gateway.release import check_settings
from allocation_gateway.rpc.admission import Admission
from allocation_gateway.rpc.base import Gateway
from allocation_gateway.rpc.listener import Listener
from allocation_gateway.settings import API_NAMES
from allocation_gateway.telemetry import providers, runtime
from allocation_gateway.writes.coordinator import Coordinator

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from allocation_gateway.accounts.model import Account
    from allocation_gateway.claims.opening import Stores
    from allocation_gateway.release import CheckedFiles
    from allocation_gateway.settings import Secret, Settings
    from allocation_gateway.telemetry.instruments import Instruments
    from allocation_gateway.telemetry.pages import SharedPage
    from allocation_gateway.telemetry.telemetry import Telemetry

# So many objects more than before there must be until the garbage collector looks for cycles among them: those of some
# 500 calls in flight. A look takes 1.4 ms.
_YOUNG_OBJECTS: Final = 30_000
# Young collections before the garbage collector also examines the next generation.
_YOUNG_COLLECTIONS: Final = 50
# Seconds after which a thread gives way to one that waits. The event loop gives way itself at each system call, so
# several times in a call: while a thread reads a large answer or exports telemetry, it waits for so long each time.
_TURN: Final = 0.001
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

    def wish(self) -> None:
        """Wishes the end from within the process."""
        self._wished.set()

    async def wait(self) -> None:
        """Waits for the first signal."""
        await self._wished.wait()


class Rereading:
    """SIGHUP: has the files read again that may be replaced while the gateway runs. It never ends the process.

    Attributes:
        parts: What reads them.
    """

    def __init__(self) -> None:
        self.parts: list[Callable[[], Awaitable[None]]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._signalled)

    def _signalled(self) -> None:
        _log.info("rereading_files")
        for part in self.parts:
            task = asyncio.ensure_future(self._read(part))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    @staticmethod
    async def _read(part: Callable[[], Awaitable[None]]) -> None:
        try:
            await part()
        except Exception:  # noqa: BLE001 - whatever is in a file must not end the process
            _log.exception("defect", part="rereading")


class Supervision(Protocol):
    """What surrounds a gateway that is one worker of several.

    Attributes:
        worker: Its number.
        restarts: How often it has been replaced.
        page: The page for Prometheus that all workers share; None if none is asked for.
    """

    worker: int
    restarts: int
    page: SharedPage | None

    def begin(self, stop: Stop) -> None:
        """Follows the supervisor from now on, and wishes the end when the supervisor has gone."""

    async def join(self, listener: Listener) -> None:
        """Tells that calls are accepted, and waits until all workers accept them."""


async def serve(
    settings: Settings,
    environ: Mapping[str, str],
    *,
    with_sandbox: bool = False,
    on_ready: Callable[[str, str], None] = lambda *_: None,
    supervision: Supervision | None = None,
) -> None:
    """Runs a gateway until it is told to stop, and then drains it.

    Args:
        settings: The configuration.
        environ: The process's environment, for the variables of OpenTelemetry.
        with_sandbox: Whether a sandbox is started too, and stands in for upstream.
        on_ready: Is told the gateway's address and the sandbox's URL (empty without one) once calls are accepted.
        supervision: If given, this gateway is one of several behind one port, and their supervisor says what is ready.

    Raises:
        ConfigurationError: It cannot start: a setting cannot be used, or a port is taken.
    """
    files = check_settings(settings)
    stop = Stop()
    rereading = Rereading()
    if supervision is not None:
        supervision.begin(stop)
    async with AsyncExitStack() as stack:
        # Left last: whatever happens while the rest is taken down is still told.
        worker, page = (None, None) if supervision is None else (supervision.worker, supervision.page)
        observed = providers.from_environment(environ, worker=worker, shared=page)
        stack.push_async_callback(observed.close, settings.telemetry_flush_timeout)
        sandbox_url = ""
        if with_sandbox:
            sandbox = stand_in.running(settings.sandbox_port, settings.sandbox_shipments)
            places = await stack.enter_async_context(sandbox)
            sandbox_url = places.root
            settings = settings.at(ship_base_url=places.ship, consignments_base_url=places.consignments)
        followed = FollowedFiles()
        admission = Admission(settings.max_concurrent_calls)
        writes = Coordinator(settings, observed, has_calls=admission.has_calls)
        accounts = await _open_accounts(settings, files, writes, observed, followed, rereading, stack)
        guard = await open_guard(settings, files.callers, observed, followed, stack)
        if guard is not None:
            rereading.parts.extend(guard.rereads)
        gateway = Gateway(
            settings=settings,
            telemetry=observed,
            admission=admission,
            writes=writes,
            accounts=accounts,
            guard=guard,
            followed=followed,
        )
        listener = Listener(settings, gateway)
        rereading.parts.append(listener.reread)
        _observe_state(gateway, listener, stack)
        if supervision is not None:
            observed.metrics.observe_worker(supervision.worker, supervision.restarts)
        _spare_the_collector()
        sys.setswitchinterval(_TURN)
        await listener.start()
        if supervision is None:
            listener.start_serving()
            addresses = {"address": listener.address, "health": listener.health_address, "sandbox": sandbox_url}
            _log.info("listening", **{name: address for name, address in addresses.items() if address})
            on_ready(listener.address, sandbox_url)
        else:
            await _join(supervision, listener, stop)
        await stop.wait()
        await _drain(settings, listener, gateway, delay=0.0 if stop.by_hand else settings.shutdown_delay)
    _log.info("stopped")


def _observe_state(gateway: Gateway, listener: Listener, stack: AsyncExitStack) -> None:
    """Registers the metrics that tell the state of the gateway and of its process whenever they are collected."""
    metrics, admission, accounts = gateway.telemetry.metrics, gateway.admission, gateway.accounts
    pauses = stack.enter_context(runtime.CollectorPauses())
    metrics.observe_process(runtime.cpu_seconds, runtime.memory_bytes, pauses.seconds, runtime.uptime_seconds)
    metrics.observe_workers(gateway.settings.workers)
    metrics.observe_serving(lambda: listener.is_serving)
    metrics.observe_calls(lambda: admission.in_hand, gateway.settings.max_concurrent_calls)
    metrics.observe_writes(gateway.writes.by_phase, gateway.writes.longest_doubt)
    metrics.expect_write_events(row.full_name for row in operations.OPERATIONS if row.action.writes)
    accounts.on_end(partial(_forget_metrics, accounts, metrics))
    metrics.observe_streams(listener.streams.open_calls, listener.streams.items, listener.streams.lags)
    metrics.observe_connections(
        lambda: [told for upstream in accounts.upstreams() for told in upstream.connections()],
        lambda: [upstream.connection_limit() for upstream in accounts.upstreams()],
    )
    metrics.observe_files(gateway.followed.written_at, gateway.followed.usable)
    metrics.observe_groups(
        lambda: [told for account in accounts for told in account.groups.directory.counts()],
        lambda: [told for account in accounts for told in account.groups.directory.listing_ages()],
    )
    lag = asyncio.create_task(runtime.measure_lag(metrics.loop_lag))
    stack.callback(lag.cancel)


def _forget_metrics(accounts: Accounts, metrics: Instruments, account: Account) -> None:
    """Tells nothing more of an account that has ended, unless one of its name has taken its place."""
    if accounts.get(account.name) is None:
        metrics.forget_account(account.name)


def _spare_the_collector() -> None:
    """Makes the garbage collector run less often, and look at little beside what calls make.

    A call leaves it nothing to find, but holds some sixty objects while upstream works on it: at the usual threshold
    they are looked through several times each, which is a sixth of all the time. What has outlived a collection is the
    calls in flight: to look through all of it again costs up to 0.2 s if they are many, and is seldom worth it.
    docs/decisions/0002-hot-path.md has the numbers.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS, _YOUNG_COLLECTIONS, gc.get_threshold()[2])


async def _open_accounts(
    settings: Settings,
    files: CheckedFiles,
    writes: Coordinator,
    observed: Telemetry,
    followed: FollowedFiles,
    rereading: Rereading,
    stack: AsyncExitStack,
) -> Accounts:
    """Opens the account of the settings, and those of the file of accounts, which is followed from then on."""
    stores = await open_stores(settings, observed)
    stack.push_async_callback(stores.close)
    opener = Opener(stores, observed, followed, files.catalogue)
    default = await opener.open(settings)
    stack.push_async_callback(default.closing.aclose)
    accounts = Accounts(default)
    rereading.parts.append(accounts.reread)
    if settings.accounts_file is not None:
        content, found = files.accounts
        if settings.is_sandboxed:
            # They were read before it was known where the sandbox listens.
            where = {f"{api}_base_url": settings.api(api).base_url for api in API_NAMES}
            found = {name: each.at(**where) for name, each in found.items()}
        state = followed.add("accounts_file")
        file = AccountsFile(settings, settings.accounts_file, content, accounts, opener, writes, state)
        stack.push_async_callback(file.close)
        await file.use(found)
        following = asyncio.create_task(file.run())
        stack.callback(following.cancel)
        rereading.parts.append(file.reread)
    _follow_server_credentials(settings, stores, accounts, followed, rereading, stack)
    return accounts


def _follow_server_credentials(
    settings: Settings,
    stores: Stores,
    accounts: Accounts,
    followed: FollowedFiles,
    rereading: Rereading,
    stack: AsyncExitStack,
) -> None:
    """Follows the files that the URLs of the store and of the cache name."""

    async def renew_cache() -> None:
        for account in accounts:
            account.groups.renew_connections()

    renewals = {"store_url": stores.renew, "cache_url": renew_cache}
    urls: dict[str, Secret] = {name: getattr(settings, name) for name in renewals}
    for name, url in urls.items():
        if url:
            # On demand: whoever needs no server pays neither the memory nor the start-up time of its client.
            from allocation_gateway.server_credentials import ServerCredentials

            credentials = ServerCredentials(name, url, followed, renew=renewals[name])
            following = asyncio.create_task(credentials.run())
            stack.callback(following.cancel)
            rereading.parts.append(credentials.reread)


async def _join(supervision: Supervision, listener: Listener, stop: Stop) -> None:
    """Turns health to SERVING once all workers accept calls, unless the end is wished before."""
    tasks = [asyncio.create_task(supervision.join(listener)), asyncio.create_task(stop.wait())]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    joined = tasks[0].done()
    for task in tasks:
        task.cancel()
    if joined:
        listener.start_serving()


async def _drain(settings: Settings, listener: Listener, gateway: Gateway, delay: float) -> None:
    """Ends the service: first nobody new is sent here, then nobody new is let in, then everyone is seen off."""
    _log.info("draining", in_hand=gateway.admission.in_hand)
    listener.stop_serving()
    # Whoever routes calls here learns of it only after a while; until then they are still answered.
    await asyncio.sleep(delay)
    clock = asyncio.get_running_loop().time
    end = clock() + settings.shutdown_grace
    await listener.stop(settings.shutdown_grace)
    given_up = await gateway.writes.drain(max(end - clock(), 0.0))
    if given_up:
        _log.error("writes_given_up", count=given_up)

"""Replication: replicas share what they know of service groups by way of a Valkey or Redis server.

No call waits for the server, except for one that needs upstream's listing, and that one only for a bounded time. What
is learned is written and published in the background, and what others publish is taken into memory. After it has
connected, a replica first subscribes, and then merges the state of the server with its own. Every entry carries the
time at which it was learned, and every invalidation the time until which it counts. The later of two wins, so that
neither order nor repetition matters.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final, Protocol

import structlog
from redis import exceptions

from allocation_gateway.groups import shared_entries
from allocation_gateway.groups.cache_connections import CacheConnections
from allocation_gateway.groups.shared_entries import Invalidation, ObservedCode, SharedListing
from allocation_gateway.server_diagnosis import diagnose
from allocation_gateway.settings import DEFAULT_ACCOUNT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from allocation_gateway.operations.model import Api
    from allocation_gateway.settings import Secret

_HEARTBEAT_INTERVAL: Final = 1.0
_SYNC_INTERVAL: Final = 15.0
# Seconds for a command that no call waits for.
_COMMAND_TIMEOUT: Final = 1.0
_MIN_RECONNECT_PAUSE: Final = 0.05
_MAX_RECONNECT_PAUSE: Final = 0.5
_DEFECT_PAUSE: Final = 30.0
# A single late heartbeat may be due to this process itself.
_MAX_LATE_HEARTBEATS: Final = 2
# Commands that wait to be sent. The oldest ones are dropped beyond that: the next sync makes up for them.
_MAX_PENDING_COMMANDS: Final = 1_000
_DIGEST_LENGTH: Final = 12
_FAILURES: Final = (exceptions.RedisError, OSError, TimeoutError)
# What a node of a cluster answers if another one has the key, or if the cluster is down.
_OF_CLUSTERS: Final = (exceptions.AskError, exceptions.ClusterDownError, exceptions.TryAgainError)
# What shows that a server is of no use, whatever it answers to other commands.
_REFUSALS: Final = (exceptions.NoPermissionError, exceptions.ReadOnlyError, *_OF_CLUSTERS)
_log = structlog.get_logger()


class Peer(Protocol):
    """What a replica keeps in memory."""

    def observed_elsewhere(self, api: Api, observed: ObservedCode) -> None:
        """Is called with a code that another replica has observed."""

    def forgotten_elsewhere(self, api: Api, until: float) -> None:
        """Forgets what was learned until a time."""

    def observed_codes(self, api: Api) -> Iterable[ObservedCode]:
        """Returns the codes that are known to have been observed."""

    def forgotten_until(self, api: Api) -> float:
        """Returns until when everything that was learned has been forgotten; zero if nothing has."""


class _Keys:
    """The names of the keys and of the channel for one API of one account.

    They contain the version of the entries, so that releases do not overwrite each other's, the account unless it is
    the one that the settings are of, and a digest of the API's address, so that nothing that is known of a test
    environment is taken for known of another one.
    """

    def __init__(self, namespace: str, api: Api, base_url: str, account: str) -> None:
        digest = hashlib.sha256(base_url.rstrip("/").encode()).hexdigest()[:_DIGEST_LENGTH]
        # Neither an API nor an account has an @ in its name.
        part = api.value if account == DEFAULT_ACCOUNT else f"{api.value}@{account}"
        prefix = f"{namespace}:{shared_entries.VERSION}:{part}:{digest}"
        self.observed = f"{prefix}:observed"
        self.listing = f"{prefix}:listing"
        self.forgotten = f"{prefix}:forgotten"
        self.channel = f"{prefix}:news"


class Replication:
    """The connection to the server. It is the publisher of a directory, and takes what others publish to it.

    Attributes:
        usable: Whether the server answers, and in time.
    """

    def __init__(
        self,
        url: Secret,
        *,
        namespace: str,
        base_urls: Mapping[Api, str],
        timeout: float,
        ttl: float,
        account: str = DEFAULT_ACCOUNT,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Does not connect yet.

        Args:
            url: The server's URL, with its credentials.
            namespace: The prefix of all keys.
            base_urls: The addresses of the APIs that are configured.
            timeout: Seconds that a call may wait for the server.
            ttl: Seconds for which something learned is trusted at most.
            account: The account whose groups they are.
            clock: Tells the time in seconds of the epoch.

        Raises:
            ValueError: The URL is none of a server.
        """
        self._url = url
        self._connections = CacheConnections(url, command_seconds=_COMMAND_TIMEOUT)
        self._keys = {api: _Keys(namespace, api, base_url, account) for api, base_url in base_urls.items()}
        self._channels = {keys.channel.encode(): api for api, keys in self._keys.items()}
        self._timeout = timeout
        self._ttl = ttl
        self._clock = clock
        self._pending: deque[Callable[[Any], None]] = deque(maxlen=_MAX_PENDING_COMMANDS)
        self._has_pending = asyncio.Event()
        self.usable = False
        self._reported: bool | None = None
        self._logged_reasons: set[str] = set()
        self._on_usable_change: Callable[[bool], None] = lambda _: None

    # Publishing: see Publisher.

    def publish_observed(self, api: Api, observed: ObservedCode) -> None:
        """Shares a code that was observed."""
        if api in self._keys:
            self._send_soon(lambda pipe: self._put_observed(pipe, self._keys[api], observed, publish=True))

    def publish_forgotten(self, api: Api, until: float) -> None:
        """Tells the other replicas to forget what was learned until a time."""
        if api in self._keys:
            self._send_soon(lambda pipe: self._put_forgotten(pipe, self._keys[api], until))

    def publish_listing(self, api: Api, listing: SharedListing) -> None:
        """Keeps upstream's listing for the other replicas."""
        milliseconds = int((listing.trusted_until - self._clock()) * 1000)
        if api in self._keys and milliseconds > 0:
            key = self._keys[api].listing
            self._send_soon(lambda pipe: pipe.set(key, shared_entries.encode(listing), px=milliseconds))

    async def listing(self, api: Api) -> SharedListing | None:
        """Returns upstream's listing as another replica has loaded it; None if there is none, or none in time."""
        if not self.usable or api not in self._keys:
            return None
        try:
            async with asyncio.timeout(self._timeout):
                data = await self._connections.client.get(self._keys[api].listing)
        except _FAILURES as error:
            self._connection_failed(error)
            return None
        return shared_entries.decode(data, SharedListing)

    def _send_soon(self, command: Callable[[Any], None]) -> None:
        self._pending.append(command)
        self._has_pending.set()

    def _put_observed(self, pipe: Any, keys: _Keys, observed: ObservedCode, *, publish: bool) -> None:
        data = shared_entries.encode(observed)
        pipe.hset(keys.observed, observed.code, data)
        # No entry of the hash is trusted for longer than that after the last one was put in.
        pipe.pexpire(keys.observed, int(self._ttl * 1000) + 1)
        if publish:
            pipe.publish(keys.channel, data)

    def _put_forgotten(self, pipe: Any, keys: _Keys, until: float) -> None:
        pipe.zadd(keys.forgotten, {"at": until}, gt=True)
        pipe.pexpire(keys.forgotten, int(self._ttl * 1000) + 1)
        pipe.publish(keys.channel, shared_entries.encode(Invalidation(shared_entries.VERSION, until)))

    # The connection.

    def renew(self) -> None:
        """Makes new connections in place of those that there are."""
        self._connections.renewal.set()

    async def run(self, peer: Peer, on_usable_change: Callable[[bool], None]) -> None:
        """Keeps the connection up until it is cancelled.

        Args:
            peer: Takes what others publish, and is asked for what it knows.
            on_usable_change: Is called when the server becomes usable, and when it ceases to be.
        """
        self._on_usable_change = on_usable_change
        pause = _MIN_RECONNECT_PAUSE
        while True:
            try:
                if self._connections.renewal.is_set():
                    await self._connections.replace(self._timeout)
                await self._session(peer)
                pause = _MIN_RECONNECT_PAUSE
            except* _FAILURES as group:
                pause = min(pause * 2, _MAX_RECONNECT_PAUSE) if not self.usable else _MIN_RECONNECT_PAUSE
                self._connection_failed(group.exceptions[0])
            except* Exception:  # noqa: BLE001 - whatever the server sends must not end the replication for good
                _log.exception("defect", part="cache")
                pause = _DEFECT_PAUSE
                self._set_usable(usable=False, reason="defect")
            await asyncio.sleep(pause)

    async def _session(self, peer: Peer) -> None:
        async with self._connections.client.pubsub() as pubsub:
            # First, so that nothing that is published while the state is merged goes unheard.
            await pubsub.subscribe(*self._channels)
            await self._check_is_writable()
            await self._sync(peer)
            work = [self._receive(peer, pubsub), self._send(), self._check_health(peer)]
            async with asyncio.TaskGroup() as tasks:
                running = [tasks.create_task(one) for one in work]
                await self._connections.renewal.wait()
                # What was being sent is made up for by the next session, which begins with a sync.
                for task in running:
                    task.cancel()

    async def _check_is_writable(self) -> None:
        """Raises ReadOnlyError if the server is a replica of another one, as far as it lets itself be asked."""
        try:
            replication: dict[str, Any] = await self._connections.client.info("replication")
        except exceptions.ResponseError:
            return
        if replication.get("role") == "slave":
            raise exceptions.ReadOnlyError("it is a replica")

    async def _receive(self, peer: Peer, pubsub: Any) -> None:
        while True:
            message = await pubsub.get_message(ignore_subscribe_messages=True, timeout=None)
            if message is None or message["type"] != "message":
                continue
            api = self._channels[message["channel"]]
            match shared_entries.decode_any(message["data"]):
                case ObservedCode() as observed:
                    peer.observed_elsewhere(api, observed)
                case Invalidation(at=until):
                    peer.forgotten_elsewhere(api, until)

    async def _send(self) -> None:
        while True:
            await self._has_pending.wait()
            self._has_pending.clear()
            batch = list(self._pending)
            self._pending.clear()
            pipe = self._connections.client.pipeline(transaction=False)
            for command in batch:
                command(pipe)
            if batch:
                await pipe.execute()

    async def _check_health(self, peer: Peer) -> None:
        """Measures at intervals how fast the server answers, and syncs at longer ones in case something was missed."""
        clock = asyncio.get_running_loop().time
        next_sync = clock() + _SYNC_INTERVAL
        late = 0
        while True:
            started = clock()
            await self._connections.client.ping()
            late = late + 1 if clock() - started > self._timeout else 0
            self._set_usable(usable=late < _MAX_LATE_HEARTBEATS, reason="slow")
            if clock() > next_sync:
                await self._sync(peer)
                next_sync = clock() + _SYNC_INTERVAL
            await asyncio.sleep(_HEARTBEAT_INTERVAL)

    async def _sync(self, peer: Peer) -> None:
        """Merges the state of the server and of this replica, so that both are the same."""
        for api, keys in self._keys.items():
            pipe = self._connections.client.pipeline(transaction=False)
            pipe.zscore(keys.forgotten, "at")
            pipe.hgetall(keys.observed)
            # Only to see whether this server has it.
            pipe.exists(keys.listing)
            # A key of another type counts as empty.
            forgotten, observed, _ = _checked(await pipe.execute(raise_on_error=False))
            await self._merge(peer, api, forgotten, observed)

    async def _merge(self, peer: Peer, api: Api, forgotten: object, observed: object) -> None:
        keys = self._keys[api]
        forgotten_there = forgotten if isinstance(forgotten, float) else 0.0
        if forgotten_there:
            peer.forgotten_elsewhere(api, forgotten_there)
        forgotten_here = peer.forgotten_until(api)
        there: dict[str, ObservedCode] = {}
        outdated: list[bytes] = []
        now = self._clock()
        for field, data in observed.items() if isinstance(observed, dict) else ():
            entry = shared_entries.decode(data, ObservedCode)
            if entry is None or entry.code.encode() != field:
                continue  # it is overwritten when the code is observed again
            if entry.trusted_until <= now or entry.learned_at <= forgotten_here:
                outdated.append(field)
                continue
            there[entry.code] = entry
            peer.observed_elsewhere(api, entry)
        pipe = self._connections.client.pipeline(transaction=False)
        if forgotten_here > forgotten_there:
            self._put_forgotten(pipe, keys, forgotten_here)
        if outdated:
            pipe.hdel(keys.observed, *outdated)
        for entry in peer.observed_codes(api):
            known = there.get(entry.code)
            if known is None or known.learned_at < entry.learned_at:
                self._put_observed(pipe, keys, entry, publish=known is None)
        if len(pipe):
            _checked(await pipe.execute(raise_on_error=False))

    def _connection_failed(self, error: BaseException) -> None:
        problem = diagnose(error, self._url, takes_clusters=False)
        self._set_usable(usable=False, reason=problem.kind, problem=problem.text)

    def _set_usable(self, *, usable: bool, reason: str, **more: str) -> None:
        self.usable = usable
        if usable:
            self._logged_reasons.clear()
        elif reason not in self._logged_reasons:
            # Each reason once: a server that cannot be reached at first may refuse the credentials later.
            self._logged_reasons.add(reason)
            _log.warning("cache_not_usable", reason=reason, **more)
        if usable is self._reported:
            return
        self._reported = usable
        if usable:
            _log.info("cache_usable")
        self._on_usable_change(usable)

    async def close(self) -> None:
        """Closes all connections."""
        await self._connections.close()


def _checked(results: list[Any]) -> list[Any]:
    """Returns the results of commands.

    Raises:
        ResponseError: The server is of no use.
    """
    for result in results:
        if isinstance(result, _REFUSALS):
            raise result
    return results

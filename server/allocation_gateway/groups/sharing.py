"""The part of what is known of service groups that replicas share, by way of a Valkey or Redis server.

No call waits for it, but for one that misses upstream's list, and that one not for long. What is learned is written and
published behind the call's back; what others publish is taken into memory. Whoever connects, anew or after the server
was away, subscribes first, and then brings both sides to the same state: everything learned carries when it was
learned, everything forgotten until when, and the later of two wins, so that order and repetition do not matter.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final, Protocol

import structlog
from redis.asyncio import Redis
from redis.exceptions import NoPermissionError, ReadOnlyError, RedisError, ResponseError

from allocation_gateway.groups import entries
from allocation_gateway.groups.entries import Forgotten, Learned, Listed
from allocation_gateway.pooling import diagnose, open_pool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from allocation_gateway.operations.model import Api
    from allocation_gateway.settings import Secret

BEAT: Final = 1.0
SYNC: Final = 15.0
# Seconds for one command of those that no call waits for.
COMMAND_TIMEOUT: Final = 1.0
_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 0.5
_DEFECT_PAUSE: Final = 30.0
_LATE_BEATS: Final = 2
_CONNECTIONS: Final = 4
# What could not be sent yet. More is not lost: bringing both sides to the same state makes up for it.
_MOST_PENDING: Final = 1_000
_DIGEST: Final = 12
_FAILURES: Final = (RedisError, OSError, TimeoutError)
_log = structlog.get_logger()


class Peer(Protocol):
    """What is told of what others know, and asked for what is known here."""

    def learned_elsewhere(self, api: Api, entry: Learned) -> None:
        """Takes in a code that was seen to work."""

    def forgotten_elsewhere(self, api: Api, at: float) -> None:
        """Forgets what was learned up to a moment."""

    def learned_here(self, api: Api) -> Iterable[Learned]:
        """Returns the codes that were seen to work."""

    def forgotten_here(self, api: Api) -> float:
        """Returns up to when everything is forgotten; zero if nothing is."""


class _Keys:
    """The names of what is kept for one API of one account.

    The version is part of them, so that releases do not overwrite each other's, and so is the API's address: what is
    known of a test environment is not known of the real one.
    """

    def __init__(self, namespace: str, api: Api, base_url: str) -> None:
        digest = hashlib.sha256(base_url.rstrip("/").encode()).hexdigest()[:_DIGEST]
        prefix = f"{namespace}:{entries.VERSION}:{api.value}:{digest}"
        self.observed = f"{prefix}:observed"
        self.listing = f"{prefix}:listing"
        self.forgotten = f"{prefix}:forgotten"
        self.channel = f"{prefix}:news"


class Sharing:
    """The connection to the server, and what goes over it.

    Attributes:
        usable: Whether the server answers, and fast enough.
    """

    def __init__(
        self,
        url: Secret,
        peer: Peer,
        *,
        namespace: str,
        base_urls: Mapping[Api, str],
        timeout: float,
        ttl: float,
        on_state: Callable[[bool], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Does not connect yet.

        Args:
            url: Where the server is, with its credentials.
            peer: What is told of what others know.
            namespace: What the names of all keys begin with.
            base_urls: The addresses of the APIs that are configured.
            timeout: Seconds that a call may wait for the server.
            ttl: Seconds for which something learned is trusted at most.
            on_state: Is told when the server becomes usable or ceases to be.
            clock: Tells the time in seconds of the epoch.

        Raises:
            ValueError: The URL is none of a server.
        """
        self._url = url
        self._pool = open_pool(url, connections=_CONNECTIONS, timeout=COMMAND_TIMEOUT)
        self._client = Redis(connection_pool=self._pool)
        self._peer = peer
        self._keys = {api: _Keys(namespace, api, base_url) for api, base_url in base_urls.items()}
        self._channels = {keys.channel.encode(): api for api, keys in self._keys.items()}
        self._timeout = timeout
        self._ttl = ttl
        self._on_state = on_state
        self._clock = clock
        self._pending: deque[Callable[[Any], None]] = deque(maxlen=_MOST_PENDING)
        self._wake = asyncio.Event()
        self.usable = False
        self._told: bool | None = None
        self._reasons: set[str] = set()

    # What goes out.

    def learned(self, api: Api, code: str, learned_at: float, trusted_until: float) -> None:
        """Tells the others of a code that was seen to work."""
        if api in self._keys:
            self._send_later(
                lambda pipe: self._write_learned(
                    pipe, self._keys[api], Learned(entries.VERSION, code, learned_at, trusted_until), news=True
                )
            )

    def forget(self, api: Api, at: float) -> None:
        """Tells the others to forget what was learned up to a moment."""
        if api in self._keys:
            self._send_later(lambda pipe: self._write_forgotten(pipe, self._keys[api], at))

    def listed(self, api: Api, listing: Listed) -> None:
        """Keeps upstream's list for the others."""
        left = int((listing.trusted_until - self._clock()) * 1000)
        if api in self._keys and left > 0:
            key = self._keys[api].listing
            self._send_later(lambda pipe: pipe.set(key, entries.encode(listing), px=left))

    async def listing(self, api: Api) -> Listed | None:
        """Returns upstream's list as another replica has read it; None if there is none to be had now."""
        if not self.usable or api not in self._keys:
            return None
        try:
            async with asyncio.timeout(self._timeout):
                data = await self._client.get(self._keys[api].listing)
        except _FAILURES as error:
            self._lost(error)
            return None
        return entries.decode(data, Listed)

    def _send_later(self, write: Callable[[Any], None]) -> None:
        self._pending.append(write)
        self._wake.set()

    def _write_learned(self, pipe: Any, keys: _Keys, entry: Learned, *, news: bool) -> None:
        data = entries.encode(entry)
        pipe.hset(keys.observed, entry.code, data)
        # Nothing in it is trusted for longer than that after the last time that something was put in.
        pipe.pexpire(keys.observed, int(self._ttl * 1000) + 1)
        if news:
            pipe.publish(keys.channel, data)

    def _write_forgotten(self, pipe: Any, keys: _Keys, at: float) -> None:
        pipe.zadd(keys.forgotten, {"at": at}, gt=True)
        pipe.pexpire(keys.forgotten, int(self._ttl * 1000) + 1)
        pipe.publish(keys.channel, entries.encode(Forgotten(entries.VERSION, at)))

    # The connection.

    async def run(self) -> None:
        """Keeps up the connection until it is cancelled."""
        pause = _FIRST_PAUSE
        while True:
            try:
                await self._session()
            except* _FAILURES as group:
                pause = min(pause * 2, _LONGEST_PAUSE) if not self.usable else _FIRST_PAUSE
                self._lost(group.exceptions[0])
            except* Exception:  # noqa: BLE001 - whatever comes from the server must not end the sharing for good
                _log.exception("defect", part="cache")
                pause = _DEFECT_PAUSE
                self._set_usable(usable=False, reason="defect")
            await asyncio.sleep(pause)

    async def _session(self) -> None:
        async with self._client.pubsub() as pubsub:
            # First of all, so that nothing is published unheard while the rest is read.
            await pubsub.subscribe(*self._channels)
            await self._refuse_replica()
            await self._sync()
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._receive(pubsub))
                tasks.create_task(self._send())
                tasks.create_task(self._beat())

    async def _refuse_replica(self) -> None:
        """Makes sure that what is learned can be written, as far as the server lets itself be asked."""
        try:
            replication: dict[str, Any] = await self._client.info("replication")
        except ResponseError:
            return
        if replication.get("role") == "slave":
            raise ReadOnlyError("it is a replica")

    async def _receive(self, pubsub: Any) -> None:
        while True:
            message = await pubsub.get_message(ignore_subscribe_messages=True, timeout=None)
            if message is not None and message["type"] == "message":
                self._take(self._channels[message["channel"]], entries.decode_any(message["data"]))

    def _take(self, api: Api, entry: entries.Entry | None) -> None:
        if isinstance(entry, Learned):
            self._peer.learned_elsewhere(api, entry)
        elif isinstance(entry, Forgotten):
            self._peer.forgotten_elsewhere(api, entry.at)

    async def _send(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            batch = list(self._pending)
            self._pending.clear()
            pipe = self._client.pipeline(transaction=False)
            for write in batch:
                write(pipe)
            if batch:
                await pipe.execute()

    async def _beat(self) -> None:
        """Asks the server again and again how fast it answers, and now and then makes sure that nothing was missed."""
        clock = asyncio.get_running_loop().time
        next_sync = clock() + SYNC
        late = 0
        while True:
            started = clock()
            await self._client.ping()
            # One late answer can be this process's own fault.
            late = late + 1 if clock() - started > self._timeout else 0
            self._set_usable(usable=late < _LATE_BEATS, reason="slow")
            if clock() > next_sync:
                await self._sync()
                next_sync = clock() + SYNC
            await asyncio.sleep(BEAT)

    async def _sync(self) -> None:
        """Brings both sides to the same state."""
        for api, keys in self._keys.items():
            pipe = self._client.pipeline(transaction=False)
            pipe.zscore(keys.forgotten, "at")
            pipe.hgetall(keys.observed)
            # A key that holds something of another type is as good as none.
            forgotten, observed = _permitted(await pipe.execute(raise_on_error=False))
            await self._merge(api, keys, forgotten, observed)

    async def _merge(self, api: Api, keys: _Keys, forgotten: object, observed: object) -> None:
        at = forgotten if isinstance(forgotten, float) else 0.0
        if at:
            self._peer.forgotten_elsewhere(api, at)
        mine = self._peer.forgotten_here(api)
        there: dict[str, Learned] = {}
        useless: list[bytes] = []
        now = self._clock()
        for field, data in observed.items() if isinstance(observed, dict) else ():
            entry = entries.decode(data, Learned)
            if entry is None or entry.code.encode() != field:
                continue  # whoever writes there next puts it right
            if entry.trusted_until <= now or entry.learned_at <= mine:
                useless.append(field)
                continue
            there[entry.code] = entry
            self._peer.learned_elsewhere(api, entry)
        pipe = self._client.pipeline(transaction=False)
        if mine > at:
            self._write_forgotten(pipe, keys, mine)
        if useless:
            pipe.hdel(keys.observed, *useless)
        for entry in self._peer.learned_here(api):
            known = there.get(entry.code)
            if known is None or known.learned_at < entry.learned_at:
                self._write_learned(pipe, keys, entry, news=known is None)
        if len(pipe):
            _permitted(await pipe.execute(raise_on_error=False))

    def _lost(self, error: BaseException) -> None:
        problem = diagnose(error, self._url)
        self._set_usable(usable=False, reason=problem.kind, problem=problem.text)

    def _set_usable(self, *, usable: bool, reason: str, **more: str) -> None:
        self.usable = usable
        if usable:
            self._reasons.clear()
        elif reason not in self._reasons:
            # Each reason once: a server that first could not be reached can then turn out to refuse the credentials.
            self._reasons.add(reason)
            _log.warning("cache_not_usable", reason=reason, **more)
        if usable is self._told:
            return
        self._told = usable
        if usable:
            _log.info("cache_usable")
        self._on_state(usable)

    async def close(self) -> None:
        """Closes all connections."""
        await self._client.aclose()
        await self._pool.disconnect()


def _permitted(results: list[Any]) -> list[Any]:
    """Returns the results of commands, none of which was refused for what the user of the URL may not do."""
    for result in results:
        if isinstance(result, NoPermissionError | ReadOnlyError):
            raise result
    return results

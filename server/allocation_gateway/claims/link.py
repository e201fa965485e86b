"""Keeps a connection to the primary: looks for it anew whenever the one that there was cannot be used any more.

Whatever says that a server is not the one to write to, or not ready, leads to a new connection, for which the address
is looked up anew, and the server is checked. While the primary has only just been lost, steps wait for the next one,
each within its time: a failover is often over by then. Later they are told when the next attempt has failed.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import structlog
from redis.exceptions import RedisError

from allocation_gateway import tasks
from allocation_gateway.claims.checks import UnusableServerError
from allocation_gateway.claims.patience import PatientLimit

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from allocation_gateway.claims.connection import StoreConnection
    from allocation_gateway.claims.primary import Locator
    from allocation_gateway.settings.server_url import ServerUrl

# uvloop raises RuntimeError if the connection was closed during a write; a host name that cannot be encoded raises
# UnicodeError.
FAILURES: Final = (RedisError, OSError, TimeoutError, UnusableServerError, UnicodeError, RuntimeError)
# Seconds after the loss of a primary for which steps wait for the next one.
FAILOVER_WAIT: Final = 2.0
_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 0.25
# Seconds of silence after which a server is asked for a sign, unless the URL says how many.
_PING_AFTER: Final = 1.0
# Seconds for which a connection has to be of use before the next one is made without a pause.
_STEADY: Final = 1.0
_CLOSING: Final = 1.0
_log = structlog.get_logger()


class _Made(NamedTuple):
    """A connection, and where it leads to."""

    connection: StoreConnection
    target: ServerUrl


class PrimaryLink:
    """The connection to the primary.

    Attributes:
        host: The host that the connection is to lead to, if one is named.
        connection: The connection to be asked, if it is open; None if there is none.
        target: Where it leads to, or where the primary was looked for last; None if it is not known.
    """

    def __init__(
        self,
        locator: Locator,
        connect: Callable[[ServerUrl], Awaitable[StoreConnection]],
        *,
        timeout: float,
        on_failure: Callable[[BaseException, ServerUrl | None], bool],
        on_contact: Callable[[], None],
        host: str = "",
    ) -> None:
        """Does not connect yet.

        Args:
            locator: Finds the primary.
            connect: Makes a connection to it, and checks it.
            timeout: Seconds that connecting may take, but for those in which this process was too busy for it.
            on_failure: Is told why an attempt has failed, and where. Returns whether that lasts until somebody changes
                a configuration.
            on_contact: Is told when a connection has been made and checked, and each time that it is looked at and is
                still of use: whoever asks for nothing learns by that alone that the server is there again.
            host: The host that the connection is to lead to, if one is named.
        """
        self.host = host
        self._locator = locator
        self._connect = connect
        self._timeout = timeout
        self._on_failure = on_failure
        self._on_contact = on_contact
        self.connection: StoreConnection | None = None
        self.target: ServerUrl | None = None
        self._keeping: asyncio.Task[None] | None = None
        # Is done, and replaced, whenever an attempt has ended.
        self._news: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._failure: BaseException | None = None
        self._failed_at = 0.0
        self._is_lasting = False
        self._lost_at: float | None = None
        self._connections: set[StoreConnection] = set()
        # How often a new connection was asked for, and which of these the latest one was made for.
        self._wanted = self._made_for = 0
        self._is_look_wanted = asyncio.Event()

    def start(self) -> None:
        """Begins to connect, if that was not done."""
        if self._keeping is None:
            self._keeping = asyncio.create_task(self._keep())

    async def connected(self, until: float) -> StoreConnection:
        """Returns an open connection, as soon as there is one.

        Args:
            until: When not to wait any longer, by the monotonic clock.

        Raises:
            Exception: There is none in time, or not after a further attempt: why that has failed. One of FAILURES.
        """
        self.start()
        asked = time.monotonic()
        while (connection := self._open()) is None:
            if self._failure is not None and self._failed_at >= asked and not self._is_failover():
                break
            if (left := until - time.monotonic()) <= 0:
                break
            await asyncio.wait([self._news], timeout=left)
        if connection is None:
            raise (self._failure or TimeoutError("the server cannot be reached in time")).with_traceback(None)
        return connection

    def leave(self, connection: StoreConnection) -> None:
        """Looks for the primary anew: a connection does not lead to it, or it is not ready."""
        connection.retire()

    def renew(self) -> None:
        """Makes a new connection, and lets it take the place of the one that there is, which ends when all is answered.

        As long as none can be made, the one that there is is used.
        """
        self._wanted += 1
        self._is_look_wanted.set()

    def _open(self) -> StoreConnection | None:
        connection = self.connection
        return connection if connection is not None and connection.is_open else None

    def _is_failover(self) -> bool:
        """Tells whether a primary was lost so recently that the next one may be there in a moment."""
        if self._lost_at is None or self._is_lasting:
            return False
        return time.monotonic() < self._lost_at + FAILOVER_WAIT

    async def _keep(self) -> None:
        pause = _FIRST_PAUSE
        while True:
            try:
                made = await self._make()
                used_at = time.monotonic()
                await self._use(made)
                self._lost_at = time.monotonic()
                if self._lost_at > used_at + _STEADY:
                    pause = _FIRST_PAUSE
                    continue
            except FAILURES as error:
                self._failed(error)
            except Exception as error:  # noqa: BLE001 - whatever comes from a server must not end the search for good
                _log.exception("defect", part="claims")
                self._failed(RuntimeError(type(error).__name__))
            # At random, so that processes that lost the same server do not come back in step.
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - no secret
            pause = min(pause * 2, _LONGEST_PAUSE)

    async def _make(self) -> _Made:
        wanted = self._wanted
        # It bounds itself: it keeps what it was told when its time is up.
        self.target = target = await self._locator.locate()
        with PatientLimit(self._timeout):
            connection = await self._connect(target)
        self._connections.add(connection)
        connection.lost.add_done_callback(lambda _: self._connections.discard(connection))
        self._made_for = wanted
        return _Made(connection, target)

    def _failed(self, error: BaseException) -> None:
        self._failure, self._failed_at = error, time.monotonic()
        self._is_lasting = self._on_failure(error, self.target)
        self._tell()

    def _tell(self) -> None:
        news, self._news = self._news, asyncio.get_running_loop().create_future()
        news.set_result(None)

    async def _use(self, made: _Made) -> None:
        """Lets steps use a connection until it ends. One to where the primary has moved takes its place meanwhile."""
        looking: asyncio.Task[_Made | None] | None = None
        try:
            while made.connection.is_open:
                if self.connection is not made.connection:
                    self.connection, self.target = made
                    self._failure = self._lost_at = None
                    self._is_lasting = False
                    self._on_contact()
                    self._tell()
                looking = looking or asyncio.create_task(self._look(made))
                ends: set[asyncio.Future[Any]] = {looking, made.connection.ended}
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
                if looking.done():
                    moved, looking = looking.result(), None
                    if moved is not None:
                        self.leave(made.connection)
                        made = moved
        finally:
            self.connection = None
            self.leave(made.connection)
            if looking is not None:
                await _call_off(looking)

    async def _look(self, made: _Made) -> _Made | None:
        """Sends PING to a silent server, and makes a connection if the primary has moved, or if one is asked for."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._locator.interval):
                await self._is_look_wanted.wait()
        self._is_look_wanted.clear()
        connection, target = made
        after = target.options.get("health_check_interval", _PING_AFTER)
        if after and connection.is_open and time.monotonic() > connection.heard_at + after:
            try:
                await connection.ask("PING")
            except FAILURES:
                self.leave(connection)
                return None
        if connection.is_open:
            self._on_contact()
        try:
            if self._made_for != self._wanted or await self._locator.is_elsewhere(target, connection.peer):
                return await self._make()
        except FAILURES as error:
            # It may be on its way. What there is is of use meanwhile.
            _log.info("claim_store_moving", problem=type(error).__name__)
        return None

    async def leave_for_good(self, seconds: float) -> None:
        """Closes all connections as soon as what was asked is answered, or the time for that is over."""
        if self._keeping is not None:
            # Its connection is retired.
            await tasks.end([self._keeping])
        if lost := [connection.lost for connection in self._connections]:
            await asyncio.wait(lost, timeout=seconds)
        await self.close()

    async def close(self) -> None:
        """Closes all connections."""
        if self._keeping is not None:
            await tasks.end([self._keeping])
        lost = [connection.lost for connection in self._connections]
        for connection in list(self._connections):
            connection.abort()
        if lost:
            await asyncio.wait(lost, timeout=_CLOSING)
        await self._locator.close()


async def _call_off(looking: asyncio.Task[_Made | None]) -> None:
    """Ends a look at whether the primary has moved, and what it has begun: nothing of it is left open."""
    await tasks.end([looking])
    if looking.cancelled() or looking.exception() is not None:
        return
    moved = looking.result()
    if moved is not None:
        moved.connection.abort()

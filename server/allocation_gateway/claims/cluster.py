"""The cluster that keeps the claims of all processes: carries out each step at the node that has its slot.

There is one connection to each node that has slots, or that a step was sent to because a slot is on its way there. The
slots are looked at anew every second, and whenever a node says that a slot is elsewhere, or cannot be reached. What a
node has certainly not carried out is asked for again, where it belongs by then; what it may have carried out is not.
"""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import structlog
from redis import exceptions
from redis.crc import key_slot

from allocation_gateway import tasks
from allocation_gateway.claims import topology
from allocation_gateway.claims.checks import UnusableServerError
from allocation_gateway.claims.connecting import SLOTS_SCRIPT, Connector
from allocation_gateway.claims.health import StoreHealth, is_not_here
from allocation_gateway.claims.link import FAILURES, PrimaryLink
from allocation_gateway.claims.primary import ByName
from allocation_gateway.claims.topology import SLOTS
from allocation_gateway.settings import server_url

if TYPE_CHECKING:
    from collections.abc import Sequence

    from allocation_gateway.claims.connection import StoreConnection
    from allocation_gateway.claims.topology import Address, View
    from allocation_gateway.settings import Secret
    from allocation_gateway.settings.server_url import ServerUrl
    from allocation_gateway.telemetry.telemetry import Telemetry

# Seconds between two looks at the slots, and at least.
_INTERVAL: Final = 1.0
_SHORTEST_INTERVAL: Final = 0.05
# So many nodes are asked at once which slots they know.
_ASKED: Final = 5
# Seconds before a step is asked for again that a node could not carry out now.
_FIRST_PAUSE: Final = 0.02
_LONGEST_PAUSE: Final = 0.25
# Seconds without a failure at any node after which the cluster is said to be usable again.
_FAILURE_FREE_SECONDS: Final = 5.0
# So often a step follows at once to where a node says that its slot is.
_REDIRECTIONS: Final = 3
# Seconds for which the connection is kept to a node without slots that another node has sent a step to.
_KEPT: Final = 30.0
_log = structlog.get_logger()


@dataclass(slots=True)
class _Step:
    """A step, its slot, and whom it is asked of: None if nobody is known to have the slot."""

    slot: int
    command: tuple[str | bytes | int, ...]
    link: PrimaryLink | None


class ClaimCluster:
    """The connections to the nodes, which all stores share."""

    def __init__(
        self, url: Secret, *, timeout: float, checks: str, telemetry: Telemetry, script: str = SLOTS_SCRIPT
    ) -> None:
        """Does not connect yet.

        Args:
            url: Where some of the nodes are, with the credentials of all.
            timeout: Seconds that a step may wait for a connection, and then for a sign of the node.
            checks: What becomes of a node that is not safe: `require`, `warn` or `off`.
            telemetry: Where steps are counted and timed.
            script: What carries out the steps.

        Raises:
            ValueError: The URL is none of a server.
        """
        self._url = server_url.parse(url.reveal())
        self._timeout = timeout
        self._checks = checks
        self._script = script
        self._health = StoreHealth(self._url, telemetry, failure_free_seconds=_FAILURE_FREE_SECONDS)
        self._connector = Connector(timeout=timeout, checks=checks, namespace=None, script=script)
        self._links: dict[Address, PrimaryLink] = {}
        # When each node was last named by another one as where a slot is, or is on its way to.
        self._named: dict[Address, float] = {}
        self._by_slot: list[PrimaryLink | None] = [None] * SLOTS
        self._keeping: asyncio.Task[None] | None = None
        self._is_look_wanted = asyncio.Event()
        # Is done, and replaced, whenever a look has ended.
        self._news: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        # Why the last look has failed; None if it has not.
        self._failure: BaseException | None = None
        self._leaving: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Makes the first contact. A node that cannot be reached is no failure; if no checks are wanted, nothing is.

        Raises:
            UnusableServerError: The cluster cannot be used, or may not be, until somebody changes a configuration.
        """
        self._start()
        await asyncio.wait([self._news], timeout=2 * self._timeout)
        failures: list[tuple[BaseException, ServerUrl | None]] = []
        if self._failure is not None:
            failures.append((self._failure, None))
        until = time.monotonic() + self._timeout
        links = list(self._links.values())
        made = await asyncio.gather(*(link.connected(until) for link in links), return_exceptions=True)
        failures += [
            (one, link.target) for one, link in zip(made, links, strict=True) if isinstance(one, BaseException)
        ]
        if self._checks == "off":
            return
        for failure, target in failures:
            problem = self._health.first_contact_failed(failure, target)
            if isinstance(failure, UnusableServerError):
                raise failure
            if problem.is_lasting:
                raise UnusableServerError(problem.text)

    async def run(self, step: str, keys: Sequence[str], *arguments: str | bytes | int) -> Any:
        """Carries out a step.

        Args:
            step: Its name.
            keys: All its keys, which are in one slot.
            arguments: What the script takes after the step's name.

        Raises:
            StoreUnavailableError: Its node could not be asked, did not answer in time, or must not be used. It may or
                may not have been carried out.
        """
        started = time.perf_counter()
        slot = key_slot(keys[0].encode())
        one = _Step(slot, (len(keys), *keys, step, *arguments), self._by_slot[slot])
        connection = None if one.link is None else one.link.connection
        try:
            if connection is not None and connection.is_open:
                try:
                    found = await connection.ask("EVALSHA", self._connector.sha, *one.command)
                except exceptions.RedisError as error:
                    found = await self._again(one, error, connection)
            else:
                found = await self._again(one)
        except FAILURES as error:
            raise self._health.failed(step, error, None if one.link is None else one.link.target) from None
        self._health.carried_out(step, time.perf_counter() - started)
        return found

    async def _again(
        self, one: _Step, error: Exception | None = None, connection: StoreConnection | None = None
    ) -> Any:
        """Asks for a step that was certainly not carried out, wherever it is to be asked for, until that is too late.

        Raises:
            Exception: It was not carried out in time, or may have been carried out. One of FAILURES.
        """
        until = time.monotonic() + self._timeout
        how: tuple[str, str] = ("EVALSHA", self._connector.sha)
        pause, redirections = _FIRST_PAUSE, 0
        while True:
            # Where its slot is on its way to: only this once, until it is there.
            asked: PrimaryLink | None = None
            if isinstance(error, exceptions.NoScriptError):
                how = ("EVAL", self._script)
            elif isinstance(error, exceptions.AskError) and one.link is not None and redirections < _REDIRECTIONS:
                redirections += 1
                asked = self._follow(error, one.slot, one.link)
            elif error is not None:
                if not self._is_not_carried_out(error, one.link, connection) or time.monotonic() + pause > until:
                    if isinstance(error, exceptions.AskError | exceptions.TryAgainError):
                        # What the nodes say of a slot is told of the one that has it.
                        one.link = self._by_slot[one.slot]
                    raise error
                await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - no secret
                pause, redirections = min(pause * 2, _LONGEST_PAUSE), 0
            connection = await self._connected(one, asked, until)
            try:
                return await _ask(connection, (*how, *one.command), is_asking=asked is not None)
            except exceptions.RedisError as failure:
                error = failure

    def _follow(self, error: exceptions.AskError, slot: int, link: PrimaryLink) -> PrimaryLink | None:
        """Records where a node says that a slot is. Returns whom to ask this once, if it is not there yet."""
        address = (error.host or link.host, error.port)
        self._named[address] = time.monotonic()
        there = self._link(address)
        if not isinstance(error, exceptions.MovedError):
            return there
        self._by_slot[slot] = there
        self._is_look_wanted.set()
        return None

    def _is_not_carried_out(
        self, error: Exception, link: PrimaryLink | None, connection: StoreConnection | None
    ) -> bool:
        """Tells whether a step was certainly not carried out, and may be at another time or place."""
        if not isinstance(error, exceptions.AskError | exceptions.TryAgainError | exceptions.ClusterDownError):
            if not is_not_here(error):
                return False
            if link is not None and connection is not None:
                link.leave(connection)
        self._is_look_wanted.set()
        return True

    async def _connected(self, one: _Step, asked: PrimaryLink | None, until: float) -> StoreConnection:
        """Returns an open connection to the node that has a step's slot, or to the one that is to be asked.

        Raises:
            Exception: There is none in time, or it cannot be known where. One of FAILURES.
        """
        self._start()
        while True:
            one.link, news = self._to(one, asked), self._news
            link = one.link
            if link is not None and link.connection is not None and link.connection.is_open:
                return link.connection
            self._is_look_wanted.set()
            waits: set[asyncio.Future[Any]] = {news}
            connecting = None if link is None else asyncio.create_task(link.connected(until))
            if connecting is not None:
                waits.add(connecting)
            try:
                await asyncio.wait(waits, timeout=until - time.monotonic(), return_when=asyncio.FIRST_COMPLETED)
                is_over = connecting is not None and (connecting.done() or time.monotonic() >= until)
                # If its slot was found elsewhere meanwhile, it does not matter what came of it.
                if connecting is not None and is_over and link is self._to(one, asked):
                    return await connecting
            finally:
                if connecting is not None:
                    await tasks.end([connecting])
            if link is None and news.done() and self._by_slot[one.slot] is None:
                raise self._failure or exceptions.ClusterDownError("CLUSTERDOWN Hash slot not served")
            if time.monotonic() >= until:
                raise TimeoutError("the node cannot be reached in time")

    def _to(self, one: _Step, asked: PrimaryLink | None) -> PrimaryLink | None:
        return asked or self._by_slot[one.slot]

    # Where the slots are.

    def _start(self) -> None:
        if self._keeping is None:
            self._keeping = asyncio.create_task(self._keep())

    async def _keep(self) -> None:
        while True:
            self._is_look_wanted.clear()
            try:
                self._take(await self._look())
                self._failure = None
            except FAILURES as error:
                self._failure = error
                self._health.not_connected(error, None)
            except Exception as error:  # noqa: BLE001 - whatever comes from a node must not end the looks for good
                _log.exception("defect", part="claims")
                self._failure = RuntimeError(type(error).__name__)
            news, self._news = self._news, asyncio.get_running_loop().create_future()
            news.set_result(None)
            await asyncio.sleep(_SHORTEST_INTERVAL)
            await asyncio.wait([wanted := asyncio.create_task(self._is_look_wanted.wait())], timeout=_INTERVAL)
            await tasks.end([wanted])

    async def _look(self) -> View:
        """Asks some of the nodes which slots they know.

        Raises:
            NoPrimaryError: None of them tells.
        """
        known = [(link.host, link.connection) for link in self._links.values()]
        opened = [(host, connection) for host, connection in known if connection is not None and connection.is_open]
        some = random.sample(opened, min(len(opened), _ASKED))
        told = await asyncio.gather(
            *(topology.ask(connection, host) for host, connection in some), return_exceptions=True
        )
        views = [view for view in told if not isinstance(view, BaseException)]
        if views:
            return max(views, key=lambda view: view.rank)
        addresses = list(dict.fromkeys((*self._url.nodes, *self._links)))
        return await topology.ask_all(self._connector, self._url, addresses, self._timeout)

    def _take(self, view: View) -> None:
        """Records which node has which slots, until a node says otherwise of one of them."""
        links: dict[Address, PrimaryLink] = {}
        by_slot: list[PrimaryLink | None] = [None] * SLOTS
        for first, last, address in view.ranges:
            links[address] = self._link(address)
            by_slot[first : last + 1] = [links[address]] * (last + 1 - first)
        # A node whose first slot is on its way to it has none yet.
        since = time.monotonic() - _KEPT
        self._named = {address: named_at for address, named_at in self._named.items() if named_at > since}
        links.update({address: self._links[address] for address in self._named if address in self._links})
        left = [link for address, link in self._links.items() if address not in links]
        self._links, self._by_slot = links, by_slot
        for link in left:
            self._leaving.add(leaving := asyncio.create_task(link.leave_for_good(self._timeout)))
            leaving.add_done_callback(self._leaving.discard)

    def _link(self, address: Address) -> PrimaryLink:
        """Returns the link to a node, which connects if it is new."""
        link = self._links.get(address)
        if link is None:
            link = self._links[address] = PrimaryLink(
                ByName(self._url.at(*address)),
                self._connector.connect,
                timeout=self._timeout,
                on_failure=self._health.not_connected,
                on_contact=self._health.contact,
                host=address[0],
            )
            link.start()
        return link

    def renew(self) -> None:
        """Makes new connections in place of those that there are."""
        for link in self._links.values():
            link.renew()

    async def close(self) -> None:
        """Closes all connections."""
        if self._keeping is not None:
            await tasks.end([self._keeping])
        await asyncio.gather(*(link.close() for link in self._links.values()))
        if self._leaving:
            await asyncio.wait(self._leaving)


async def _ask(connection: StoreConnection, command: tuple[str | bytes | int, ...], *, is_asking: bool) -> Any:
    """Asks for a step; if its slot is only on its way there, with the word that makes the node answer all the same.

    Raises:
        Exception: As of StoreConnection.ask.
    """
    if not is_asking:
        return await connection.ask(*command)
    found: Any
    _, found = await asyncio.gather(connection.ask("ASKING"), connection.ask(*command), return_exceptions=True)
    if isinstance(found, BaseException):
        raise found
    return found

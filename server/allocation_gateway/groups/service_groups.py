"""Service groups as the rest of the gateway uses them, and the background work that keeps them up to date."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Final

from allocation_gateway import tasks
from allocation_gateway.groups.catalogue import Catalogue
from allocation_gateway.groups.directory import MAX_WAIT, Directory, Options
from allocation_gateway.groups.publishing import NoPublisher
from allocation_gateway.groups.resolver import Resolver
from allocation_gateway.groups.watcher import Watcher
from allocation_gateway.operations.model import Api

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable
    from pathlib import Path

    from allocation_gateway.following import FileState
    from allocation_gateway.groups.listing import Listings
    from allocation_gateway.groups.publishing import Publisher
    from allocation_gateway.groups.replication import Replication
    from allocation_gateway.telemetry.telemetry import Telemetry

CATALOGUE: Final = "catalogue"
CACHE: Final = "cache"


class ServiceGroups:
    """The service groups of one account in one process.

    Attributes:
        directory: The groups that are known.
        resolver: Finds the group that a caller means.
    """

    def __init__(
        self,
        options: Options,
        *,
        listings: Listings,
        telemetry: Telemetry,
        publisher: Publisher | None = None,
        source: ServiceGroups | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Starts without background work.

        Args:
            options: How service groups are kept.
            listings: Loads upstream's listings.
            telemetry: Where metrics go.
            publisher: Shares what is learned here with other replicas; None if nothing does.
            source: The groups of the account whose catalogue file is followed, which is that of all accounts; None if
                it is this one.
            clock: Tells the time in seconds of the epoch.
        """
        self._metrics = telemetry.metrics
        self._account = options.account
        self._catalogue = Catalogue()
        # Who uses the same catalogue.
        self._users: list[ServiceGroups] = []
        self._source = source
        self.directory = Directory(options, listings=listings, publisher=publisher or NoPublisher(), clock=clock)
        self.resolver = Resolver(self.directory, telemetry.metrics, strict=options.strict)
        self._watchers: list[Watcher] = []
        self._connections: list[Replication] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._usable: dict[str, bool] = {}
        self._report: Callable[[str, bool], None] = lambda _part, _usable: None
        if source is not None:
            source._users.append(self)  # noqa: SLF001 - they are of one class
            self.use(source._catalogue)  # noqa: SLF001

    def use(self, catalogue: Catalogue) -> None:
        """Replaces the catalogue, also of those who use the same."""
        self._catalogue = catalogue
        self.directory.use(catalogue)
        for user in self._users:
            user.use(catalogue)

    async def refresh(self, apis: Iterable[Api], seconds: float) -> int:
        """Reads the catalogue again, forgets the rest in all replicas, and loads upstream's listings.

        Args:
            apis: The APIs.
            seconds: How long the caller can wait.

        Returns:
            How many groups are known then.
        """
        apis = tuple(apis)
        await self.reread()
        for api in apis:
            self.directory.forget(api)
        await asyncio.gather(*(self.directory.load_listing(api, seconds) for api in apis))
        return sum(1 for _ in self.directory.known(apis))

    async def reread(self) -> None:
        """Reads the catalogue file again, if there is one."""
        if self._source is not None:
            await self._source.reread()
        for watcher in self._watchers:
            await watcher.check()

    def renew_connections(self) -> None:
        """Makes new connections to the cache in place of those that there are."""
        for connection in self._connections:
            connection.renew()

    # Background work.

    def watch(self, file: Path, content: bytes, state: FileState | None = None) -> None:
        """Uses a catalogue file whenever its content changes from the given one, which is in use."""
        watcher = Watcher(
            file,
            content,
            on_change=self.use,
            on_usable_change=lambda usable: self.set_usable(CATALOGUE, usable=usable),
            state=state,
        )
        self._watchers.append(watcher)
        self.set_usable(CATALOGUE, usable=True)
        self._start(watcher.run())

    def replicate(self, replication: Replication) -> None:
        """Exchanges what is learned with other replicas. The same replication must be the publisher."""
        self.set_usable(CACHE, usable=False)
        self._connections.append(replication)
        self._start(replication.run(self.directory, lambda usable: self.set_usable(CACHE, usable=usable)))

    def load_listings(self) -> None:
        """Loads upstream's listings, so that no call has to wait for them."""
        for api in Api:
            if self.directory.may_load_listing(api):
                self._start(self.directory.load_listing(api, 2 * MAX_WAIT))

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        self._tasks.append(asyncio.create_task(work))

    async def close(self) -> None:
        """Ends the background work."""
        if self._source is not None:
            self._source._users.remove(self)  # noqa: SLF001 - they are of one class
        await tasks.end(self._tasks)
        await self.directory.close()
        for connection in self._connections:
            await connection.close()

    # Health.

    def on_usable_change(self, report: Callable[[str, bool], None]) -> None:
        """Reports for each part whether it can be used, now and whenever that changes."""
        self._report = report
        for part, usable in self._usable.items():
            report(part, usable)

    def set_usable(self, part: str, *, usable: bool) -> None:
        """Records whether a part can be used: the catalogue file, or the cache that replicas share."""
        if part in self._usable:
            self._metrics.group_event(f"{part}_{'usable' if usable else 'not_usable'}")
        self._usable[part] = usable
        self._metrics.group_part(part, usable=usable, account=self._account)
        self._report(part, usable)

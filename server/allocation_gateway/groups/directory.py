"""Everything that is known of service groups, and what a text that a caller writes stands for."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from allocation_gateway.groups import refusals, watcher
from allocation_gateway.groups.cache import Aging, Cache, Loaded, LoadFailedError
from allocation_gateway.groups.catalogue import Catalogue, CatalogueError
from allocation_gateway.groups.entries import VERSION, Learned, Listed, ListedGroup
from allocation_gateway.groups.index import EMPTY, Index, suggestions
from allocation_gateway.groups.model import Group, Source
from allocation_gateway.operations.model import Api
from allocation_gateway.settings import ConfigurationError, variable

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Iterator

    from allocation_gateway.errors import WriteEffect
    from allocation_gateway.groups.cache import Entry
    from allocation_gateway.groups.listing import Listings
    from allocation_gateway.groups.sharing import Sharing
    from allocation_gateway.settings import Settings
    from allocation_gateway.telemetry.telemetry import Telemetry

CATALOGUE: Final = "catalogue"
CACHE: Final = "cache"
# Seconds that a call waits for upstream's list at most, before it goes on with what is known without.
LONGEST_WAIT: Final = 2.0
# Seconds after a failure to read it in which nobody asks for it again.
_PAUSE: Final = 30.0
_JITTER: Final = 0.1
# Clocks of replicas differ. A moment further ahead than this is a mistake.
_SKEW: Final = 60.0
_MOST_LISTINGS: Final = len(Api)


class _Listing(NamedTuple):
    """Upstream's list in memory."""

    groups: Index
    learned_at: float


@dataclass(frozen=True, slots=True)
class Options:
    """How service groups are remembered.

    Attributes:
        configured: Codes that exist with every API.
        strict: Whether what is unknown is refused where a source is complete.
        ttl: Seconds that something listed or observed is trusted.
        stale: Seconds after that in which a list is still used if it cannot be read.
        size: How many observed codes are remembered.
    """

    configured: tuple[str, ...] = ()
    strict: bool = False
    ttl: float = 3600.0
    stale: float = 86_400.0
    size: int = 10_000


class ServiceGroups:
    """The service groups that are known, from all sources."""

    def __init__(
        self,
        options: Options,
        *,
        listings: Listings,
        telemetry: Telemetry,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._options = options
        self._listings = listings
        self._telemetry = telemetry
        self._clock = clock
        self._complete: frozenset[Api] = frozenset()
        self._catalogue: dict[Api, Index] = {}
        self._observed: Cache[tuple[Api, str], float] = Cache(
            Aging(options.ttl, jitter=_JITTER), size=options.size, clock=clock
        )
        self._listed: Cache[Api, _Listing] = Cache(
            Aging(options.ttl, stale=options.stale, pause=_PAUSE),
            size=_MOST_LISTINGS,
            load=self._load_listing,
            clock=clock,
        )
        self._forgotten: dict[Api, float] = dict.fromkeys(Api, 0.0)
        self._sharing: Sharing | None = None
        self._watcher: watcher.Watcher | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._tell_state: Callable[[str, bool], None] = lambda _part, _usable: None
        self.parts: dict[str, bool] = {}
        self.use(Catalogue())

    # What a text stands for.

    def lookup(self, api: Api, text: str, effect: WriteEffect | None) -> str | None:
        """Returns the code that a text stands for; None if that takes upstream's list, which is not in memory.

        Args:
            api: The API that it is for.
            text: A code or a name.
            effect: What an error is to say that the call has done.

        Raises:
            GatewayError: It is ambiguous, or unknown where only what is known may pass.
        """
        if text in self._catalogue[api].codes or self._observed.peek((api, text)) is not None:
            return self._known(text)
        listing = self._listed.peek(api)
        if listing is None and self._may_ask(api):
            # Its name may be another group's code there, and a code wins over any name.
            return None
        return self._decide(api, text, listing, effect)

    async def resolve(self, api: Api, text: str, effect: WriteEffect | None, seconds: float) -> str:
        """Does what lookup() does, and waits for upstream's list if that takes it.

        Args:
            api: The API that it is for.
            text: A code or a name.
            effect: What an error is to say that the call has done.
            seconds: How long the caller can be kept waiting.

        Raises:
            GatewayError: It is ambiguous, or unknown where only what is known may pass.
        """
        await self.ready(api, seconds)
        return self._decide(api, text, self._listed.peek(api), effect)

    async def ready(self, api: Api, seconds: float) -> None:
        """Waits until upstream's list is in memory or cannot be had, for a part of the time that there is."""
        if not self._may_ask(api):
            return
        try:
            async with asyncio.timeout(min(LONGEST_WAIT, seconds / 2)):
                await self._listed.get(api)
        except (TimeoutError, LoadFailedError):
            return

    def _may_ask(self, api: Api) -> bool:
        return self._listings.offers(api) and not self._listed.paused(api)

    def _decide(self, api: Api, text: str, listing: _Listing | None, effect: WriteEffect | None) -> str:
        listed = EMPTY if listing is None else listing.groups
        if text in listed.codes:
            return self._known(text)
        sources = (self._catalogue[api], listed)
        named = _named(text, sources)
        if len(named) == 1:
            return self._known(next(iter(named)))
        if named:
            raise refusals.ambiguous(named.values(), effect)
        self._telemetry.metrics.group_lookup(known=False)
        if self._options.strict and self._is_complete(api):
            raise refusals.unknown(text, suggestions(text, sources), effect)
        return text

    def _known(self, code: str) -> str:
        self._telemetry.metrics.group_lookup(known=True)
        return code

    def _is_complete(self, api: Api) -> bool:
        """Tells whether what is not known does not exist. A list that is out of date cannot say so."""
        if api in self._complete:
            return True
        entry = self._listed.entry(api)
        return entry is not None and self._clock() < entry.fresh_until

    # What is known.

    def find(self, apis: Iterable[Api], text: str) -> Group:
        """Returns the group that a text stands for.

        Raises:
            GatewayError: It stands for none or for several.
        """
        apis = tuple(apis)
        for stage in (self._by_code, self._by_name, self._by_folded_name):
            found = {(group.api, group.code): group for api in apis for group in stage(api, text)}
            if len(found) == 1:
                return next(iter(found.values()))
            if found:
                raise refusals.ambiguous(found.values(), None)
        sources = [index for api in apis for index in (self._catalogue[api], self._listed_index(api))]
        raise refusals.unknown(text, suggestions(text, sources), None)

    def _by_code(self, api: Api, text: str) -> Iterator[Group]:
        group = self._catalogue[api].codes.get(text) or self._listed_index(api).codes.get(text)
        if group is not None:
            yield self._dated(group)
        elif (seen := self._observed.peek((api, text))) is not None:
            yield self._dated(Group(api, text, Source.OBSERVED, seen))

    def _by_name(self, api: Api, text: str) -> Iterator[Group]:
        for index in (self._listed_index(api), self._catalogue[api]):
            yield from map(self._dated, index.names.get(text, ()))

    def _by_folded_name(self, api: Api, text: str) -> Iterator[Group]:
        for index in (self._listed_index(api), self._catalogue[api]):
            yield from map(self._dated, index.folded.get(text.casefold(), ()))

    def _listed_index(self, api: Api) -> Index:
        listing = self._listed.peek(api)
        return EMPTY if listing is None else listing.groups

    def _dated(self, group: Group) -> Group:
        """Returns a group with the moment until which it is trusted."""
        entry: Entry[Any] | None = None
        if group.source is Source.LISTING:
            entry = self._listed.entry(group.api)
        elif group.source is Source.OBSERVED:
            entry = self._observed.entry((group.api, group.code))
        return group if entry is None else replace(group, trusted_until=entry.fresh_until)

    def known(self, apis: Iterable[Api]) -> Iterator[Group]:
        """Returns every group that is known, each once, as the most trusted source has it."""
        for api in apis:
            seen = set(self._catalogue[api].codes)
            yield from self._catalogue[api].codes.values()
            for group in self._listed_index(api).codes.values():
                if group.code not in seen:
                    seen.add(group.code)
                    yield self._dated(group)
            for (of, code), observed in self._observed.fresh():
                if of is api and code not in seen:
                    yield Group(api, code, Source.OBSERVED, observed.value, observed.fresh_until)

    # What is learned and forgotten.

    def use(self, catalogue: Catalogue) -> None:
        """Takes a catalogue in place of the one before."""
        now = self._clock()
        for api in Api:
            written = [group for group in catalogue.groups if group.api is api]
            codes = {group.code for group in written}
            configured = (Group(api, code, Source.CATALOGUE, now) for code in self._options.configured)
            self._catalogue[api] = Index([*written, *(group for group in configured if group.code not in codes)])
        self._complete = catalogue.complete

    def observe(self, api: Api, code: str) -> None:
        """Remembers a code with which an allocation has just worked, and tells the other replicas."""
        if code in self._catalogue[api].codes:
            return
        key, now = (api, code), self._clock()
        entry = self._observed.entry(key)
        if entry is not None and now < entry.refresh_at:
            return
        entry = self._observed.put(key, now)
        if self._sharing is not None:
            self._sharing.learned(api, code, now, entry.fresh_until)

    async def refresh(self, apis: Iterable[Api], seconds: float) -> int:
        """Reads the catalogue anew, forgets the rest everywhere, and reads upstream's lists. Returns what is known."""
        apis = tuple(apis)
        await self.reread()
        now = self._clock()
        for api in apis:
            self._forget(api, now)
            if self._sharing is not None:
                self._sharing.forget(api, now)
        await asyncio.gather(*(self.ready(api, seconds) for api in apis))
        return sum(1 for _ in self.known(apis))

    def _forget(self, api: Api, at: float) -> None:
        self._forgotten[api] = at
        for key, entry in list(self._observed.fresh()):
            if key[0] is api and entry.value <= at:
                self._observed.invalidate(key)
        listed = self._listed.entry(api)
        if listed is None or listed.value.learned_at <= at:
            self._listed.invalidate(api)
        self._listings.try_again(api)

    async def _load_listing(self, api: Api) -> Loaded[_Listing]:
        """Takes a list that another replica has read, if it is newer than the one in memory, or else reads it."""
        shared = None if self._sharing is None else await self._sharing.listing(api)
        now = self._clock()
        if shared is not None and self._is_news(api, shared, now):
            groups = tuple(
                Group(api, item.code, Source.LISTING, shared.learned_at, display_name=item.display_name)
                for item in shared.groups
            )
            until = min(shared.trusted_until, now + self._options.ttl)
            return Loaded(_Listing(Index(groups), shared.learned_at), until)
        groups = await self._listings.load(api)
        now = self._clock()
        until = now + self._options.ttl * (1 - _JITTER * random.random())  # noqa: S311 - nothing secret depends on it
        if self._sharing is not None:
            items = [ListedGroup(group.code, group.display_name) for group in groups]
            self._sharing.listed(api, Listed(VERSION, now, until, items))
        return Loaded(_Listing(Index(groups), now), until)

    def _is_news(self, api: Api, shared: Listed, now: float) -> bool:
        mine = self._listed.entry(api)
        since = max(self._forgotten[api], 0.0 if mine is None else mine.value.learned_at)
        return since < shared.learned_at <= now + _SKEW and shared.trusted_until > now

    # What other replicas know: see sharing.Peer.

    def learned_elsewhere(self, api: Api, entry: Learned) -> None:
        """Takes in a code that another replica saw to work."""
        now = self._clock()
        known = self._observed.entry((api, entry.code))
        if entry.code in self._catalogue[api].codes or (known is not None and known.value >= entry.learned_at):
            return
        if self._forgotten[api] < entry.learned_at <= now + _SKEW and entry.trusted_until > now:
            until = min(entry.trusted_until, now + self._options.ttl)
            self._observed.put((api, entry.code), entry.learned_at, fresh_until=until)

    def forgotten_elsewhere(self, api: Api, at: float) -> None:
        """Forgets what another replica was told to forget."""
        if self._forgotten[api] < at <= self._clock() + _SKEW:
            self._forget(api, at)

    def learned_here(self, api: Api) -> Iterator[Learned]:
        """Returns the codes that were seen to work, whoever saw it."""
        for (of, code), entry in self._observed.fresh():
            if of is api:
                yield Learned(VERSION, code, entry.value, entry.fresh_until)

    def forgotten_here(self, api: Api) -> float:
        """Returns up to when everything is forgotten; zero if nothing is."""
        return self._forgotten[api]

    # The work in the background.

    async def reread(self) -> None:
        """Reads the catalogue file again, if there is one."""
        if self._watcher is not None:
            await self._watcher.check()

    def follow(self, follower: watcher.Watcher) -> None:
        """Follows a catalogue file from now on."""
        self._watcher = follower
        self.tell(CATALOGUE, usable=follower.good)
        self._start(follower.run())

    def share(self, sharing: Sharing) -> None:
        """Shares what is known with other replicas from now on."""
        self._sharing = sharing
        self.tell(CACHE, usable=sharing.usable)
        self._start(sharing.run())

    def warm(self) -> None:
        """Begins to read upstream's lists, for nobody to wait for them later."""
        for api in Api:
            if self._may_ask(api):
                self._start(self.ready(api, 2 * LONGEST_WAIT))

    def on_state(self, tell: Callable[[str, bool], None]) -> None:
        """Tells somebody which parts can be used, now and whenever that changes."""
        self._tell_state = tell
        for part, usable in self.parts.items():
            tell(part, usable)

    def tell(self, part: str, *, usable: bool) -> None:
        """Takes notice of whether a part can be used."""
        if part in self.parts:
            self._telemetry.metrics.group_event(f"{part}_{'usable' if usable else 'not_usable'}")
        self.parts[part] = usable
        self._telemetry.metrics.group_part(part, usable=usable)
        self._tell_state(part, usable)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        self._tasks.append(asyncio.create_task(work))

    async def close(self) -> None:
        """Ends the work in the background."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._listed.close()
        if self._sharing is not None:
            await self._sharing.close()


def _named(text: str, sources: Iterable[Index]) -> dict[str, Group]:
    """Returns the groups that go by a name, by code; those that do in another case only if none does exactly."""
    found = {group.code: group for index in sources for group in index.names.get(text, ())}
    if found:
        return found
    folded = text.casefold()
    return {group.code: group for index in sources for group in index.folded.get(folded, ())}


def read_catalogue(settings: Settings, now: float) -> tuple[bytes, Catalogue]:
    """Reads the catalogue file that the settings name, or nothing if they name none.

    Raises:
        ConfigurationError: It cannot be used.
    """
    file = settings.service_group_catalogue_file
    if file is None:
        return b"", Catalogue()
    try:
        return watcher.read(file, now)
    except CatalogueError as error:
        raise ConfigurationError(f"{variable('service_group_catalogue_file')}: {file}: {error}") from None


def open_groups(settings: Settings, listings: Listings, telemetry: Telemetry) -> ServiceGroups:
    """Makes what the settings ask for, and starts its work in the background.

    Raises:
        ConfigurationError: The catalogue file or the address of the shared cache cannot be used.
    """
    content, catalogue = read_catalogue(settings, time.time())
    groups = ServiceGroups(
        Options(
            configured=settings.service_groups,
            strict=settings.service_group_policy == "strict",
            ttl=settings.service_group_ttl,
            stale=settings.service_group_stale,
            size=settings.service_group_cache_size,
        ),
        listings=listings,
        telemetry=telemetry,
    )
    groups.use(catalogue)
    sharing = _sharing(settings, groups) if settings.cache_url else None
    if settings.service_group_catalogue_file is not None:
        groups.follow(
            watcher.Watcher(
                settings.service_group_catalogue_file,
                content,
                on_change=groups.use,
                on_state=lambda good: groups.tell(CATALOGUE, usable=good),
            )
        )
    if sharing is not None:
        groups.share(sharing)
    groups.warm()
    return groups


def _sharing(settings: Settings, groups: ServiceGroups) -> Sharing:
    # On demand: a gateway without a shared cache pays neither the memory nor the start-up time of the client.
    from allocation_gateway.groups.sharing import Sharing

    try:
        return Sharing(
            settings.cache_url,
            groups,
            namespace=settings.cache_namespace,
            base_urls={api: settings.api(api.value).base_url for api in Api if settings.key(api.value)},
            timeout=settings.cache_timeout,
            ttl=settings.service_group_ttl,
            on_state=lambda usable: groups.tell(CACHE, usable=usable),
        )
    except ValueError as error:
        raise ConfigurationError(f"{variable('cache_url')}: {error}") from None

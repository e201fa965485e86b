"""The service groups that are known, by source: the catalogue, upstream's listing, and codes that were observed.

The directory is a peer of the directories in other replicas: what is observed or forgotten in one of them comes to be
observed or forgotten in all, in whatever order and however often the replicas learn of it.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from allocation_gateway.groups.cache import Cache, Expiry, Loaded, LoadFailedError
from allocation_gateway.groups.catalogue import Catalogue
from allocation_gateway.groups.index import EMPTY, Index
from allocation_gateway.groups.model import Group, Source
from allocation_gateway.groups.shared_entries import VERSION, ListedGroup, ObservedCode, SharedListing
from allocation_gateway.operations.model import Api
from allocation_gateway.settings import DEFAULT_ACCOUNT
from allocation_gateway.telemetry.conventions import account_attributes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from allocation_gateway.groups.cache import CacheEntry
    from allocation_gateway.groups.listing import Listings
    from allocation_gateway.groups.publishing import Publisher

MAX_WAIT: Final = 2.0
"""Seconds that a call waits for upstream's listing at most, before it goes on without it."""
# Seconds for which upstream's listing is not loaded again after that has failed.
_FAILURE_PAUSE: Final = 30.0
# Seconds by which the clocks of replicas may differ. A time further ahead than this is a mistake.
_MAX_CLOCK_SKEW: Final = 60.0


@dataclass(frozen=True, slots=True)
class Options:
    """How service groups are kept.

    Attributes:
        account: The account whose groups they are.
        configured: Codes that exist with every API.
        strict: Whether an unknown code is refused where a source is complete.
        ttl: Seconds for which something listed or observed is trusted.
        stale: Seconds after that for which a listing is still used if it cannot be loaded.
        size: How many observed codes are kept.
    """

    configured: tuple[str, ...] = ()
    strict: bool = False
    ttl: float = 3600.0
    stale: float = 86_400.0
    size: int = 10_000
    account: str = DEFAULT_ACCOUNT


class _Listing(NamedTuple):
    """Upstream's listing, and when a replica loaded it, in seconds of the epoch."""

    groups: Index
    loaded_at: float


class Directory:
    """The service groups of all sources."""

    def __init__(
        self,
        options: Options,
        *,
        listings: Listings,
        publisher: Publisher,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Starts with the configured codes alone.

        Args:
            options: How service groups are kept.
            listings: Loads upstream's listings.
            publisher: Shares what is learned here with other replicas.
            clock: Tells the time in seconds of the epoch.
        """
        self._options = options
        self._listings = listings
        self._publisher = publisher
        self._clock = clock
        self._complete: frozenset[Api] = frozenset()
        self._catalogue: dict[Api, Index] = {}
        self._observed: Cache[tuple[Api, str], float] = Cache(Expiry(options.ttl), size=options.size, clock=clock)
        self._listed: Cache[Api, _Listing] = Cache(
            Expiry(options.ttl, stale=options.stale, failure_pause=_FAILURE_PAUSE),
            size=len(Api),
            load=self._load_listing,
            clock=clock,
        )
        # Until when everything that was learned has been forgotten, in seconds of the epoch.
        self._forgotten_until: dict[Api, float] = dict.fromkeys(Api, 0.0)
        self.use(Catalogue())

    # Queries.

    def has_code(self, api: Api, code: str) -> bool:
        """Returns whether a code is in the catalogue or was observed."""
        return code in self._catalogue[api].codes or self._observed.peek((api, code)) is not None

    def catalogue(self, api: Api) -> Index:
        """Returns the groups of the catalogue, and the configured codes."""
        return self._catalogue[api]

    def listing(self, api: Api) -> Index | None:
        """Returns the groups of upstream's listing; None if it is not in memory."""
        listing = self._listed.peek(api)
        return None if listing is None else listing.groups

    def observed(self, api: Api, code: str) -> Group | None:
        """Returns the group of a code that was observed; None if it was not."""
        observed_at = self._observed.peek((api, code))
        return None if observed_at is None else self.dated(Group(api, code, Source.OBSERVED, observed_at))

    def dated(self, group: Group) -> Group:
        """Returns a group with the time until which it is trusted."""
        entry: CacheEntry[Any] | None = None
        if group.source is Source.LISTING:
            entry = self._listed.entry(group.api)
        elif group.source is Source.OBSERVED:
            entry = self._observed.entry((group.api, group.code))
        return group if entry is None else replace(group, trusted_until=entry.fresh_until)

    def known(self, apis: Iterable[Api]) -> Iterator[Group]:
        """Returns every group that is known, each once, from its most trusted source."""
        for api in apis:
            seen = set(self._catalogue[api].codes)
            yield from self._catalogue[api].codes.values()
            for group in (self.listing(api) or EMPTY).codes.values():
                if group.code not in seen:
                    seen.add(group.code)
                    yield self.dated(group)
            for (of, code), observed in self._observed.fresh_entries():
                if of is api and code not in seen:
                    yield Group(api, code, Source.OBSERVED, observed.value, observed.fresh_until)

    def is_complete(self, api: Api) -> bool:
        """Returns whether a code that is not known does not exist. A listing that is out of date cannot tell."""
        if api in self._complete:
            return True
        entry = self._listed.entry(api)
        return entry is not None and self._clock() < entry.fresh_until

    def counts(self) -> list[tuple[int, dict[str, str | int]]]:
        """Returns how many groups each source knows, with the API and the source. Any thread may call it."""
        found: dict[tuple[str, str], int] = {(api.value, source.value): 0 for api in Api for source in Source}
        for api in Api:
            found[api.value, Source.CATALOGUE.value] = len(self._catalogue[api].codes)
            listed = self._listed.entry(api)
            found[api.value, Source.LISTING.value] = 0 if listed is None else len(listed.value.groups.codes)
        for (of, _), _entry in self._observed.fresh_entries():
            found[of.value, Source.OBSERVED.value] += 1
        own = account_attributes(self._options.account)
        return [(count, {"api": api, "source": source, **own}) for (api, source), count in found.items()]

    def listing_ages(self) -> list[tuple[float, dict[str, str | int]]]:
        """Returns how many seconds ago each listing was loaded, with the API. Any thread may call it."""
        entries = ((api, self._listed.entry(api)) for api in Api)
        now, own = self._clock(), account_attributes(self._options.account)
        return [(now - entry.value.loaded_at, {"api": api.value, **own}) for api, entry in entries if entry is not None]

    # Upstream's listing.

    def may_load_listing(self, api: Api) -> bool:
        """Returns whether upstream has a listing that has not just failed to load."""
        return self._listings.offers(api) and not self._listed.is_paused(api)

    async def load_listing(self, api: Api, seconds: float) -> None:
        """Waits until upstream's listing is in memory or cannot be loaded, for a part of the time that there is."""
        if not self.may_load_listing(api):
            return
        try:
            async with asyncio.timeout(min(MAX_WAIT, seconds / 2)):
                await self._listed.get(api)
        except (TimeoutError, LoadFailedError):
            return

    async def _load_listing(self, api: Api) -> Loaded[_Listing]:
        """Takes the listing that another replica has loaded, if it is newer than the one here, or else loads it."""
        shared = await self._publisher.listing(api)
        now = self._clock()
        if shared is not None and self._is_newer(api, shared, now):
            groups = tuple(
                Group(api, item.code, Source.LISTING, shared.learned_at, display_name=item.display_name)
                for item in shared.groups
            )
            fresh_until = min(shared.trusted_until, now + self._options.ttl)
            return Loaded(_Listing(Index(groups), shared.learned_at), fresh_until)
        groups = await self._listings.load(api)
        now = self._clock()
        fresh_until = self._listed.expires_at(now)
        items = [ListedGroup(group.code, group.display_name) for group in groups]
        self._publisher.publish_listing(api, SharedListing(VERSION, now, fresh_until, items))
        return Loaded(_Listing(Index(groups), now), fresh_until)

    def _is_newer(self, api: Api, shared: SharedListing, now: float) -> bool:
        own = self._listed.entry(api)
        since = max(self._forgotten_until[api], 0.0 if own is None else own.value.loaded_at)
        return since < shared.learned_at <= now + _MAX_CLOCK_SKEW and shared.trusted_until > now

    # Changes from within this process.

    def use(self, catalogue: Catalogue) -> None:
        """Replaces the catalogue, of which the groups of the own account count."""
        now, account = self._clock(), self._options.account
        for api in Api:
            written = [group for group in catalogue.groups if group.api is api and group.account == account]
            codes = {group.code for group in written}
            configured = (Group(api, code, Source.CATALOGUE, now) for code in self._options.configured)
            self._catalogue[api] = Index([*written, *(group for group in configured if group.code not in codes)])
        self._complete = frozenset(api for api in Api if catalogue.is_complete(account, api))

    def observe(self, api: Api, code: str) -> None:
        """Keeps a code with which an allocation has just succeeded, and shares it with the other replicas."""
        if code in self._catalogue[api].codes:
            return
        key, now = (api, code), self._clock()
        entry = self._observed.entry(key)
        if entry is not None and now < entry.refresh_at:
            return
        entry = self._observed.put(key, now)
        self._publisher.publish_observed(api, ObservedCode(VERSION, code, now, entry.fresh_until))

    def forget(self, api: Api) -> None:
        """Forgets everything but the catalogue, here and in the other replicas."""
        now = self._clock()
        self._forget(api, now)
        self._publisher.publish_forgotten(api, now)

    def _forget(self, api: Api, until: float) -> None:
        self._forgotten_until[api] = until
        for key, entry in list(self._observed.fresh_entries()):
            if key[0] is api and entry.value <= until:
                self._observed.invalidate(key)
        listed = self._listed.entry(api)
        if listed is None or listed.value.loaded_at <= until:
            self._listed.invalidate(api)
        self._listings.reset(api)

    # Changes from other replicas: see replication.Peer.

    def observed_elsewhere(self, api: Api, observed: ObservedCode) -> None:
        """Is called with a code that another replica has observed."""
        now = self._clock()
        known = self._observed.entry((api, observed.code))
        is_known = known is not None and known.value >= observed.learned_at
        if observed.code in self._catalogue[api].codes or is_known:
            return
        is_valid = self._forgotten_until[api] < observed.learned_at <= now + _MAX_CLOCK_SKEW
        if is_valid and observed.trusted_until > now:
            fresh_until = min(observed.trusted_until, now + self._options.ttl)
            self._observed.put((api, observed.code), observed.learned_at, fresh_until=fresh_until)

    def forgotten_elsewhere(self, api: Api, until: float) -> None:
        """Forgets what another replica has forgotten."""
        if self._forgotten_until[api] < until <= self._clock() + _MAX_CLOCK_SKEW:
            self._forget(api, until)

    def observed_codes(self, api: Api) -> Iterator[ObservedCode]:
        """Returns the codes that any replica has observed, as far as this one knows."""
        for (of, code), entry in self._observed.fresh_entries():
            if of is api:
                yield ObservedCode(VERSION, code, entry.value, entry.fresh_until)

    def forgotten_until(self, api: Api) -> float:
        """Returns until when everything that was learned has been forgotten; zero if nothing has."""
        return self._forgotten_until[api]

    async def close(self) -> None:
        """Cancels what is being loaded."""
        await self._listed.close()

"""Which service group a caller means: by its code, or by one of its names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from allocation_gateway.groups import errors
from allocation_gateway.groups.index import EMPTY, suggestions

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from allocation_gateway.errors import WriteEffect
    from allocation_gateway.groups.directory import Directory
    from allocation_gateway.groups.index import Index
    from allocation_gateway.groups.model import Group
    from allocation_gateway.operations.model import Api
    from allocation_gateway.telemetry.instruments import Instruments


class Resolver:
    """Finds the group for a text that a caller has written."""

    def __init__(self, directory: Directory, metrics: Instruments, *, strict: bool) -> None:
        """Takes where groups are found.

        Args:
            directory: The groups.
            metrics: Where lookups are counted.
            strict: Whether an unknown code is refused where a source is complete. Otherwise upstream decides.
        """
        self._directory = directory
        self._metrics = metrics
        self._strict = strict

    def lookup(self, api: Api, text: str, effect: WriteEffect | None) -> str | None:
        """Returns the code that a text stands for; None if that depends on a listing that is not in memory.

        Args:
            api: The API that it is for.
            text: A code or a name.
            effect: The effect of the call that an error reports.

        Raises:
            GatewayError: It is ambiguous, or unknown where unknown codes are refused.
        """
        directory = self._directory
        if directory.has_code(api, text):
            self._metrics.group_lookup(known=True)
            return text
        listing = directory.listing(api)
        if listing is None and directory.may_load_listing(api):
            # A name may be another group's code in the listing, and a code takes precedence over any name.
            return None
        return self._decide(api, text, listing or EMPTY, effect)

    async def resolve(self, api: Api, text: str, effect: WriteEffect | None, seconds: float) -> str:
        """Does what lookup() does, and waits for upstream's listing if the result depends on it.

        Args:
            api: The API that it is for.
            text: A code or a name.
            effect: The effect of the call that an error reports.
            seconds: How long the caller can wait.

        Raises:
            GatewayError: It is ambiguous, or unknown where unknown codes are refused.
        """
        await self._directory.load_listing(api, seconds)
        return self._decide(api, text, self._directory.listing(api) or EMPTY, effect)

    def _decide(self, api: Api, text: str, listing: Index, effect: WriteEffect | None) -> str:
        if text in listing.codes:
            return self._found(text)
        sources = (self._directory.catalogue(api), listing)
        named = _named(text, sources)
        if len(named) == 1:
            return self._found(next(iter(named)))
        if named:
            raise errors.ambiguous(named.values(), effect)
        self._metrics.group_lookup(known=False)
        if self._strict and self._directory.is_complete(api):
            raise errors.unknown(text, suggestions(text, sources), effect)
        return text

    def _found(self, code: str) -> str:
        self._metrics.group_lookup(known=True)
        return code

    def find(self, apis: Iterable[Api], text: str) -> Group:
        """Returns the group that a text stands for with any of several APIs.

        Raises:
            GatewayError: It stands for none or for several.
        """
        apis = tuple(apis)
        for stage in (self._by_code, self._by_name, self._by_folded_name):
            found = {(group.api, group.code): group for api in apis for group in stage(api, text)}
            if len(found) == 1:
                return next(iter(found.values()))
            if found:
                raise errors.ambiguous(found.values(), None)
        sources = [index for api in apis for index in (self._directory.catalogue(api), self._listing(api))]
        raise errors.unknown(text, suggestions(text, sources), None)

    def _listing(self, api: Api) -> Index:
        return self._directory.listing(api) or EMPTY

    def _by_code(self, api: Api, text: str) -> Iterator[Group]:
        group = self._directory.catalogue(api).codes.get(text) or self._listing(api).codes.get(text)
        if group is not None:
            yield self._directory.dated(group)
        elif (observed := self._directory.observed(api, text)) is not None:
            yield observed

    def _by_name(self, api: Api, text: str) -> Iterator[Group]:
        for index in (self._listing(api), self._directory.catalogue(api)):
            yield from map(self._directory.dated, index.names.get(text, ()))

    def _by_folded_name(self, api: Api, text: str) -> Iterator[Group]:
        for index in (self._listing(api), self._directory.catalogue(api)):
            yield from map(self._directory.dated, index.folded.get(text.casefold(), ()))


def _named(text: str, sources: Iterable[Index]) -> dict[str, Group]:
    """Returns the groups with a name, by code. Those that spell it in another case count only if no other does."""
    found = {group.code: group for index in sources for group in index.names.get(text, ())}
    if found:
        return found
    folded = text.casefold()
    return {group.code: group for index in sources for group in index.folded.get(folded, ())}

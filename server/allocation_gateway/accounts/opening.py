"""Opens accounts: of each the connections, keys, protection, claims and service groups that are its own."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from allocation_gateway.account_api import AccountApi
from allocation_gateway.accounts.model import Account
from allocation_gateway.groups.listing import Listings
from allocation_gateway.groups.opening import open_groups
from allocation_gateway.operations import table
from allocation_gateway.operations.model import Api
from allocation_gateway.settings import DEFAULT_ACCOUNT
from allocation_gateway.telemetry.conventions import account_attributes
from allocation_gateway.upstream.client import Upstream
from allocation_gateway.upstream.keys import KeyFile
from allocation_gateway.writes.quotes import Quotes

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from allocation_gateway.claims.opening import Stores
    from allocation_gateway.following import FollowedFiles
    from allocation_gateway.groups.catalogue import Catalogue
    from allocation_gateway.groups.service_groups import ServiceGroups
    from allocation_gateway.settings import Settings
    from allocation_gateway.telemetry.telemetry import Telemetry


def configured_upstreams(settings: Settings) -> Mapping[Api, Upstream]:
    """Returns the APIs of an account that are configured, which those with a key are."""
    keys = {api: settings.key(api.value) for api in Api}
    return {api: Upstream(settings, api, key) for api, key in keys.items() if key}


class Opener:
    """Opens the accounts of one process. The first one is that of the settings."""

    def __init__(
        self,
        stores: Stores,
        telemetry: Telemetry,
        followed: FollowedFiles,
        catalogue: tuple[bytes, Catalogue],
    ) -> None:
        """Has opened none.

        Args:
            stores: The stores of claims.
            telemetry: Where metrics go.
            followed: Takes note of which contents of files are in use.
            catalogue: What the catalogue of service groups is, which the first account follows for all.
        """
        self._stores = stores
        self._telemetry = telemetry
        self._followed = followed
        self._catalogue = catalogue
        self._source: ServiceGroups | None = None

    async def open(self, settings: Settings) -> Account:
        """Opens an account, and starts its background work.

        Args:
            settings: The configuration, of the account.

        Raises:
            ConfigurationError: A file with a key cannot be read.
        """
        async with AsyncExitStack() as stack:
            rereads: list[Callable[[], Awaitable[None]]] = []
            # In a thread: it reads files, and what takes a key out of answers needs some 80 ms to be compiled.
            upstreams = await asyncio.to_thread(configured_upstreams, settings)
            for upstream in upstreams.values():
                stack.push_async_callback(upstream.close)
                self._follow_key(settings, upstream, rereads, stack)
            groups = open_groups(
                settings,
                self._catalogue,
                Listings(
                    upstreams if settings.service_group_listing else {},
                    self._telemetry,
                    fields=account_attributes(settings.account),
                ),
                self._telemetry,
                self._followed,
                self._source,
            )
            stack.push_async_callback(groups.close)
            if self._source is None:
                self._source = groups
                rereads.append(groups.reread)
            return Account(
                settings=settings,
                apis={api: self._api(settings, upstream) for api, upstream in upstreams.items()},
                groups=groups,
                quotes=Quotes(),
                routes=table.routes(settings),
                disabled=table.disabled(settings),
                rereads=rereads,
                closing=stack.pop_all(),
            )

    def _api(self, settings: Settings, upstream: Upstream) -> AccountApi:
        store, spare = self._stores.of(upstream.api.value, settings.account)
        return AccountApi(settings, upstream, store, spare, self._telemetry)

    def _follow_key(
        self,
        settings: Settings,
        upstream: Upstream,
        rereads: list[Callable[[], Awaitable[None]]],
        stack: AsyncExitStack,
    ) -> None:
        """Gives an API each key that its file comes to hold, if it has one in a file."""
        file = settings.api(upstream.api.value).api_key_file
        if file is None:
            return
        name = f"{upstream.api.value}_api_key_file"
        if settings.account != DEFAULT_ACCOUNT:
            name = f"accounts.{settings.account}.{upstream.api.value}.api_key_file"
        state = self._followed.add(name)
        stack.callback(self._followed.remove, name, state)
        key_file = KeyFile(upstream, file, state)
        upstream.on_refused_key = key_file.ask
        rereads.append(key_file.check)
        following = asyncio.create_task(key_file.run())
        stack.callback(following.cancel)

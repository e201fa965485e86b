"""Policies of accounts, broken: what the phases of the suite that have two of them have to catch. See chaos.broken."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from allocation_gateway.account_api import AccountApi
from allocation_gateway.claims.opening import Stores
from allocation_gateway.writes import coordinator

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Changes = list[tuple[Any, str, Any]]


def shared_claims() -> Changes:
    """The claims of an API are one account's as much as the other's."""
    of = Stores.of
    return [(Stores, "of", lambda stores, api, *_: of(stores, api))]


def shared_in_flight() -> Changes:
    """A call joins the write of its id that is under way, whichever account that is of."""

    def key(_: Any, request_id: str) -> str:
        return request_id

    return [(coordinator, "write_key", key)]


def shared_breaker() -> Changes:
    """What protects an API is one for all accounts."""
    make = AccountApi.__init__
    first: dict[Any, Any] = {}

    def made(account: Any, settings: Any, upstream: Any, *arguments: Any, **more: Any) -> None:
        make(account, settings, upstream, *arguments, **more)
        account.protection = first.setdefault(upstream.api, account.protection)

    return [(AccountApi, "__init__", made)]


def shared_upstream() -> Changes:
    """What is asked for one account is sent to the other's upstream, with the other's key."""
    make = AccountApi.__init__
    first: dict[Any, Any] = {}

    def made(account: Any, settings: Any, upstream: Any, *arguments: Any, **more: Any) -> None:
        make(account, settings, first.setdefault(upstream.api, upstream), *arguments, **more)

    return [(AccountApi, "__init__", made)]


def shared_turn() -> Changes:
    """One request at a time is sent to an API, for all accounts together."""
    send = AccountApi.send
    turns: dict[Any, asyncio.Lock] = {}

    async def in_turn(account: Any, *arguments: Any) -> Any:
        async with turns.setdefault(account.upstream.api, asyncio.Lock()):
            return await send(account, *arguments)

    return [(AccountApi, "send", in_turn)]


ACCOUNT_POLICIES: Final[Mapping[str, Callable[[], Changes]]] = {
    "shared-claims": shared_claims,
    "shared-in-flight": shared_in_flight,
    "shared-breaker": shared_breaker,
    "shared-upstream": shared_upstream,
    "shared-turn": shared_turn,
}

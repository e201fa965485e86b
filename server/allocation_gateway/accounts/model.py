"""One account as the rpcs see it: everything that is its own, which a call looks up once."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from typing import Self

    from allocation_gateway.account_api import AccountApi
    from allocation_gateway.groups.service_groups import ServiceGroups
    from allocation_gateway.operations.model import Api, Route
    from allocation_gateway.settings import Settings
    from allocation_gateway.writes.quotes import Quotes


@dataclass(eq=False, slots=True)
class Account:
    """One account, with both its APIs.

    Attributes:
        settings: The gateway's settings, with those that the account has of its own.
        apis: Its APIs that are configured, each with its connections, keys, protection and claims.
        groups: Its service groups.
        quotes: What its quotes promised that were seen lately.
        routes: The configured spelling of each operation, by the operation's full name.
        disabled: The full names of the operations that are switched off.
        rereads: What reads its files again at once.
        closing: Closes what it has, when it is left.
        calls: How many calls for it are in hand, unless it is the one that is always there.
    """

    settings: Settings
    apis: Mapping[Api, AccountApi]
    groups: ServiceGroups
    quotes: Quotes
    routes: Mapping[str, Route]
    disabled: frozenset[str]
    rereads: Sequence[Callable[[], Awaitable[None]]] = ()
    closing: AsyncExitStack = field(default_factory=AsyncExitStack)
    calls: int = 0

    @property
    def name(self) -> str:
        """Its name."""
        return self.settings.account

    def __enter__(self) -> Self:
        """Counts a call for as long as a block lasts."""
        self.calls += 1
        return self

    def __exit__(self, *_: object) -> None:
        self.calls -= 1

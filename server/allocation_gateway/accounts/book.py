"""All accounts of one process, and which of them a call is for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from allocation.v1.error_reason_pb2 import ErrorReason
from grpc import StatusCode

from allocation_gateway import errors
from allocation_gateway.callers.errors import not_allowed
from allocation_gateway.errors import GatewayError
from allocation_gateway.settings import DEFAULT_ACCOUNT

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

    from allocation_gateway.accounts.model import Account
    from allocation_gateway.upstream.client import Upstream

ACCOUNT_KEY: Final = "allocation-account"
"""The metadata by which a caller chooses an account."""
# Of a name that nobody may have given to an account, so much is told and logged.
_MOST_TOLD: Final = 64


class Accounts:
    """The accounts that new calls may be for.

    Attributes:
        default: The one that the settings are of. It is always there.
    """

    def __init__(self, default: Account) -> None:
        self.default = default
        self._named = {DEFAULT_ACCOUNT: default}
        self._on_end: list[Callable[[Account], None]] = []

    def __iter__(self) -> Iterator[Account]:
        # A list: metrics are collected in a thread, while a file may be read.
        return iter(list(self._named.values()))

    def get(self, name: str) -> Account | None:
        """Returns an account by its name; None if there is none."""
        return self._named.get(name)

    def upstreams(self) -> Iterator[Upstream]:
        """Returns the APIs of all accounts. Any thread may call it."""
        return (api.upstream for account in self for api in account.apis.values())

    async def reread(self) -> None:
        """Reads again, at once, the files that the accounts depend on."""
        for account in self:
            for reread in account.rereads:
                await reread()

    def use(self, others: Iterable[Account]) -> None:
        """Replaces the accounts, beside the one that is always there."""
        self._named = {DEFAULT_ACCOUNT: self.default, **{account.name: account for account in others}}

    def on_end(self, forget: Callable[[Account], None]) -> None:
        """Registers what is called with each account that has ended, so that it keeps nothing of it."""
        self._on_end.append(forget)

    def ended(self, account: Account) -> None:
        """Is called when an account has ended: nothing of it is in hand any more."""
        for forget in self._on_end:
            forget(account)

    def chosen(
        self,
        metadata: Iterable[tuple[str, str | bytes]],
        allowed: Collection[str] | None,
        fields: dict[str, Any],
    ) -> Account:
        """Returns the account that a call is for: the one that its caller names, or else the one that it is given.

        Args:
            metadata: What the caller says beside its request.
            allowed: The names of the accounts that the caller may use; None if that is any.
            fields: What log lines say of the call: the account is added, unless it is the one of the settings.

        Raises:
            GatewayError: INVALID_ARGUMENT, the caller names several; PERMISSION_DENIED, it may not use it; NOT_FOUND,
                there is none of that name.
        """
        told = [str(value) for key, value in metadata if key == ACCOUNT_KEY]
        if len(told) > 1:
            raise _several()
        name = told[0] if told else _given(allowed)
        if name != DEFAULT_ACCOUNT:
            fields["account"] = name[:_MOST_TOLD]
        # Before it is looked for: who may not use an account need not know whether there is one.
        if allowed is not None and name not in allowed:
            raise not_allowed(f"the account {name[:_MOST_TOLD]}")
        found = self._named.get(name)
        if found is None:
            raise _unknown(name[:_MOST_TOLD])
        return found


def _given(allowed: Collection[str] | None) -> str:
    """Returns the account of a caller who names none: the only one that it may use, or else the one of the settings."""
    if allowed is not None and len(allowed) == 1:
        return next(iter(allowed))
    return DEFAULT_ACCOUNT


def _several() -> GatewayError:
    return GatewayError(
        StatusCode.INVALID_ARGUMENT,
        ErrorReason.ERROR_REASON_INVALID_REQUEST,
        f"The metadata {ACCOUNT_KEY} is given more than once.",
    )


def _unknown(name: str) -> GatewayError:
    # Without an effect: an earlier call with the same id may have been carried out before the account was taken out.
    return GatewayError(
        StatusCode.NOT_FOUND,
        ErrorReason.ERROR_REASON_ACCOUNT_NOT_FOUND,
        f"The gateway has no account {name}. Nothing was sent.",
        details=[errors.resource("Account", name, "The gateway does not know it.")],
    )

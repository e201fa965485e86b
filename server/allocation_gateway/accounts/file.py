"""Follows the file of accounts while the gateway runs. After a bad edit the accounts stay what they are."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import msgspec
import structlog

from allocation_gateway import tasks
from allocation_gateway.following import Follower, look
from allocation_gateway.operations import table
from allocation_gateway.operations.model import Api
from allocation_gateway.settings import (
    MOST_ACCOUNT_BYTES,
    AccountsError,
    ConfigurationError,
    Secret,
    parse_accounts,
    variable,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from allocation_gateway.accounts.book import Accounts
    from allocation_gateway.accounts.model import Account
    from allocation_gateway.accounts.opening import Opener
    from allocation_gateway.following import FileState
    from allocation_gateway.settings import Settings
    from allocation_gateway.writes.coordinator import Coordinator

_INTERVAL: Final = 1.0
# Seconds between two looks whether something of an account is still in hand that was taken out.
_LOOK: Final = 0.5
_NO_KEY: Final = Secret("")
_log = structlog.get_logger()


def read_accounts(settings: Settings) -> tuple[bytes, Mapping[str, Settings]]:
    """Reads the file of accounts that the settings name, or nothing if they name none.

    Returns:
        Its content, and the settings of each account by its name.

    Raises:
        ConfigurationError: It cannot be used.
    """
    file = settings.accounts_file
    if file is None:
        return b"", {}
    content = look(file, MOST_ACCOUNT_BYTES).content
    try:
        if isinstance(content, str):
            raise AccountsError(f"cannot be read: {content}")
        return content, parse_accounts(content, settings, table.spellings())
    except AccountsError as error:
        raise ConfigurationError(f"{variable('accounts_file')}: {file}: {error}") from None


class AccountsFile:
    """Keeps the accounts of a process to what a file says."""

    def __init__(
        self,
        settings: Settings,
        file: Path,
        content: bytes,
        accounts: Accounts,
        opener: Opener,
        writes: Coordinator,
        state: FileState,
    ) -> None:
        """Takes what the file held when it was read last. None of its accounts is open yet: see use().

        Args:
            settings: The gateway's, of which an account has what it does not say itself.
            file: The file.
            content: What it held.
            accounts: The accounts that new calls may be for.
            opener: Opens accounts.
            writes: The writes under way, of all accounts.
            state: Takes note of which content is in use.
        """
        self._settings = settings
        self._file = file
        self._accounts = accounts
        self._opener = opener
        self._writes = writes
        # A key that it names may come after it: a ConfigMap and a Secret are updated apart from each other.
        self._follower = Follower(
            file,
            content,
            most=MOST_ACCOUNT_BYTES,
            interval=_INTERVAL,
            on_content=self._take,
            state=state,
            tries_again=True,
        )
        # The newest content that could not be used, and why, as the log was told; and one that is not valid by itself.
        self._rejected: tuple[bytes | str, str] = (b"", "")
        self._invalid: bytes | str | None = None
        self._ending: dict[Account, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Follows the file until it is cancelled."""
        await self._follower.run()

    async def reread(self) -> None:
        """Reads the file now, and again until it stays the same."""
        await self._follower.check()

    async def _take(self, content: bytes | str) -> bool:
        if content == self._invalid:
            return False
        self._invalid = None
        try:
            if isinstance(content, str):
                raise AccountsError(f"cannot be read: {content}")
            found = await asyncio.to_thread(parse_accounts, content, self._settings, table.spellings())
            await self.use(found)
        except (AccountsError, ConfigurationError) as error:
            if isinstance(error, AccountsError) and not error.may_pass:
                self._invalid = content
            rejected = content, str(error)
            if rejected != self._rejected:
                self._rejected = rejected
                _log.error("accounts_rejected", file=str(self._file), problem=str(error))
            return False
        self._rejected = (b"", "")
        _log.info("accounts_loaded", file=str(self._file), accounts=sorted(found))
        return True

    async def use(self, found: Mapping[str, Settings]) -> None:
        """Replaces the accounts, by their names, beside the one of the settings.

        One that differs by a key alone goes on with everything that it knows. Others are opened anew, but for their
        claims; what was there before ends with the calls for it that are in hand.

        Raises:
            ConfigurationError: A file with a key cannot be read any more. The accounts are what they were.
        """
        kept: list[tuple[Account, Settings]] = []
        opened: list[Account] = []
        try:
            for name, settings in found.items():
                known = self._accounts.get(name)
                if known is not None and _without_keys(known.settings) == _without_keys(settings):
                    kept.append((known, settings))
                else:
                    opened.append(await self._opener.open(settings))
        except BaseException:
            for account in opened:
                await account.closing.aclose()
            raise
        for account, settings in kept:
            await _use_keys(account, settings)
        before = [account for account in self._accounts if account is not self._accounts.default]
        after = [*(account for account, _ in kept), *opened]
        self._accounts.use(after)
        for account in before:
            if account not in after:
                self._ending[account] = asyncio.create_task(self._end(account))

    async def _end(self, account: Account) -> None:
        """Closes what an account has, as soon as nothing of it is in hand."""
        apis = tuple(account.apis.values())
        # Looked for again and again: else each call would have to tell of its end.
        while account.calls or self._writes.is_at_work_for(apis):  # noqa: ASYNC110
            await asyncio.sleep(_LOOK)
        await account.closing.aclose()
        self._accounts.ended(account)
        del self._ending[account]
        _log.info("account_ended", account=account.name)

    async def close(self) -> None:
        """Closes all accounts but the one of the settings. Nothing of them may be in hand."""
        ending = list(self._ending)
        await tasks.end(self._ending.values())
        for account in (*ending, *self._accounts):
            if account is not self._accounts.default:
                await account.closing.aclose()


def _without_keys(settings: Settings) -> object:
    """Returns what differs between two configurations of an account if more than its keys do."""
    parts = {api.value: msgspec.structs.replace(settings.api(api.value), api_key=_NO_KEY) for api in Api}
    configured = tuple(settings.api(api.value).is_configured for api in Api)
    return msgspec.structs.replace(settings, **parts), configured


async def _use_keys(account: Account, settings: Settings) -> None:
    """Gives an account the keys that stand in the file of accounts itself. Files with keys are followed anyway."""
    for name, api in account.apis.items():
        given = settings.api(name.value)
        if given.api_key_file is None and await api.upstream.use_key(given.api_key):
            _log.info("api_key_loaded", api=name.value, account=account.name)
    account.settings = settings

"""The file of accounts: each is settings of its own for the APIs, and in all else what the gateway's settings are.

It is taken as a whole or not at all: a file with one mistake changes nothing.
"""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING, Any, Final

import msgspec

from allocation_gateway.settings.checks import check_account
from allocation_gateway.settings.fields import API_NAMES
from allocation_gateway.settings.loading import convert
from allocation_gateway.settings.names import DEFAULT_ACCOUNT
from allocation_gateway.settings.types import ConfigurationError, Secret

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from allocation_gateway.settings.schema import Settings

MOST_ACCOUNT_BYTES: Final = 1_048_576
MOST_ACCOUNTS: Final = 200
# Names stand in metadata, in the names of keys on a server, and in metrics.
ACCOUNT_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_ACCOUNTS: Final = "accounts"
# What decides where an account is and how it is known there. A key is nobody else's: it is never taken over.
_KEYS: Final = ("api_key", "api_key_file")
_NO_KEY: Final[Mapping[str, Any]] = {"api_key": Secret(""), "api_key_file": None}
_PLACE: Final = ("base_url", *_KEYS)
_MOST_TOLD: Final = 5


class AccountsError(Exception):
    """The file of accounts cannot be used. The text says what is wrong with it, in one line, without any secret.

    Attributes:
        may_pass: Whether the reason may lie in another file, such as one with a key that is not there yet.
    """

    def __init__(self, problem: str, *, may_pass: bool = False) -> None:
        super().__init__(problem)
        self.may_pass = may_pass


def parse_accounts(
    content: bytes, settings: Settings, operations: Mapping[str, Mapping[str, Collection[str]]]
) -> Mapping[str, Settings]:
    """Reads a file of accounts, and the files of keys that it names.

    Args:
        content: What is in it: TOML.
        settings: The gateway's. What an account leaves out is as it is there, but for the keys.
        operations: By the names of the API and of the operation, the spellings that the operation's path has.

    Returns:
        The settings of each account, by its name.

    Raises:
        AccountsError: It cannot be used.
    """
    if len(content) > MOST_ACCOUNT_BYTES:
        raise AccountsError(f"is larger than {MOST_ACCOUNT_BYTES} bytes")
    try:
        document = tomllib.loads(content.decode())
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise AccountsError(f"is not valid TOML: {error}") from None
    accounts = document.pop(_ACCOUNTS, None)
    if document:
        raise AccountsError(f"there is no key {next(iter(document))!r}, only {_ACCOUNTS}")
    if not isinstance(accounts, dict) or not accounts:
        raise AccountsError(f"{_ACCOUNTS}: must be a table of accounts, at least one")
    if len(accounts) > MOST_ACCOUNTS:
        raise AccountsError(f"{_ACCOUNTS}: must be at most {MOST_ACCOUNTS}, not {len(accounts)}")
    found: dict[str, Settings] = {}
    problems: list[str] = []
    for name, value in accounts.items():
        try:
            found[name] = _account(name, value, settings)
            check_account(found[name], operations)
        except ConfigurationError as error:
            problems.append(str(error))
    if problems:
        more = [f"and {len(problems) - _MOST_TOLD} more"] if len(problems) > _MOST_TOLD else []
        raise AccountsError("; ".join([*problems[:_MOST_TOLD], *more]), may_pass=True)
    return found


def _account(name: str, value: object, settings: Settings) -> Settings:
    where = f"{_ACCOUNTS}.{name}"
    if not ACCOUNT_NAME.fullmatch(name):
        raise ConfigurationError(f"{_ACCOUNTS}: the name {name[:64]!r} must be up to 64 letters, digits, and any of _-")
    if name == DEFAULT_ACCOUNT:
        raise ConfigurationError(
            f"{where}: is reserved for the account that the other settings define: choose another name"
        )
    if not isinstance(value, dict) or not value:
        raise ConfigurationError(f"{where}: must be a table with {' or '.join(API_NAMES)}")
    for key in value:
        if key not in API_NAMES:
            raise ConfigurationError(f"{where}: there is no API {key!r}, only {' and '.join(API_NAMES)}")
    parts = {api: _api(where, api, value.get(api), settings) for api in API_NAMES}
    return msgspec.structs.replace(settings, account=name, **parts)


def _api(where: str, api: str, value: object, settings: Settings) -> Any:
    """Returns the settings of one API of an account, which has no key if the account has none there."""
    given = settings.api(api)
    if value is None:
        return msgspec.structs.replace(given, **_NO_KEY)
    if not isinstance(value, dict):
        raise ConfigurationError(f"{where}.{api}: must be a table")
    changes = dict(_changes(f"{where}.{api}", api, value))
    if not changes.get("api_key") and changes.get("api_key_file") is None:
        raise ConfigurationError(f"{where}.{api}: needs {' or '.join(_KEYS)}")
    if settings.is_sandboxed:
        # Nothing may be sent anywhere else, nor with a key of anything else.
        changes.update((field, getattr(given, field)) for field in _PLACE)
        return msgspec.structs.replace(given, **changes)
    return msgspec.structs.replace(given, **{**_NO_KEY, **changes})


def _changes(where: str, api: str, value: Mapping[str, object]) -> Iterator[tuple[str, Any]]:
    for field, given in value.items():
        yield field, convert(f"{api}_{field}", given, f"{where}.{field}")

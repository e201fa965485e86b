"""What a file of accounts may say, and what is apart by name: without a gateway."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final

import msgspec
import pytest
from allocation_gateway.accounts.book import Accounts
from allocation_gateway.accounts.model import Account
from allocation_gateway.claims.opening import Stores
from allocation_gateway.errors import GatewayError
from allocation_gateway.groups.replication import _Keys
from allocation_gateway.operations import table
from allocation_gateway.operations.model import Api
from allocation_gateway.settings import FIELDS, AccountsError, Secret, Settings, parse_accounts

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

KEY: Final = "a-key-that-nobody-may-see"
GIVEN: Final = Settings()
BASE: Final = msgspec.structs.replace(
    GIVEN,
    ship=msgspec.structs.replace(GIVEN.ship, api_key=Secret("of-the-settings"), timeout=7.0, base_url="https://x/pro"),
    consignments=msgspec.structs.replace(GIVEN.consignments, api_key=Secret("of-the-settings-too")),
)
SHIP: Final = f'[accounts.north.ship]\napi_key = "{KEY}"\n'


def parsed(text: str, settings: Settings = BASE) -> Mapping[str, Settings]:
    return parse_accounts(text.encode(), settings, table.spellings())


def test_account_has_what_it_says_and_the_settings_for_the_rest_but_never_their_keys() -> None:
    found = parsed(f'{SHIP}rate_limit = 5\n[accounts.south.consignments]\napi_key = "other"\n')
    north, south = found["north"], found["south"]
    assert list(found) == ["north", "south"]
    assert (north.account, north.ship.api_key.reveal(), north.ship.rate_limit) == ("north", KEY, 5.0)
    assert (north.ship.timeout, north.ship.base_url) == (7.0, "https://x/pro")
    assert (north.consignments.is_configured, south.ship.is_configured) == (False, False)
    assert south.consignments.api_key.reveal() == "other"


def test_every_setting_of_an_api_can_be_one_of_an_account() -> None:
    for name, field in FIELDS.items():
        if not field.api or field.attribute.startswith("api_key") or field.default in (None, (), {}):
            continue
        value = str(field.default).lower() if isinstance(field.default, bool) else repr(field.default)
        found = parsed(f'[accounts.a.{field.api}]\napi_key = "x"\n{field.attribute} = {value}\n', GIVEN)
        assert getattr(found["a"].api(field.api), field.attribute) == field.default, name


WRONG: Final = {
    "no TOML": ("x", "is not valid TOML"),
    "no text": ("\udcff", "is not valid TOML"),
    "nothing": ("", "at least one"),
    "no account": ("accounts = {}", "at least one"),
    "no table": ("accounts = 5", "must be a table"),
    "another key": (f"{SHIP}[account.south]\n", "there is no key 'account'"),
    "default": ('[accounts.default.ship]\napi_key = "x"', "accounts.default: is reserved for the account"),
    "name": ('[accounts."a@b".ship]\napi_key = "x"', "'a@b' must be up to 64"),
    "long name": (f'[accounts.{"n" * 65}.ship]\napi_key = "x"', "must be up to 64"),
    "no API": ("[accounts.north]\n", "accounts.north: must be a table with ship or consignments"),
    "API that is none": ("[accounts.north.boat]\n", "accounts.north: there is no API 'boat'"),
    "API that is no table": ("[accounts.north]\nship = 1", "accounts.north.ship: must be a table"),
    "no key": ("[accounts.north.ship]\ntimeout = 5", "accounts.north.ship: needs api_key or api_key_file"),
    "empty key": ('[accounts.north.ship]\napi_key = ""', "accounts.north.ship: needs api_key or api_key_file"),
    "two keys": (f'{SHIP}api_key_file = "/dev/null"', "accounts.north.ship.api_key: must not be set together with"),
    "key that is no header": ('[accounts.north.ship]\napi_key = "a\\nb"', "api_key: holds characters"),
    "key file": ('[accounts.north.ship]\napi_key_file = "/no/such/file"', "north.ship.api_key_file: cannot be read"),
    "unknown setting": (f"{SHIP}timeouts = 5", "accounts.north.ship.timeouts: there is no such setting"),
    "wrong type": (f'{SHIP}timeout = "soon"', "accounts.north.ship.timeout: must be a number above 0"),
    "settings that do not fit": (f"{SHIP}timeout = 50", "accounts.north.ship.settle_time: must be at least"),
    "URL": (f'{SHIP}base_url = "ftp://x"', "accounts.north.ship.base_url: must be an http"),
    "plaintext": (f'{SHIP}base_url = "http://elsewhere"', "accounts.north.ship.base_url: would send the key"),
    "operation": (f'{SHIP}disabled_operations = ["No"]', "accounts.north.ship.disabled_operations: there is no"),
    "several": (
        f"{SHIP}timeout = 0\n[accounts.south.ship]\ntimeout = 1",
        "got 0; accounts.south.ship: needs api_key",
    ),
    "too many": (
        "".join(f'[accounts.a{n}.ship]\napi_key = "x"\n' for n in range(201)),
        "accounts: must be at most 200, not 201",
    ),
    "too large": (f"# {'x' * 1_048_576}\n{SHIP}", "is larger than"),
}


@pytest.mark.parametrize(("text", "problem"), WRONG.values(), ids=WRONG)
def test_file_that_cannot_be_used_says_what_is_wrong_and_no_key(text: str, problem: str) -> None:
    with pytest.raises(AccountsError) as caught:
        parse_accounts(text.encode(errors="surrogateescape"), BASE, table.spellings())
    assert problem in str(caught.value)
    assert "\n" not in str(caught.value)
    assert KEY not in str(caught.value)


def test_a_sandbox_has_every_account_at_its_address_and_with_its_key(tmp_path: Path) -> None:
    sandboxed = msgspec.structs.replace(BASE, is_sandboxed=True)
    (tmp_path / "key").write_text(KEY)
    for own in (f'api_key = "{KEY}"', f'api_key_file = "{tmp_path / "key"}"'):
        found = parsed(f'[accounts.north.ship]\n{own}\nbase_url = "https://real"\nrate_limit = 5', sandboxed)
        ship = found["north"].ship
        assert (ship.base_url, ship.api_key, ship.api_key_file) == (BASE.ship.base_url, BASE.ship.api_key, None)
        assert ship.rate_limit == 5.0


def test_claims_of_other_accounts_have_stores_of_their_own_and_those_of_the_settings_keep_their_name() -> None:
    """No two of them can have the same name: neither an API nor an account has an @ in its own."""
    made: list[str] = []

    def make(name: str) -> Any:
        made.append(name)
        return object()

    stores = Stores(make, None)
    assert stores.of("ship") is stores.of("ship", "default")
    assert stores.of("ship", "north") is stores.of("ship", "north")
    stores.of("consignments", "north")
    assert made == ["ship", "ship@north", "consignments@north"]
    assert not any("@" in api.value for api in Api)


def test_what_replicas_share_of_service_groups_is_named_by_the_account_too() -> None:
    """Two accounts may be at the same address. The names of the default one are those of earlier releases."""
    url = "https://api.example/pro"
    default, north, south = (_Keys("ns", Api.SHIP, url, name) for name in ("default", "north", "south"))
    digest = hashlib.sha256(url.encode()).hexdigest()[:12]
    assert default.observed == f"ns:1:ship:{digest}:observed"
    assert north.channel == f"ns:1:ship@north:{digest}:news"
    names = [name for keys in (default, north, south) for name in vars(keys).values()]
    assert len({*names}) == len(names) == 12


def account(name: str) -> Account:
    settings = msgspec.structs.replace(GIVEN, account=name)
    groups: Any = None
    return Account(settings, {}, groups, groups, {}, frozenset())


def test_the_account_is_looked_up_in_what_the_caller_names_before_what_it_is_given() -> None:
    default, north = account("default"), account("north")
    book = Accounts(default)
    book.use([north])

    def chosen(*names: str, allowed: set[str] | None = None) -> Account:
        return book.chosen([("x", "y"), *(("allocation-account", name) for name in names)], allowed, {})

    assert chosen() is default
    assert chosen("north") is north
    assert chosen(allowed={"north"}) is north
    assert chosen(allowed={"north", "default"}) is default
    refused: list[tuple[list[str], set[str] | None]] = [
        (["north", "north"], None),
        (["default"], {"north"}),
        ([], {"north", "south"}),
        ([], {"south"}),
    ]
    for names, allowed in refused:
        with pytest.raises(GatewayError):
            chosen(*names, allowed=allowed)
    book.use([])
    with pytest.raises(GatewayError):
        chosen("north")

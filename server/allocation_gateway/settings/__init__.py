"""The settings: the only package that reads the gateway's environment variables, its TOML file and its key files.

`schema` and `api` say what there is: a setting is a field there, with its type, its default and its description, and
everything else follows from that. `fields` names them, `loading` reads them, `checks` has everything that can be wrong
with them once each has the right type, and `documentation` makes the table.

Everything is read once and checked before the port opens; files of keys and certificates are followed afterwards.
"""

from allocation_gateway.settings.accounts import ACCOUNT_NAME, MOST_ACCOUNT_BYTES, AccountsError, parse_accounts
from allocation_gateway.settings.api import ApiSettings
from allocation_gateway.settings.checks import Release, check_early, check_late
from allocation_gateway.settings.documentation import markdown
from allocation_gateway.settings.fields import API_NAMES, FIELDS
from allocation_gateway.settings.known_secrets import KNOWN
from allocation_gateway.settings.loading import load
from allocation_gateway.settings.names import DEFAULT_ACCOUNT, PREFIX, variable
from allocation_gateway.settings.schema import Settings
from allocation_gateway.settings.types import ConfigurationError, Secret, Workers, from_text
from allocation_gateway.settings.urls import LOOPBACK

__all__ = [
    "ACCOUNT_NAME",
    "API_NAMES",
    "DEFAULT_ACCOUNT",
    "FIELDS",
    "KNOWN",
    "LOOPBACK",
    "MOST_ACCOUNT_BYTES",
    "PREFIX",
    "AccountsError",
    "ApiSettings",
    "ConfigurationError",
    "Release",
    "Secret",
    "Settings",
    "Workers",
    "check_early",
    "check_late",
    "from_text",
    "load",
    "markdown",
    "parse_accounts",
    "variable",
]

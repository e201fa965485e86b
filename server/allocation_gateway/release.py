"""What this release has that settings can name: its operations, and what the files that it follows may hold."""

from __future__ import annotations

import time
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from allocation_gateway.accounts.file import read_accounts
from allocation_gateway.callers.opening import read_files
from allocation_gateway.groups.opening import read_catalogue
from allocation_gateway.operations import table
from allocation_gateway.settings import Release, check_late

if TYPE_CHECKING:
    from collections.abc import Mapping

    from allocation_gateway.callers.opening import CallerFiles
    from allocation_gateway.groups.catalogue import Catalogue
    from allocation_gateway.settings import Settings


class CheckedFiles(NamedTuple):
    """What had to be read to check the settings.

    Attributes:
        catalogue: The catalogue of service groups: its file's content, and what it says.
        callers: What says who callers are and what they may do.
        accounts: The file of accounts: its content, and the settings of each by its name.
    """

    catalogue: tuple[bytes, Catalogue]
    callers: CallerFiles
    accounts: tuple[bytes, Mapping[str, Settings]]


def check_settings(settings: Settings) -> CheckedFiles:
    """Runs the second part of the list of checks in settings/checks.py.

    Returns:
        What has to be read for that.

    Raises:
        ConfigurationError: A setting names what there is not, or what cannot be used.
    """
    # They may be large: each is read once.
    catalogue = cache(lambda: read_catalogue(settings, time.time()))
    callers = cache(lambda: read_files(settings))
    accounts = cache(lambda: read_accounts(settings))
    check_late(settings, Release(table.spellings(), lambda _: catalogue(), lambda _: callers(), lambda _: accounts()))
    return CheckedFiles(catalogue(), callers(), accounts())

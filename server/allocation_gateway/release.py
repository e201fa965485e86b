"""What this release has that settings can name: its operations, and what a catalogue of service groups may hold."""

from __future__ import annotations

import time
from functools import cache
from typing import TYPE_CHECKING

from allocation_gateway.groups.opening import read_catalogue
from allocation_gateway.operations import table
from allocation_gateway.settings import Release, check_late

if TYPE_CHECKING:
    from allocation_gateway.groups.catalogue import Catalogue
    from allocation_gateway.settings import Settings


def check_settings(settings: Settings) -> tuple[bytes, Catalogue]:
    """Runs the second part of the list of checks in settings/checks.py.

    Returns:
        The catalogue of service groups, which has to be read for that: its file's content, and what it says.

    Raises:
        ConfigurationError: A setting names what there is not, or what cannot be used.
    """
    # It may hold thousands of groups: it is read once.
    read = cache(lambda: read_catalogue(settings, time.time()))
    check_late(settings, Release(table.spellings(), lambda _: read()))
    return read()

"""What this release has that settings can name: its operations, and what a catalogue of service groups may hold."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from allocation_gateway.groups.opening import read_catalogue
from allocation_gateway.operations import table
from allocation_gateway.settings import Release, check_late

if TYPE_CHECKING:
    from allocation_gateway.settings import Settings


def check_settings(settings: Settings) -> None:
    """Runs the second part of the list of checks in settings/checks.py.

    Raises:
        ConfigurationError: A setting names what there is not, or what cannot be used.
    """
    check_late(settings, Release(table.spellings(), lambda given: read_catalogue(given, time.time())))

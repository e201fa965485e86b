"""Marks what is here: each test runs several processes."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

_HERE: Final = Path(__file__).parent


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leaves these tests to a run of their own."""
    for item in items:
        if item.path.is_relative_to(_HERE):
            item.add_marker(pytest.mark.workers)

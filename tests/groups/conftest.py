"""What the suites of the service groups share."""

from __future__ import annotations

import pytest
from support.clock import Clock


@pytest.fixture
def clock() -> Clock:
    """A clock under control."""
    return Clock()

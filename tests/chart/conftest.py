"""The helm that renders the chart."""

from __future__ import annotations

import pytest
from support.chart import Helm, helm_command


@pytest.fixture(scope="session")
def helm() -> Helm:
    """The pinned helm."""
    return Helm(helm_command())

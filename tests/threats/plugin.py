"""A plugin of pytest: has tests run without one of the gateway's defences, and writes down what became of each.

The defence is taken out of the process of the tests, and of each gateway that they start.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from support import gateway
from threats.defences import take_out

if TYPE_CHECKING:
    import pytest

DEFENCE: Final = "THREATS_WITHOUT"
REPORT: Final = "THREATS_REPORT"
# A log line that never comes is waited for for so long. One that is only late fails the same test, which has to fail.
_LINE_SECONDS: Final = 5.0
_outcomes: dict[str, dict[str, str]] = {}


def pytest_configure() -> None:
    """Takes the defence out, if one is named, before any test is imported."""
    if name := os.environ[DEFENCE]:
        take_out(name)
        gateway.command_line = (sys.executable, "-m", "threats.undefended", name)
        gateway.line_timeout = _LINE_SECONDS


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Takes note of what became of a part of a test."""
    _outcomes.setdefault(report.nodeid, {})[report.when] = report.outcome


def pytest_sessionfinish() -> None:
    """Writes it down."""
    Path(os.environ[REPORT]).write_text(json.dumps(_outcomes))

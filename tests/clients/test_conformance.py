"""Every client does the same: all of clients/conformance, through each language's driver."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

import pytest

from clients.conformance import CASES, CLIENTS, matrix, problems, running_driver

if TYPE_CHECKING:
    from support.gateway import Gateway

pytestmark = pytest.mark.clients

DRIVERS: Final = {"Python": (sys.executable, str(CLIENTS / "conformance/drivers/python.py"))}


def test_every_client_keeps_every_case(gateway: Gateway, capsys: pytest.CaptureFixture[str]) -> None:
    found = {}
    for language, command in DRIVERS.items():
        with running_driver(*command) as driver:
            found[language] = [problems(case, driver, gateway) for case in CASES]
    with capsys.disabled():
        print(f"\n{matrix(found)}")  # noqa: T201 # it is what the suite is for
    broken = {
        f"{language}: {case['name']}": problem
        for language, results in found.items()
        for case, problem in zip(CASES, results, strict=True)
        if problem
    }
    assert broken == {}

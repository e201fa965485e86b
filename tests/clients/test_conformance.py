"""Every client does the same: all of clients/conformance, through each language's driver."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

import pytest

from clients.conformance import CASES, Driver, Result, is_scripted, matrix, result, running_driver

if TYPE_CHECKING:
    from pathlib import Path

    from support.gateway import Gateway

pytestmark = pytest.mark.clients

# What a language's client does not have yet, as the `needs` of cases: known, and no reason to fail.
LACKS: Final[dict[str, set[str]]] = {"Python": {"cancel"}}


def test_every_client_keeps_every_case(
    gateway: Gateway, commands: dict[str, tuple[str, ...]], capsys: pytest.CaptureFixture[str]
) -> None:
    found: dict[str, list[Result]] = {}
    with ExitStack() as stack:
        drivers = {language: stack.enter_context(running_driver(*command)) for language, command in commands.items()}

        def scripted(driver: Driver) -> list[Result]:
            return [result(case, driver, gateway) for case in CASES if is_scripted(case)]

        # Those wait at length, and each has a server of its own.
        beside = stack.enter_context(ThreadPoolExecutor()).map(scripted, drivers.values())
        for (language, driver), apart in zip(drivers.items(), beside, strict=True):
            rest = iter(apart)
            found[language] = [next(rest) if is_scripted(case) else result(case, driver, gateway) for case in CASES]
    with capsys.disabled():
        print(f"\n{matrix(found)}")  # noqa: T201 # it is what the suite is for
    told = [
        (language, case, one)
        for language, results in found.items()
        for case, one in zip(CASES, results, strict=True)
        if one.problems
    ]
    assert {f"{language}: {case['name']}": one.problems for language, case, one in told if not one.is_lacking} == {}
    lacking: dict[str, set[str]] = {}
    for language, case, one in told:
        if one.is_lacking:
            lacking.setdefault(language, set()).add(case["needs"])
    assert lacking == LACKS


def test_a_driver_that_knows_less_is_reported_as_lacking_it(gateway: Gateway, tmp_path: Path) -> None:
    """Whether it says so, or ends: the cases after that are run all the same."""
    case = next(one for one in CASES if one.get("needs") == "streams")
    single = next(one for one in CASES if "needs" not in one)
    driver = tmp_path / "driver.py"
    for lacking in ('print(json.dumps({"lacks": asked["needs"]}), flush=True)', "sys.exit(1)"):
        driver.write_text(
            "import json, sys\n"
            "for line in sys.stdin:\n"
            "    asked = json.loads(line)\n"
            f"    if 'needs' in asked:\n        {lacking}\n"
            "    else:\n        print('{}', flush=True)\n"
        )
        with running_driver(sys.executable, str(driver)) as running:
            lacked, kept = result(case, running, gateway), result(single, running, gateway)
        assert (lacked.is_lacking, kept.is_lacking) == (True, False)
        assert lacked.problems
        assert kept.problems, "it has answered nothing"
        assert "lacks" in matrix({"It": [lacked, *[kept] * (len(CASES) - 1)]})

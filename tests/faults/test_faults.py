"""Each fault shows itself as the table says, in a real Prometheus, and fires its alerts, in a real Alertmanager.

Faults of different lanes are struck at the same time, at gateways that have nothing in common.
"""

from __future__ import annotations

import itertools
import threading
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final, NamedTuple

import pytest
import yaml
from faults.scene import ROOT, running_scene
from faults.strikes import LANES
from faults.table import FURTHER, TABLE, row, signs
from support.prometheus import firing

from helm import rules

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from faults.scene import Scene

pytestmark = pytest.mark.faults

RUNBOOKS: Final = ROOT / "docs" / "runbooks" / "README.md"
OWN: Final = "AllocationGateway"
# Seconds within which a fault has shown itself, and is forgotten again once it is over.
SECONDS: Final = 60.0
TURN: Final = 0.5
# xdist gives all of a group to one process.
STRUCK: Final = [
    pytest.param(lane, fault, marks=pytest.mark.xdist_group(lane), id=fault)
    for lane, faults in LANES.items()
    for fault in faults.strikes
]


class Seen(NamedTuple):
    """What can be seen at one time: signs on panels, and alerts."""

    signs: frozenset[str]
    alerts: frozenset[str]


class Scenes:
    """The scene of one lane at a time, which all faults of the lane strike."""

    def __init__(self, folders: pytest.TempPathFactory, stack: ExitStack) -> None:
        self._folders = folders
        self._stack = stack
        self._name = ""
        self._scene: Scene | None = None

    def of(self, name: str) -> Scene:
        """Returns the scene of a lane."""
        if self._scene is None or name != self._name:
            self._stack.close()
            lane = LANES[name]
            running = running_scene(self._folders.mktemp("faults"), lane.settings, lane.pace)
            self._name, self._scene = name, self._stack.enter_context(running)
        return self._scene


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scenes]:
    with ExitStack() as stack:
        yield Scenes(tmp_path_factory, stack)


@pytest.fixture
def scene(request: pytest.FixtureRequest, scenes: Scenes) -> Scene:
    return scenes.of(request.param)


def seen(scene: Scene) -> Seen:
    """Returns what is seen now, after some more calls."""
    scene.load.turn()
    threading.Event().wait(TURN)
    fired = frozenset(alert["labels"]["alertname"].removeprefix(OWN) for alert in firing(scene.alertmanager))
    return Seen(signs(scene.prometheus), fired)


def look_until(scene: Scene, is_enough: Callable[[list[Seen]], bool]) -> list[Seen]:
    """Looks again and again, until it has seen enough. Returns what it has seen."""
    end, found = time.monotonic() + SECONDS, [seen(scene)]
    while not is_enough(found):
        assert time.monotonic() < end, [(sorted(each.signs), sorted(each.alerts)) for each in found[-8:]]
        found.append(seen(scene))
    return found


def twice(is_right: Callable[[Seen], bool]) -> Callable[[list[Seen]], bool]:
    """Tells whether what was seen last is right, twice in a row."""
    return lambda found: len(found) > 1 and all(map(is_right, found[-2:]))


def alerts(found: list[Seen]) -> frozenset[str]:
    return frozenset(name for each in found for name in each.alerts)


@pytest.mark.parametrize(("scene", "fault"), STRUCK, indirect=["scene"])
def test_fault_shows_itself_as_the_table_says_and_is_over_when_it_is_over(fault: str, scene: Scene) -> None:
    """What is beside the table shows itself by its alerts alone."""
    strike = next(lane.strikes[fault] for lane in LANES.values() if fault in lane.strikes)
    look = TABLE.get(fault) or FURTHER[fault]
    look_until(scene, twice(lambda each: not each.signs and not each.alerts & look.fires))
    with strike(scene):
        found = look_until(scene, twice(lambda each: fault in FURTHER or look.fits(each.signs)))
        look_until(scene, lambda more: look.fires <= alerts(found + more))
    look_until(scene, twice(lambda each: each.signs <= look.stays and not each.alerts & look.fires))


def test_no_two_faults_look_the_same() -> None:
    pairs = list(itertools.combinations(TABLE, 2))
    assert len(pairs) == 45
    assert [pair for pair in pairs if not TABLE[pair[0]].is_told_from(TABLE[pair[1]])] == []


def test_the_runbooks_say_of_each_fault_what_was_seen_of_it_and_each_is_struck() -> None:
    section = RUNBOOKS.read_text().split("## Alerts")[0]
    rows = [line for line in section.splitlines() if line.startswith("| ")]
    assert rows[1:] == [row(fault) for fault in TABLE]
    assert all((RUNBOOKS.parent / f"{look.runbook}.md").is_file() for look in TABLE.values())
    assert sorted(fault for lane in LANES.values() for fault in lane.strikes) == sorted([*TABLE, *FURTHER])


def test_every_alert_is_fired_by_a_fault() -> None:
    groups = yaml.safe_load(rules.text())["groups"]
    named = {rule["alert"] for group in groups for rule in group["rules"] if "alert" in rule}
    fired = frozenset[str]().union(*(look.fires for look in (*TABLE.values(), *FURTHER.values())))
    assert {f"{OWN}{name}" for name in fired} == named

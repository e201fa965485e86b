"""Attacks that go on: by each of them, memory grows by little, and a bystander hardly waits. `make test-attacks`.

Each attack is sustained on a gateway with each engine, one after the other, from each number of connections, and in the
end the table of all of them is printed. Our engine has to hold; what grpcio gives is the control.

Environment:
    ATTACK_SECONDS: For how long each attack goes on.
    ATTACK_CONNECTIONS: From how many connections, such as `1,8,64`.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Final

import pytest
from attacks.attacker import ATTACKS
from attacks.measuring import MEGABYTE, Outcome, best, measured
from support.certificates import Authority
from support.front import running_front

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.attacks

SECONDS: Final = float(os.environ.get("ATTACK_SECONDS", "2"))
COUNTS: Final = [int(count) for count in os.environ.get("ATTACK_CONNECTIONS", "64").split(",")]
ENGINES: Final = ("direct", "grpcio")
MOST_MEMORY: Final = 64 * MEGABYTE
# Seconds that a bystander may be held up in one of a hundred calls, and how much longer than with grpcio. Who is not
# held up for longer than the floor is not held up: with grpcio that may be a millisecond.
MOST_WAIT: Final = 0.05
MOST_RATIO: Final = 3.0
FLOOR: Final = 0.015
# The machine may do something else meanwhile: what is too much has to be so each time. Both engines are measured as
# often, by turns, since it would be no control otherwise.
ROUNDS: Final = 3

HEAD: Final = (
    f"\n{'attack':50} {'from':>4} {'engine':8} {'memory MiB':>10} {'p50 ms':>8} {'p99 ms':>8} {'p99 CPU ms':>10} "
    f"{'lost':>4} {'sent MB':>8} {'over':>6}"
)


@pytest.fixture(scope="module")
def table() -> Iterator[list[tuple[str, int, str, Outcome]]]:
    """The rows of the table, which is printed in the end."""
    rows: list[tuple[str, int, str, Outcome]] = []
    yield rows
    lines = [HEAD]
    for name, count, engine, one in rows:
        numbers = f"{one.grown / MEGABYTE:10.1f} {one.p50 * 1e3:8.1f} {one.p99 * 1e3:8.1f} {one.busy * 1e3:10.1f}"
        attack = f"{one.lost:4} {one.sent / 1e6:8.1f} {one.connections:6}"
        fails = "" if holds(one) else "  fails"
        lines.append(f"{name:50} {count:4} {engine:8} {numbers} {attack}{fails}")
    sys.stdout.write("\n".join(lines) + "\n")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate and its key."""
    return Authority(tmp_path_factory.mktemp("certificates")).issue("localhost")


def attacked(engine: str, name: str, count: int, certificate: tuple[Path, Path]) -> Outcome:
    """Measures an attack on a gateway of its own: what an earlier one has left would count for this one."""
    settings = {"GRPC_ENGINE": engine, "HEALTH_PORT": "0"}
    if ATTACKS[name].needs_tls:
        file, key = map(str, certificate)
        settings |= {"ALLOW_PLAINTEXT": "false", "TLS_CERT_FILE": file, "TLS_KEY_FILE": key}
    with running_front(settings=settings) as front:
        return measured(front.gateway, name, count, SECONDS)


def holds(one: Outcome) -> bool:
    """Returns whether a gateway has stood an attack: by its own bounds, whatever another one gives."""
    return one.grown <= MOST_MEMORY and one.p99 < MOST_WAIT and not one.lost


def is_near(one: Outcome, control: Outcome) -> bool:
    """Returns whether a bystander was held up hardly more than with grpcio."""
    return one.p99 < max(FLOOR, MOST_RATIO * control.p99)


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("name", ATTACKS)
def test_attack_holds_up_nobody(
    name: str, count: int, certificate: tuple[Path, Path], table: list[tuple[str, int, str, Outcome]]
) -> None:
    outcomes: dict[str, list[Outcome]] = {engine: [] for engine in ENGINES}
    for number in range(ROUNDS):
        for engine in ENGINES if number % 2 else reversed(ENGINES):
            outcomes[engine].append(attacked(engine, name, count, certificate))
        one, control = best(outcomes["direct"]), best(outcomes["grpcio"])
        if holds(one) and is_near(one, control):
            break
    table += [(name, count, "direct", one), (name, count, "grpcio", control)]
    assert one.grown <= MOST_MEMORY
    assert holds(one), one
    assert is_near(one, control), (one, control)

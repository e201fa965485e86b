"""Attacks that go on: by each of them, memory grows by little, and a bystander hardly waits. `make test-attacks`.

Each attack is sustained on a gateway with each engine, one after the other, from each number of connections, and in
the end the table of all of them is printed. Our engine has to hold; what grpcio gives is the control. And each is
sustained on our engine without the defences that it meets (`undefended`), which must not hold: else it would show
nothing.

Environment:
    ATTACK_SECONDS: For how long each attack goes on.
    ATTACK_CONNECTIONS: From how many connections, such as `1,8,64`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import pytest
from attacks import undefended
from attacks.attacker import ATTACKS, RATE
from attacks.measuring import MEGABYTE, Outcome, best, measured
from attacks.undefended import RESTS_ON
from support.certificates import Authority
from support.front import KEY
from support.gateway import COMMAND, running_gateway
from support.upstream import running_upstream, shipped

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
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
# How much more CPU time an attack costs that the gateway has no defence against, and from how many seconds on: where it
# is stood all the same, since the machine is fast.
MUCH_DEARER: Final = 3.0
LEAST_DEAR: Final = 0.005
# Seconds in which an attack sends more than may be held, where all that it does is to have that held.
LONG_ENOUGH: Final = 1.5 * MOST_MEMORY / RATE
# The machine may do something else meanwhile: what is too much has to be so each time. Both engines are measured as
# often, by turns, since it would be no control otherwise.
ROUNDS: Final = 3

# What an attack did to a gateway that did not outlive it.
FELLED: Final = Outcome(grown=0, p50=SECONDS, p99=SECONDS, busy=SECONDS, lost=1, sent=0, connections=0)

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


def attacked(
    engine: str,
    name: str,
    count: int,
    certificate: tuple[Path, Path],
    *,
    without: Sequence[str] = (),
    seconds: float = SECONDS,
) -> Outcome:
    """Measures an attack on a gateway of its own: what an earlier one has left would count for this one.

    Args:
        engine: The gateway's engine.
        name: The attack.
        count: Over how many connections.
        certificate: That of the gateway, and its key.
        without: The defences that the gateway does not have.
        seconds: For how long it goes on.
    """
    settings = {"GRPC_ENGINE": engine, "HEALTH_PORT": "0", "SHIP_API_KEY": KEY}
    if ATTACKS[name].is_over_tls:
        file, key = map(str, certificate)
        settings |= {"ALLOW_PLAINTEXT": "false", "TLS_CERT_FILE": file, "TLS_KEY_FILE": key}
    else:
        settings["ALLOW_PLAINTEXT"] = "true"
    command, extra = [COMMAND], {}
    if without:
        command, extra = undefended.command(without), undefended.environment()
    with running_upstream() as upstream:
        upstream.default = shipped
        # Where one needs all the memory that it may have, what it logs of that may have anything in it.
        with running_gateway(
            {**settings, "SHIP_BASE_URL": upstream.url}, extra=extra, command=command, leaks=bool(without)
        ) as gateway:
            try:
                return measured(gateway, name, count, seconds)
            except (AssertionError, OSError, ValueError):
                with suppress(subprocess.TimeoutExpired):
                    gateway.process.wait(1.0)
                if not without or gateway.process.poll() is None:
                    raise
                return FELLED


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


@pytest.mark.parametrize("name", RESTS_ON)
def test_attack_is_not_stood_without_the_defences_that_it_meets(name: str, certificate: tuple[Path, Path]) -> None:
    """Twice in a row, so that no moment of a busy machine is taken for it."""
    count = max(COUNTS)
    control = attacked("direct", name, count, certificate)
    for _ in range(2):
        one = attacked("direct", name, count, certificate, without=RESTS_ON[name])
        if holds(one):
            one = attacked("direct", name, count, certificate, without=RESTS_ON[name], seconds=LONG_ENOUGH)
        assert not holds(one) or one.busy > max(LEAST_DEAR, MUCH_DEARER * control.busy), (one, control)

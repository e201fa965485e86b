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
from attacks.measuring import MEGABYTE, Outcome, measured
from support.certificates import Authority
from support.front import running_front

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.gateway import Gateway

pytestmark = pytest.mark.attacks

SECONDS: Final = float(os.environ.get("ATTACK_SECONDS", "2"))
COUNTS: Final = [int(count) for count in os.environ.get("ATTACK_CONNECTIONS", "64").split(",")]
MOST_MEMORY: Final = 64 * MEGABYTE
# Seconds that a bystander may be held up in one of a hundred calls, and how much longer than with grpcio. Who is not
# held up for longer than the floor is not held up: with grpcio that may be a millisecond.
MOST_WAIT: Final = 0.05
MOST_RATIO: Final = 3.0
FLOOR: Final = 0.015
# The machine is shared: what is too much has to be so each time.
ATTEMPTS: Final = 3


@pytest.fixture(scope="module")
def table() -> Iterator[list[tuple[str, int, str, Outcome]]]:
    """The rows of the table, which is printed in the end."""
    rows: list[tuple[str, int, str, Outcome]] = []
    yield rows
    lines = [
        f"\n{'attack':50} {'from':>4} {'engine':8} {'memory MiB':>10} {'p50 ms':>8} {'p99 ms':>8} {'p99 CPU ms':>10}"
    ]
    for name, count, engine, one in rows:
        numbers = f"{one.grown / MEGABYTE:10.1f} {one.p50 * 1e3:8.1f} {one.p99 * 1e3:8.1f} {one.busy * 1e3:10.1f}"
        fails = "" if holds(one) else "  fails"
        lines.append(f"{name:50} {count:4} {engine:8} {numbers}{fails}")
    sys.stdout.write("\n".join(lines) + "\n")


@pytest.fixture(scope="module")
def gateways(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str, bool], Gateway]]:
    """Returns the running gateway of an engine, without or with TLS."""
    opened = {}
    stack = []

    def get(engine: str, tls: bool) -> Gateway:
        if (engine, tls) not in opened:
            settings = {"GRPC_ENGINE": engine, "HEALTH_PORT": "0"}
            if tls:
                certificate, key = Authority(tmp_path_factory.mktemp("certificates")).issue("localhost")
                settings |= {"ALLOW_PLAINTEXT": "false", "TLS_CERT_FILE": str(certificate), "TLS_KEY_FILE": str(key)}
            stack.append(running_front(settings=settings))
            opened[engine, tls] = stack[-1].__enter__().gateway
        return opened[engine, tls]

    yield get
    for front in reversed(stack):
        front.__exit__(None, None, None)


def holds(one: Outcome) -> bool:
    """Returns whether a gateway has stood an attack: by its own bounds, whatever another one gives."""
    return one.grown <= MOST_MEMORY and min(one.p99, one.busy) < MOST_WAIT


def is_near(one: Outcome, control: Outcome) -> bool:
    """Returns whether a bystander was held up hardly more than with grpcio."""
    return one.busy < max(FLOOR, MOST_RATIO * control.busy) or one.p99 < max(FLOOR, MOST_RATIO * control.p99)


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("name", ATTACKS)
def test_attack_holds_up_nobody(
    name: str,
    count: int,
    gateways: Callable[[str, bool], Gateway],
    table: list[tuple[str, int, str, Outcome]],
) -> None:
    tls = ATTACKS[name].needs_tls
    control = measured(gateways("grpcio", tls), name, count, SECONDS)
    for _ in range(ATTEMPTS):
        one = measured(gateways("direct", tls), name, count, SECONDS)
        if holds(one) and is_near(one, control):
            break
    table += [(name, count, "direct", one), (name, count, "grpcio", control)]
    assert one.grown <= MOST_MEMORY
    assert holds(one), one
    assert is_near(one, control), (one, control)

"""The settings of the gateways under chaos: the one place that knows their names.

Times are so long that answers can be lost long after any tolerance has passed, and so short that a settle time passes
while a caller still waits.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Final

from chaos.history import Run
from support.gateway import COMMAND, environment

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Pace:
    """The times that decide how long everything takes, in seconds.

    Attributes:
        timeout: What the gateway gives one upstream request.
        settle: The settle time.
        lease: The lease of a claim.
        given: Whether the gateway is given them; else they are its defaults.
    """

    timeout: float
    settle: float
    lease: float
    given: bool = True

    def settings(self) -> dict[str, str]:
        """Returns them as settings."""
        if not self.given:
            return {}
        return {
            "SHIP_TIMEOUT": str(self.timeout),
            "CONSIGNMENTS_TIMEOUT": str(self.timeout),
            "SHIP_SETTLE_TIME": str(self.settle),
            "CONSIGNMENTS_SETTLE_TIME": str(self.settle),
            "CLAIM_LEASE": str(self.lease),
        }


# Twice the tolerance for dates, and more.
SHORT: Final = Pace(timeout=4.0, settle=5.0, lease=2.0)
DEFAULTS: Final = Pace(timeout=30.0, settle=30.0, lease=10.0, given=False)
BREAKER_OPEN: Final = 0.1
# A breaker stays open up to eight times as long, and a little more.
LONGEST_BREAKER_OPEN: Final = 10 * BREAKER_OPEN
# Seconds by which the gateway accepts an allocation that is older than its attempt: two, and dates are cut to seconds.
TOLERANCE: Final = 3.5
# The first burst of the gateway's retry budget.
BURST: Final = 10
REPLICAS: Final = 3
# Of the account that the settings are of.
KEY: Final = "sandbox-key"

# What every gateway has. A name that the gateway does not know stops it.
COMMON: Final[Mapping[str, str]] = {
    "ALLOW_PLAINTEXT": "true",
    "SHIP_API_KEY": KEY,
    "CONSIGNMENTS_API_KEY": KEY,
    "SERVICE_GROUP_LISTING": "false",
    "SHUTDOWN_DELAY": "0",
    "SHUTDOWN_GRACE": "6",
    "SHIP_BREAKER_WINDOW": "2",
    "CONSIGNMENTS_BREAKER_WINDOW": "2",
    "SHIP_BREAKER_OPEN_TIME": str(BREAKER_OPEN),
    "CONSIGNMENTS_BREAKER_OPEN_TIME": str(BREAKER_OPEN),
}
# Where far more requests are struck than a budget is meant for. An outage is left to the gateway's own.
GENEROUS: Final[Mapping[str, str]] = {
    "SHIP_RETRY_BUDGET_RATIO": "1",
    "CONSIGNMENTS_RETRY_BUDGET_RATIO": "1",
    "SHIP_RETRY_BUDGET_BURST": "1000",
    "CONSIGNMENTS_RETRY_BUDGET_BURST": "1000",
    "SHIP_BREAKER_FAILURE_RATIO": "0.9",
    "CONSIGNMENTS_BREAKER_FAILURE_RATIO": "0.9",
}
SHARED: Final[Mapping[str, str]] = {
    "STORE_TIMEOUT": "1",
    "STORE_UNAVAILABLE": "refuse",
    "REPLICAS": str(REPLICAS),
}
IN_FLIGHT: Final = "SHIP_MAX_IN_FLIGHT"


def described(phase: str, seed: int, *, guard: bool, replicas: int, pace: Pace = SHORT) -> Run:
    """Returns what a history says of the gateways under test."""
    return Run(
        phase=phase,
        seed=seed,
        guard=guard,
        timeout=pace.timeout,
        settle=pace.settle,
        lease=pace.lease,
        breaker=LONGEST_BREAKER_OPEN,
        tolerance=TOLERANCE,
        burst=BURST * replicas,
    )


def settings(
    ship: str,
    consignments: str,
    port: int,
    store: str = "",
    more: Mapping[str, str] | None = None,
    pace: Pace = SHORT,
) -> dict[str, str]:
    """Returns the settings of one gateway, by their names without the prefix.

    Args:
        ship: The base URL of the Ship API.
        consignments: The base URL of the Consignments API.
        port: Where it listens.
        store: The URL of the store that it shares; empty if it has none.
        more: What only this one has, or has otherwise.
        pace: Its times.
    """
    own = {"PORT": str(port), "SHIP_BASE_URL": ship, "CONSIGNMENTS_BASE_URL": consignments}
    shared = {**SHARED, "STORE_URL": store} if store else {}
    return known({**COMMON, **pace.settings(), **own, **shared, **(more or {})})


def variables(given: Mapping[str, str]) -> dict[str, str]:
    """Returns the environment of a gateway. It passes its callers' traces on, and records none."""
    return {
        **environment(given),
        "OTEL_TRACES_EXPORTER": "otlp",
        "OTEL_TRACES_SAMPLER": "parentbased_always_off",
        "GRPC_ENABLE_FORK_SUPPORT": "0",
    }


def known(given: Mapping[str, str]) -> dict[str, str]:
    """Returns the settings; with CHAOS_LENIENT, only those that the gateway knows.

    So the suite can be run against a gateway that does not have all of them, to see what it breaks.
    """
    if not os.environ.get("CHAOS_LENIENT"):
        return dict(given)
    return {name: value for name, value in given.items() if name in _names()}


@cache
def _names() -> frozenset[str]:
    listing = subprocess.run([COMMAND, "settings"], check=True, capture_output=True, text=True).stdout
    names = frozenset(re.findall(r"(?m)^\| `([A-Z_]+)`", listing))
    missing = sorted({*COMMON, *SHORT.settings(), *SHARED, *GENEROUS, IN_FLIGHT} - names)
    sys.stdout.write(f"The gateway has no setting {', '.join(missing) or 'that is missing'}\n")
    return names

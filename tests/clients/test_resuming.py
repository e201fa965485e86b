"""Every client's jobs, in accounts too, against gateways that come and go. The sandbox's journal is the witness."""

from __future__ import annotations

import itertools
import signal
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final

import pytest
from support.accounts import DEFAULT, running_accounts
from support.cache import running_cache
from support.gateway import running_gateway
from support.losing import losing_wire
from support.sandbox import running_sandbox

from clients.conformance import running_driver

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from support.cache import CacheServer
    from support.gateway import Gateway
    from support.sandbox import Sandbox

pytestmark = pytest.mark.clients

JOB: Final = "ShipmentAllocationService/AllocateShipmentStream"
WRITE: Final = "ShipmentAllocationService/AllocateShipment"
# The shipments of each language.
PART: Final = 120
LONG: Final = 120.0
RPC: Final = "AllocateShipmentStream"


def settings(store: CacheServer, sandbox: Sandbox) -> dict[str, str]:
    """Returns the settings of gateways that share their claims, and come back soon to what another one has left."""
    return {
        "ALLOW_PLAINTEXT": "true",
        "SHIP_BASE_URL": f"{sandbox.url}/pro",
        "SHIP_API_KEY": "sandbox-key",
        "REPLICAS": "3",
        "STORE_URL": f"redis://127.0.0.1:{store.port}/0",
        "STORE_CHECKS": "off",  # nothing is left of this server after the test
        "CLAIM_LEASE": "1",
        "SHIP_TIMEOUT": "2",
        "SHIP_SETTLE_TIME": "2",
    }


def shipments(first: int) -> list[str]:
    """Returns the references of some that the sandbox is started with."""
    return [f"sp_{number:032d}" for number in range(first, first + PART)]


def ends(gateway: Gateway, reason: str) -> int:
    """Returns how many streams have ended for a reason so far."""
    return sum(
        line.get("event") == "call" and line.get("rpc") == RPC and line.get("reason", "") == reason
        for line in list(gateway.lines)
    )


def wait(condition: Any) -> None:
    """Waits until something is so."""
    end = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def writes(sandbox: Sandbox) -> int:
    """Returns how many bulk calls the sandbox has had."""
    counts: dict[str, int] = sandbox.call("GET", "requests")["counts"]
    return sum(count for name, count in counts.items() if name.startswith("PUT "))


def test_jobs_go_on_after_a_gateway_that_is_killed_over_old_connections_and_a_rolling_restart(
    commands: dict[str, tuple[str, ...]],
) -> None:
    """Each item is told once, and booked once: by all languages at once."""
    parts = {language: shipments(1 + number * PART) for number, language in enumerate(commands)}

    def carried_out(language: str, address: str) -> dict[str, Any] | None:
        items = [{"shipment_reference": reference} for reference in parts[language]]
        request = {"job": {"job_id": str(uuid.uuid4())}, "items": items}
        with running_driver(*commands[language]) as driver:
            return driver.ask({"rpc": JOB, "request": request, "timeout": LONG, "needs": "streams"}, address)

    with ExitStack() as stack:
        store = stack.enter_context(running_cache())
        sandbox = stack.enter_context(running_sandbox("--shipments", str(PART * len(parts))))
        # Upstream would book twice what is asked for twice. It answers late, so that much is under way whenever a
        # gateway ends.
        sandbox.call("PUT", "switches", {"ship": {"guard": False}})
        for method in ("PUT", "GET"):
            slow = {"type": "latency", "seconds": 0.5, "when": "before"}
            sandbox.call("POST", "faults", {"match": {"method": method}, "count": None, "action": slow})
        own = settings(store, sandbox)
        aged = {"MAX_CONNECTION_AGE": "1", "MAX_CONNECTION_AGE_GRACE": "2"}
        first, second, third = (stack.enter_context(running_gateway({**own, **more})) for more in ({}, aged, {}))
        wire = stack.enter_context(losing_wire(first.address))
        jobs = {
            language: stack.enter_context(ThreadPoolExecutor(1)).submit(carried_out, language, wire.address)
            for language in parts
        }
        # What it has sent is carried out, and nobody is there for the answers.
        wait(lambda: writes(sandbox) >= len(parts))
        wire.lead_to(second.address)
        first.stop(signal.SIGKILL)
        # All connections to this one come of age, and those after them. A job may also come to its end here.
        wait(lambda: ends(second, "GATEWAY_STOPPING") + ends(second, "") >= len(parts))
        wire.lead_to(third.address)
        second.stop(signal.SIGTERM)
        sandbox.call("DELETE", "faults")
        for language, job in jobs.items():
            answer = job.result(LONG) or {}
            told = {reference: [one["outcome"] for one in all_of] for reference, all_of in answer["outcomes"].items()}
            assert told == {key: ["allocation"] for key in parts[language]}, language
        assert sandbox.all_bookings() == dict.fromkeys(itertools.chain(*parts.values()), (1, 0))


def test_every_client_calls_for_the_account_that_it_is_told(
    commands: dict[str, tuple[str, ...]], tmp_path: Path
) -> None:
    with running_accounts(tmp_path, ["north", "south"]) as scene:
        for language, command in commands.items():
            with running_driver(*command) as driver:
                for account in ("north", "south", ""):
                    single, item = f"sp_{language}{account}1", f"sp_{language}{account}2"
                    asked: Sequence[tuple[str, Any]] = (
                        (WRITE, {"shipment_reference": single}),
                        (JOB, {"items": [{"shipment_reference": item}]}),
                    )
                    for rpc, request in asked:
                        case = {"rpc": rpc, "request": request, "account": account, "needs": "account", "timeout": LONG}
                        answer = driver.ask(case, scene.gateway.address)
                        assert answer is not None
                        assert "error" not in answer, answer
                    for name, world in scene.worlds.of.items():
                        times = 1 if name == (account or DEFAULT) else None
                        assert (world.bookings.get(single), world.bookings.get(item)) == (times, times), language
        assert scene.worlds.wrong == []

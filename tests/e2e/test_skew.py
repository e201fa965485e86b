"""An earlier version and this one run beside each other on one store."""

from __future__ import annotations

import os
import signal
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import pytest
from allocation_gateway_client import AllocationError, Client
from support.chart import CHART, NAME

from e2e.control_plane import PREVIOUS, helm, succeed
from e2e.release import released, settled, upgrade

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from support.sandbox import Sandbox

    from e2e.control_plane import Kubernetes
    from e2e.situations import Loads

pytestmark = pytest.mark.e2e

_CHART_BEFORE: Final = PREVIOUS / "source" / "helm" / NAME
_BEFORE, _NEW = f"{NAME}:previous", f"{NAME}:next"
_TO_NEW: Final = "--set=image.tag=next"
# Two minutes for a claim to be taken over.
_PATIENCE: Final = 120.0


@pytest.fixture(scope="module")
def earlier(kubernetes: Kubernetes, sandbox: Sandbox, store: str) -> Iterator[Sequence[str]]:
    """A release of the earlier version by its own chart, by its values."""
    with released(kubernetes, store, "--set=image.tag=previous", chart=_CHART_BEFORE) as values:
        yield values


def images(kubernetes: Kubernetes) -> set[str]:
    return {pod["spec"]["containers"][0]["image"] for pod in kubernetes.pods()}


def address(kubernetes: Kubernetes, image: str) -> str:
    """Returns where a pod of an image is, which is ready."""
    ready = kubernetes.ready(NAME)
    return next(
        f"{pod['status']['podIP']}:50051"
        for pod in kubernetes.pods()
        if pod["spec"]["containers"][0]["image"] == image and pod["status"].get("podIP") in ready
    )


def kill(kubernetes: Kubernetes, at: str) -> None:
    """Kills the gateway at an address."""
    (pod,) = (one for one in kubernetes.pods() if f"{one['status'].get('podIP')}:50051" == at)
    (status,) = pod["status"]["containerStatuses"]
    os.kill(int(status["containerID"].removeprefix("process://")), signal.SIGKILL)


def test_an_upgrade_from_the_earlier_version(kubernetes: Kubernetes, earlier: Sequence[str], loads: Loads) -> None:
    assert images(kubernetes) == {_BEFORE}
    with loads.during("upgrade from an earlier version") as situation:
        upgrade(kubernetes, earlier, _TO_NEW)
    assert images(kubernetes) == {_NEW}
    situation.check()


def test_a_rollback_to_the_earlier_version(kubernetes: Kubernetes, earlier: Sequence[str], loads: Loads) -> None:
    upgrade(kubernetes, earlier, _TO_NEW)
    with loads.during("rollback to an earlier version") as situation:
        succeed(helm(kubernetes, "rollback", NAME, "1", "--wait", "--timeout=120s"))
    assert images(kubernetes) == {_BEFORE}
    situation.check()


@pytest.fixture
def both(kubernetes: Kubernetes, earlier: Sequence[str]) -> Iterator[None]:
    """A rollout that stops when the first new pod is ready: pods of both versions serve."""
    succeed(helm(kubernetes, "rollback", NAME, "1", "--wait", "--timeout=120s"))
    # A new pod counts as available only after so long.
    slowly = ("--set=minReadySeconds=600", "--set=progressDeadlineSeconds=1200")
    succeed(helm(kubernetes, "upgrade", NAME, str(CHART), *earlier, _TO_NEW, *slowly))
    settled(kubernetes, 3)
    yield
    assert images(kubernetes) == {_BEFORE, _NEW}


@pytest.mark.usefixtures("both")
def test_one_request_at_both(kubernetes: Kubernetes, sandbox: Sandbox, loads: Loads) -> None:
    """At the same time, at the earlier version first, and at this one first."""
    before, new = address(kubernetes, _BEFORE), address(kubernetes, _NEW)
    shipments = loads.take(60)
    with (
        loads.during("both versions side by side") as situation,
        Client(before, plaintext=True) as old_client,
        Client(new, plaintext=True) as new_client,
        ThreadPoolExecutor(2) as pool,
    ):
        for number, reference in enumerate(shipments):
            request = str(uuid.uuid4())

            def ask(client: Client, reference: str = reference, request: str = request) -> Any:
                return client.allocate_shipment(reference, request_id=request).allocation

            if number % 3 == 0:
                answers = list(pool.map(ask, (old_client, new_client)))
            elif number % 3 == 1:
                answers = [ask(old_client), ask(new_client)]
            else:
                answers = [ask(new_client), ask(old_client)]
            assert answers[0] == answers[1], (number, answers)
    situation.check()
    assert {sandbox.bookings(reference) for reference in shipments} == {(1, 0)}


@pytest.mark.usefixtures("both")
@pytest.mark.parametrize(("holder", "heir"), [(_BEFORE, _NEW), (_NEW, _BEFORE)])
def test_what_one_left_in_doubt_the_other_takes_over(
    kubernetes: Kubernetes, sandbox: Sandbox, loads: Loads, holder: str, heir: str
) -> None:
    """A gateway is killed when upstream has done what it asked for, and before it is told so."""
    (reference,) = loads.take(1)
    request = str(uuid.uuid4())
    first, second = address(kubernetes, holder), address(kubernetes, heir)
    hang = {"type": "hang", "when": "after", "seconds": 60}
    sandbox.call("POST", "faults", {"match": {"method": "PUT", "reference": reference}, "count": 1, "action": hang})

    def ask() -> None:
        with Client(first, plaintext=True, timeout=10) as client, suppress(AllocationError):
            client.allocate_shipment(reference, request_id=request)

    asking = threading.Thread(target=ask)
    asking.start()
    kubernetes.wait("upstream has allocated", lambda: sandbox.bookings(reference) == (1, 0))
    kill(kubernetes, first)
    with Client(second, plaintext=True, timeout=_PATIENCE) as client:
        answer = client.allocate_shipment(reference, request_id=request)
    asking.join()
    assert answer.allocation.reconciled
    assert sandbox.bookings(reference) == (1, 0)
    settled(kubernetes, 3)

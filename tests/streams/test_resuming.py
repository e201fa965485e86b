"""Jobs that outlive the gateway: what another one knows of them from the store of claims."""

from __future__ import annotations

import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import grpc
import pytest
from streams.conftest import reset, running_sandbox, running_scene, shipment
from streams.waves import Wave, carried_out, messages, new_job
from support.cache import running_cache
from support.status import failure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from streams.conftest import Scene
    from support.cache import CacheServer
    from support.sandbox import Sandbox

pytestmark = pytest.mark.cache

WAVE: Final = [shipment(number) for number in range(1, 2_001)]


def settings(store: CacheServer) -> dict[str, str]:
    """Returns the settings of replicas that share their claims."""
    return {
        "REPLICAS": "2",
        "STORE_URL": f"redis://127.0.0.1:{store.port}/0",
        "STORE_CHECKS": "off",  # nothing is left of this server after the test
        "STORE_TIMEOUT": "2",
        "CLAIM_LEASE": "1",
        "SHIP_TIMEOUT": "2",
        "SHIP_SETTLE_TIME": "2",
    }


@contextmanager
def running_store() -> Iterator[tuple[CacheServer, Sandbox]]:
    with running_cache() as store, running_sandbox() as sandbox:
        reset(sandbox)
        yield store, sandbox


def begun(scene: Scene, job: str) -> Wave:
    """Begins a job, and kills the gateway in the middle of it."""
    wave = Wave()

    def take_all() -> None:
        for response in scene.shipments.AllocateShipmentStream(messages(WAVE, job)):
            wave.take(response)
            if wave.outcomes:
                scene.gateway.stop(signal.SIGKILL)

    assert failure(take_all).code is grpc.StatusCode.UNAVAILABLE
    assert wave.summary is None
    return wave


def test_a_job_survives_the_end_of_its_gateway() -> None:
    """Each item has one final word over all attempts, and one booking."""
    job = new_job()
    with running_store() as (store, sandbox):
        with running_scene(sandbox, **settings(store)) as first:
            before = begun(first, job)
        assert 0 < len(before.outcomes) < len(WAVE)
        with running_scene(sandbox, **settings(store)) as second:
            again = carried_out(second.shipments.AllocateShipmentStream, messages(WAVE, job))
            assert again.kinds() == {"allocation": len(WAVE)}
        for reference, (told,) in before.outcomes.items():
            assert told.WhichOneof("outcome") == "allocation"
            assert told.request_id == again.outcomes[reference][0].request_id
        assert sandbox.all_bookings() == dict.fromkeys(WAVE, (1, 0))


def test_another_replica_answers_what_is_known() -> None:
    job = new_job()
    with (
        running_store() as (store, sandbox),
        running_scene(sandbox, **settings(store)) as one,
        running_scene(sandbox, **settings(store)) as other,
    ):
        part = WAVE[:150]
        first = carried_out(one.shipments.AllocateShipmentStream, messages(part, job))
        writes = one.writes()
        again = carried_out(other.shipments.AllocateShipmentStream, messages(part, job, chunk=40))
        assert first.kinds() == again.kinds() == {"allocation": len(part)}
        assert other.writes() == writes


def test_a_job_survives_several_ends_and_lost_answers() -> None:
    """Whatever is lost when: what was sent and not answered, what has its effect late, one gateway after another."""
    job, told = new_job(), dict[str, str]()
    faults = [
        {"type": "drop", "when": "after"},
        {"type": "drop", "when": "before"},
        {"type": "late_effect", "seconds": 1.0},
        {"type": "status", "status": 500, "body": {}, "when": "after"},
    ]
    with running_store() as (store, sandbox):
        for action in faults:
            sandbox.call("POST", "faults", {"match": {"path": "/shipments/allocate"}, "count": 2, "action": action})
            with running_scene(sandbox, **settings(store)) as scene:
                outcomes = begun(scene, job).outcomes
            assert 0 < len(outcomes) < len(WAVE)
            for reference, (one,) in outcomes.items():
                assert told.setdefault(reference, one.WhichOneof("outcome")) == "allocation"
        with running_scene(sandbox, **settings(store)) as scene:
            last = carried_out(scene.shipments.AllocateShipmentStream, messages(WAVE, job))
            assert last.kinds() == {"allocation": len(WAVE)}
        assert sandbox.all_bookings() == dict.fromkeys(WAVE, (1, 0))

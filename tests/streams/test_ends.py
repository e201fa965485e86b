"""Calls that last do not outlive what they stand on: the token of their caller, and their connection."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, Final

import grpc
import pytest
from allocation.v1 import shipment_allocation_service_pb2 as pb
from allocation_gateway.callers.tokens import LEEWAY
from google.rpc import error_details_pb2
from streams.conftest import ENGINES, reset, running_scene, shipment
from streams.waves import LONG, Wave, carried_out, messages, new_job
from support.issuer import AUDIENCE, ISSUER, Issuer, bearing
from support.status import failure

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.sandbox import Sandbox

WAVE: Final = [shipment(number) for number in range(1, 11)]
# Of a token when a call is made with it: time enough to be let in, and not to stay.
SECONDS_LEFT: Final = 4
BULK: Final = "/shipments/allocate"


def unfinished(job: str, go: threading.Event) -> Iterator[Any]:
    """Yields the messages of a job, and goes on when it is told to."""
    yield from messages(WAVE, job)
    go.wait(LONG)


def identified(folder: Path, issued: Issuer) -> dict[str, str]:
    """Returns the settings of a gateway that asks for tokens."""
    (folder / "jwks.json").write_bytes(issued.published())
    return {"JWKS_FILE": str(folder / "jwks.json"), "JWT_ISSUER": ISSUER, "JWT_AUDIENCE": AUDIENCE}


@pytest.mark.parametrize("engine", ENGINES)
def test_a_call_ends_when_the_token_of_its_caller_has_expired(
    shared_sandbox: Sandbox, tmp_path: Path, engine: str
) -> None:
    reset(shared_sandbox)
    issued, job, go = Issuer(one="ES256"), new_job(), threading.Event()
    with running_scene(shared_sandbox, GRPC_ENGINE=engine, **identified(tmp_path, issued)) as scene:
        soon = bearing(issued.token(exp=int(time.time()) + SECONDS_LEFT - LEEWAY))
        watched = scene.shipments.WatchShipmentAllocations(
            pb.WatchShipmentAllocationsRequest(shipment_references=[shipment(20)]), timeout=LONG, metadata=soon
        )
        call = scene.shipments.AllocateShipmentStream(unfinished(job, go), timeout=LONG, metadata=soon)
        wave = Wave()
        told = failure(lambda: wave.take_all(call))
        go.set()
        assert (told.code, told.reason) == (grpc.StatusCode.UNAUTHENTICATED, "CALLER_UNAUTHENTICATED")
        assert told.metadata["job_id"] == job
        told = failure(lambda: list(watched))
        assert (told.code, told.reason) == (grpc.StatusCode.UNAUTHENTICATED, "CALLER_UNAUTHENTICATED")
        for rpc in ("AllocateShipmentStream", "WatchShipmentAllocations"):
            line = scene.gateway.wait_for("call", rpc=rpc, code="UNAUTHENTICATED")
            assert line["problem"] == "the token has expired since the call began"
        # With a new one it is the same job.
        longer = bearing(issued.token())
        for response in scene.shipments.AllocateShipmentStream(messages(WAVE, job), timeout=LONG, metadata=longer):
            if response.WhichOneof("content") == "summary":
                assert response.summary.progress.allocated == len(WAVE)
    assert shared_sandbox.all_bookings() == dict.fromkeys(WAVE, (1, 0))


def test_a_connection_that_comes_of_age_ends_a_job_with_its_id(shared_sandbox: Sandbox) -> None:
    """It is not cut: what is under way ends, and the caller is told how to go on, over another connection."""
    reset(shared_sandbox)
    job, go = new_job(), threading.Event()
    with running_scene(shared_sandbox, MAX_CONNECTION_AGE="0.5", MAX_CONNECTION_AGE_GRACE="6") as scene:
        call = scene.shipments.AllocateShipmentStream(unfinished(job, go), timeout=LONG)
        wave = Wave()
        told = failure(lambda: wave.take_all(call))
        go.set()
        assert (told.code, told.reason) == (grpc.StatusCode.UNAVAILABLE, "GATEWAY_STOPPING")
        assert told.metadata["job_id"] == job
        assert told.detail(error_details_pb2.RetryInfo)
        assert wave.kinds() == {"allocation": len(WAVE)}
        before = scene.writes()
        again = carried_out(scene.shipments.AllocateShipmentStream, messages(WAVE, job))
        assert again.kinds() == {"allocation": len(WAVE)}
        assert scene.writes() == before


def test_each_item_leaves_one_audit_line(shared_sandbox: Sandbox, tmp_path: Path) -> None:
    """However often it has to be asked for; and also if its caller has gone before its end."""
    reset(shared_sandbox)
    issued = Issuer(one="ES256")
    with running_scene(shared_sandbox, SHIP_TIMEOUT="5", **identified(tmp_path, issued)) as scene:
        who = bearing(issued.token())
        answer = {"type": "status", "status": 429, "body": {}, "when": "before"}
        shared_sandbox.call("POST", "faults", {"match": {"path": BULK}, "count": 3, "action": answer})
        for _ in scene.shipments.AllocateShipmentStream(messages(WAVE[:3], new_job()), timeout=LONG, metadata=who):
            pass
        assert scene.writes() == 4, "it did not have to be asked for again"
        assert audited(scene.gateway.lines) == [("OK", WAVE[:3])]
        scene.gateway.forget()
        held = {"type": "latency", "seconds": 3, "when": "before"}
        shared_sandbox.call("POST", "faults", {"match": {"path": BULK}, "count": 1, "action": held})
        call = scene.shipments.AllocateShipmentStream(messages(WAVE[3:], new_job()), timeout=LONG, metadata=who)
        assert next(call).WhichOneof("content") == "job"
        end = time.monotonic() + LONG
        while scene.writes() == 4:
            assert time.monotonic() < end
            time.sleep(0.02)
        call.cancel()
        scene.gateway.wait_for("call", code="CANCELLED")
        scene.gateway.wait_for("audit", references=[])
        assert audited(scene.gateway.lines) == [("CANCELLED", WAVE[3:])]


def audited(lines: list[dict[str, Any]]) -> list[tuple[str, list[str]]]:
    """Returns the audit lines of items."""
    return [(one["code"], sorted(one["references"])) for one in lines if one["event"] == "audit" and one["references"]]

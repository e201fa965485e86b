"""A policy counts in each worker, and SIGHUP has all of them read it again."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Final

import grpc
from allocation.v1.shipment_allocation_service_pb2_grpc import ShipmentAllocationServiceStub
from support.front import LONG, READ, Front, running_front
from support.issuer import AUDIENCE, ISSUER, Issuer, bearing
from support.workers import OWN_CONNECTION, wait_until

if TYPE_CHECKING:
    from pathlib import Path

RULE: Final = '[[rules]]\nname = "readers"\ncallers = ["jwt:{caller}"]\nrpcs = ["reads"]\n'
# So many connections reach both workers, as far as anybody can tell.
CONNECTIONS: Final = 24


def codes(front: Front, token: str) -> set[str]:
    found = set()
    for _ in range(CONNECTIONS):
        with grpc.insecure_channel(front.gateway.address, OWN_CONNECTION) as channel:
            stub = ShipmentAllocationServiceStub(channel)
            call = stub.GetShipmentAllocation.future(READ, timeout=LONG, metadata=bearing(token))
            found.add(call.code().name)
    return found


def test_a_policy_counts_in_each_worker_and_is_read_again_by_all(tmp_path: Path) -> None:
    issuer = Issuer(one="ES256")
    (tmp_path / "jwks.json").write_bytes(issuer.published())
    policy = tmp_path / "policy.toml"
    policy.write_text(RULE.format(caller="one"))
    settings = {"JWKS_FILE": str(tmp_path / "jwks.json"), "POLICY_FILE": str(policy)}
    settings |= {"JWT_ISSUER": ISSUER, "JWT_AUDIENCE": AUDIENCE, "WORKERS": "2", "ALLOW_UNSHARED_CLAIMS": "true"}
    with running_front(settings=settings) as front:
        assert codes(front, issuer.token("one")) == {"OK"}
        assert codes(front, issuer.token("two")) == {"PERMISSION_DENIED"}
        policy.write_text(RULE.format(caller="two"))
        front.gateway.process.send_signal(signal.SIGHUP)
        wait_until(lambda: len({*loaded(front)}) == 2, "both workers have read it")
        assert codes(front, issuer.token("one")) == {"PERMISSION_DENIED"}
        assert codes(front, issuer.token("two")) == {"OK"}
        assert front.gateway.stop() == 0


def loaded(front: Front) -> list[int]:
    """Returns the workers that have read the policy again."""
    return [line["worker"] for line in list(front.gateway.lines) if line["event"] == "policy_loaded"]

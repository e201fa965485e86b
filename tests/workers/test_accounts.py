"""The file of accounts counts in each worker, and SIGHUP has all of them read it again."""

from __future__ import annotations

import signal
import uuid
from typing import TYPE_CHECKING, Final

import grpc
from allocation.v1 import shipment_allocation_service_pb2 as pb
from allocation.v1.shipment_allocation_service_pb2_grpc import ShipmentAllocationServiceStub
from support.accounts import address, for_account, running_accounts, written
from support.front import LONG
from support.workers import OWN_CONNECTION, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from support.accounts import Scene

# So many connections reach both workers, as far as anybody can tell.
CONNECTIONS: Final = 24


def codes(scene: Scene, account: str) -> set[str]:
    found = set()
    for _ in range(CONNECTIONS):
        with grpc.insecure_channel(scene.gateway.address, OWN_CONNECTION) as channel:
            request = pb.GetShipmentAllocationRequest(shipment_reference=f"sp_{uuid.uuid4()}")
            stub = ShipmentAllocationServiceStub(channel)
            found.add(
                stub.GetShipmentAllocation.future(request, timeout=LONG, metadata=for_account(account)).code().name
            )
    return found


def test_accounts_count_in_each_worker_and_are_read_again_by_all(tmp_path: Path) -> None:
    with running_accounts(tmp_path, ["north"], WORKERS="2", ALLOW_UNSHARED_CLAIMS="true") as scene:
        assert codes(scene, "north") == {"OK"}
        assert codes(scene, "south") == {"NOT_FOUND"}
        scene.worlds.add("south")
        (tmp_path / "new").write_text(written({"south": address(scene.upstreams, 1, "south")}, scene.worlds.keys))
        (tmp_path / "new").replace(scene.file)
        scene.gateway.process.send_signal(signal.SIGHUP)
        wait_until(lambda: len({*loaded(scene)}) == 2, "both workers have read it")
        assert codes(scene, "north") == {"NOT_FOUND"}
        assert codes(scene, "south") == {"OK"}
        assert codes(scene, "default") == {"OK"}
        assert scene.worlds.wrong == []
        assert scene.gateway.stop() == 0


def loaded(scene: Scene) -> list[int]:
    """Returns the workers that have read the file again."""
    return [line["worker"] for line in list(scene.gateway.lines) if line["event"] == "accounts_loaded"]

"""The claims of several accounts on one server: apart from each other, shared by processes, named as before."""

from __future__ import annotations

import uuid
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

import pytest
import redis
from allocation.v1 import shipment_allocation_service_pb2 as pb
from support.accounts import for_account, running_accounts
from support.front import LONG

if TYPE_CHECKING:
    from pathlib import Path

    from support.cache import CacheServer

pytestmark = pytest.mark.cache

ACCOUNTS: Final = ("default", "north", "south")


def test_another_process_finds_the_claims_of_each_account_and_no_others(server: CacheServer, tmp_path: Path) -> None:
    request = pb.AllocateShipmentRequest(shipment_reference=f"sp_{uuid.uuid4()}", request_id=str(uuid.uuid4()))
    settings = {"STORE_URL": f"redis://127.0.0.1:{server.port}/0", "STORE_CHECKS": "off", "STORE_TIMEOUT": "5"}
    with ExitStack() as stack:
        scenes = []
        for name in ("one", "two"):
            (tmp_path / name).mkdir()
            scenes.append(stack.enter_context(running_accounts(tmp_path / name, ACCOUNTS[1:], **settings)))

        def allocate(process: int, account: str) -> str:
            stub = scenes[process].stub
            told = stub.AllocateShipment(request, timeout=LONG, metadata=for_account(account))
            return str(told.allocation.shipment_reference)

        for account in ("default", "north"):
            assert allocate(0, account) == request.shipment_reference
        # What the other process has not sent itself, it knows from the server, of these accounts alone.
        for account in ACCOUNTS:
            assert allocate(1, account) == request.shipment_reference
        assert {name: len(world.written) for name, world in scenes[0].worlds.of.items()} == {
            "default": 1,
            "north": 1,
            "south": 0,
        }
        assert {name: len(world.written) for name, world in scenes[1].worlds.of.items()} == {
            "default": 0,
            "north": 0,
            "south": 1,
        }
    with redis.Redis(port=server.port) as client:
        names = {key.decode().partition("}")[0] for key in client.keys("allocation-gateway-claims:*")}
    begin = "allocation-gateway-claims:{ship"
    assert names == {begin, f"{begin}@north", f"{begin}@south"}

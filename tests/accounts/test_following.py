"""The file of accounts is followed: what is put in can be used, and what is taken out ends."""

from __future__ import annotations

import signal
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

import pytest
from allocation.v1 import shipment_allocation_service_pb2 as pb
from grpc_health.v1 import health_pb2, health_pb2_grpc
from support.accounts import address, for_account, key_of, running_accounts, written
from support.front import LONG
from support.status import failure
from support.world import DROPPED, HELD

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.accounts import Scene

NEW_KEY: Final = "the-new-key-of-north-that-nobody-may-see"
# One attempt, so that nothing but what is tested can be why a call succeeds.
ONCE: Final = "max_attempts = 1"


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with running_accounts(tmp_path, ["north"], more=ONCE) as scene:
        scene.worlds.add("south")
        yield scene
        assert scene.worlds.wrong == []


def use(scene: Scene, *names: str, more: str = ONCE, event: str = "accounts_loaded", content: str = "") -> None:
    """Writes the file anew, moved over the old one, and waits until it has been read."""
    urls = {name: address(scene.upstreams, number, name) for number, name in enumerate(("north", "south"))}
    scene.gateway.forget()
    file = scene.file.with_suffix(".new")
    file.write_text(content or written({name: urls[name] for name in names}, scene.worlds.keys, more))
    file.replace(scene.file)
    scene.gateway.process.send_signal(signal.SIGHUP)
    scene.gateway.wait_for(event)


def allocation() -> pb.AllocateShipmentRequest:
    return pb.AllocateShipmentRequest(shipment_reference=f"sp_{uuid.uuid4()}", request_id=str(uuid.uuid4()))


def allocate(scene: Scene, account: str, request: Any = None) -> Any:
    return scene.stub.AllocateShipment(request or allocation(), timeout=LONG, metadata=for_account(account))


def health(scene: Scene, service: str) -> int:
    stub: Any = health_pb2_grpc.HealthStub(scene.channel)
    return int(stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=LONG).status)


def test_accounts_come_and_go_without_a_restart(scene: Scene) -> None:
    assert failure(lambda: allocate(scene, "south")).reason == "ACCOUNT_NOT_FOUND"
    use(scene, "north", "south")
    allocate(scene, "south")
    allocate(scene, "north")
    use(scene, "south")
    assert failure(lambda: allocate(scene, "north")).reason == "ACCOUNT_NOT_FOUND"
    scene.gateway.wait_for("account_ended", account="north")
    allocate(scene, "south")
    allocate(scene, "default")
    assert scene.gateway.stop() == 0


def test_a_key_may_come_after_the_account_that_names_it(scene: Scene, tmp_path: Path) -> None:
    """As in a pod, where a ConfigMap and a Secret are updated apart from each other."""
    key, urls = (
        tmp_path / "south.key",
        [address(scene.upstreams, number, name) for number, name in enumerate(("north", "south"))],
    )
    north = written({"north": urls[0]}, scene.worlds.keys, ONCE)
    south = f'[accounts.south.ship]\nbase_url = "{urls[1]}"\napi_key_file = "{key}"\n{ONCE}\n'
    use(scene, content=f"{north}\n{south}", event="accounts_rejected")
    allocate(scene, "north")
    assert health(scene, "allocation_gateway.files/accounts_file") == health_pb2.HealthCheckResponse.NOT_SERVING
    key.write_text(key_of("south"))
    scene.gateway.wait_for("accounts_loaded")
    allocate(scene, "south")
    assert health(scene, "allocation_gateway.files/accounts_file") == health_pb2.HealthCheckResponse.SERVING
    # However often it was tried.
    assert sum(line["event"] == "accounts_rejected" for line in scene.gateway.lines) == 1


def test_a_bad_edit_changes_nothing(scene: Scene) -> None:
    for content in ("", "accounts = {}", "[accounts.north.ship]\nbase_url = 'https://x'\n", "no TOML"):
        use(scene, content=content or " ", event="accounts_rejected")
        allocate(scene, "north")
    assert health(scene, "allocation_gateway.files/accounts_file") == health_pb2.HealthCheckResponse.NOT_SERVING
    use(scene, "north", "south")
    assert health(scene, "allocation_gateway.files/accounts_file") == health_pb2.HealthCheckResponse.SERVING
    allocate(scene, "south")


def test_a_changed_key_is_used_for_new_requests(scene: Scene) -> None:
    """The account is not opened anew for that."""
    allocate(scene, "north")
    scene.worlds.keys["north"] = NEW_KEY
    use(scene, "north")
    allocate(scene, "north")
    assert "account_ended" not in {line["event"] for line in scene.gateway.lines}
    assert not any(key in str(line) for key in (NEW_KEY, key_of("north")) for line in scene.gateway.lines)


def test_calls_in_hand_end_for_an_account_that_is_taken_out(scene: Scene) -> None:
    world, request = scene.world("north"), allocation()
    world.fates.put(HELD)
    with ThreadPoolExecutor() as threads:
        call = threads.submit(allocate, scene, "north", request)
        assert world.arrived.wait(LONG)
        use(scene, "south")
        assert failure(lambda: allocate(scene, "north", request)).reason == "ACCOUNT_NOT_FOUND"
        assert "account_ended" not in {line["event"] for line in scene.gateway.lines}
        world.release.set()
        assert call.result(LONG).allocation.shipment_reference == request.shipment_reference
    scene.gateway.wait_for("account_ended", account="north")


def test_a_write_that_nobody_waits_for_ends_before_its_account(scene: Scene) -> None:
    """It is read back with the connections of the account that is taken out."""
    world, request = scene.world("north"), allocation()
    world.fates.put(HELD)
    method = scene.stub.AllocateShipment.future(request, timeout=LONG, metadata=for_account("north"))
    assert world.arrived.wait(LONG)
    method.cancel()
    scene.gateway.wait_for("write_detached")
    use(scene, "south")
    assert "account_ended" not in {line["event"] for line in scene.gateway.lines}
    world.release.set()
    scene.gateway.wait_for("detached_write_done", account="north")
    scene.gateway.wait_for("account_ended", account="north")


@pytest.mark.parametrize("through", ["another limit", "taken out and put in"])
def test_what_was_sent_is_known_when_an_account_is_opened_anew(scene: Scene, through: str) -> None:
    """Nothing is sent twice: neither what has its answer, nor what is still in doubt."""
    world, done, doubtful = scene.world("north"), allocation(), allocation()
    allocate(scene, "north", done)
    world.fates.put(DROPPED)
    method = scene.stub.AllocateShipment
    told = failure(lambda: method(doubtful, timeout=1.0, metadata=for_account("north")))
    assert told.reason == "OUTCOME_UNKNOWN"
    if through == "another limit":
        use(scene, "north", more=f"{ONCE}\nmax_in_flight = 3")
    else:
        use(scene, "south")
        use(scene, "north", "south")
    before = list(world.written)
    again = allocate(scene, "north", done)
    assert again.allocation.shipment_reference == done.shipment_reference
    assert failure(lambda: method(doubtful, timeout=1.0, metadata=for_account("north"))).reason == "OUTCOME_UNKNOWN"
    assert world.written == before


def test_key_files_of_accounts_are_followed_and_tell_their_health(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text(key_of("north"))
    with running_accounts(tmp_path, ["north"], SHIP_MAX_ATTEMPTS="1") as scene:
        url = address(scene.upstreams, 0, "north")
        with_file = f'[accounts.north.ship]\nbase_url = "{url}"\napi_key_file = "{key}"\n'
        use(scene, content=with_file)
        allocate(scene, "north")
        scene.worlds.keys["north"] = NEW_KEY
        scene.gateway.forget()
        key.write_text(NEW_KEY)
        scene.gateway.process.send_signal(signal.SIGHUP)
        scene.gateway.wait_for("api_key_loaded", account="north", api="ship")
        allocate(scene, "north")
        name = "allocation_gateway.files/accounts.north.ship.api_key_file"
        assert health(scene, name) == health_pb2.HealthCheckResponse.SERVING
        key.write_text("")
        scene.gateway.process.send_signal(signal.SIGHUP)
        scene.gateway.wait_for("api_key_rejected", account="north", api="ship")
        assert health(scene, name) == health_pb2.HealthCheckResponse.NOT_SERVING
        allocate(scene, "north")
        use(scene, "north", more="")
        scene.gateway.wait_for("account_ended", account="north")
        assert health(scene, name) == health_pb2.HealthCheckResponse.SERVING


def test_a_sandbox_stands_in_for_all_accounts(tmp_path: Path) -> None:
    """Wherever an account is, and whatever its key: nothing is sent there."""
    with running_accounts(tmp_path, ["north"], "--sandbox") as scene:
        request = pb.GetShipmentAllocationRequest(shipment_reference="sp_00794403010635468411384028069888")
        for account in ("default", "north"):
            told = scene.stub.GetShipmentAllocation(request, timeout=LONG, metadata=for_account(account))
            assert told.allocation.shipment_reference == request.shipment_reference
        assert scene.worlds.requests == {"default": 0, "north": 0}
        assert scene.worlds.wrong == []

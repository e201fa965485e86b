"""Which account a call is for: over the wire of the real gateway, in front of two servers."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any, Final

import grpc
import pytest
from allocation.v1 import consignment_allocation_service_pb2 as consignments_pb
from allocation.v1 import service_group_service_pb2 as groups_pb
from allocation.v1 import shipment_allocation_service_pb2 as pb
from allocation.v1.consignment_allocation_service_pb2_grpc import ConsignmentAllocationServiceStub
from google.rpc import error_details_pb2
from support.accounts import for_account, key_of, running_accounts
from support.front import LONG
from support.issuer import AUDIENCE, ISSUER, Issuer, bearing
from support.status import failure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.accounts import Scene

ISSUED: Final = Issuer(one="ES256")
CATALOGUE: Final = """
complete = ["north/ship"]
service_groups = [
    { code = "OF-DEFAULT", display_name = "Same name", api = "ship" },
    { code = "OF-NORTH", display_name = "Same name", api = "ship", account = "north" },
]
"""
RULES: Final = """
[[rules]]
name = "one"
callers = ["jwt:one"]
rpcs = ["reads", "single", "bulk"]
accounts = ["north"]

[[rules]]
name = "several"
callers = ["jwt:several"]
rpcs = ["reads", "single", "bulk"]
accounts = ["north", "south", "default"]

[[rules]]
name = "none-by-default"
callers = ["jwt:none-by-default"]
rpcs = ["reads", "single", "bulk"]
accounts = ["north", "south"]

[[rules]]
name = "silent"
callers = ["jwt:silent"]
rpcs = ["reads", "single", "bulk"]

[[rules]]
name = "gone"
callers = ["jwt:gone"]
rpcs = ["reads"]
accounts = ["not-there"]
"""


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("accounts")
    (folder / "groups.toml").write_text(CATALOGUE)
    settings = {"SERVICE_GROUP_CATALOGUE_FILE": str(folder / "groups.toml"), "SERVICE_GROUP_POLICY": "strict"}
    with running_accounts(folder, ["north", "south"], **settings) as scene:
        yield scene
        assert scene.worlds.wrong == []


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("accounts")
    (folder / "policy.toml").write_text(RULES)
    (folder / "jwks.json").write_bytes(ISSUED.published())
    settings = {"POLICY_FILE": str(folder / "policy.toml"), "JWKS_FILE": str(folder / "jwks.json")}
    settings |= {"JWT_ISSUER": ISSUER, "JWT_AUDIENCE": AUDIENCE}
    with running_accounts(folder, ["north", "south"], **settings) as scene:
        yield scene
        assert scene.worlds.wrong == []


def allocation(request_id: str = "") -> pb.AllocateShipmentRequest:
    return pb.AllocateShipmentRequest(
        shipment_reference=f"sp_{uuid.uuid4()}", request_id=request_id or str(uuid.uuid4())
    )


def allocate(scene: Scene, request: Any, *metadata: tuple[str, str]) -> Any:
    return scene.stub.AllocateShipment(request, timeout=LONG, metadata=metadata)


def stream(scene: Scene, *metadata: tuple[str, str]) -> list[Any]:
    items = [pb.ShipmentItem(shipment_reference=f"sp_{uuid.uuid4()}")]
    method: Any = scene.stub.AllocateShipmentStream
    return list(method(iter([pb.AllocateShipmentStreamRequest(items=items)]), timeout=LONG, metadata=metadata))


def watch(scene: Scene, *metadata: tuple[str, str]) -> list[Any]:
    request = pb.WatchShipmentAllocationsRequest(shipment_references=["sp_1"])
    method: Any = scene.stub.WatchShipmentAllocations
    return list(method(request, timeout=LONG, metadata=metadata))


CALLS: Final[dict[str, Callable[..., object]]] = {
    "write": lambda scene, *metadata: allocate(scene, allocation(), *metadata),
    "read": lambda scene, *metadata: scene.stub.GetShipmentAllocation(
        pb.GetShipmentAllocationRequest(shipment_reference="sp_1"), timeout=LONG, metadata=metadata
    ),
    "groups": lambda scene, *metadata: scene.groups.ListServiceGroups(
        groups_pb.ListServiceGroupsRequest(), timeout=LONG, metadata=metadata
    ),
    "stream": stream,
    "watch": watch,
}


def sent(scene: Scene) -> dict[str, int]:
    return dict(scene.worlds.requests)


@pytest.mark.parametrize("account", ["default", "north", "south"])
def test_caller_chooses_the_account_and_none_is_the_one_of_the_settings(scene: Scene, account: str) -> None:
    before = sent(scene)
    request = allocation()
    allocate(scene, request, *for_account(account))
    assert scene.world(account).bookings[request.shipment_reference] == 1
    assert {name for name, count in sent(scene).items() if count != before[name]} == {account}


def test_the_one_of_the_settings_can_be_named(scene: Scene) -> None:
    request = allocation()
    allocate(scene, request, ("allocation-account", "default"))
    assert scene.world("default").bookings[request.shipment_reference] == 1


def test_the_same_id_and_shipment_are_another_write_in_another_account(scene: Scene) -> None:
    request = allocation()
    for account in ("default", "north", "south", "north"):
        allocate(scene, request, *for_account(account))
    assert all(world.bookings[request.shipment_reference] == 1 for world in scene.worlds.of.values())


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize("name", ["elsewhere", "", "North", "n" * 500])
def test_unknown_account_is_refused_and_nothing_is_sent(scene: Scene, call: Callable[..., object], name: str) -> None:
    before = sent(scene)
    told = failure(lambda: call(scene, ("allocation-account", name)))
    assert (told.code, told.reason) == (grpc.StatusCode.NOT_FOUND, "ACCOUNT_NOT_FOUND")
    assert "effect" not in told.metadata
    resource = told.detail(error_details_pb2.ResourceInfo)
    assert resource is not None
    assert (resource.resource_type, resource.resource_name) == ("allocation.v1.Account", name[:64])
    assert sent(scene) == before


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_several_accounts_are_none(scene: Scene, call: Callable[..., object]) -> None:
    before = sent(scene)
    told = failure(lambda: call(scene, *for_account("north"), *for_account("south")))
    assert (told.code, told.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")
    assert sent(scene) == before


def test_without_a_file_of_accounts_a_named_one_is_refused_and_not_passed_over(tmp_path: Any) -> None:
    """Else a call would be paid for by an account that its caller has not chosen."""
    with running_accounts(tmp_path, ["north"], ACCOUNTS_FILE="") as scene:
        for call in CALLS.values():
            assert failure(lambda: call(scene, *for_account("north"))).reason == "ACCOUNT_NOT_FOUND"  # noqa: B023
        assert sent(scene) == {"default": 0, "north": 0}


def test_without_keys_in_the_settings_every_call_has_to_name_an_account(tmp_path: Any) -> None:
    with running_accounts(tmp_path, ["north"], SHIP_API_KEY="") as scene:
        told = failure(lambda: CALLS["write"](scene))
        assert (told.code, told.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "API_NOT_CONFIGURED")
        CALLS["write"](scene, *for_account("north"))
        assert sent(scene) == {"default": 0, "north": 1}


def test_an_account_never_takes_over_the_key_of_the_settings(tmp_path: Any) -> None:
    """An API that only the settings have a key for is not configured in another account."""
    with running_accounts(tmp_path, ["north"], CONSIGNMENTS_API_KEY="another-key") as scene:
        stub = ConsignmentAllocationServiceStub(scene.channel)
        request = consignments_pb.GetConsignmentAllocationRequest(consignment_reference="EC-1")
        told = failure(lambda: stub.GetConsignmentAllocation(request, timeout=LONG, metadata=for_account("north")))
        assert (told.code, told.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "API_NOT_CONFIGURED")


def test_service_groups_are_those_of_the_account(scene: Scene) -> None:
    """By code and by name, and also whether the catalogue is complete."""

    def codes(account: str) -> list[str]:
        request = groups_pb.ListServiceGroupsRequest()
        listed = scene.groups.ListServiceGroups(request, timeout=LONG, metadata=for_account(account)).service_groups
        assert {group.account for group in listed} <= {account}
        return [group.code for group in listed]

    def with_group(account: str, group: str) -> None:
        request = pb.AllocateShipmentWithServiceGroupRequest(
            shipment_reference=f"sp_{uuid.uuid4()}", service_group=group
        )
        scene.stub.AllocateShipmentWithServiceGroup(request, timeout=LONG, metadata=for_account(account))

    assert (codes("default"), codes("north"), codes("south")) == (["OF-DEFAULT"], ["OF-NORTH"], [])
    with_group("default", "Same name")
    with_group("north", "Same name")
    assert scene.world("default").written[-1].partition("/allocate")[2].count("OF-DEFAULT") == 1
    assert scene.world("north").written[-1].partition("/allocate")[2].count("OF-NORTH") == 1
    # Of the other one, the catalogue does not claim to have every group.
    with_group("default", "ANOTHER")
    assert codes("default") == ["ANOTHER", "OF-DEFAULT"]
    assert failure(lambda: with_group("north", "ANOTHER")).reason == "SERVICE_GROUP_NOT_FOUND"
    told = failure(
        lambda: scene.groups.ListServiceGroups(
            groups_pb.ListServiceGroupsRequest(account="north"), timeout=LONG, metadata=for_account("south")
        )
    )
    assert told.reason == "INVALID_REQUEST"
    violations = told.detail(error_details_pb2.BadRequest)
    assert violations is not None
    assert [violation.field for violation in violations.field_violations] == ["account"]


ALLOWED: Final = {
    ("one", ""): "north",
    ("one", "north"): "north",
    ("one", "south"): "",
    ("one", "default"): "",
    ("one", "not-there"): "",
    ("several", ""): "default",
    ("several", "north"): "north",
    ("several", "south"): "south",
    ("none-by-default", ""): "",
    ("none-by-default", "south"): "south",
    ("silent", ""): "default",
    ("silent", "north"): "",
}


@pytest.mark.parametrize(("who", "named"), ALLOWED, ids=lambda text: text or "none")
@pytest.mark.parametrize("call", [CALLS["write"], stream], ids=["write", "stream"])
def test_caller_uses_the_accounts_of_its_rule_alone(
    guarded: Scene, call: Callable[..., object], who: str, named: str
) -> None:
    before, account = sent(guarded), ALLOWED[who, named]
    metadata = (*bearing(ISSUED.token(who)), *([("allocation-account", named)] if named else []))
    guarded.gateway.forget()
    if account:
        call(guarded, *metadata)
        assert {name for name, count in sent(guarded).items() if count != before[name]} == {account}
        guarded.gateway.wait_for("audit", code="OK", rule=who, account=account)
        return
    told = failure(lambda: call(guarded, *metadata))
    assert (told.code, told.reason) == (grpc.StatusCode.PERMISSION_DENIED, "CALLER_NOT_ALLOWED")
    assert told.metadata["missing"] == f"the account {named or 'default'}"
    assert sent(guarded) == before
    line = guarded.gateway.wait_for("audit", code="PERMISSION_DENIED", rule=who)
    assert line["account"] == (named or "default")


def test_who_may_not_use_an_account_does_not_learn_whether_there_is_one(guarded: Scene) -> None:
    metadata = bearing(ISSUED.token("silent"))
    told = [
        failure(lambda: CALLS["read"](guarded, *metadata, ("allocation-account", name)))  # noqa: B023
        for name in ("north", "other")
    ]
    assert told[0].message.replace("north", "other") == told[1].message
    assert told[0].code == told[1].code


def test_account_of_a_rule_that_is_not_there_is_told_as_such(guarded: Scene) -> None:
    told = failure(lambda: CALLS["read"](guarded, *bearing(ISSUED.token("gone"))))
    assert (told.code, told.reason) == (grpc.StatusCode.NOT_FOUND, "ACCOUNT_NOT_FOUND")


def test_log_lines_name_the_account_unless_it_is_the_one_of_the_settings(scene: Scene) -> None:
    scene.gateway.forget()
    for account in ("north", "default"):
        request = allocation()
        allocate(scene, request, *for_account(account))
        line = scene.gateway.wait_for("call", request_id=request.request_id)
        assert line.get("account", "default") == account
        assert ("account" in line) is (account != "default")
    assert not any(key_of(name) in str(line) for name in scene.worlds.of for line in scene.gateway.lines)

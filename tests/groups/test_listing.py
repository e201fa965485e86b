"""Upstream's own list of service groups, read from the sandbox."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import grpc
import httpx
import pytest
from allocation.v1 import consignment_allocation_service_pb2 as pb
from allocation.v1 import service_group_service_pb2 as groups_pb
from allocation.v1 import shipment_allocation_service_pb2 as ship_pb
from allocation.v1.consignment_allocation_service_pb2_grpc import ConsignmentAllocationServiceStub
from allocation.v1.service_group_service_pb2_grpc import ServiceGroupServiceStub
from allocation.v1.shipment_allocation_service_pb2_grpc import ShipmentAllocationServiceStub
from support.gateway import Gateway, running_gateway
from support.status import failure

if TYPE_CHECKING:
    from collections.abc import Iterator

TIMEOUT: Final = 20.0
CONSIGNMENT: Final = "EC-000-05B-MMA"
DANGEROUS: Final = f"sp_9{4:031d}"
HERD: Final = 1000


@dataclass(frozen=True)
class Run:
    """A gateway with a sandbox, and stubs of it."""

    gateway: Gateway
    groups: ServiceGroupServiceStub
    consignments: ConsignmentAllocationServiceStub

    def control(self, method: str, path: str, body: object = None) -> Any:
        """Calls a control path of the sandbox."""
        url = f"{self.gateway.sandbox_url}/_sandbox/{path}"
        answer = httpx.request(method, url, json=body, timeout=TIMEOUT, trust_env=False)
        answer.raise_for_status()
        return answer.json()

    def requests(self) -> dict[str, int]:
        """Returns how many requests the sandbox has had, by method and path."""
        counts: dict[str, int] = self.control("GET", "requests")["counts"]
        return {name.replace("/consignments-api", ""): number for name, number in counts.items()}

    def lists(self) -> int:
        """Returns how often the list was read."""
        return sum(number for name, number in self.requests().items() if name.endswith("/servicegroups"))

    def refresh(self) -> int:
        """Forgets everything, and has it read anew."""
        request = groups_pb.RefreshServiceGroupsRequest()
        return self.groups.RefreshServiceGroups(request, timeout=TIMEOUT).service_group_count

    def listed(self) -> list[str]:
        """Returns the codes of upstream's list."""
        request = groups_pb.ListServiceGroupsRequest(api=groups_pb.API_CONSIGNMENTS)
        found = self.groups.ListServiceGroups(request, timeout=TIMEOUT).service_groups
        return [group.code for group in found if group.source == groups_pb.SERVICE_GROUP_SOURCE_LISTING]

    def allocate(self, group: str) -> pb.AllocateConsignmentWithServiceGroupResponse:
        """Allocates a consignment with a group."""
        request = pb.AllocateConsignmentWithServiceGroupRequest(consignment_reference=CONSIGNMENT, service_group=group)
        return self.consignments.AllocateConsignmentWithServiceGroup(request, timeout=TIMEOUT)


@contextmanager
def running(**settings: str) -> Iterator[Run]:
    with (
        running_gateway({"SERVICE_GROUP_REFRESH": "true", **settings}, "--sandbox") as gateway,
        grpc.insecure_channel(gateway.address) as channel,
    ):
        yield Run(gateway, ServiceGroupServiceStub(channel), ConsignmentAllocationServiceStub(channel))


@pytest.fixture(scope="module")
def shared() -> Iterator[Run]:
    with running() as run:
        yield run


@pytest.fixture
def run(shared: Run) -> Run:
    """A gateway that has read nothing, in front of a sandbox as it was seeded."""
    shared.control("POST", "reset")
    shared.refresh()
    shared.control("POST", "reset")
    shared.gateway.forget()
    return shared


def test_the_name_of_a_listed_group_allocates(run: Run) -> None:
    assert run.allocate("service group 1").allocation.carrier_service_reference
    journal = run.control("GET", f"journal?reference={CONSIGNMENT}")
    assert journal["allocations"] == 1


def test_the_name_of_a_group_of_the_sandboxs_own_catalogue_allocates(run: Run) -> None:
    assert run.allocate("valuables").allocation.carrier_service_reference


def test_the_name_of_a_group_allocates_a_shipment_too(run: Run) -> None:
    with grpc.insecure_channel(run.gateway.address) as channel:
        request = ship_pb.AllocateShipmentWithServiceGroupRequest(
            shipment_reference=DANGEROUS, service_group="dangerous-goods"
        )
        stub = ShipmentAllocationServiceStub(channel)
        allocation = stub.AllocateShipmentWithServiceGroup(request, timeout=TIMEOUT).allocation
    assert allocation.carrier.service_reference == "SBX_HAZ_ROAD"


def test_groups_are_listed_with_how_long_they_are_trusted(run: Run) -> None:
    request = groups_pb.GetServiceGroupRequest(service_group="size")
    group = run.groups.GetServiceGroup(request, timeout=TIMEOUT).service_group
    assert (group.code, group.display_name) == ("Größe / 50% & mehr", "Size")
    assert group.source == groups_pb.SERVICE_GROUP_SOURCE_LISTING
    assert 3000 <= group.trusted_until.seconds - group.learned_at.seconds <= 3600


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_list_that_is_not_offered_is_turned_off_with_one_line(run: Run, status: int) -> None:
    run.control("PUT", "switches", {"consignments": {"service_groups": status}})
    run.refresh()
    for _ in range(5):
        with pytest.raises(grpc.RpcError):
            run.allocate("no such group")
    assert run.listed() == []
    assert run.lists() == 1
    lines = [line for line in run.gateway.lines if line["event"].startswith("service_group_listing")]
    assert [(line["event"], line["upstream_status"]) for line in lines] == [("service_group_listing_off", str(status))]
    run.control("PUT", "switches", {"consignments": {"service_groups": "allowed"}})
    run.refresh()
    assert "SBX_EMPTY" in run.listed()


def test_a_list_that_fails_is_not_asked_for_by_every_call(run: Run) -> None:
    run.control(
        "POST",
        "faults",
        {"count": None, "match": {"path": "/servicegroups"}, "action": {"type": "status", "status": 500}},
    )
    run.refresh()
    for _ in range(5):
        assert failure(lambda: run.allocate("no such group")).reason == "SERVICE_GROUP_NOT_FOUND"
    assert run.lists() == 1
    run.gateway.wait_for("service_group_listing_failed", TIMEOUT)
    assert run.allocate("SGREF01").allocation.carrier_service_reference


def test_the_list_is_read_at_the_start_and_by_nobody_else() -> None:
    with running() as run:
        assert "SBX_EMPTY" in run.listed()
        assert run.lists() == 1


def test_it_can_be_switched_off() -> None:
    with running(SERVICE_GROUP_LISTING="false") as run:
        assert run.listed() == []
        assert run.lists() == 0


def test_strict_refuses_what_upstreams_list_does_not_have() -> None:
    with running(SERVICE_GROUP_POLICY="strict") as run:
        told = failure(lambda: run.allocate("SBX_TAGED"))
        assert (told.code, told.reason) == (grpc.StatusCode.NOT_FOUND, "SERVICE_GROUP_NOT_FOUND")
        assert told.metadata == {"effect": "none"}
        assert '"SBX_TAGGED" (Tagged)' in told.message
        assert not any("allocatewith" in name for name in run.requests())


def test_a_thousand_calls_that_miss_make_one_request(run: Run) -> None:
    """They wait for it together, and all of them find what it says."""
    latency = {"type": "latency", "seconds": 1.0}
    run.control("POST", "faults", {"match": {"path": "/servicegroups"}, "action": latency})

    async def herd() -> list[str]:
        async with grpc.aio.insecure_channel(run.gateway.address) as channel:
            stub: Any = ServiceGroupServiceStub(channel)  # type: ignore[arg-type,unused-ignore]
            # It empties the memory, and is the first one that waits.
            first = asyncio.ensure_future(stub.RefreshServiceGroups(groups_pb.RefreshServiceGroupsRequest()))
            while await asyncio.to_thread(run.lists) == 0:
                assert not first.done()
            request = groups_pb.GetServiceGroupRequest(service_group="size")
            answers = await asyncio.gather(*(stub.GetServiceGroup(request, timeout=TIMEOUT) for _ in range(HERD - 1)))
            await first
            return [answer.service_group.code for answer in answers]

    assert set(asyncio.run(herd())) == {"Größe / 50% & mehr"}
    assert run.lists() == 1

"""ServiceGroupService of a running gateway."""

from __future__ import annotations

import contextlib
import uuid
from typing import TYPE_CHECKING, Any, Final

import grpc
import pytest
from allocation.v1 import service_group_service_pb2 as pb
from allocation.v1 import shipment_allocation_service_pb2 as ship_pb
from allocation.v1.service_group_service_pb2_grpc import ServiceGroupServiceStub
from google.rpc import error_details_pb2
from support.front import FORGETTING, KEY, LONG, SHIPMENT, Front, running_front
from support.status import Failure, failure
from support.upstream import Reply

if TYPE_CHECKING:
    from collections.abc import Iterator

CATALOGUE: Final = """
service_groups:
  - {code: b, display_name: Second, aliases: [two, zwei], api: ship}
  - {code: a, display_name: First, api: ship}
  - {code: c, display_name: SECOND, api: ship}
  - {code: a, display_name: First, api: consignments}
"""


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    """A gateway with a catalogue, that may be refreshed and serves both APIs."""
    file = tmp_path_factory.mktemp("catalogue") / "groups.yml"
    file.write_text(CATALOGUE)
    settings = {
        **FORGETTING,
        "SERVICE_GROUP_CATALOGUE_FILE": str(file),
        "SERVICE_GROUP_REFRESH": "true",
        "CONSIGNMENTS_API_KEY": KEY,
        "CONSIGNMENTS_BASE_URL": "http://127.0.0.1:1",
    }
    with running_front(settings=settings) as running:
        yield running


@pytest.fixture
def stub(front: Front) -> ServiceGroupServiceStub:
    front.upstream.forget()
    return ServiceGroupServiceStub(front.channel)


def listed(stub: ServiceGroupServiceStub, **fields: Any) -> pb.ListServiceGroupsResponse:
    return stub.ListServiceGroups(pb.ListServiceGroupsRequest(**fields), timeout=LONG)


def got(stub: ServiceGroupServiceStub, text: str, **fields: Any) -> pb.ServiceGroup:
    return stub.GetServiceGroup(pb.GetServiceGroupRequest(service_group=text, **fields), timeout=LONG).service_group


def refused(stub: ServiceGroupServiceStub, text: str, **fields: Any) -> Failure:
    return failure(lambda: got(stub, text, **fields))


def violations(told: Failure) -> list[str]:
    assert (told.code, told.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")
    found = told.detail(error_details_pb2.BadRequest)
    assert found is not None
    return [violation.field for violation in found.field_violations]


def keys(groups: Any) -> list[tuple[int, str]]:
    return [(group.api, group.code) for group in groups]


ALL: Final = [(pb.API_SHIP, "a"), (pb.API_SHIP, "b"), (pb.API_SHIP, "c"), (pb.API_CONSIGNMENTS, "a")]


def test_all_groups_are_listed_by_api_and_code(stub: ServiceGroupServiceStub) -> None:
    response = listed(stub)
    assert keys(response.service_groups) == ALL
    assert response.next_page_token == ""
    group = response.service_groups[1]
    assert (group.display_name, list(group.aliases)) == ("Second", ["two", "zwei"])
    assert (group.account, group.source) == ("default", pb.SERVICE_GROUP_SOURCE_CATALOGUE)
    assert group.learned_at.seconds > 0
    assert not group.HasField("trusted_until")


def test_one_api_is_listed_alone(stub: ServiceGroupServiceStub) -> None:
    assert keys(listed(stub, api=pb.API_CONSIGNMENTS, account="default").service_groups) == ALL[3:]


@pytest.mark.parametrize("size", [1, 2, 3, 4, 1000])
def test_pages_together_are_the_whole_list(stub: ServiceGroupServiceStub, size: int) -> None:
    found: list[tuple[int, str]] = []
    token = ""
    while True:
        response = listed(stub, page_size=size, page_token=token)
        assert len(response.service_groups) <= size
        found += keys(response.service_groups)
        token = response.next_page_token
        if not token:
            break
    assert found == ALL


@pytest.mark.parametrize("token", ["x", "é", "AAAA", "W10=", "WzAsMSwyXQ==", "a" * 5000])
def test_what_is_no_page_token_is_refused(stub: ServiceGroupServiceStub, token: str) -> None:
    assert violations(failure(lambda: listed(stub, page_token=token))) == ["page_token"]


def test_a_page_token_of_another_list_is_refused(stub: ServiceGroupServiceStub) -> None:
    token = listed(stub, page_size=1).next_page_token
    assert violations(failure(lambda: listed(stub, api=pb.API_SHIP, page_token=token))) == ["page_token"]


def test_everything_that_is_wrong_is_told(stub: ServiceGroupServiceStub) -> None:
    told = failure(lambda: listed(stub, api=7, account="other", page_size=-1))
    assert violations(told) == ["api", "account", "page_size"]
    assert violations(failure(lambda: listed(stub, page_size=1001))) == ["page_size"]
    assert violations(refused(stub, "", api=7)) == ["service_group", "api"]


def test_a_code_or_a_name_gets_a_group(stub: ServiceGroupServiceStub) -> None:
    assert got(stub, "b").code == got(stub, "zwei").code == got(stub, "TWO").code == "b"
    assert got(stub, "first", api=pb.API_CONSIGNMENTS).api == pb.API_CONSIGNMENTS
    assert (got(stub, "Second").code, got(stub, "SECOND").code) == ("b", "c")


@pytest.mark.parametrize(("text", "candidates"), [("second", 2), ("a", 2), ("First", 2)])
def test_an_ambiguous_one_is_refused_with_the_candidates(
    stub: ServiceGroupServiceStub, text: str, candidates: int
) -> None:
    told = refused(stub, text)
    assert (told.code, told.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "SERVICE_GROUP_AMBIGUOUS")
    found = told.detail(error_details_pb2.BadRequest)
    assert found is not None
    assert len(found.field_violations) == candidates


def test_an_unknown_one_is_not_found_with_what_is_spelt_alike(stub: ServiceGroupServiceStub) -> None:
    told = refused(stub, "Frist")
    assert (told.code, told.reason) == (grpc.StatusCode.NOT_FOUND, "SERVICE_GROUP_NOT_FOUND")
    assert 'Did you mean "a" (First)' in told.message
    found = told.detail(error_details_pb2.ResourceInfo)
    assert found is not None
    assert (found.resource_type, found.resource_name) == ("allocation.v1.ServiceGroup", "Frist")


def allocate(front: Front, group: str, shipment: str = SHIPMENT, timeout: float = LONG) -> None:
    request = ship_pb.AllocateShipmentWithServiceGroupRequest(shipment_reference=shipment, service_group=group)
    front.stub.AllocateShipmentWithServiceGroup(request, timeout=timeout)


def test_an_allocation_that_succeeds_proves_a_group_until_it_is_refreshed(
    front: Front, stub: ServiceGroupServiceStub
) -> None:
    allocate(front, "proved")
    group = got(stub, "proved")
    assert group.source == pb.SERVICE_GROUP_SOURCE_OBSERVED
    assert 0 < group.trusted_until.seconds - group.learned_at.seconds <= 3600
    response = stub.RefreshServiceGroups(pb.RefreshServiceGroupsRequest(), timeout=LONG)
    assert response.service_group_count == len(ALL)
    assert refused(stub, "proved").code is grpc.StatusCode.NOT_FOUND


BULK: Final = {"message": "1 shipment queued", "queued": [SHIPMENT], "rejected": []}
# Answers of upstream that do not say that the group exists.
NO_PROOF: Final = {
    "a failed allocation": Reply(521, {"code": "allocation_failed", "message": "no"}),
    "an allocation under way": Reply(202, {"shipment_reference": "sp_1", "state": "allocating"}),
    "an answer that is broken": Reply(200, b"<html>"),
}


@pytest.mark.parametrize("reply", NO_PROOF.values(), ids=NO_PROOF.keys())
def test_anything_else_proves_nothing(front: Front, stub: ServiceGroupServiceStub, reply: Reply) -> None:
    shipment = f"sp_{uuid.uuid4()}"  # one that stays in doubt keeps its shipment
    body = {**reply.body, "shipment_reference": shipment} if isinstance(reply.body, dict) else reply.body
    front.upstream.answer(reply.status, body)
    with contextlib.suppress(grpc.RpcError):
        allocate(front, "doubtful", shipment, timeout=1.5)
    assert refused(stub, "doubtful").code is grpc.StatusCode.NOT_FOUND


def test_a_failed_allocation_is_no_evidence_against_a_group(front: Front, stub: ServiceGroupServiceStub) -> None:
    allocate(front, "proved")
    front.upstream.answer(404, {"code": "service_group_not_found", "message": "no"})
    with pytest.raises(grpc.RpcError):
        allocate(front, "proved")
    assert got(stub, "proved").code == "proved"


def test_what_a_bulk_call_queued_proves_nothing(front: Front, stub: ServiceGroupServiceStub) -> None:
    front.upstream.answer(202, BULK)
    request = ship_pb.AllocateShipmentsWithServiceGroupRequest(shipments=[SHIPMENT], service_group="queued")
    assert list(front.stub.AllocateShipmentsWithServiceGroup(request, timeout=LONG).queued) == [SHIPMENT]
    assert refused(stub, "queued").code is grpc.StatusCode.NOT_FOUND


def test_refreshing_has_to_be_switched_on() -> None:
    with running_front() as front:
        stub = ServiceGroupServiceStub(front.channel)
        told = failure(lambda: stub.RefreshServiceGroups(pb.RefreshServiceGroupsRequest(), timeout=LONG))
        assert (told.code, told.reason) == (grpc.StatusCode.PERMISSION_DENIED, "REFRESH_NOT_ALLOWED")
        allocate(front, "kept")
        assert got(stub, "kept").code == "kept"


def test_a_call_is_admitted_observed_and_logged_as_any_other(front: Front, stub: ServiceGroupServiceStub) -> None:
    front.gateway.forget()
    refused(stub, "nothing like it")
    line = front.gateway.wait_for("call", LONG, rpc="GetServiceGroup")
    assert (line["code"], line["reason"]) == ("NOT_FOUND", "SERVICE_GROUP_NOT_FOUND")
    call: Any = front.channel.unary_unary("/allocation.v1.ServiceGroupService/GetServiceGroup")
    told = failure(lambda: call(b"\xff", timeout=LONG))
    assert (told.code, told.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")

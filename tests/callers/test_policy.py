"""What callers may do: over the wire of the real gateway, with a policy in a file."""

from __future__ import annotations

import contextlib
import json
import signal
from typing import TYPE_CHECKING, Any, Final

import grpc
import pytest
from allocation.v1 import (
    consignment_allocation_service_pb2 as consignments_pb,
)
from allocation.v1 import job_pb2
from allocation.v1 import service_group_service_pb2 as groups_pb
from allocation.v1 import shipment_allocation_service_pb2 as pb
from allocation.v1.consignment_allocation_service_pb2_grpc import ConsignmentAllocationServiceStub
from allocation.v1.service_group_service_pb2_grpc import ServiceGroupServiceStub
from allocation_gateway.callers import policy, rpcs
from allocation_gateway.callers.model import Caller
from allocation_gateway.callers.patterns import compiled
from allocation_gateway.callers.policy import PolicyError
from allocation_gateway.operations.streams import STREAMS, WATCHES
from allocation_gateway.operations.table import OPERATIONS
from allocation_gateway.rpc.local import LOCAL_RPCS
from google.rpc import error_details_pb2
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from support.front import LONG, READ, SHIPMENT, Front, another_write, running_front
from support.issuer import AUDIENCE, ISSUER, Issuer, bearing
from support.status import failure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

ISSUED: Final = Issuer(one="ES256")
# Upstream here has no answer to bulk calls that says what became of them: whoever waits for it waits for so long.
SHORT: Final = 2.0
RULES: Final = """
[[rules]]
name = "reporting"
callers = ["jwt:reporting:*"]
rpcs = ["reads"]

[[rules]]
name = "warehouse"
callers = ["jwt:warehouse"]
rpcs = ["reads", "single", "bulk", "DeallocateShipment"]
service_groups = ["NORTH", "SOUTH"]

[[rules]]
name = "platform"
callers = ["jwt:platform"]
rpcs = ["reads", "single", "bulk", "deallocate", "admin"]

[[rules]]
name = "one at a time"
callers = ["jwt:slow"]
rpcs = ["reads"]
calls_in_hand = 1

[[rules]]
name = "few"
callers = ["jwt:few:**"]
rpcs = ["reads"]
rate_limit = 0.01
rate_burst = 2
""".replace("one at a time", "slow")
CATALOGUE: Final = """
complete = ["ship"]
service_groups = [
    { code = "NORTH", display_name = "Northern depot", api = "ship" },
    { code = "SOUTH", api = "ship" },
    { code = "ABROAD", display_name = "Abroad", api = "ship" },
    { code = "EAST", display_name = "Twin", api = "ship" },
    { code = "WEST", display_name = "Twin", api = "ship" },
]
"""


def settings(folder: Path, text: str) -> dict[str, str]:
    files = {"JWKS_FILE": "jwks.json", "POLICY_FILE": "policy.toml", "SERVICE_GROUP_CATALOGUE_FILE": "groups.toml"}
    (folder / "jwks.json").write_bytes(ISSUED.published())
    (folder / "policy.toml").write_text(text)
    (folder / "groups.toml").write_text(CATALOGUE)
    given = {name: str(folder / file) for name, file in files.items()}
    return {**given, "JWT_ISSUER": ISSUER, "JWT_AUDIENCE": AUDIENCE, "SERVICE_GROUP_REFRESH": "true"}


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    """A gateway with the policy above."""
    with running_front(settings=settings(tmp_path_factory.mktemp("policy"), RULES)) as front:
        yield front


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    """Another one, for calls that are refused: no earlier write is in doubt here, for which upstream would be asked."""
    with running_front(settings=settings(tmp_path_factory.mktemp("policy"), RULES)) as front:
        yield front


def by(subject: str) -> Any:
    return bearing(ISSUED.token(subject))


def read(front: Front, subject: str) -> None:
    front.stub.GetShipmentAllocation(READ, timeout=LONG, metadata=by(subject))


def reflect(front: Front, subject: str) -> None:
    stub: Any = reflection_pb2_grpc.ServerReflectionStub(front.channel)
    asked = iter([reflection_pb2.ServerReflectionRequest(list_services="")])
    list(stub.ServerReflectionInfo(asked, timeout=LONG, metadata=by(subject)))


def stream(front: Front, subject: str, reference: str, *groups: str) -> Any:
    """Allocates a shipment for each of some service groups in one stream; without any, one by the default rules."""
    items = [
        pb.ShipmentItem(
            shipment_reference=f"{reference}{index or ''}",
            selector=job_pb2.AllocationSelector(service_group=group) if group else None,
        )
        for index, group in enumerate(groups or [""])
    ]
    job = job_pb2.AllocationJob(wait_for=job_pb2.WAIT_FOR_QUEUED)
    request = pb.AllocateShipmentStreamRequest(job=job, items=items)
    return front.stub.AllocateShipmentStream(iter([request]), timeout=SHORT, metadata=by(subject))


CALLS: Final[dict[str, tuple[str, Callable[[Front, str], object]]]] = {
    "read": ("reads", read),
    "list groups": (
        "reads",
        lambda front, who: ServiceGroupServiceStub(front.channel).ListServiceGroups(
            groups_pb.ListServiceGroupsRequest(), timeout=LONG, metadata=by(who)
        ),
    ),
    "single": (
        "single",
        lambda front, who: front.stub.AllocateShipment(another_write(), timeout=LONG, metadata=by(who)),
    ),
    "bulk": (
        "bulk",
        lambda front, who: front.stub.AllocateShipments(
            pb.AllocateShipmentsRequest(shipments=[SHIPMENT]), timeout=SHORT, metadata=by(who)
        ),
    ),
    "stream": ("bulk", lambda front, who: list(stream(front, who, SHIPMENT))),
    "watch": (
        "reads",
        lambda front, who: list(
            front.stub.WatchShipmentAllocations(
                pb.WatchShipmentAllocationsRequest(shipment_references=[SHIPMENT]), timeout=SHORT, metadata=by(who)
            )
        ),
    ),
    "deallocate": (
        "deallocate",
        lambda front, who: front.stub.DeallocateShipment(
            pb.DeallocateShipmentRequest(shipment_reference=SHIPMENT), timeout=LONG, metadata=by(who)
        ),
    ),
    "deallocate many": (
        "deallocate",
        lambda front, who: ConsignmentAllocationServiceStub(front.channel).DeallocateConsignments(
            consignments_pb.DeallocateConsignmentsRequest(consignments=["EC-000-000-001"]),
            timeout=LONG,
            metadata=by(who),
        ),
    ),
    "refresh": (
        "admin",
        lambda front, who: ServiceGroupServiceStub(front.channel).RefreshServiceGroups(
            groups_pb.RefreshServiceGroupsRequest(), timeout=LONG, metadata=by(who)
        ),
    ),
    "reflection": ("admin", reflect),
}
ALLOWED: Final = {
    "reporting:jobs": {"reads"},
    "platform": {"reads", "single", "bulk", "deallocate", "admin"},
    "nobody": set(),
}


@pytest.mark.parametrize("who", ALLOWED)
@pytest.mark.parametrize("call", CALLS)
def test_callers_may_do_what_their_rule_says_and_nothing_else(
    front: Front, untouched: Front, who: str, call: str
) -> None:
    """What is not allowed is not asked of upstream either."""
    group, make = CALLS[call]
    if group in ALLOWED[who]:
        front.gateway.forget()
        with contextlib.suppress(grpc.RpcError):  # upstream is none that can do everything
            make(front, who)
        assert not [line for line in front.gateway.lines if line.get("code") == "PERMISSION_DENIED"]
        return
    untouched.gateway.forget()
    told = failure(lambda: make(untouched, who))
    assert (told.code, told.reason) == (grpc.StatusCode.PERMISSION_DENIED, "CALLER_NOT_ALLOWED")
    assert told.metadata["missing"]
    assert untouched.upstream.received.empty()
    line = untouched.gateway.wait_for(
        "audit", code="PERMISSION_DENIED", caller=f"jwt:{who}", missing=told.metadata["missing"]
    )
    if call in {"read", "bulk", "deallocate"}:
        assert line["references"] == [SHIPMENT]


def test_rule_may_name_a_single_rpc(front: Front) -> None:
    request = pb.DeallocateShipmentRequest(shipment_reference=another_write().shipment_reference)
    front.stub.DeallocateShipment(request, timeout=LONG, metadata=by("warehouse"))
    assert failure(lambda: CALLS["deallocate many"][1](front, "warehouse")).reason == "CALLER_NOT_ALLOWED"


def allocate(front: Front, group: str) -> str:
    request = pb.AllocateShipmentWithServiceGroupRequest(
        shipment_reference=another_write().shipment_reference, service_group=group
    )
    answer = front.stub.AllocateShipmentWithServiceGroup(request, timeout=LONG, metadata=by("warehouse"))
    return answer.allocation.state_text or "allocated"


@pytest.mark.parametrize("group", ["NORTH", "SOUTH", "Northern depot", "northern DEPOT"])
def test_allocation_with_a_service_group_of_the_rule_is_made(front: Front, group: str) -> None:
    """By its code or by its name."""
    front.upstream.forget()
    allocate(front, group)
    code = "SOUTH" if group == "SOUTH" else "NORTH"
    assert code in str(front.upstream.next_request("PUT "))


@pytest.mark.parametrize("group", ["ABROAD", "Abroad"])
def test_allocation_with_another_service_group_is_refused(untouched: Front, group: str) -> None:
    told = failure(lambda: allocate(untouched, group))
    assert (told.code, told.reason) == (grpc.StatusCode.PERMISSION_DENIED, "CALLER_NOT_ALLOWED")
    assert told.metadata == {"missing": "the service group ABROAD"}
    assert untouched.upstream.received.empty()


@pytest.mark.parametrize(("group", "reason"), [("Twin", "SERVICE_GROUP_AMBIGUOUS"), ("ABROAD", "CALLER_NOT_ALLOWED")])
def test_refusal_for_a_service_group_says_nothing_of_earlier_calls(front: Front, group: str, reason: str) -> None:
    """One with the same id may have been carried out: that is not looked up before the caller may make the call."""
    told = failure(lambda: allocate(front, group))
    assert told.reason == reason
    assert "effect" not in told.metadata


@pytest.mark.parametrize("call", ["single", "bulk"])
def test_allocation_without_a_service_group_is_refused_where_the_rule_names_some(untouched: Front, call: str) -> None:
    """Else the caller would get by another rpc what it may not have by this one."""
    told = failure(lambda: CALLS[call][1](untouched, "warehouse"))
    assert told.metadata == {"missing": "an allocation that names no service group"}
    assert untouched.upstream.received.empty()


def test_each_item_of_a_stream_is_held_to_the_service_groups_of_the_rule(front: Front) -> None:
    """What is refused is not asked of upstream, is told for itself, and leaves an audit line, as what is sent does."""
    front.upstream.forget()
    front.gateway.forget()
    reference = another_write().shipment_reference
    told: dict[str, Any] = {}
    with contextlib.suppress(grpc.RpcError):  # upstream has no answer for the item that is sent
        for response in stream(front, "warehouse", reference, "NORTH", "ABROAD", ""):
            told |= {one.shipment_reference: one for one in response.results.results}
    missing = {}
    for number, what in ((1, "the service group ABROAD"), (2, "an allocation that names no service group")):
        info = error_details_pb2.ErrorInfo()
        assert told[f"{reference}{number}"].refusal.details[0].Unpack(info)
        assert info.reason == "CALLER_NOT_ALLOWED"
        missing[number] = info.metadata["missing"] == what
        front.gateway.wait_for("audit", reason="CALLER_NOT_ALLOWED", references=[f"{reference}{number}"])
    assert missing == {1: True, 2: True}
    sent = str(list(front.upstream.received.queue))
    assert reference in sent
    assert f"{reference}1" not in sent
    assert f"{reference}2" not in sent


def test_caller_cannot_hold_more_calls_than_its_share(front: Front) -> None:
    """Others are served meanwhile, and so is the caller afterwards."""
    front.upstream.forget()
    release = front.upstream.hold(200, {"reference": SHIPMENT, "state": "unallocated"})
    held = front.stub.GetShipmentAllocation.future(READ, timeout=LONG, metadata=by("slow"))
    front.upstream.next_request()
    told = failure(lambda: read(front, "slow"))
    assert (told.code, told.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "CALLER_OVER_SHARE")
    assert told.detail(error_details_pb2.RetryInfo) is not None
    front.gateway.wait_for("audit", reason="CALLER_OVER_SHARE", caller="jwt:slow")
    read(front, "platform")
    release.set()
    held.result()
    read(front, "slow")


def test_caller_cannot_make_more_calls_in_a_second_than_its_share(front: Front) -> None:
    """All callers of a rule have one share."""
    for who in ("few:a", "few:b"):
        read(front, who)
    told = failure(lambda: read(front, "few:c:d"))
    assert (told.code, told.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "CALLER_OVER_SHARE")
    front.gateway.wait_for("audit", reason="CALLER_OVER_SHARE", caller="jwt:few:c:d")
    wait = told.detail(error_details_pb2.RetryInfo)
    assert wait is not None
    assert 50 < wait.retry_delay.seconds <= 100
    read(front, "platform")


def test_policy_is_followed_and_a_bad_edit_keeps_the_last_good_one(tmp_path: Path) -> None:
    """SIGHUP has it read at once. The calls of a rule that stays as it was go on counting."""
    file = tmp_path / "policy.toml"
    with running_front(settings=settings(tmp_path, RULES)) as front:
        for _ in range(2):
            read(front, "few:a")
        refused = failure(lambda: read(front, "nobody"))
        assert refused.reason == "CALLER_NOT_ALLOWED"
        file.write_text(RULES + "[[rules]]\nname = 'bad'\n")
        problem = front.gateway.wait_for("policy_rejected")["problem"]
        assert "rules[5]" in problem
        assert failure(lambda: read(front, "nobody")).reason == "CALLER_NOT_ALLOWED"
        read(front, "platform")
        file.write_text(RULES + "[[rules]]\nname = 'more'\ncallers = ['jwt:nobody']\nrpcs = ['reads']\n")
        front.gateway.process.send_signal(signal.SIGHUP)
        front.gateway.wait_for("policy_loaded", rules=6)
        read(front, "nobody")
        assert failure(lambda: read(front, "few:a")).reason == "CALLER_OVER_SHARE"
        assert json.dumps(front.gateway.lines).count(ISSUED.token("nobody").split(".")[0]) == 0


def test_every_rpc_is_in_one_group() -> None:
    names = [
        *(row.name for row in OPERATIONS),
        *(row.name for row in (*STREAMS, *WATCHES)),
        *(rpc.name for rpc in LOCAL_RPCS),
        rpcs.REFLECTION,
    ]
    assert sorted(name for group in rpcs.groups().values() for name in group) == sorted(names)


@pytest.mark.parametrize(
    ("pattern", "name", "fits"),
    [
        ("spiffe://a/b/*", "spiffe://a/b/c", True),
        ("spiffe://a/b/*", "spiffe://a/b/c/d", False),
        ("spiffe://a/b/*", "spiffe://a/b/", False),
        ("spiffe://a/**", "spiffe://a/b/c/d", True),
        ("spiffe://a.b/c", "spiffe://axb/c", False),
        ("dns:*.a.example", "dns:b.a.example", True),
        ("dns:*.A.example", "dns:b.a.example", True),
        ("dns:*.a.example", "dns:c.b.a.example", False),
        ("dns:*.a.example", "dns:a.example", False),
        ("jwt:system:serviceaccount:shop:*", "jwt:system:serviceaccount:shop:web", True),
        ("jwt:system:serviceaccount:*:web", "jwt:system:serviceaccount:shop:x:web", False),
        ("jwt:a", "jwt:ab", False),
        ("jwt:a", "xjwt:a", False),
        ("jwt:a", "dns:a", False),
    ],
)
def test_patterns_reach_no_further_than_a_part(pattern: str, name: str, fits: bool) -> None:
    assert bool(compiled(pattern).fullmatch(name)) is fits


GOOD: Final = 'name = "a"\ncallers = ["jwt:a"]\nrpcs = ["reads"]\n'


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "rules"),
        ("rules = []", "rules"),
        ("[[rules]]\n" + GOOD + "colour = 1", "colour"),
        (f"[[rules]]\n{GOOD}[[rules]]\n{GOOD}", "rule 2: there is another rule named a"),
        ("[[rules]]\n" + GOOD.replace("reads", "read"), "there is no rpc or group of rpcs 'read'"),
        ("[[rules]]\n" + GOOD.replace("jwt:a", "a"), "must begin with one of"),
        ("[[rules]]\n" + GOOD.replace("jwt:a", "*"), "must begin with one of"),
        ("[[rules]]\n" + GOOD.replace("jwt:a", "jwt:"), "must be followed by a name"),
        ("[[rules]]\n" + GOOD.replace("jwt:a", "jwt:***"), "asterisks"),
        ("[[rules]]\n" + GOOD.replace('["jwt:a"]', "[]"), "callers"),
        ("[[rules]]\n" + GOOD.replace('["reads"]', "[]"), "rpcs"),
        ("[[rules]]\n" + GOOD.replace('"a"', '"a b"'), "name must be"),
        ("[[rules]]\n" + GOOD + "service_groups = []", "service_groups"),
        ("[[rules]]\n" + GOOD + "rate_limit = -1", "rate_limit"),
        ("[[rules]]\n" + GOOD + "calls_in_hand = -1", "calls_in_hand"),
        ("[[rules", "is not valid TOML"),
        ("#" * (policy.MOST_BYTES + 1), "larger"),
    ],
)
def test_policy_is_refused_as_a_whole(text: str, problem: str) -> None:
    with pytest.raises(PolicyError, match=problem.replace("[", r"\[")):
        policy.parse(text.encode(), rpcs.groups())


def test_first_rule_for_a_caller_decides() -> None:
    second = GOOD.replace('"a"', '"b"').replace("reads", "admin").replace("jwt:a", "jwt:**")
    found = policy.parse(f"[[rules]]\n{GOOD}[[rules]]\n{second}".encode(), rpcs.groups())
    grants = [found.grant(Caller((name,))) for name in ("jwt:a", "jwt:b", "dns:b")]
    assert [grant and grant.rule for grant in grants] == ["a", "b", None]

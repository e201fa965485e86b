"""A shipment or consignment is the same one in any case, for whatever keeps writes apart and reads answers."""

from __future__ import annotations

import asyncio
import json
import uuid
from typing import TYPE_CHECKING, Any, Final

import grpc
import msgspec
import pytest
from allocation.v1 import consignment_allocation_service_pb2 as consignments_pb
from allocation.v1 import core_pb2
from allocation.v1 import shipment_allocation_service_pb2 as pb
from allocation_gateway.claims.model import Begun, ClaimState
from allocation_gateway.claims.slots import SlotClaims
from allocation_gateway.operations.model import Api, references_field
from allocation_gateway.operations.ship_answers import LINKS, LISTING
from allocation_gateway.operations.table import OPERATIONS
from allocation_gateway.references import capitalized, folded, is_same
from allocation_gateway.writes import responses
from support.cache import running_cache
from support.claims import new_claim
from support.cluster import running_cluster
from support.front import LONG, running_front
from support.slot_server import SlotServer
from support.status import failure
from support.upstream import running_upstream
from support.virtual import run
from support.world import STUCK, World
from writes.conftest import SETTINGS
from writes.test_phases import BOOKED, ID, SENDING, UNALLOCATED, Bench, Scripted, failed, lost, shown, told

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from allocation_gateway.operations.model import Operation

OTHER_ID: Final = f"{ID[:-1]}2"
WRITES: Final = [row for row in OPERATIONS if row.action.writes and row.named_by]
CONSIGNMENTS: Final = {"CONSIGNMENTS_API_KEY": "key", "CONSIGNMENTS_BASE_URL": "http://127.0.0.1:1"}


def asking(row: Operation, *references: str) -> Any:
    """Returns a request of a row for some references, or for the first of them where it takes one."""
    field = references_field(row.request)
    return row.request(**{field: references if field in {"shipments", "consignments"} else references[0]})


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("EC-000-05B-MMA", "ec-000-05b-mma", True),
        ("EC-1", "Ec-1", True),
        ("EC-1", "EC-2", False),
        ("EC_1", "EC-1", False),
        ("é-1", "É-1", False),
        ("é-a", "é-A", True),
        # These are a long s, a Kelvin sign and a sharp s: Unicode folds them into ASCII, or makes them longer.
        ("\u017fp_1", "sp_1", False),
        ("\u212a-1", "k-1", False),
        ("stra\u00dfe", "strasse", False),
        ("stra\u00dfe", "STRA\u00dfE", True),
    ],
)
def test_only_the_case_of_ascii_letters_does_not_count(one: str, other: str, *, same: bool) -> None:
    assert is_same(one, other) is same
    assert (folded(one) == folded(other)) is same
    assert (capitalized(one) == capitalized(other)) is same


@pytest.mark.parametrize("row", WRITES, ids=lambda row: row.name)
def test_each_write_locks_a_reference_by_the_same_name_however_it_is_spelled(row: Operation) -> None:
    """By upstream's own spelling, which is what a release before this one locks, too."""
    own, other = ("sp_007a", "SP_007A") if row.api is Api.SHIP else ("EC-000-05B", "ec-000-05b")
    assert row.locks(asking(row, own)) == row.locks(asking(row, other)) == (own,)
    assert row.references(asking(row, other)) == (other,)


@pytest.mark.parametrize(
    ("api", "one", "other"),
    [
        (
            Api.SHIP,
            pb.AllocateShipmentRequest(shipment_reference="sp_1", request_id=ID),
            pb.DeallocateShipmentRequest(shipment_reference="SP_1", request_id=OTHER_ID),
        ),
        (
            Api.SHIP,
            pb.AllocateShipmentsRequest(shipments=["sp_2", "sp_1"], request_id=ID),
            pb.AllocateShipmentRequest(shipment_reference="Sp_1", request_id=OTHER_ID),
        ),
        (
            Api.CONSIGNMENTS,
            consignments_pb.AllocateConsignmentWithQuoteRequest(
                consignment_reference="EC-1", quote_reference="q", request_id=ID
            ),
            consignments_pb.AllocateConsignmentsRequest(consignments=["ec-2", "ec-1"], request_id=OTHER_ID),
        ),
        (
            Api.CONSIGNMENTS,
            consignments_pb.AllocateConsignmentsRequest(consignments=["ec-1"], request_id=ID),
            consignments_pb.DeallocateConsignmentRequest(consignment_reference="EC-1", request_id=OTHER_ID),
        ),
    ],
    ids=["another rpc", "one of several", "several", "de-allocation"],
)
def test_a_write_waits_for_that_of_another_spelling(api: Api, one: Any, other: Any) -> None:
    async def work() -> None:
        bench = Bench(Scripted(lost), api, None, LOCK_WAIT="0.3", **CONSIGNMENTS)
        bench.engine.held = asyncio.Event()
        first = bench.write(message=one)
        task = asyncio.create_task(first.run())
        await asyncio.sleep(0.1)
        assert first.phase is SENDING
        error = await failed(bench.write(message=other))
        assert error.reason_name == "WRITE_IN_PROGRESS"
        assert len(bench.engine.sent) == 1
        task.cancel()
        await asyncio.wait([task])

    run(work())


def test_whose_an_allocation_is_is_known_in_any_spelling() -> None:
    """So a shipment that another request has allocated is read before it is allocated again."""

    async def work() -> None:
        bench = Bench(Scripted(told(200, BOOKED), lost))
        await bench.write().run()
        again = bench.write(message=pb.AllocateShipmentRequest(shipment_reference="SP_1", request_id=OTHER_ID))
        task = asyncio.create_task(again.run())
        await asyncio.sleep(0.1)
        assert bench.engine.sent[:3] == ["PUT", "GET", "PUT"]
        bench.engine.shown = shown()
        response: Any = (await task).response
        assert response.allocation.reconciled

    run(work())


def test_what_another_request_was_answered_is_found_in_any_spelling() -> None:
    """By it an allocation that is there is told from one's own."""
    ship = next(row for row in OPERATIONS if row.request is pb.AllocateShipmentsRequest)
    listing = pb.AllocateShipmentsResponse(
        queued=["sp_2"],
        allocations=[core_pb2.Allocation(shipment_reference="sp_1", state=core_pb2.SHIPMENT_STATE_ALLOCATED)],
    )
    found: Any = responses.allocation_of(ship, listing, "SP_1")
    assert found == listing.allocations[0]
    assert responses.allocation_of(ship, listing, "SP_2") is None
    assert [responses.may_be_queued(ship, listing, name) for name in ("SP_1", "SP_2")] == [False, True]
    row = next(row for row in OPERATIONS if row.request is consignments_pb.AllocateConsignmentsRequest)
    results = consignments_pb.AllocateConsignmentsResponse(
        results=[
            consignments_pb.ConsignmentResult(
                consignment_reference="EC-1",
                outcome=consignments_pb.OUTCOME_DONE,
                allocation=consignments_pb.ConsignmentAllocation(service_group="g"),
            )
        ]
    )
    assert responses.allocation_of(row, results, "ec-1") == results.results[0].allocation
    assert responses.may_be_queued(row, results, "ec-1") is False


@pytest.mark.parametrize("form", ["listing", "array"])
def test_what_a_bulk_answer_says_is_told_of_the_callers_spelling(form: str) -> None:
    asked = ["SP_1", "Sp_2", "sp_3"]
    bodies: dict[str, object] = {
        "listing": {"queued": ["sp_1", "sp_3"], "rejected": [{"code": "c", "references": ["sp_2"]}]},
        "array": [
            {"shipment_reference": "sp_1", "state": "allocating"},
            {"shipment_reference": "sp_2", "state": "unallocated", "details": [{"code": "c"}]},
            {"shipment_reference": "sp_3", "state": "allocating"},
        ],
    }

    async def work() -> None:
        bench = Bench(Scripted(told(202, json.dumps(bodies[form]).encode())))
        message = pb.AllocateShipmentsRequest(shipments=asked, request_id=ID)
        response: Any = (await bench.write(message=message).run()).response
        assert not response.unaccounted
        taken = [*response.queued, *(item.shipment_reference for item in response.allocations)]
        rejected = [name for item in response.rejected for name in item.references]
        assert sorted({*taken, *rejected}) == sorted(asked)
        claim = await bench.store.read(ID)
        assert claim is not None
        assert claim.references == ("sp_1", "sp_2", "sp_3")
        parts = LISTING.parts(response, asked)
        assert [LISTING.item(part, name).is_taken for part, name in zip(parts, asked, strict=True)] == [
            True,
            False,
            True,
        ]

    run(work())


def test_links_are_sorted_by_where_they_lead_and_without_what_was_rejected() -> None:
    links = [
        core_pb2.Link(reference="sp_1", href="https://x/shipments/sp_1"),
        core_pb2.Link(href="https://x/shipments/sp_2?a=b"),
        core_pb2.Link(reference="sp_3", type="rejected"),
    ]
    response = pb.AllocateShipmentsWithFiltersResponse(reference="r", shipments=links)
    asked = ["SP_1", "SP_2", "SP_3", "SP_4"]
    parts = LINKS.parts(response, asked)
    assert [list(part.shipments) for part in parts] == [*([link] for link in links), []]
    assert [LINKS.item(part, name).is_taken for part, name in zip(parts, asked, strict=True)] == [
        True,
        True,
        False,
        False,
    ]
    assert LINKS.item(response, "SP_2").is_taken
    assert not LINKS.item(response, "SP_3").is_taken


def test_what_is_sent_and_answered_keeps_the_callers_spelling() -> None:
    async def work() -> None:
        bench = Bench(Scripted(lost))
        paths: list[str] = []
        exchange = bench.engine.exchange

        async def traced(method: str, path: str, **more: Any) -> Any:
            paths.append(path)
            return await exchange(method, path, **more)

        bench.engine.exchange = traced  # type: ignore[method-assign]
        message = pb.DeallocateShipmentRequest(shipment_reference="Sp_1", request_id=ID)
        task = asyncio.create_task(bench.write(message=message).run())
        bench.engine.shown = UNALLOCATED
        await asyncio.wait([task])
        assert all("/Sp_1" in path for path in paths), paths
        assert len(paths) > 1
        claim = await bench.store.read(ID)
        assert claim is not None
        assert claim.references == ("sp_1",)

    run(work())


@pytest.fixture(scope="module", params=["server", "cluster"])
def store(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a store that gateways share."""
    if request.param == "server":
        with running_cache() as cache:
            yield f"redis://127.0.0.1:{cache.port}/0"
    else:
        with running_cluster() as cluster:
            yield cluster.url()


@pytest.mark.cache
def test_gateways_that_share_a_store_agree_on_spellings(store: str) -> None:
    """A write waits for another one's, and a repeat in another spelling finds its id, wherever the claim is."""
    settings = {**SETTINGS, "REPLICAS": "2", "STORE_URL": store, "STORE_CHECKS": "off", "STORE_TIMEOUT": "2"}
    with running_upstream() as upstream:
        world = World()
        upstream.default = world.answer
        with running_front(upstream, settings=settings) as one, running_front(upstream, settings=settings) as other:
            reference = f"sp_{uuid.uuid4()}"
            world.fates.put(STUCK)
            first = pb.AllocateShipmentRequest(shipment_reference=reference, request_id=str(uuid.uuid4()))
            try:
                pending = one.stub.AllocateShipment.future(first, timeout=LONG)
                assert world.arrived.wait(LONG)
                second = pb.AllocateShipmentRequest(shipment_reference=reference.upper(), request_id=str(uuid.uuid4()))
                found = failure(lambda: other.stub.AllocateShipment(second, timeout=LONG))
                assert (found.code, found.reason) == (grpc.StatusCode.ABORTED, "WRITE_IN_PROGRESS")
                respelled = pb.AllocateShipmentRequest(
                    shipment_reference=reference.upper(), request_id=first.request_id
                )
                assert (
                    failure(lambda: other.stub.AllocateShipment(respelled, timeout=LONG)).reason == "REQUEST_ID_REUSED"
                )
                assert len(world.written) == 1
            finally:
                world.release.set()
            pending.cancel()


class Steps:
    """Carries out the steps of a cluster in this process."""

    def __init__(self, server: SlotServer) -> None:
        self._server = server

    async def run(self, step: str, keys: Sequence[str], *arguments: str | bytes | int) -> Any:
        """Carries out a step."""
        return self._server.carry_out(step, keys, *arguments)

    async def close(self) -> None:
        """Does nothing."""


@pytest.mark.parametrize("on_cluster", [False, True], ids=["one place", "cluster"])
def test_a_claim_of_an_earlier_release_is_taken_over_and_ended_where_it_is(*, on_cluster: bool) -> None:
    """It locks the spelling of its request, and is freed by that name: nothing is left locked."""

    async def work() -> None:
        server = SlotServer(asyncio.get_running_loop().time)
        slots = SlotClaims(Steps(server), namespace="claims", name="ship", retention=3_600.0) if on_cluster else None
        bench = Bench(Scripted(told(200, BOOKED)), store=slots)
        message = pb.AllocateShipmentRequest(shipment_reference="SP_1", request_id=ID)
        old = new_claim(ID, fingerprint=f"1:{message}", request=message.SerializeToString(), references=("SP_1",))
        store = bench.store.at(old.references)
        await store.begin(msgspec.structs.replace(old, note=b"", lease=0.0, effects=0.0))
        await bench.write(message=message).run()
        found = await store.read(ID)
        assert found is not None
        assert (found.state, found.references) == (ClaimState.DONE, ("SP_1",))
        assert server.locked() == []
        assert isinstance(await store.begin(new_claim(OTHER_ID, references=("SP_1",))), Begun)

    run(work())

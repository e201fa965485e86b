"""Which allocations that are found are adopted: those that the unanswered request can have brought about."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import pytest
from allocation.v1 import consignment_allocation_service_pb2 as pb
from allocation.v1 import core_pb2
from allocation_gateway.policy.adoption import TOLERANCE, Origin, Standing, is_allocated, standing
from allocation_gateway.policy.quotes import Terms
from google.type.money_pb2 import Money
from hypothesis import given
from hypothesis import strategies as st
from writes.rows import ROWS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from allocation_gateway.errors import AnyAllocation

SENT: Final = datetime(2026, 3, 29, 1, 0, tzinfo=UTC)
ORIGIN: Final = Origin(sent_after=SENT, terms=None, is_other=False)
TERMS: Final = Terms("FF_1", "GBP", 2, 400_000_000)
PRICE: Final = Money(currency_code="GBP", units=2, nanos=400_000_000)
DEARER: Final = Money(currency_code="GBP", units=2, nanos=410_000_000)
ALLOCATED: Final = core_pb2.SHIPMENT_STATE_ALLOCATED
ALLOCATING: Final = core_pb2.SHIPMENT_STATE_ALLOCATING


def shipment(
    service: str = "FF_1",
    *,
    state: core_pb2.ShipmentState.ValueType = ALLOCATED,
    made: datetime | None = SENT,
    price: Money | None = None,
) -> core_pb2.Allocation:
    found = core_pb2.Allocation(shipment_reference="sp_1", state=state)
    found.carrier.service_reference = service
    if made is not None:
        found.allocation_date.FromDatetime(made)
    if price is not None:
        found.price.gross.CopyFrom(price)
    return found


def consignment(
    service: str = "FF_1",
    *,
    group: str = "",
    state: pb.ConsignmentState.ValueType = pb.CONSIGNMENT_STATE_ALLOCATED,
    price: Money | None = None,
) -> pb.ConsignmentAllocation:
    found = pb.ConsignmentAllocation(
        consignment_reference="EC-1", carrier_service_reference=service, service_group=group, state=state
    )
    found.allocation_date.FromDatetime(SENT)
    if price is not None:
        found.price.gross.CopyFrom(price)
    return found


def judged(name: str, found: AnyAllocation, origin: Origin = ORIGIN, **fields: Any) -> Standing:
    """Returns what a reading means for a request of the named rpc."""
    row = ROWS[name]
    return standing(row, row.request(**fields), found, origin)


@dataclass(frozen=True)
class Case:
    """What was asked for, what was found, and whether the one can come from the other."""

    rpc: str
    found: AnyAllocation
    adopted: bool
    asked: Mapping[str, Any] = field(default_factory=dict)
    terms: Terms | None = None


QUOTED: Final = "AllocateShipmentWithQuote"
GROUPED: Final = "AllocateConsignmentWithServiceGroup"
LABELLED: Final = "AllocateConsignmentWithLabels"
SERVICED: Final = "AllocateShipmentWithCarrierService"
FF_1: Final = {"carrier_service_reference": "FF_1"}
GROUP: Final = {"service_group": "Next Day Straße"}
CASES: Final = {
    "default rules say nothing of the service": Case("AllocateShipment", shipment("FF_2"), adopted=True),
    "the service": Case(SERVICED, shipment("FF_1"), adopted=True, asked=FF_1),
    "another service": Case(SERVICED, shipment("FF_2"), adopted=False, asked=FF_1),
    "another case of the service": Case(SERVICED, shipment("ff_1"), adopted=False, asked=FF_1),
    "a service that is not told": Case(SERVICED, shipment(""), adopted=True, asked=FF_1),
    "the service of a consignment": Case(LABELLED, consignment("FF_1"), adopted=True, asked=FF_1),
    "another service of a consignment": Case(LABELLED, consignment("FF_2"), adopted=False, asked=FF_1),
    "the group": Case(GROUPED, consignment(group="Next Day Straße"), adopted=True, asked=GROUP),
    "the group in other letters": Case(GROUPED, consignment(group="NEXT DAY STRASSE"), adopted=True, asked=GROUP),
    "another group": Case(GROUPED, consignment(group="Next Week"), adopted=False, asked=GROUP),
    "no group where one was asked for": Case(GROUPED, consignment(), adopted=False, asked=GROUP),
    "a group where none was asked for": Case("AllocateConsignment", consignment(group="Next Week"), adopted=True),
    "a group that a shipment never tells": Case(
        "AllocateShipmentWithServiceGroup", shipment(), adopted=True, asked=GROUP
    ),
    "the quote": Case(QUOTED, shipment(price=PRICE), adopted=True, terms=TERMS),
    "another service than the quote's": Case(QUOTED, shipment("FF_2", price=PRICE), adopted=False, terms=TERMS),
    "another price than the quote's": Case(QUOTED, shipment(price=DEARER), adopted=False, terms=TERMS),
    "a quote whose price is not told": Case(QUOTED, shipment(), adopted=True, terms=TERMS),
    "a quote whose service is not told": Case(QUOTED, shipment("", price=PRICE), adopted=True, terms=TERMS),
    "a quote without a price": Case(QUOTED, shipment(price=DEARER), adopted=True, terms=Terms("FF_1", "", 0, 0)),
    "a quote without a service": Case(
        QUOTED, shipment("FF_2", price=PRICE), adopted=True, terms=Terms("", "GBP", 2, 400_000_000)
    ),
    "a quote that is not known": Case(QUOTED, shipment("FF_2", price=DEARER), adopted=True),
    "another price for a consignment": Case(LABELLED, consignment(price=DEARER), adopted=False, terms=TERMS),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_an_allocation_is_adopted_if_all_agrees_that_is_known(case: Case) -> None:
    origin = ORIGIN._replace(terms=case.terms)
    expected = Standing.DONE if case.adopted else Standing.OTHER
    assert judged(case.rpc, case.found, origin, **case.asked) is expected


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        (timedelta(0), Standing.DONE),
        (timedelta(days=1), Standing.DONE),
        (-TOLERANCE, Standing.DONE),
        (-TOLERANCE - timedelta(microseconds=1), Standing.OTHER),
        (-timedelta(days=400), Standing.OTHER),
    ],
)
def test_an_allocation_of_before_the_attempt_is_somebody_elses(after: timedelta, expected: Standing) -> None:
    """By upstream's clock, and with a tolerance for what its dates leave out."""
    assert judged("AllocateShipment", shipment(made=SENT + after)) is expected


def test_an_allocation_without_its_date_tells_nothing_yet() -> None:
    assert judged("AllocateShipment", shipment(made=None)) is Standing.PENDING


def test_an_allocation_that_another_request_is_known_to_have_made_is_not_adopted() -> None:
    """Whatever its date and service are."""
    assert judged(SERVICED, shipment(), ORIGIN._replace(is_other=True), **FF_1) is Standing.OTHER


moments = st.datetimes(datetime(2025, 1, 1), datetime(2027, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - see timezones
prices = st.builds(Money, currency_code=st.sampled_from(["GBP", "EUR"]), units=st.integers(0, 2))


@given(
    made=moments,
    sent=moments,
    asked=st.sampled_from(["", "FF_1"]),
    service=st.sampled_from(["", "FF_1", "FF_2"]),
    promised=st.none()
    | st.builds(Terms, st.sampled_from(["", "FF_1", "FF_2"]), st.just("GBP"), st.just(1), st.just(0)),
    price=st.none() | prices,
    is_other=st.booleans(),
)
def test_a_single_disagreement_is_enough(
    made: datetime,
    sent: datetime,
    asked: str,
    service: str,
    promised: Terms | None,
    price: Money | None,
    is_other: bool,
) -> None:
    known = {service} - {""}
    disagreements = [
        is_other,
        (sent - made).total_seconds() > TOLERANCE.total_seconds(),
        bool(asked and known - {asked}),
        bool(promised and promised.service and known - {promised.service}),
        bool(promised and price is not None and (price.currency_code, price.units) != ("GBP", 1)),
    ]
    found = shipment(service, made=made, price=price)
    got = judged(SERVICED, found, Origin(sent, promised, is_other), carrier_service_reference=asked)
    assert got is (Standing.OTHER if any(disagreements) else Standing.DONE)


ABSENT: Final = {"UNALLOCATED", "ALLOCATION_FAILED"}
UNCERTAIN: Final = {"UNSPECIFIED", "ALLOCATING"}
GONE: Final = {"CANCELLED", "CANCELLING"}


def phase(name: str) -> Standing:
    """Returns what a state alone tells of an allocation at the right time."""
    if name in ABSENT:
        return Standing.ABSENT
    if name in UNCERTAIN:
        return Standing.PENDING
    return Standing.OTHER if name in GONE else Standing.DONE


STATES: Final = [
    *(
        (name.removeprefix("SHIPMENT_STATE_"), shipment(state=state), "AllocateShipment", "DeallocateShipment")
        for name, state in core_pb2.ShipmentState.items()
    ),
    *(
        (
            name.removeprefix("CONSIGNMENT_STATE_"),
            consignment(state=state),
            "AllocateConsignment",
            "DeallocateConsignment",
        )
        for name, state in pb.ConsignmentState.items()
    ),
]


@pytest.mark.parametrize(
    ("name", "found", "allocate", "deallocate"), STATES, ids=[f"{row[2]}-{row[0]}" for row in STATES]
)
def test_every_state_has_its_meaning(name: str, found: AnyAllocation, allocate: str, deallocate: str) -> None:
    """What goes on from an allocation has been allocated; a de-allocation is done when nothing is allocated."""
    expected = phase(name)
    assert judged(allocate, found) is expected
    assert is_allocated(found) is (expected is Standing.DONE)
    goal = {Standing.ABSENT: Standing.DONE, Standing.PENDING: Standing.PENDING}.get(expected, Standing.ABSENT)
    assert judged(deallocate, found) is goal


def test_a_deallocation_looks_at_nothing_but_its_goal() -> None:
    """Who allocated it, and when, makes no difference to what is still to be taken back."""
    other = ORIGIN._replace(is_other=True)
    old = SENT - timedelta(days=1)
    assert judged("DeallocateShipment", shipment(made=old), other) is Standing.ABSENT
    unallocated = shipment(state=core_pb2.SHIPMENT_STATE_UNALLOCATED, made=None)
    assert judged("DeallocateShipment", unallocated, other) is Standing.DONE


@pytest.mark.parametrize("rpc", ["AllocateShipments", "AllocateShipmentsWithFilters"])
def test_a_bulk_call_to_ship_is_done_when_it_has_queued(rpc: str) -> None:
    """It promises no more. One call for one shipment does, and bulk calls for consignments do."""
    assert judged(rpc, shipment(state=ALLOCATING, made=None)) is Standing.DONE
    assert judged(rpc, shipment(state=core_pb2.SHIPMENT_STATE_UNSPECIFIED)) is Standing.PENDING
    assert judged(rpc, shipment(made=SENT - timedelta(days=1))) is Standing.OTHER
    assert judged("AllocateShipment", shipment(state=ALLOCATING)) is Standing.PENDING
    allocating = consignment(state=pb.CONSIGNMENT_STATE_ALLOCATING)
    assert judged("AllocateConsignments", allocating) is Standing.PENDING

"""Which allocations that are found are adopted, which are not the write's own, and of which neither can be said."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import pytest
from allocation.v1 import consignment_allocation_service_pb2 as pb
from allocation.v1 import core_pb2
from allocation_gateway.operations.allocations import CONSIGNMENTS, SHIP
from allocation_gateway.operations.assessment import Assessment
from allocation_gateway.writes.adoption import (
    IN_HAND,
    UNALLOCATED,
    Origin,
    assess,
    explains_refusal,
    is_same_booking,
    may_be_another_writes,
    snapshot,
)
from allocation_gateway.writes.clocks import NOT_OWN_TOLERANCE, TOLERANCE, ClockReading, Interval
from allocation_gateway.writes.note import Terms
from google.type.money_pb2 import Money
from hypothesis import given
from hypothesis import strategies as st
from writes.rows import ROWS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from allocation_gateway.errors import AnyAllocation

# Upstream's clock and the event loop's have nothing in common: this is when the write was claimed, by either.
SENT: Final = datetime(2026, 3, 29, 1, 0, 0, 500_000, tzinfo=UTC)
CLAIMED: Final = Interval(5_000.0, 5_000.0)
# A reading that upstream answered at once, an hour later, when its clock showed half a second past.
SEEN: Final = ClockReading(SENT.timestamp() + 3_600 - 0.5, 8_600.0, 8_600.0)
ORIGIN: Final = Origin(CLAIMED, SEEN)
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


def judged(name: str, found: AnyAllocation, origin: Origin = ORIGIN, **fields: Any) -> Assessment:
    """Returns what a reading means for a request of the named rpc."""
    row = ROWS[name]
    return assess(row, row.request(**fields), found, origin)


@dataclass(frozen=True)
class Case:
    """What was asked for, what was found, and whether the one can come from the other."""

    rpc: str
    found: AnyAllocation
    expected: Assessment
    asked: Mapping[str, Any] = field(default_factory=dict)
    terms: Terms | None = None


DONE: Final = Assessment.DONE
OTHER: Final = Assessment.NOT_OWN
UNDECIDED: Final = Assessment.UNDECIDED
QUOTED: Final = "AllocateShipmentWithQuote"
GROUPED: Final = "AllocateConsignmentWithServiceGroup"
LABELLED: Final = "AllocateConsignmentWithLabels"
SERVICED: Final = "AllocateShipmentWithCarrierService"
FF_1: Final = {"carrier_service_reference": "FF_1"}
GROUP: Final = {"service_group": "Next Day Straße"}
CASES: Final = {
    "default rules say nothing of the service": Case("AllocateShipment", shipment("FF_2"), expected=DONE),
    "the service": Case(SERVICED, shipment("FF_1"), expected=DONE, asked=FF_1),
    "the service in another case": Case(SERVICED, shipment("ff_1"), expected=DONE, asked=FF_1),
    "another service": Case(SERVICED, shipment("FF_2"), expected=OTHER, asked=FF_1),
    "another case of the service": Case(SERVICED, shipment("ff_1"), expected=DONE, asked=FF_1),
    "a service that is not told": Case(SERVICED, shipment(""), expected=DONE, asked=FF_1),
    "the service of a consignment": Case(LABELLED, consignment("FF_1"), expected=DONE, asked=FF_1),
    "another service of a consignment": Case(LABELLED, consignment("FF_2"), expected=OTHER, asked=FF_1),
    "the group": Case(GROUPED, consignment(group="Next Day Straße"), expected=DONE, asked=GROUP),
    "the group in other letters": Case(GROUPED, consignment(group="NEXT DAY STRASSE"), expected=DONE, asked=GROUP),
    "another group": Case(GROUPED, consignment(group="Next Week"), expected=UNDECIDED, asked=GROUP),
    "no group where one was asked for": Case(GROUPED, consignment(), expected=UNDECIDED, asked=GROUP),
    "a group where none was asked for": Case("AllocateConsignment", consignment(group="Next Week"), expected=UNDECIDED),
    "a group that comes with a quote": Case(
        "AllocateConsignmentWithLabels",
        consignment(group="Next Week"),
        expected=DONE,
        asked={"quote_reference": "0f0b0c5e-7a3b-4c1e-9d55-3d3c2b1a0f9e"},
    ),
    "a group that a shipment never tells": Case(
        "AllocateShipmentWithServiceGroup", shipment(), expected=DONE, asked=GROUP
    ),
    "the quote": Case(QUOTED, shipment(price=PRICE), expected=DONE, terms=TERMS),
    "another service than the quote's": Case(QUOTED, shipment("FF_2", price=PRICE), expected=OTHER, terms=TERMS),
    "another price than the quote's": Case(QUOTED, shipment(price=DEARER), expected=UNDECIDED, terms=TERMS),
    "a quote whose price is not told": Case(QUOTED, shipment(), expected=DONE, terms=TERMS),
    "a quote whose service is not told": Case(QUOTED, shipment("", price=PRICE), expected=DONE, terms=TERMS),
    "a quote without a price": Case(QUOTED, shipment(price=DEARER), expected=DONE, terms=Terms("FF_1", "", 0, 0)),
    "a quote without a service": Case(
        QUOTED, shipment("FF_2", price=PRICE), expected=DONE, terms=Terms("", "GBP", 2, 400_000_000)
    ),
    "a quote that is not known": Case(QUOTED, shipment("FF_2", price=DEARER), expected=DONE),
    "another price for a consignment": Case(LABELLED, consignment(price=DEARER), expected=UNDECIDED, terms=TERMS),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_what_disagrees_is_not_adopted_and_only_another_service_is_proof(case: Case) -> None:
    origin = ORIGIN._replace(terms=case.terms)
    assert judged(case.rpc, case.found, origin, **case.asked) is case.expected


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        (timedelta(0), DONE),
        (timedelta(days=1), DONE),
        (timedelta(seconds=-1), DONE),
        (-timedelta(seconds=TOLERANCE + 1), UNDECIDED),
        (-timedelta(seconds=NOT_OWN_TOLERANCE - 0.1), UNDECIDED),
        (-timedelta(seconds=NOT_OWN_TOLERANCE + 1.1), OTHER),
        (-timedelta(days=400), OTHER),
    ],
)
def test_an_allocation_of_before_the_write_is_denied_only_beyond_every_tolerance(
    after: timedelta, expected: Assessment
) -> None:
    assert judged("AllocateShipment", shipment(made=SENT + after)) is expected


def test_a_slow_reading_decides_nothing_that_a_fast_one_could_decide_otherwise() -> None:
    """Its answer's `Date` may be of any moment while it lasted."""
    slow = ORIGIN._replace(clock=SEEN._replace(sent_at=SEEN.sent_at - 15, head_at=SEEN.head_at + 15))
    for seconds in (-24, -12, -4, 0, 10):
        assert judged("AllocateShipment", shipment(made=SENT + timedelta(seconds=seconds)), slow) is Assessment.UNCLEAR
    assert judged("AllocateShipment", shipment(made=SENT + timedelta(seconds=20)), slow) is DONE
    assert judged("AllocateShipment", shipment(made=SENT - timedelta(seconds=30)), slow) is OTHER


def test_without_a_date_of_the_allocation_or_of_the_answer_nothing_is_decided() -> None:
    assert judged("AllocateShipment", shipment(made=None)) is UNDECIDED
    assert judged("AllocateShipment", shipment(), ORIGIN._replace(clock=None)) is UNDECIDED


def test_another_writes_booking_is_denied_and_one_that_cannot_be_compared_is_not_adopted() -> None:
    for is_of_another, expected in ((True, OTHER), (None, UNDECIDED), (False, DONE)):
        assert judged(SERVICED, shipment(), ORIGIN._replace(is_of_another=is_of_another), **FF_1) is expected


def test_what_is_known_of_another_write_says_nothing_of_an_allocation_that_is_newer_than_this_one() -> None:
    """Whoever de-allocated it in between may not have been able to record that."""
    newer = shipment(made=SENT + timedelta(seconds=10))
    row = ROWS["AllocateShipment"]
    for is_of_another in (True, None, False):
        assert judged("AllocateShipment", newer, ORIGIN._replace(is_of_another=is_of_another)) is DONE
    assert may_be_another_writes(row, shipment(), ORIGIN)
    assert not may_be_another_writes(row, shipment(made=SENT - timedelta(days=1)), ORIGIN)
    assert not may_be_another_writes(row, shipment(), ORIGIN._replace(before=""))


def test_what_another_write_has_queued_may_be_booked_at_any_time_after_this_one() -> None:
    newer = shipment(made=SENT + timedelta(seconds=10))
    origin = ORIGIN._replace(is_of_another=None, is_queued_by_another=True)
    assert judged("AllocateShipment", newer, origin) is UNDECIDED
    queued = shipment(state=ALLOCATING, made=None)
    assert judged("AllocateShipments", queued, origin) is Assessment.PENDING
    assert may_be_another_writes(ROWS["AllocateShipments"], queued, ORIGIN)
    assert may_be_another_writes(ROWS["AllocateShipment"], newer, ORIGIN)


def test_what_was_on_its_way_before_the_write_is_not_taken_for_its_own() -> None:
    before = snapshot(SHIP, shipment(state=ALLOCATING, made=None))
    assert before == IN_HAND
    assert snapshot(SHIP, shipment(state=core_pb2.SHIPMENT_STATE_UNSPECIFIED)) == IN_HAND
    origin = ORIGIN._replace(before=before)
    assert judged("AllocateShipment", shipment(made=SENT + timedelta(seconds=10)), origin) is UNDECIDED
    assert judged("AllocateShipment", shipment(made=SENT - timedelta(days=1)), origin) is OTHER
    assert judged("AllocateShipments", shipment(state=ALLOCATING, made=None), origin) is Assessment.PENDING


def test_tracking_references_that_come_later_make_no_other_booking_of_one() -> None:
    """Carriers that are asked on demand give them after the booking."""
    origin = ORIGIN._replace(before=snapshot(SHIP, tracked()))
    assert judged("AllocateShipment", tracked("a"), origin) is UNDECIDED
    old = SENT - timedelta(days=1)
    origin = ORIGIN._replace(before=snapshot(SHIP, tracked(made=old)))
    assert judged("AllocateShipment", tracked("a", made=old), origin) is OTHER
    assert judged("AllocateShipment", tracked("a", service="FF_2", made=old), origin) is DONE


def test_what_is_made_when_nothing_can_take_effect_any_more_is_not_the_writes_own() -> None:
    """Somebody else has allocated it since: the portal, hours after an answer was lost."""
    origin = ORIGIN._replace(effects_end_at=CLAIMED.latest + 30)
    late = shipment(made=SENT + timedelta(seconds=30 + NOT_OWN_TOLERANCE + 2))
    for before in (None, ""):
        assert judged("AllocateShipment", late, origin._replace(before=before)) is OTHER
        assert judged("AllocateShipment", late, ORIGIN._replace(before=before)) is DONE
    nearly = shipment(made=SENT + timedelta(seconds=30 + NOT_OWN_TOLERANCE - 1))
    assert judged("AllocateShipment", nearly, origin) is DONE
    assert judged("AllocateShipments", late, origin) is DONE, "its turn in the queue may come at any time"


def test_what_was_read_before_the_write_needs_no_clock() -> None:
    unallocated = shipment(state=core_pb2.SHIPMENT_STATE_UNALLOCATED, made=None)
    blind = ORIGIN._replace(clock=None)
    assert judged("AllocateShipment", shipment(), blind._replace(before=snapshot(SHIP, unallocated))) is DONE
    assert judged("AllocateShipment", shipment(made=None), blind._replace(before="")) is DONE
    assert judged("AllocateShipment", shipment(), blind._replace(before=snapshot(SHIP, shipment()))) is OTHER
    older = shipment(made=SENT - timedelta(microseconds=1))
    assert judged("AllocateShipment", shipment(), blind._replace(before=snapshot(SHIP, older))) is DONE


def test_what_cannot_be_read_in_full_is_not_told_from_anything() -> None:
    """Two readings of one allocation must not look like two allocations."""
    partly = shipment()
    partly.unreadable.append("allocation.tracking_details.shipment.tracking_references[0]")
    assert snapshot(SHIP, partly) is None
    assert judged("AllocateShipment", partly, ORIGIN._replace(before=snapshot(SHIP, shipment()))) is UNDECIDED
    assert judged("AllocateShipment", partly, ORIGIN._replace(before="")) is DONE
    linked = shipment()
    linked.unreadable.append("_links[0].href")
    assert snapshot(SHIP, linked) == snapshot(SHIP, shipment())


def tracked(*references: str, service: str = "FF_1", made: datetime = SENT) -> core_pb2.Allocation:
    found = shipment(service, made=made)
    found.tracking_details.shipment.tracking_references.extend(references)
    return found


def test_two_reports_are_of_one_booking_if_their_tracking_references_are() -> None:
    assert is_same_booking(SHIP, tracked("a", "b"), tracked("b", "a")) is True
    assert is_same_booking(SHIP, tracked("a"), tracked("a", "b")) is True, "one came later"
    assert is_same_booking(SHIP, tracked("a"), tracked("b")) is False
    assert is_same_booking(SHIP, tracked("a"), tracked()) is None
    assert is_same_booking(SHIP, tracked(), tracked(service="FF_2")) is False
    legs = pb.ConsignmentAllocation(legs=[pb.ConsignmentLeg(tracking_references=["a"])])
    other = pb.ConsignmentAllocation(legs=[pb.ConsignmentLeg(tracking_references=["b"])])
    assert is_same_booking(CONSIGNMENTS, legs, legs) is True
    assert is_same_booking(CONSIGNMENTS, legs, other) is False
    assert is_same_booking(CONSIGNMENTS, legs, consignment()) is None


prices = st.builds(Money, currency_code=st.sampled_from(["GBP", "EUR"]), units=st.integers(0, 2))


@given(
    seconds=st.floats(-30, 30),
    rtt=st.floats(0, 20),
    answered=st.floats(0, 1),
    cut=st.booleans(),
    asked=st.sampled_from(["", "FF_1"]),
    service=st.sampled_from(["", "FF_1", "FF_2"]),
    is_of_another=st.sampled_from([True, False, None]),
    offset=st.floats(-1e6, 1e6),
)
def test_neither_word_is_ever_wrong(
    seconds: float,
    rtt: float,
    answered: float,
    cut: bool,
    asked: str,
    service: str,
    is_of_another: bool | None,
    offset: float,
) -> None:
    """Whatever upstream's clock shows, and wherever within the request it looks at it.

    That it is not the write's own is only right of an allocation from before the write, or with another service than
    the one asked for; an adoption only of one that is not older than the tolerance and what its own date leaves out.
    """
    claimed, sent = 100.0, 500.0
    date = float(int(sent + rtt * answered + offset) // 1)
    made = claimed + seconds + offset
    found = shipment(service, made=None)
    found.allocation_date.FromNanoseconds(int(made // 1 * 1_000_000_000) if cut else int(made * 1e9))
    origin = Origin(Interval(claimed, claimed), ClockReading(date, sent, sent + rtt), is_of_another=is_of_another)
    got = judged(SERVICED, found, origin, carrier_service_reference=asked)
    if asked and service and asked != service:
        assert got is OTHER
    elif got is OTHER:
        assert seconds < 0 if is_of_another is not True else seconds <= 2 * TOLERANCE + 2 + rtt
    elif got is DONE:
        assert seconds >= -TOLERANCE - (1.001 if cut else 0.001)


@given(seconds=st.floats(0, 1e5), skew=st.floats(-0.5, 0.5), fraction=st.floats(0, 0.999), offset=st.floats(-1e6, 1e6))
def test_a_writes_own_allocation_is_adopted_by_any_fast_reading(
    seconds: float, skew: float, fraction: float, offset: float
) -> None:
    """However late it was made, whatever upstream's clock shows, and though its machines differ by half a second."""
    claimed, read = 100.0, 200_000.0 + fraction
    found = shipment(made=None)
    found.allocation_date.FromNanoseconds(int((claimed + seconds + offset + skew) // 1) * 1_000_000_000)
    seen = ClockReading(float((read + offset) // 1), read, read + 0.2)
    assert judged("AllocateShipment", found, Origin(Interval(claimed, claimed), seen)) is DONE


ABSENT: Final = {"UNALLOCATED", "ALLOCATION_FAILED"}
UNCERTAIN: Final = {"UNSPECIFIED", "ALLOCATING"}
GONE: Final = {"CANCELLED", "CANCELLING"}


def assessment(name: str) -> Assessment:
    """Returns what a state alone tells of an allocation at the right time."""
    if name in ABSENT:
        return Assessment.ABSENT
    if name in UNCERTAIN:
        return Assessment.PENDING
    return UNDECIDED if name in GONE else DONE


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
    expected = assessment(name)
    assert judged(allocate, found) is expected
    assert ROWS[allocate].allocations.is_allocated(found) is (expected is DONE)
    assert judged(deallocate, found) is {Assessment.ABSENT: DONE, DONE: Assessment.ABSENT}.get(expected, expected)
    if name in GONE:
        unsent = ORIGIN._replace(has_sent=False)
        assert judged(allocate, found, unsent) is OTHER
        assert judged(deallocate, found, unsent) is Assessment.ABSENT


def test_a_deallocation_never_takes_back_what_was_allocated_after_it() -> None:
    """Whether it was carried out before that is not known, and what is there now is not what it was about."""
    newer = shipment(made=SENT + timedelta(hours=1))
    assert judged("DeallocateShipment", newer) is UNDECIDED
    assert judged("DeallocateShipment", newer, ORIGIN._replace(has_sent=False)) is Assessment.ABSENT
    assert judged("DeallocateShipment", shipment(made=SENT + timedelta(seconds=1))) is Assessment.ABSENT
    assert judged("DeallocateShipment", newer, ORIGIN._replace(clock=None)) is Assessment.ABSENT


def test_a_deallocation_tells_a_turn_in_the_queue_from_what_it_was_about() -> None:
    """What comes out of the queue about when it was claimed may be what it is to take back, or come after that."""
    undo = "DeallocateShipment"
    near, older = shipment(), shipment(made=SENT - timedelta(seconds=TOLERANCE + 2))
    for suspicion in (ORIGIN._replace(is_new=True), ORIGIN._replace(is_queued_by_another=True)):
        assert judged(undo, near, suspicion) is UNDECIDED
        assert judged(undo, near, suspicion._replace(clock=None)) is UNDECIDED
        assert judged(undo, shipment(made=None), suspicion) is UNDECIDED
        assert judged(undo, older, suspicion) is Assessment.ABSENT
        assert judged(undo, near, suspicion._replace(has_sent=False)) is Assessment.ABSENT
    assert judged(undo, near) is Assessment.ABSENT
    row = ROWS[undo]
    assert may_be_another_writes(row, near, ORIGIN)
    assert not may_be_another_writes(row, older, ORIGIN)
    assert not may_be_another_writes(row, shipment(state=ALLOCATING, made=None), ORIGIN)


def test_a_deallocation_knows_by_what_was_read_before_it_what_it_was_about() -> None:
    undo, blind = "DeallocateShipment", ORIGIN._replace(clock=None)
    origin = blind._replace(before=snapshot(SHIP, tracked()))
    assert judged(undo, tracked(), origin) is Assessment.ABSENT
    assert judged(undo, tracked("a"), origin) is Assessment.ABSENT, "carriers that are asked on demand"
    assert judged(undo, tracked(made=SENT + timedelta(seconds=1)), origin) is UNDECIDED
    assert judged(undo, tracked(service="FF_2"), origin) is UNDECIDED
    for nothing in (UNALLOCATED, IN_HAND):
        assert judged(undo, shipment(), ORIGIN._replace(before=nothing)) is Assessment.ABSENT


def test_a_refusal_is_not_explained_by_what_may_be_the_writes_own() -> None:
    row = ROWS["AllocateShipment"]
    asked = row.request()
    later = shipment(made=SENT + timedelta(seconds=10))
    older = shipment(made=SENT - timedelta(seconds=TOLERANCE + 2))
    on_its_way = ORIGIN._replace(before=IN_HAND)
    assert not explains_refusal(row, asked, later, ORIGIN)
    assert not explains_refusal(row, asked, later, on_its_way), "it is its own, or the one that was on its way"
    assert explains_refusal(row, asked, older, on_its_way)
    slow = on_its_way._replace(clock=SEEN._replace(sent_at=SEEN.sent_at - 15, head_at=SEEN.head_at + 15))
    assert not explains_refusal(row, asked, older, slow), "a slow reading does not tell when it was made"
    assert not explains_refusal(row, asked, older, on_its_way._replace(clock=None))
    assert explains_refusal(row, asked, older, ORIGIN)
    assert explains_refusal(row, asked, later, ORIGIN._replace(before=snapshot(SHIP, later)))
    assert not explains_refusal(row, asked, shipment(made=None), ORIGIN), "nothing tells when it was made"
    known = ORIGIN._replace(is_of_another=None)
    assert explains_refusal(row, asked, shipment(made=SENT), known), "another write is known to have allocated it"
    cheaper = ORIGIN._replace(terms=Terms("FF_1", "GBP", 1, 0))
    assert not explains_refusal(row, asked, shipment(made=SENT + timedelta(seconds=10), price=PRICE), cheaper)


@pytest.mark.parametrize(
    ("state", "before", "explains"),
    [
        (core_pb2.SHIPMENT_STATE_UNALLOCATED, None, False),
        (core_pb2.SHIPMENT_STATE_ALLOCATION_FAILED, None, True),
        (core_pb2.SHIPMENT_STATE_CANCELLED, None, True),
        (ALLOCATING, None, False),
        (ALLOCATING, UNALLOCATED, False),
        (ALLOCATING, IN_HAND, True),
        (core_pb2.SHIPMENT_STATE_UNSPECIFIED, None, False),
    ],
)
def test_a_refusal_is_explained_by_what_is_not_allocated_only_if_that_was_so_before(
    state: core_pb2.ShipmentState.ValueType, before: str | None, *, explains: bool
) -> None:
    row = ROWS["AllocateShipment"]
    found = shipment(state=state, made=None)
    assert explains_refusal(row, row.request(), found, ORIGIN._replace(before=before)) is explains


def test_a_deallocation_looks_at_nothing_but_its_goal() -> None:
    """Who allocated it makes no difference to what is still to be taken back."""
    other = ORIGIN._replace(is_of_another=True)
    old = SENT - timedelta(days=1)
    assert judged("DeallocateShipment", shipment(made=old), other) is Assessment.ABSENT
    unallocated = shipment(state=core_pb2.SHIPMENT_STATE_UNALLOCATED, made=None)
    assert judged("DeallocateShipment", unallocated, other) is Assessment.DONE


@pytest.mark.parametrize("rpc", ["AllocateShipments", "AllocateShipmentsWithFilters"])
def test_a_bulk_call_to_ship_is_done_when_it_has_queued(rpc: str) -> None:
    """It promises no more. One call for one shipment does, and bulk calls for consignments do."""
    assert judged(rpc, shipment(state=ALLOCATING, made=None)) is Assessment.DONE
    assert judged(rpc, shipment(state=core_pb2.SHIPMENT_STATE_UNSPECIFIED)) is Assessment.PENDING
    assert judged(rpc, shipment(made=SENT - timedelta(days=1))) is OTHER
    assert judged("AllocateShipment", shipment(state=ALLOCATING)) is Assessment.PENDING
    allocating = consignment(state=pb.CONSIGNMENT_STATE_ALLOCATING)
    assert judged("AllocateConsignments", allocating) is Assessment.PENDING

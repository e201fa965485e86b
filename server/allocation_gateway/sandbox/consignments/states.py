"""The 33 states of a consignment and what may be done in each.

Source: the guide's page on states; `ReadyToShip` comes from its page on manifesting.
"""

from __future__ import annotations

UNALLOCATED = "Unallocated"
ALLOCATING = "Allocating"
ALLOCATION_FAILED = "AllocationFailed"
ALLOCATED = "Allocated"
MANIFESTING = "Manifesting"
MANIFESTED = "Manifested"
MANIFEST_FAILED = "ManifestFailed"
DELIVERY_FAILED = "DeliveryFailed"
CANCELLING = "Cancelling"
CANCELLED = "Cancelled"
READY_TO_SHIP = "ReadyToShip"

# By upstream's numbers, of which 8 and 33 to 39 are unused.
NUMBERS = {
    UNALLOCATED: 0,
    ALLOCATING: 1,
    ALLOCATION_FAILED: 2,
    ALLOCATED: 3,
    MANIFESTING: 4,
    MANIFESTED: 5,
    MANIFEST_FAILED: 6,
    "Dispatched": 7,
    "AtDropOffPoint": 9,
    "Collected": 10,
    "CollectionFailed": 11,
    "InTransit": 12,
    "Delayed": 13,
    "OutForDelivery": 14,
    DELIVERY_FAILED: 15,
    "DeliveryFailedCardLeft": 16,
    "Delivered": 17,
    "PartiallyDelivered": 18,
    "AtCollectionPoint": 19,
    "ReturnToSender": 20,
    "ActionRequired": 21,
    "Missing": 22,
    "Lost": 23,
    "Damaged": 24,
    CANCELLING: 25,
    CANCELLED: 26,
    "InTransitWaiting": 27,
    "HeldByCarrier": 28,
    "ExchangeFailed": 29,
    "AtCustoms": 30,
    "CarrierUnableToCollect": 31,
    "DeliveredDamaged": 32,
    READY_TO_SHIP: 40,
}

ALLOCATABLE = frozenset({UNALLOCATED, ALLOCATION_FAILED})
DEALLOCATABLE = frozenset({ALLOCATED, MANIFESTED, MANIFEST_FAILED})
MANIFESTABLE = frozenset({ALLOCATED, MANIFEST_FAILED, READY_TO_SHIP})

_TRANSITIONAL = frozenset({ALLOCATING, MANIFESTING, CANCELLING})

# Before this there is nothing booked; once cancelled there is nothing any more.
UNBOOKED = frozenset({UNALLOCATED, ALLOCATING, ALLOCATION_FAILED, CANCELLING, CANCELLED})
LABELLED = frozenset(NUMBERS) - UNBOOKED - _TRANSITIONAL

# The states page lists what can be cancelled; it contradicts itself on DeliveryFailed, which a switch decides.
CANCELLABLE = (
    frozenset(NUMBERS)
    - _TRANSITIONAL
    - frozenset({CANCELLED, "Delivered", "PartiallyDelivered", "InTransitWaiting", READY_TO_SHIP, DELIVERY_FAILED})
)

# The cancelling page says that it is impossible once manifested.
CANCELLABLE_BEFORE_MANIFEST = frozenset({UNALLOCATED, ALLOCATION_FAILED, ALLOCATED, MANIFEST_FAILED})

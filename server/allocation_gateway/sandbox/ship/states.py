"""The states of a shipment and what may be done in each.

Source: the union of the 2020 contract, its OpenAPI and the 2023 guide. The full matrix of manual transitions is not
documented; only the refusals named here are.
"""

from __future__ import annotations

UNALLOCATED = "unallocated"
ALLOCATING = "allocating"
ALLOCATED = "allocated"
ALLOCATION_FAILED = "allocation_failed"
CANCELLED = "cancelled"

# Set by the platform alone; by hand they are refused with `system_shipment_state`.
SYSTEM = frozenset({ALLOCATING, "manifesting", "cancelling"})

# "Any state before manifested" may be cancelled, except the locked transitional ones.
CANCELLABLE = frozenset(
    {
        UNALLOCATED,
        ALLOCATED,
        ALLOCATION_FAILED,
        "action_required",
        "booked",
        "booking",
        "booking_failed",
        "collection_booked",
        "collection_booking_failed",
        "collection_booking_pending",
        "manifest_failed",
        "ready_to_ship",
    }
)

ALL = (
    CANCELLABLE
    | SYSTEM
    | frozenset(
        {
            CANCELLED,
            "at_collection_point",
            "at_customer_collection_point",
            "at_customs",
            "at_drop_off_point",
            "awaiting_drop_off",
            "carrier_changed",
            "carrier_collected",
            "carrier_collection_failed",
            "cleared_customs",
            "customer_collected",
            "customer_collection_failed",
            "damaged",
            "delayed",
            "delivered",
            "delivered_damaged",
            "delivery_failed",
            "delivery_failed_card_left",
            "destroyed",
            "dispatched",
            "exchange_failed",
            "exchange_succeeded",
            "held_by_carrier",
            "in_transit",
            "in_transit_waiting",
            "lost",
            "manifested",
            "missing",
            "out_for_delivery",
            "partially_delivered",
            "returned_to_sender",
        }
    )
)

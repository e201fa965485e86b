"""The states of shipments and consignments: in which of them something is allocated. Nothing else decides that."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Final

from allocation.v1 import consignment_allocation_service_pb2 as pb
from allocation.v1 import core_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable


class Stage(enum.Enum):
    """How far a shipment or consignment has come, as far as allocating is concerned."""

    UNALLOCATED = "unallocated"
    """It has no allocation, and may get one."""
    PENDING = "pending"
    """Upstream is allocating it, or its state says nothing."""
    ALLOCATED = "allocated"
    """It is allocated, or has gone on from there."""
    GONE = "gone"
    """It was cancelled: it never gets an allocation again."""


class States:
    """The stage of each state of one API. A state that is not named is one of something that is allocated."""

    __slots__ = ("_failed", "_stages")

    def __init__(self, *, unallocated: Iterable[int], pending: Iterable[int], gone: Iterable[int], failed: int) -> None:
        self._failed = failed
        self._stages = {
            **dict.fromkeys(unallocated, Stage.UNALLOCATED),
            **dict.fromkeys(pending, Stage.PENDING),
            **dict.fromkeys(gone, Stage.GONE),
        }

    def stage(self, state: int) -> Stage:
        """Returns the stage of a state."""
        return self._stages.get(state, Stage.ALLOCATED)

    def is_allocated(self, state: int) -> bool:
        """Tells whether something in a state is allocated, or has gone on from there."""
        return state not in self._stages

    def has_failed(self, state: int) -> bool:
        """Tells whether a state says that the last try to allocate something has failed."""
        return state == self._failed


SHIP: Final = States(
    unallocated=(core_pb2.SHIPMENT_STATE_UNALLOCATED, core_pb2.SHIPMENT_STATE_ALLOCATION_FAILED),
    pending=(core_pb2.SHIPMENT_STATE_UNSPECIFIED, core_pb2.SHIPMENT_STATE_ALLOCATING),
    gone=(core_pb2.SHIPMENT_STATE_CANCELLED, core_pb2.SHIPMENT_STATE_CANCELLING),
    failed=core_pb2.SHIPMENT_STATE_ALLOCATION_FAILED,
)
CONSIGNMENTS: Final = States(
    unallocated=(pb.CONSIGNMENT_STATE_UNALLOCATED, pb.CONSIGNMENT_STATE_ALLOCATION_FAILED),
    pending=(pb.CONSIGNMENT_STATE_UNSPECIFIED, pb.CONSIGNMENT_STATE_ALLOCATING),
    gone=(pb.CONSIGNMENT_STATE_CANCELLED, pb.CONSIGNMENT_STATE_CANCELLING),
    failed=pb.CONSIGNMENT_STATE_ALLOCATION_FAILED,
)
CAN_DEALLOCATE: Final = frozenset(
    {pb.CONSIGNMENT_STATE_ALLOCATED, pb.CONSIGNMENT_STATE_MANIFESTED, pb.CONSIGNMENT_STATE_MANIFEST_FAILED}
)
"""The states of an allocated consignment in which upstream lets it be de-allocated."""
BEFORE_DISPATCH: Final = frozenset(
    {
        pb.CONSIGNMENT_STATE_ALLOCATED,
        pb.CONSIGNMENT_STATE_READY_TO_SHIP,
        pb.CONSIGNMENT_STATE_MANIFESTING,
        pb.CONSIGNMENT_STATE_MANIFESTED,
        pb.CONSIGNMENT_STATE_MANIFEST_FAILED,
    }
)
"""The states of an allocated consignment that its carrier has not taken over yet."""

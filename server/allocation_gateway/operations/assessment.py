"""What a write has come to for one shipment or consignment, as far as reading it tells."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from allocation_gateway.errors import AnyAllocation


class Assessment(enum.Enum):
    """What a write has come to, as far as one reading tells."""

    DONE = "done"
    """It has been carried out, or what it was to bring about is so."""
    NOT_OWN = "not own"
    """The shipment is allocated, or gone for good, and certainly not by this write."""
    ABSENT = "absent"
    """No effect of it is there. It may still come."""
    PENDING = "pending"
    """Upstream is at work on it, or its state says nothing."""
    UNDECIDED = "undecided"
    """The shipment is allocated, and no later reading will tell whether by this write."""
    UNCLEAR = "unclear"
    """The shipment is allocated. Whether by this write, another reading may tell, if it is faster."""


class Assessed(NamedTuple):
    """What has become of one reference.

    Attributes:
        assessment: What it means for the write.
        allocation: How the shipment or consignment stands.
    """

    assessment: Assessment
    allocation: AnyAllocation

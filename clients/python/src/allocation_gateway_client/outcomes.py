"""What jobs and watches tell of their items, in the types that Python has for it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from allocation_gateway_client.values import money

if TYPE_CHECKING:
    from allocation_gateway_client.errors import AllocationError
    from allocation_gateway_client.values import Money

A = TypeVar("A")


class OutcomeKind(Enum):
    """What became of an item of a job."""

    ALLOCATED = "allocation"
    """It is allocated."""
    QUEUED = "queued"
    """Upstream has taken it in hand. That is all if no more was asked for. Else its time was over before more was
    known, and the job begun again with the same `job_id` tells."""
    REFUSED = "refusal"
    """It is not allocated by this job. An `error` that is a TryAgain says that its time was over before it was sent."""
    UNKNOWN = "unknown"
    """It may have been allocated or not: `error` is an UnknownOutcome. The job begun again with its `job_id` asks."""


@dataclass(frozen=True, slots=True)
class Outcome(Generic[A]):
    """What became of one item of a job.

    Attributes:
        reference: The shipment or consignment, as its caller wrote it.
        request_id: The id of its write; empty if the reference cannot be one.
        kind: What became of it.
        allocation: Its allocation; None if it has none by this job, or none was told.
        error: Why it was refused, or is not known; its `request` is the call that the item is. None if neither is so.
    """

    reference: str
    request_id: str
    kind: OutcomeKind
    allocation: A | None
    error: AllocationError | None

    @property
    def net(self) -> Money | None:
        """What it costs without taxes; None if that is not told."""
        return _amount(self.allocation, "net")

    @property
    def gross(self) -> Money | None:
        """What it costs with taxes; None if that is not told."""
        return _amount(self.allocation, "gross")


@dataclass(frozen=True, slots=True)
class Standing(Generic[A]):
    """How a shipment or consignment stands that is watched.

    Attributes:
        reference: The shipment or consignment.
        allocation: As it was read, with its state; None if it could not be read.
        error: Why it could not be read; None if it could. Unless it is final it is read again.
        is_final: Whether nothing more is told of it: it is allocated or that has failed, it is cancelled, or upstream
            does not know it.
    """

    reference: str
    allocation: A | None
    error: AllocationError | None
    is_final: bool

    @property
    def net(self) -> Money | None:
        """What it costs without taxes; None if that is not told."""
        return _amount(self.allocation, "net")

    @property
    def gross(self) -> Money | None:
        """What it costs with taxes; None if that is not told."""
        return _amount(self.allocation, "gross")


def _amount(allocation: Any, name: str) -> Money | None:
    if allocation is None or not allocation.price.HasField(name):
        return None
    return money(getattr(allocation.price, name))


@dataclass(frozen=True, slots=True)
class JobSummary:
    """How far a job has come, over all of its streams.

    Attributes:
        received: Items that were taken from the caller.
        allocated: Items that are allocated.
        queued: Items that are queued upstream.
        refused: Items that were refused.
        unknown: Items of which it is not known what became of them.
        repeated: Items whose reference had no outcome yet when it came again. They have none of their own.
        streams: How often a stream was begun.
    """

    received: int = 0
    allocated: int = 0
    queued: int = 0
    refused: int = 0
    unknown: int = 0
    repeated: int = 0
    streams: int = 0

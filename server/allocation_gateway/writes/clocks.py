"""When an allocation was made, compared with when a write was claimed, although the two clocks have nothing in common.

An allocation bears a date of upstream's clock; a claim was begun at a moment of ours. Every reading ties the two
together: upstream wrote the `Date` of its answer after the request was sent and before the head of the answer arrived.
So each of our moments is known in upstream's time to within the duration of that request and the second to which
`Date` is cut. What is decided here holds at both ends of that interval: an allocation is only taken for the write's own
if it is new enough at the one end, and only taken for somebody else's if it is too old at the other. In between nothing
is decided.
"""

from __future__ import annotations

import enum
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

if TYPE_CHECKING:
    from google.protobuf.timestamp_pb2 import Timestamp

# Upstream's own machines may differ: seconds by which an allocation may seem older than its write and still be its own.
TOLERANCE: Final = 2.0
# Seconds by which an allocation must be older than a write to prove that it is not its own. More than any tolerance:
# to say so wrongly costs an allocation that nobody knows of.
NOT_OWN_TOLERANCE: Final = 10.0
# A `Date` is cut to seconds, and so is the date of an allocation that shows no fraction.
_SECOND: Final = 1.0
# A request that took longer than this says too little, and another reading may say more.
_PRECISE: Final = 1.0


class Interval(msgspec.Struct, frozen=True):
    """A moment that is known to lie between two, by the event loop's clock."""

    earliest: float
    latest: float

    def joined(self, other: Interval) -> Interval:
        """Returns an interval in which the moment lies, whichever of the two is right."""
        return Interval(min(self.earliest, other.earliest), max(self.latest, other.latest))


class ClockReading(NamedTuple):
    """What an answer tells of upstream's clock.

    Attributes:
        date: The header `Date`, in seconds since 1970, cut to seconds.
        sent_at: When the request was sent, by the event loop's clock.
        head_at: When the head of the answer had arrived, by the same clock; infinity if that is not known.
    """

    date: float
    sent_at: float
    head_at: float

    @property
    def is_precise(self) -> bool:
        """Whether another reading would not tell much more."""
        return self.head_at - self.sent_at <= _PRECISE


class Timing(enum.Enum):
    """When an allocation was made, as seen from a write."""

    BEFORE = "before"
    """Certainly before the write was claimed: it is not the write's own."""
    UNCLEAR = "unclear"
    """It cannot be told."""
    NEAR = "near"
    """About when the write was claimed, or later. It can be the write's own."""
    AFTER = "after"
    """Certainly after the write was claimed."""


def clock_reading(date: str, sent_at: float, head_at: float) -> ClockReading | None:
    """Returns what an answer tells of upstream's clock; None if its `Date` is missing or cannot be read."""
    try:
        moment = parsedate_to_datetime(date)
    except (ValueError, OverflowError):
        return None
    return ClockReading((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp(), sent_at, head_at)


def timing(made: Timestamp | Any, claimed: Interval, clock: ClockReading | None) -> Timing:
    """Compares an allocation with a write.

    Args:
        made: The date of the allocation, by upstream's clock.
        claimed: When the write was claimed.
        clock: What the answer that shows the allocation tells of upstream's clock; None if it tells nothing.
    """
    if clock is None:
        return Timing.UNCLEAR
    earliest_made = made.seconds + made.nanos / 1e9
    latest_made = earliest_made if made.nanos else earliest_made + _SECOND
    # By upstream's clock.
    claimed_earliest = claimed.earliest + clock.date - clock.head_at
    claimed_latest = claimed.latest + clock.date + _SECOND - clock.sent_at
    if latest_made < claimed_earliest - NOT_OWN_TOLERANCE:
        return Timing.BEFORE
    if latest_made < claimed_latest - TOLERANCE:
        return Timing.UNCLEAR
    return Timing.AFTER if earliest_made > claimed_latest + TOLERANCE else Timing.NEAR


def is_after(made: Timestamp | Any, moment: float, clock: ClockReading | None) -> bool:
    """Tells whether an allocation was certainly made after a moment, by more than every tolerance.

    Args:
        made: The date of the allocation, by upstream's clock.
        moment: The moment, by the event loop's clock; infinity is never over.
        clock: What the answer that shows the allocation tells of upstream's clock; None if it tells nothing.
    """
    if clock is None:
        return False
    latest = moment + clock.date + _SECOND - clock.sent_at
    return made.seconds + made.nanos / 1e9 > latest + NOT_OWN_TOLERANCE

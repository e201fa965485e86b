"""A circuit breaker: an upstream that fails is left alone for a while, and then tried with care."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Final, NamedTuple

from allocation_gateway.upstream.call import CallOutcome

if TYPE_CHECKING:
    from collections.abc import Callable

_BUCKETS: Final = 10
# An upstream that stays down is tried ever more rarely: each time it fails its probes the wait doubles, up to this.
_LONGEST_STRETCH: Final = 8
# Replicas that saw the same failure should not all come back in the same moment.
_JITTER: Final = 0.25
# While all probes are out nobody knows when they end; this is the least time after which asking again makes sense.
_PROBING_SECONDS: Final = 1.0
REFUSED: Final = -1


class BreakerState(enum.Enum):
    """The states of a breaker; the values are what the metric shows, but see Breaker.shown."""

    CLOSED = 0
    HALF_OPEN = 1
    OPEN = 2


# Looked up once: in Python 3.11, each access to a member of an enum is a function call.
_CLOSED: Final = BreakerState.CLOSED
_FAILURE: Final = CallOutcome.FAILURE
_IGNORED: Final = CallOutcome.IGNORED


class BreakerOptions(NamedTuple):
    """When a breaker opens and closes.

    Attributes:
        window: Seconds that a request's end is remembered for.
        min_calls: How many ends there must be in the window before it can open.
        failure_ratio: The part of them that must have failed for it to open.
        open_time: Seconds that it stays open the first time.
        probes: How many requests at once may try upstream after that, and how many answers close it.
    """

    window: float = 10.0
    min_calls: int = 20
    failure_ratio: float = 0.5
    open_time: float = 5.0
    probes: int = 3


class Breaker:
    """Decides whether upstream is called at all.

    A request is counted when it begins, by a ticket. A ticket is good for the state that it was given in: whatever
    began before the breaker opened, and ends late, is of no account any more.

    Attributes:
        state: The state. OPEN turns to HALF_OPEN when the first probe begins, not by time alone.
    """

    __slots__ = (
        "_bucket",
        "_calls",
        "_clock",
        "_epoch",
        "_failures",
        "_on_change",
        "_options",
        "_probes_answered",
        "_probes_out",
        "_random",
        "_reopens_at",
        "_stretch",
        "_width",
        "state",
    )

    def __init__(
        self,
        options: BreakerOptions,
        *,
        clock: Callable[[], float],
        random: Callable[[], float],
        on_change: Callable[[BreakerState, float], None],
    ) -> None:
        """Makes a closed breaker.

        Args:
            options: When it opens and closes.
            clock: Seconds that never go back.
            random: A number from 0 to 1.
            on_change: Is told of each new state, and for how many seconds it will hold: 0 if that is open.
        """
        self._options = options
        self._clock = clock
        self._random = random
        self._on_change = on_change
        self._width = options.window / _BUCKETS
        self.state = _CLOSED
        self._epoch = 0
        self._stretch = 1
        self._reopens_at = 0.0
        self._probes_out = 0
        self._probes_answered = 0
        self._forget()

    def _forget(self) -> None:
        self._bucket = 0
        self._calls = [0] * _BUCKETS
        self._failures = [0] * _BUCKETS

    def wait(self) -> float:
        """Returns after how many seconds a request may begin: 0 if it may now. Changes nothing."""
        if self.state is _CLOSED:
            return 0.0
        if self.state is BreakerState.OPEN:
            return max(self._reopens_at - self._clock(), 0.0)
        return _PROBING_SECONDS if self._probes_out >= self._options.probes else 0.0

    def shown(self) -> int:
        """Returns what the metric shows: 2 while nothing is let through, 1 once probes may try, 0 while it is closed.

        Any thread may call it.
        """
        if self.state is BreakerState.OPEN and self._reopens_at <= self._clock():
            return BreakerState.HALF_OPEN.value
        return self.state.value

    def begin(self) -> int:
        """Counts a request that is about to be sent. Returns its ticket for end(), or REFUSED."""
        if self.state is _CLOSED:
            return self._epoch
        if self.wait() > 0:
            return REFUSED
        if self.state is BreakerState.OPEN:
            self._probes_out = self._probes_answered = 0
            self._enter(BreakerState.HALF_OPEN, 0.0)
        self._probes_out += 1
        return self._epoch

    def end(self, ticket: int, outcome: CallOutcome) -> None:
        """Records the end of a request that has begun with this ticket."""
        if ticket != self._epoch:
            return
        if self.state is _CLOSED:
            if outcome is not _IGNORED:
                self._count(outcome is _FAILURE)
            return
        # Also of one that says nothing the place of the probe is free again: nothing but time can hold a breaker open.
        self._probes_out -= 1
        if outcome is _FAILURE:
            self._stretch = min(self._stretch * 2, _LONGEST_STRETCH)
            self._open()
        elif outcome is CallOutcome.SUCCESS:
            self._probes_answered += 1
            if self._probes_answered >= self._options.probes:
                self._stretch = 1
                self._forget()
                self._enter(_CLOSED, 0.0)

    def _count(self, failed: bool) -> None:
        bucket = int(self._clock() / self._width)
        if bucket != self._bucket:
            for stale in range(max(self._bucket, bucket - _BUCKETS) + 1, bucket + 1):
                self._calls[stale % _BUCKETS] = self._failures[stale % _BUCKETS] = 0
            self._bucket = bucket
        self._calls[bucket % _BUCKETS] += 1
        if failed:
            self._failures[bucket % _BUCKETS] += 1
            calls = sum(self._calls)
            if calls >= self._options.min_calls and sum(self._failures) >= calls * self._options.failure_ratio:
                self._open()

    def _open(self) -> None:
        seconds = self._options.open_time * self._stretch * (1 + _JITTER * self._random())
        self._reopens_at = self._clock() + seconds
        self._enter(BreakerState.OPEN, seconds)

    def _enter(self, state: BreakerState, seconds: float) -> None:
        self._epoch += 1
        self.state = state
        self._on_change(state, seconds)

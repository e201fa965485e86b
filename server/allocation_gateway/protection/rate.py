"""A token bucket: at most so many requests in a second, and none before upstream wants to see one again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

# Upstream, or a proxy's maintenance page in its name, can name any time; after this long it is asked again.
LONGEST_PAUSE: Final = 60.0
# What rounding may take from a token that is due.
_ROUNDING: Final = 1e-6


class TokenBucket:
    """Tokens that come at a rate, up to a burst; each request takes one.

    Attributes:
        paused_until: Until when upstream wants no request, by the clock; in the past if it has no such wish.
    """

    __slots__ = ("_at", "_burst", "_clock", "_rate", "_tokens", "paused_until")

    def __init__(self, rate: float, burst: int, *, clock: Callable[[], float]) -> None:
        """Makes a full bucket.

        Args:
            rate: Tokens that come in a second. 0: requests need none.
            burst: How many there are at most.
            clock: Seconds that never go back.
        """
        self._rate = rate
        self._burst = float(burst)
        self._clock = clock
        self._tokens = self._burst
        self._at = clock()
        self.paused_until = 0.0

    @property
    def policy(self) -> str:
        """What makes a request wait: `throttle` if upstream has asked for it, or else `rate`."""
        return "throttle" if self.paused_until > self._clock() else "rate"

    def take(self) -> float:
        """Takes a token and returns 0, or takes none and returns the seconds until there may be one."""
        if not self._rate and not self.paused_until:
            return 0.0
        seconds = self.wait(1)
        if seconds == 0.0 and self._rate:
            self._tokens -= 1
        return seconds

    def put_back(self) -> None:
        """Takes back a token, of a request that was not sent after all."""
        self._tokens += 1  # wait() sees to it that there are no more than the burst

    def wait(self, calls: int) -> float:
        """Returns the seconds until there is a token for the last of so many requests: 0 if there is now."""
        if not self._rate and not self.paused_until:
            return 0.0
        now = self._clock()
        paused = self.paused_until - now
        if paused <= 0:
            self.paused_until = paused = 0.0
        if not self._rate:
            return paused
        self._tokens = min(self._tokens + (now - self._at) * self._rate, self._burst)
        self._at = now
        missing = calls - self._tokens
        return paused if missing <= _ROUNDING else max(paused, missing / self._rate)

    def pause(self, seconds: float) -> None:
        """Lets no request pass for some time, as upstream has asked for. A pause never shortens another one."""
        self.paused_until = max(self.paused_until, self._clock() + min(seconds, LONGEST_PAUSE))

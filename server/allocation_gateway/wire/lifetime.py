"""When a connection is probed, asked to go, and closed."""

from __future__ import annotations

import math
import random
from enum import Enum, auto
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from allocation_gateway.wire.limits import Limits

# Seconds until a new connection has to speak HTTP/2.
PREFACE_TIME: Final = 10.0
# Seconds until a new connection has to have made a call, before its client is asked to connect anew when it has one.
_FIRST_CALL_TIME: Final = 60.0
# Seconds for what a client may have sent before it learnt that no more calls are taken.
_LAST_CALLS_TIME: Final = 1.0
# Seconds for a client to read what is left, and to close its side.
_LINGER: Final = 2.0
# All connections of a process would otherwise age at the same time.
_AGE_SPREAD: Final = 0.1


class Due(Enum):
    """What is to be done with a connection."""

    NOTHING = auto()
    PROBE = auto()
    """Send a ping, to see whether the peer is there."""
    DRAIN = auto()
    """The client is to make no more calls."""
    REFUSE_NEW_CALLS = auto()
    """Take no more calls."""
    END_CALLS = auto()
    """End all calls, and close."""
    CLOSE = auto()
    """Close what was only held open for the client to read the rest."""
    ABORT = auto()
    """Close at once."""


class Lifetime:
    """The times of one connection, by the loop's clock."""

    __slots__ = (
        "_ages_at",
        "_closing_at",
        "_draining_at",
        "_has_settings",
        "_heard_at",
        "_is_stopping",
        "_limits",
        "_opened_at",
        "_probed_at",
        "_unsent",
    )

    def __init__(self, limits: Limits, now: float) -> None:
        self._limits = limits
        self._opened_at = self._heard_at = now
        self._ages_at = now + limits.age * random.uniform(1 - _AGE_SPREAD, 1 + _AGE_SPREAD)  # noqa: S311 - spread, not secrecy
        self._has_settings = False
        self._probed_at: float | None = None
        self._draining_at: float | None = None
        self._closing_at: float | None = None
        # Whether the server says when calls end, and not the age of the connection.
        self._is_stopping = False
        # What the transport had not sent when that was seen last, in bytes.
        self._unsent = 0

    @property
    def is_draining(self) -> bool:
        """Whether the client was asked to make no more calls."""
        return self._draining_at is not None

    @property
    def calls_end_at(self) -> float:
        """When calls that have not ended by then are ended, by the loop's clock: infinity if that is never."""
        if self._is_stopping:
            return math.inf
        began_at = self._ages_at if self._draining_at is None else self._draining_at
        return began_at + self._limits.age_grace

    def heard(self, now: float) -> None:
        """Notes that something was received."""
        self._heard_at = now

    def settings_received(self) -> None:
        """Notes that the peer has sent its settings."""
        self._has_settings = True

    def probe_answered(self) -> None:
        """Notes that the peer is there. The clock may not have moved on since the probe."""
        self._probed_at = None

    def drained(self, now: float, *, is_stopping: bool = False) -> None:
        """Notes that the client was asked to make no more calls: of the connection's age, or since the server stops."""
        self._draining_at = now
        self._is_stopping = is_stopping

    def closing(self, now: float) -> None:
        """Notes that nothing more is sent."""
        self._closing_at = now

    def due(self, now: float, unsent: int, *, has_called: bool) -> Due:
        """Returns what is to be done now.

        Args:
            now: The time.
            unsent: How many bytes the transport has not sent yet.
            has_called: Whether the client has made a call.
        """
        if unsent < self._unsent:  # a peer that reads slowly is there, although it may say nothing
            self._heard_at, self._probed_at = now, None
        self._unsent = unsent
        limits = self._limits
        if self._closing_at is not None:
            return self._due_at_close(now - self._closing_at)
        if self._probed_at is not None and self._heard_at <= self._probed_at:
            return Due.ABORT if now - self._probed_at > limits.keepalive_timeout else Due.NOTHING
        if not self._has_settings and now - self._opened_at > PREFACE_TIME:
            return Due.ABORT
        if now - self._heard_at >= limits.keepalive_time:
            self._probed_at = now
            return Due.PROBE
        return self._due_by_age(now, has_called=has_called)

    def _due_at_close(self, passed: float) -> Due:
        if passed > self._limits.keepalive_timeout:
            return Due.ABORT
        return Due.CLOSE if passed > _LINGER and not self._unsent else Due.NOTHING

    def _due_by_age(self, now: float, *, has_called: bool) -> Due:
        if self._draining_at is None:
            is_idle = not has_called and now - self._opened_at > _FIRST_CALL_TIME
            return Due.DRAIN if is_idle or now >= self._ages_at else Due.NOTHING
        passed = now - self._draining_at
        if now > self.calls_end_at:
            return Due.END_CALLS
        return Due.REFUSE_NEW_CALLS if passed > _LAST_CALLS_TIME else Due.NOTHING

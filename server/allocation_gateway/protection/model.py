"""What the policies are asked about, and what they are told."""

from __future__ import annotations

import enum


class Kind(enum.Enum):
    """What a request to upstream is for."""

    WRITE = "write"
    READ = "read"
    READ_BACK = "read_back"


class Verdict(enum.Enum):
    """What the end of a request says about upstream.

    ANSWERED: Upstream is alive, whatever it said.
    FAILED: It counts against upstream: no connection, a lost one, no answer in time, a failure not in its own words.
    NONE: It says nothing: the request was never sent, called off or cancelled.
    """

    ANSWERED = "answered"
    FAILED = "failed"
    NONE = "none"


class RefusedError(Exception):
    """A policy lets a request not pass.

    Attributes:
        policy: Which one: `breaker`, `queue`, `rate` or `throttle`.
        seconds: After how long it may be worth another try.
    """

    def __init__(self, policy: str, seconds: float) -> None:
        super().__init__(policy)
        self.policy = policy
        self.seconds = seconds

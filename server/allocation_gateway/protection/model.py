"""What the policies are asked about, and what they are told."""

from __future__ import annotations

import enum


class RequestKind(enum.Enum):
    """What a request to upstream is for."""

    WRITE = "write"
    READ = "read"
    READ_BACK = "read_back"


class RejectedError(Exception):
    """A policy does not let a request pass.

    Attributes:
        policy: Which one: `breaker`, `queue`, `rate` or `throttle`.
        seconds: After how long it may be worth another try.
    """

    def __init__(self, policy: str, seconds: float) -> None:
        super().__init__(policy)
        self.policy = policy
        self.seconds = seconds

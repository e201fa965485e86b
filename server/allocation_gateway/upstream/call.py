"""One request to upstream as its callers see it: what they say of it, and what came of it."""

from __future__ import annotations

import asyncio
import enum
import math
from typing import TYPE_CHECKING, Final

import msgspec

from allocation_gateway.telemetry.conventions import AttemptKind
from allocation_gateway.upstream.http import Attempt

if TYPE_CHECKING:
    from collections.abc import Mapping

    from google.protobuf.message import Message

    from allocation_gateway.errors import GatewayError
    from allocation_gateway.telemetry.observation import Observation

# Seconds before the deadline at which a further reading is given up, so that what it was to complete still arrives.
_MARGIN: Final = 0.05


class UpstreamCall(msgspec.Struct, frozen=True):
    """What a caller says of a request.

    Attributes:
        attempt: The request as it is followed and called off from outside.
        observation: The call that it is made for, as telemetry sees it.
        deadline: Until when somebody waits, by the event loop's clock. What is read after the answer keeps to it: the
            answer itself must not be lost over it.
        keeps_to_deadline: Whether the request itself is given up at the deadline: true of one that only completes an
            earlier one.
        kind: Why it is sent.
        resends: How often the same was sent before.
    """

    attempt: Attempt
    observation: Observation
    deadline: float
    keeps_to_deadline: bool = False
    kind: AttemptKind = AttemptKind.FIRST
    resends: int = 0

    def further(self) -> UpstreamCall:
        """Returns the call of a request that completes this one."""
        return UpstreamCall(Attempt(), self.observation, self.deadline, True, AttemptKind.FOLLOW_UP)

    def repeated(self, attempt: Attempt | None = None) -> UpstreamCall:
        """Returns the call of the same request, made once more: by default by a new attempt."""
        kind = AttemptKind.REPEAT if self.kind is AttemptKind.FIRST else self.kind
        return msgspec.structs.replace(self, attempt=attempt or Attempt(), kind=kind, resends=self.resends + 1)

    def times_out_at(self, timeout: float) -> float:
        """Returns until when to wait for an answer that may take so many seconds, by the event loop's clock."""
        end = asyncio.get_running_loop().time() + timeout
        return min(end, self.deadline - _MARGIN) if self.keeps_to_deadline else end


class CallOutcome(enum.Enum):
    """What the end of a request says about upstream."""

    SUCCESS = "success"
    """Upstream is alive, whatever it said."""
    FAILURE = "failure"
    """It counts against upstream: no connection, a lost one, no answer in time, a failure not in its own words."""
    IGNORED = "ignored"
    """It says nothing: the request was never sent, called off or cancelled."""


class UpstreamResult(msgspec.Struct, frozen=True):
    """What came of a request.

    Attributes:
        response: The response, or the error in its place.
        outcome: What it says about upstream.
        date: When upstream answered, as its answer says; empty if it does not.
        head_at: When the head of the answer had arrived, by the event loop's clock; infinity if that is not known.
        retry_after: Seconds for which upstream asks to be left alone; 0 if it does not.
        is_stale: Whether the answer comes from a cache, and may be about an earlier time.
    """

    response: Message | GatewayError
    outcome: CallOutcome
    date: str = ""
    head_at: float = math.inf
    retry_after: float = 0.0
    is_stale: bool = False


def is_stale(headers: Mapping[str, str]) -> bool:
    """Tells by its headers whether an answer comes from a cache, which says how old it is (RFC 9111, section 5.1)."""
    return headers.get("age", "0").strip("0") != ""

"""Whether and when a write is repeated. Reads are repeated by gRPC itself, as the service configuration says.

It has no clock and no network of its own, so that the client that blocks and the one that awaits share it.
"""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Final

from grpc import StatusCode

from allocation_gateway_client.closing import closed_client
from allocation_gateway_client.errors import error_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from google.protobuf.message import Message

    from allocation_gateway_client.errors import AllocationError
    from allocation_gateway_client.failure import Failure

SERVICE_CONFIG: Final = files(__package__).joinpath("service_config.json").read_text()

_REPEATED: Final = frozenset(
    {StatusCode.UNKNOWN, StatusCode.UNAVAILABLE, StatusCode.RESOURCE_EXHAUSTED, StatusCode.ABORTED}
)
# As what a lost connection or the attempt's own time-out can end: then nobody has said what became of the call.
_LOST: Final = frozenset({StatusCode.DEADLINE_EXCEEDED, StatusCode.CANCELLED, StatusCode.INTERNAL})
_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 5.0
_GROWTH: Final = 2.0
# Callers that were told the same do not come back at the same moment.
_SPREAD: Final = 0.25
_MOST_SPREAD: Final = 1.0
# So ends a call that lasts when the token that its caller was let in with has expired.
_EXPIRED: Final = "CALLER_UNAUTHENTICATED"
# An attempt needs some time to be worth its while.
_SHORTEST_ATTEMPT: Final = 0.02


@dataclass(frozen=True)
class ServiceConfig:
    """What the service configuration says of each rpc.

    The time-outs are the client's to keep: gRPC's core would end a call one to two seconds too soon (docs/clients.md).

    Attributes:
        text: The JSON that gRPC gets: all but the time-outs.
        timeouts: The seconds that an attempt may take, by the path of the rpc.
        max_tokens: The budget of repetitions.
        token_ratio: How much of it a success gives back.
    """

    text: str
    timeouts: Mapping[str, float]
    max_tokens: float
    token_ratio: float

    @classmethod
    def parsed(cls, text: str) -> ServiceConfig:
        """Reads gRPC's JSON form."""
        read = json.loads(text)
        throttling = read["retryThrottling"]
        timeouts = {
            f"/{name['service']}/{name['method']}": float(config["timeout"].removesuffix("s"))
            for config in read["methodConfig"]
            for name in config["name"]
            if "timeout" in config  # calls that last have none
        }
        for config in read["methodConfig"]:
            config.pop("timeout", None)
        return cls(json.dumps(read), timeouts, float(throttling["maxTokens"]), float(throttling["tokenRatio"]))


class Budget:
    """What a client may spend on repetitions, as gRPC has it: none while no more than half of it is left."""

    def __init__(self, most: float, ratio: float) -> None:
        """Takes how much there is at first and at most, and how much a success gives back."""
        self._most = most
        self._ratio = ratio
        self._left = most
        self._lock = threading.Lock()

    def earn(self) -> None:
        """Counts a success."""
        if self._left < self._most:
            with self._lock:
                self._left = min(self._left + self._ratio, self._most)

    def spend(self) -> bool:
        """Counts a failure. Returns whether the call may be repeated."""
        with self._lock:
            self._left = max(self._left - 1, 0.0)
            return self._left > self._most / 2


class Attempts:
    """The attempts of one write, which all have the same `request_id`; or the streams of one call that lasts."""

    def __init__(
        self,
        request: Message,
        *,
        timeout: float,
        attempt_timeout: float,
        budget: Budget,
        clock: Callable[[], float],
        uniform: Callable[[float, float], float],
        account: str = "",
    ) -> None:
        """Begins.

        Args:
            request: What is asked for, with its `request_id`.
            timeout: The seconds that all of it may take.
            attempt_timeout: The seconds that an attempt may take.
            budget: What the client may spend on repetitions.
            clock: The time in seconds; it never goes back.
            uniform: Draws a number between two others.
            account: The account that it is for; empty if none is named.
        """
        self._request = request
        self._account = account
        self._deadline = clock() + timeout
        self._attempt_timeout = attempt_timeout
        self._budget = budget
        self._clock = clock
        self._uniform = uniform
        self._longest_pause = _FIRST_PAUSE
        self._is_in_doubt = False
        self._has_come_on = False

    def timeout(self) -> float:
        """Returns the seconds that the next attempt may take."""
        return max(min(self._attempt_timeout, self._deadline - self._clock()), 0.0)

    @property
    def is_in_doubt(self) -> bool:
        """Whether an attempt may have had an effect that nothing said since speaks against."""
        return self._is_in_doubt

    def come_on(self) -> None:
        """Counts that a stream has told what becomes of something: its end costs nothing, pauses are short again."""
        self._has_come_on = True
        self._longest_pause = _FIRST_PAUSE

    def succeed(self) -> None:
        """Counts that a call which lasts has come to its end."""
        self._budget.earn()

    def pause_after(self, failure: Failure, *, was_let_in: bool = False) -> float | None:
        """Returns after how many seconds to repeat the call; None if it is over.

        Args:
            failure: How the attempt ended.
            was_let_in: Whether it was a stream that had told something before.
        """
        self._learn(failure)
        # A token was valid when the stream began, and there may be a new one.
        if not _may_repeat(failure) and not (was_let_in and failure.reason == _EXPIRED):
            return None
        pause = self._pause(failure)
        is_free, self._has_come_on = self._has_come_on, False
        if self._clock() + pause + _SHORTEST_ATTEMPT > self._deadline or not (is_free or self._budget.spend()):
            return None
        return pause

    def lost(self, failure: Failure) -> AllocationError:
        """Returns the error for a stream that was lost and is begun again."""
        return error_of(failure, self._request, is_in_doubt=False, account=self._account)

    def error(self, failure: Failure) -> AllocationError:
        """Returns the error for a call that is over with a failure."""
        return error_of(failure, self._request, is_in_doubt=self._is_in_doubt, account=self._account)

    def closed(self, failure: Failure | None) -> Exception:
        """Returns the error for a call whose client was closed, by how its last attempt ended if there was one."""
        return closed_client() if failure is None or not self._is_in_doubt else self.error(failure)

    def _learn(self, failure: Failure) -> None:
        if failure.effect:
            self._is_in_doubt = failure.effect == "unknown"
        elif not failure.is_of_gateway and failure.code in _REPEATED | _LOST:
            # Who is silent, or was not heard, may have done it.
            self._is_in_doubt = True

    def _pause(self, failure: Failure) -> float:
        told = failure.retry_after
        if told is None and failure.pushback is not None and failure.pushback >= 0:
            told = failure.pushback
        longest = self._longest_pause
        self._longest_pause = min(longest * _GROWTH, _LONGEST_PAUSE)
        own = self._uniform(longest / 2, longest)
        if told is None:
            return own
        # Who says again and again to come back at once is not asked at once for ever.
        return max(told + self._uniform(0.0, min(told * _SPREAD, _MOST_SPREAD)), own)


def _may_repeat(failure: Failure) -> bool:
    if failure.is_of_gateway and failure.code is StatusCode.DEADLINE_EXCEEDED:
        # The attempt's time was up before anything was sent. There may be time for another.
        return True
    if failure.pushback is not None and failure.pushback < 0:
        return False
    return failure.code in _REPEATED or (failure.code in _LOST and not failure.is_of_gateway)

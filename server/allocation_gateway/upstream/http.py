"""What an HTTP exchange with an upstream takes and gives, whichever engine carries it out."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


class Packed(Protocol):
    """A body that is not decompressed yet."""

    def unpacked(self) -> tuple[bytes, str]:
        """Returns the body, and why it cannot be read: one of them is empty. Any thread may call it, once."""


class Answer(NamedTuple):
    """What upstream answered.

    Attributes:
        status: The HTTP status.
        headers: The headers, by any spelling of their names.
        body: The decompressed body; empty if it could not be read.
        problem: Why the body could not be read; empty if it could.
        packed: What the body is to be decompressed from, which takes its time; None if it is here.
        head_at: When its status and headers had arrived, by the event loop's clock read anew; infinity if that is not
            known.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    problem: str = ""
    packed: Packed | None = None
    head_at: float = math.inf


class NoAnswerError(Exception):
    """Upstream did not answer. The text says in which way; whether anything was sent is for the Attempt to tell."""


class CalledOffError(Exception):
    """An attempt was called off before anything was sent. Nobody waits for it any more."""


class TooLateError(NoAnswerError):
    """The time until which an attempt may be sent was over before anything was sent."""

    def __init__(self) -> None:
        super().__init__("it was too late to send the request")


class Attempt:
    """One try at a request, followed and called off from outside.

    Attributes:
        sent: True from just before the first byte of the request may leave this process.
        sent_at: When that was, by the event loop's clock read anew; 0 before.
        send_by: Until when sending may begin, by the event loop's clock.
    """

    __slots__ = ("_called_off", "_now", "send_by", "sent", "sent_at")

    def __init__(self, send_by: float = math.inf, now: Callable[[], float] = time.monotonic) -> None:
        """Makes an attempt that is not begun.

        Args:
            send_by: Until when sending may begin.
            now: The event loop's clock, read anew: uvloop's own stands still while a callback runs.
        """
        self.sent = False
        self.sent_at = 0.0
        self.send_by = send_by
        self._now = now
        self._called_off = False

    def call_off(self) -> bool:
        """Sees to it that nothing is ever sent. Returns False if that is too late."""
        self._called_off = not self.sent
        return self._called_off

    def begin_again(self) -> None:
        """Resets the attempt, so that the request can be sent again after upstream refused it."""
        self.sent = False

    def extend(self, send_by: float) -> None:
        """Lets sending begin until a later moment, by the event loop's clock."""
        self.send_by = send_by

    def begin(self) -> None:
        """Is called by the engine just before the first byte may leave.

        Raises:
            CalledOffError: It was called off.
            TooLateError: It may not be sent any more.
        """
        if self._called_off:
            raise CalledOffError
        self.sent_at = self._now()
        if self.sent_at > self.send_by:
            raise TooLateError
        self.sent = True


class Target(NamedTuple):
    """Where an engine sends requests, and within which limits.

    Attributes:
        base_url: What all paths are appended to, without a slash at its end.
        headers: What every request carries.
        connect_timeout: Seconds that making a connection may take, with TLS.
        max_connections: How many connections there are at most. Further requests wait for one.
        max_answer_bytes: The largest body that is read, after decompression.
    """

    base_url: str
    headers: Sequence[tuple[str, str]]
    connect_timeout: float
    max_connections: int
    max_answer_bytes: int


class HttpEngine(Protocol):
    """Connections to one upstream. Nothing is ever sent twice, no redirect is followed and no cookie is kept."""

    async def exchange(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None,
        headers: Sequence[tuple[bytes, bytes]],
        attempt: Attempt,
    ) -> Answer:
        """Sends a request and reads its answer, whatever its status. A body that cannot be read is told, not raised.

        Cancelled before anything was sent, it sends nothing.

        Raises:
            NoAnswerError: There was no answer, because the connection could not be made or was lost.
            CalledOffError: It was called off before anything was sent.
            TooLateError: Its time was over before anything was sent.
        """

    def use_headers(self, headers: Sequence[tuple[str, str]]) -> None:
        """Replaces the headers that every request from now on carries."""

    def connections(self) -> Mapping[str, int]:
        """Returns how many connections there are, by state: `active` and, where it is known, `idle`.

        Any thread may call it.
        """

    async def close(self) -> None:
        """Closes all connections. Exchanges under way end without an answer."""

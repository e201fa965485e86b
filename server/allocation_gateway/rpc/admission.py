"""How many calls are in hand at once.

Counted here, since the limit of grpc.aio has let calls through (grpc issue 41531).
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from allocation.v1.error_reason_pb2 import ErrorReason
from grpc import StatusCode

from allocation_gateway import errors
from allocation_gateway.errors import GatewayError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Self

_RETRY_SECONDS: Final = 1.0


class Admission:
    """A counter of calls in hand, with a limit.

    Attributes:
        in_hand: How many there are now.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.in_hand = 0
        # Those that last, as streams and watches do, leave half of the places to calls that come and go.
        self._most_lasting = max(limit // 2, 1)
        self._lasting = 0

    def has_calls(self) -> bool:
        """Tells whether there are calls in hand that do not last, as streams and watches do."""
        return self.in_hand > self._lasting

    def admitted(self) -> Self:
        """Returns what counts a call for as long as a block lasts.

        Raises:
            GatewayError: RESOURCE_EXHAUSTED, there are as many calls in hand as there may be. From the block.
        """
        return self

    @contextmanager
    def admitted_to_last(self) -> Iterator[None]:
        """Counts a call that lasts for as long as a block does.

        Raises:
            GatewayError: RESOURCE_EXHAUSTED, there are as many calls in hand, or that last, as there may be.
        """
        if self._lasting >= self._most_lasting:
            raise _overloaded("The gateway has reached its limit of streams and watches.")
        self._lasting += 1
        try:
            with self:
                yield
        finally:
            self._lasting -= 1

    def __enter__(self) -> None:
        if self.in_hand >= self._limit:
            raise _overloaded("The gateway has reached its limit of concurrent calls.")
        self.in_hand += 1

    def __exit__(self, *_: object) -> None:
        self.in_hand -= 1


def _overloaded(message: str) -> GatewayError:
    return GatewayError(
        StatusCode.RESOURCE_EXHAUSTED,
        ErrorReason.ERROR_REASON_GATEWAY_OVERLOADED,
        message,
        # Without an effect: nothing was looked up that an earlier call with the same id may have done.
        details=[errors.retry_after(_RETRY_SECONDS)],
    )

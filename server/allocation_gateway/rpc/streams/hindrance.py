"""What keeps a job from sending anything, such as that upstream does not answer, and for how long it has."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final

from allocation_gateway.protection.backoff import Backoff

if TYPE_CHECKING:
    from collections.abc import Callable

    from allocation_gateway.errors import GatewayError
    from allocation_gateway.rpc.streams.job import Item

# So many items have to be in doubt for what keeps upstream from answering before that keeps everything from being sent:
# of a few it may be something about them.
_SEVERAL: Final = 3
_FIRST_PAUSE: Final = 0.2
_LONGEST_PAUSE: Final = 10.0


class Hindrance:
    """What is in the way of everything.

    Attributes:
        error: What it is; None if nothing is.
    """

    def __init__(self, longest: float, clock: Callable[[], float]) -> None:
        """Begins with nothing in the way.

        Args:
            longest: Seconds for which it is waited for at most.
            clock: The event loop's clock.
        """
        self.error: GatewayError | None = None
        self._longest = longest
        self._clock = clock
        self._backoff = Backoff(_FIRST_PAUSE, _LONGEST_PAUSE, random=random.random)
        self._since = 0.0
        self._times = 0
        self._until = 0.0
        # How often something was let through, and which items are in doubt since.
        self._passed = 0
        self._doubtful: set[str] = set()

    def is_shown_by(self, item: Item) -> bool:
        """Tells whether an item that is in doubt shows that something is in the way of everything.

        Not if others have been let through since it was in doubt first: then it is about the item. And not if it is the
        only one, or nearly.
        """
        if item.doubted_at is None:
            item.doubted_at = self._passed
        if item.doubted_at == self._passed and len(self._doubtful) < _SEVERAL:
            self._doubtful.add(item.reference)
        return item.doubted_at == self._passed and len(self._doubtful) >= _SEVERAL

    def note(self, error: GatewayError, retry_after: float) -> bool:
        """Records that it is still in the way. Returns False if it has been for too long.

        Args:
            error: What it is.
            retry_after: Seconds after which it is worth another try; 0 if that is not known.
        """
        now = self._clock()
        if self.error is None:
            self._since = now
            self._times = 0
        self.error = error
        if now >= self._until:
            # Bulk calls that were under way together tell of it together.
            self._times += 1
            self._until = now + self._backoff.seconds(self._times, retry_after)
        return now - self._since <= self._longest

    def clear(self) -> None:
        """Records that something was let through."""
        self.error = None
        self._until = 0.0
        self._passed += 1
        self._doubtful.clear()

    def seconds(self) -> float:
        """Returns for how long to send nothing from now on."""
        return max(self._until - self._clock(), 0.0)

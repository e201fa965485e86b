"""Service-group codes: which ones are known, from the configuration or because an allocation with them worked.

Upstream has no listing of groups for the Ship API, so a code that is not known may still exist: it is passed through.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


class ServiceGroups:
    """A bounded memory of codes with a time to live. Codes from the configuration never leave it."""

    def __init__(
        self,
        configured: Iterable[str],
        *,
        ttl: float,
        size: int,
        on_lookup: Callable[[bool], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._configured = frozenset(configured)
        self._ttl = ttl
        self._size = size
        self._on_lookup = on_lookup
        self._clock = clock
        self._seen: OrderedDict[str, float] = OrderedDict()

    def resolve(self, code: str) -> str:
        """Returns the code to send upstream for what a caller wrote, and counts whether it was known."""
        self._on_lookup(self.knows(code))
        return code

    def knows(self, code: str) -> bool:
        """Tells whether a code is configured, or was seen to work within the time to live."""
        return code in self._configured or self._seen.get(code, 0.0) > self._clock()

    def observe(self, code: str) -> None:
        """Remembers a code with which an allocation has just worked. The one unused for longest makes room."""
        if code in self._configured:
            return
        self._seen[code] = self._clock() + self._ttl
        self._seen.move_to_end(code)
        if len(self._seen) > self._size:
            self._seen.popitem(last=False)

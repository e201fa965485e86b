"""Service-group codes: which ones are known, from the configuration or because an allocation with them worked.

The Ship API has no listing of groups, so a code that is not known may still exist: it is passed through.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from allocation_gateway.operations.model import Api


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
        self._seen: OrderedDict[tuple[Api, str], float] = OrderedDict()

    def resolve(self, api: Api, code: str) -> str:
        """Returns the code to send upstream for what a caller wrote, and counts whether it was known."""
        self._on_lookup(self.knows(api, code))
        return code

    def knows(self, api: Api, code: str) -> bool:
        """Tells whether a code is configured, or was seen to work with an API within the time to live."""
        return code in self._configured or self._seen.get((api, code), 0.0) > self._clock()

    def observe(self, api: Api, code: str) -> None:
        """Remembers a code with which an allocation has just worked. The one unused for longest makes room."""
        if code in self._configured:
            return
        self._seen[api, code] = self._clock() + self._ttl
        self._seen.move_to_end((api, code))
        if len(self._seen) > self._size:
            self._seen.popitem(last=False)

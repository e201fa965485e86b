"""A replica that has no service groups to share with others."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from allocation_gateway.groups.shared_entries import ObservedCode
    from allocation_gateway.operations.model import Api


class Nothing:
    """A peer that knows nothing."""

    def observed_elsewhere(self, api: Api, observed: ObservedCode) -> None: ...

    def forgotten_elsewhere(self, api: Api, until: float) -> None: ...

    def observed_codes(self, api: Api) -> tuple[()]:
        del api
        return ()

    def forgotten_until(self, api: Api) -> float:
        del api
        return 0.0

"""A replica that has nothing to share with others."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from allocation_gateway.groups.entries import Learned
    from allocation_gateway.operations.model import Api


class Nothing:
    """A peer that knows nothing."""

    def learned_elsewhere(self, api: Api, entry: Learned) -> None: ...

    def forgotten_elsewhere(self, api: Api, at: float) -> None: ...

    def learned_here(self, api: Api) -> tuple[()]:
        del api
        return ()

    def forgotten_here(self, api: Api) -> float:
        del api
        return 0.0

"""The operation table: every row, and which of its spellings a configuration chooses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from allocation_gateway.operations import consignments, ship
from allocation_gateway.operations.model import Api

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from allocation_gateway.operations.model import Operation, Route
    from allocation_gateway.settings import Settings

OPERATIONS: Final[tuple[Operation, ...]] = (*ship.ROWS, *consignments.ROWS)
READERS: Final[Mapping[Api, Operation]] = {Api.SHIP: ship.READ, Api.CONSIGNMENTS: consignments.READ}
"""The row that reads one shipment or consignment, with its allocation."""
_BY_FULL_NAME: Final = {operation.full_name: operation for operation in OPERATIONS}


def named(full_name: str) -> Operation | None:
    """Returns a row by its full name; None if this release has none of that name."""
    return _BY_FULL_NAME.get(full_name)


def spellings() -> Mapping[str, Mapping[str, Collection[str]]]:
    """Returns the names of the spellings that each operation has, by the names of its API and of its rpc."""
    return {api.value: {row.name: row.routes.keys() for row in OPERATIONS if row.api is api} for api in Api}


def routes(settings: Settings) -> Mapping[str, Route]:
    """Returns the route of each operation by the operation's full name."""
    chosen = {}
    for operation in OPERATIONS:
        first = next(iter(operation.routes))
        spelling = settings.api(operation.api.value).routes.get(operation.name, first)
        chosen[operation.full_name] = operation.routes[spelling]
    return chosen


def disabled(settings: Settings) -> frozenset[str]:
    """Returns the full names of the operations that are switched off."""
    return frozenset(
        operation.full_name
        for operation in OPERATIONS
        if operation.name in settings.api(operation.api.value).disabled_operations
    )

"""The operation table: every row, and which of its spellings a configuration chooses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from allocation_gateway.operations import ship
from allocation_gateway.settings import ConfigurationError, variable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from allocation_gateway.operations.model import Operation, Route
    from allocation_gateway.settings import Settings

OPERATIONS: Final[tuple[Operation, ...]] = (*ship.ROWS,)


def routes(settings: Settings) -> Mapping[str, Route]:
    """Returns the route of each operation by the operation's full name.

    Raises:
        ConfigurationError: SHIP_ROUTES names an operation or a spelling that does not exist.
    """
    by_name = {operation.name: operation for operation in OPERATIONS}
    for name, chosen in settings.ship_routes.items():
        operation = by_name.get(name)
        if operation is None:
            raise ConfigurationError(f"{variable('ship_routes')}: there is no operation {name!r}")
        if chosen not in operation.routes:
            known = ", ".join(operation.routes)
            raise ConfigurationError(f"{variable('ship_routes')}: {name} has no spelling {chosen!r}, only {known}")
    return {operation.full_name: _route(operation, settings) for operation in OPERATIONS}


def _route(operation: Operation, settings: Settings) -> Route:
    chosen = settings.ship_routes.get(operation.name)
    return operation.routes[chosen] if chosen is not None else next(iter(operation.routes.values()))


def disabled(settings: Settings) -> frozenset[str]:
    """Returns the names of the operations that are switched off.

    Raises:
        ConfigurationError: SHIP_DISABLED_OPERATIONS names an operation that does not exist.
    """
    names = {operation.name for operation in OPERATIONS}
    for name in settings.ship_disabled_operations:
        if name not in names:
            raise ConfigurationError(f"{variable('ship_disabled_operations')}: there is no operation {name!r}")
    return frozenset(settings.ship_disabled_operations)

"""The operation table: every row, and which of its spellings a configuration chooses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from allocation_gateway.operations import consignments, ship
from allocation_gateway.operations.model import Api
from allocation_gateway.settings import ConfigurationError, variable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from allocation_gateway.operations.model import Operation, Route
    from allocation_gateway.settings import Settings

OPERATIONS: Final[tuple[Operation, ...]] = (*ship.ROWS, *consignments.ROWS)
READERS: Final[Mapping[Api, Operation]] = {Api.SHIP: ship.READ, Api.CONSIGNMENTS: consignments.READ}
"""The row that reads one shipment or consignment, with its allocation."""
_BY_FULL_NAME: Final = {operation.full_name: operation for operation in OPERATIONS}


def named(full_name: str) -> Operation | None:
    """Returns a row by its full name; None if this release has none of that name."""
    return _BY_FULL_NAME.get(full_name)


def routes(settings: Settings) -> Mapping[str, Route]:
    """Returns the route of each operation by the operation's full name.

    Raises:
        ConfigurationError: A setting names an operation or a spelling that does not exist.
    """
    chosen = {operation.full_name: next(iter(operation.routes.values())) for operation in OPERATIONS}
    for api in Api:
        where = variable(f"{api.value}_routes")
        for name, spelling in settings.api(api.value).routes.items():
            operation = _named(name, api, where)
            if spelling not in operation.routes:
                known = ", ".join(operation.routes)
                raise ConfigurationError(f"{where}: {name} has no spelling {spelling!r}, only {known}")
            chosen[operation.full_name] = operation.routes[spelling]
    return chosen


def check_settle_times(settings: Settings) -> None:
    """Checks that the settle times are of operations that there are.

    Raises:
        ConfigurationError: One is not.
    """
    for api in Api:
        for name in settings.api(api.value).settle_times:
            _named(name, api, variable(f"{api.value}_settle_times"))


def disabled(settings: Settings) -> frozenset[str]:
    """Returns the full names of the operations that are switched off.

    Raises:
        ConfigurationError: A setting names an operation that does not exist.
    """
    return frozenset(
        _named(name, api, variable(f"{api.value}_disabled_operations")).full_name
        for api in Api
        for name in settings.api(api.value).disabled_operations
    )


def _named(name: str, api: Api, where: str) -> Operation:
    for operation in OPERATIONS:
        if operation.name == name and operation.api is api:
            return operation
    raise ConfigurationError(f"{where}: there is no operation {name!r}")

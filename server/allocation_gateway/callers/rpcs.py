"""The names of the rpcs that a policy can allow, and the groups that it can allow them by."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from allocation.v1 import service_group_service_pb2

from allocation_gateway.operations.model import Action
from allocation_gateway.operations.streams import STREAMS, WATCHES
from allocation_gateway.operations.table import OPERATIONS

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

REFLECTION: Final = "ServerReflectionInfo"
"""The rpc of both services of server reflection."""
_GROUPS: Final = {
    Action.READ: "reads",
    Action.ALLOCATE: "single",
    Action.ALLOCATE_BULK: "bulk",
    Action.DEALLOCATE: "deallocate",
    Action.DEALLOCATE_BULK: "deallocate",
}
_ADMIN: Final = "admin"
_LOCAL: Final = service_group_service_pb2.DESCRIPTOR.services_by_name["ServiceGroupService"]
_READING: Final = ("List", "Get")


def groups() -> Mapping[str, Collection[str]]:
    """Returns the names of the rpcs of each group, by the group's name."""
    found: dict[str, set[str]] = {group: set() for group in (*dict.fromkeys(_GROUPS.values()), _ADMIN)}
    for operation in OPERATIONS:
        found[_GROUPS[operation.action]].add(operation.name)
    found[_GROUPS[Action.ALLOCATE_BULK]].update(row.name for row in STREAMS)
    found[_GROUPS[Action.READ]].update(row.name for row in WATCHES)
    for method in _LOCAL.methods:
        found["reads" if method.name.startswith(_READING) else _ADMIN].add(method.name)
    found[_ADMIN].add(REFLECTION)
    return found

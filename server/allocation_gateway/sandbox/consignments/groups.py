"""The endpoints that read service groups. Whether an ordinary key may use them is not documented."""

from __future__ import annotations

from typing import TYPE_CHECKING

from allocation_gateway.sandbox.consignments import errors, offers
from allocation_gateway.sandbox.consignments.presenter import OK
from allocation_gateway.sandbox.consignments.world import CUSTOMER

if TYPE_CHECKING:
    from collections.abc import Callable

    from allocation_gateway.sandbox.consignments.catalogue import Group
    from allocation_gateway.sandbox.consignments.dialect import Version
    from allocation_gateway.sandbox.consignments.documents import Document
    from allocation_gateway.sandbox.consignments.single import Answer
    from allocation_gateway.sandbox.consignments.switches import ConsignmentsSwitches
    from allocation_gateway.sandbox.consignments.world import World
    from allocation_gateway.sandbox.messages import Call
    from allocation_gateway.sandbox.switches import SwitchBoard


class GroupEndpoints:
    """Each method answers one call with a status and a document, or raises ConsignmentsError."""

    def __init__(self, world: World, switches: SwitchBoard[ConsignmentsSwitches]) -> None:
        self._world = world
        self._switches = switches

    def list(self, show: Callable[[Group], Document]) -> Callable[[Call, Version], Answer]:
        """The endpoint that lists all groups."""

        def endpoint(_: Call, __: Version) -> Answer:
            self._check_permission()
            return OK, [show(group) for group in self._world.groups.values()]

        return endpoint

    def get(self, show: Callable[[Group], Document]) -> Callable[[Call, Version], Answer]:
        """The endpoint that shows one group."""

        def endpoint(call: Call, _: Version) -> Answer:
            self._check_permission()
            code = call.parameters["serviceGroupReference"]
            group = self._world.groups.get(code)
            if group is None:
                raise errors.unread_group(code, CUSTOMER)
            return OK, show(group)

        return endpoint

    def available(self, call: Call, _: Version) -> Answer:
        """GET whether a reference is available: for a new group, or for use; no source says which."""
        self._check_permission()
        exists = call.parameters["serviceGroupReference"] in self._world.groups
        return OK, exists == (self._switches.current.group_available == "exists")

    def whole(self, group: Group) -> Document:
        """A group with its services."""
        return offers.group(group, self._world.members(group), self._world.carriers)

    def summary(self, group: Group) -> Document:
        """A group without its services."""
        return offers.group(group, (), self._world.carriers)

    def _check_permission(self) -> None:
        switches = self._switches.current
        status = switches.service_groups
        if status == "allowed":
            return
        if status == 404:
            raise errors.no_operation()
        raise errors.access(status, "OperationFailed", "This key may not read service groups.", switches)

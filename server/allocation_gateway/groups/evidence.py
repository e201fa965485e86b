"""What proves that a service group exists."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from allocation_gateway.operations.model import Action

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from allocation_gateway.operations.model import Operation

# Looked up once: in Python 3.11, each access to a member of an enum is a function call.
_ALLOCATE: Final = Action.ALLOCATE


def is_evidence(operation: Operation, response: Message) -> bool:
    """Tells whether a response proves the group of its request: whether one thing was allocated with it, and is.

    What a bulk call says proves nothing: Ship may yet find, when it allocates, that the group does not exist. Nor does
    a single one that upstream has only taken in hand. That an allocation fails is never evidence against a group.
    """
    if operation.action is not _ALLOCATE:
        return False
    answer: Any = response
    return operation.allocations.proves_group(answer.allocation)

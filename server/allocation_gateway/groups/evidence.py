"""What proves that a service group exists."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from allocation.v1 import core_pb2

from allocation_gateway.operations.model import Effect

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from allocation_gateway.operations.model import Operation


def is_evidence(operation: Operation, response: Message) -> bool:
    """Tells whether a response proves the group of its request: whether one thing was allocated with it, and is.

    What a bulk call says proves nothing: Ship may yet find, when it allocates, that the group does not exist. Nor does
    a single one that upstream has only taken in hand. That an allocation fails is never evidence against a group.
    """
    if operation.effect is not Effect.ALLOCATE:
        return False
    answer: Any = response
    if isinstance(answer.allocation, core_pb2.Allocation):
        return bool(answer.allocation.state == core_pb2.SHIPMENT_STATE_ALLOCATED)
    return bool(answer.allocation.carrier_service_reference)

"""The responses of writes whose outcome was read instead of told, in whole or in part."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from allocation.v1 import error_reason_pb2

from allocation_gateway.errors import GatewayError
from allocation_gateway.operations.assessment import Assessment
from allocation_gateway.operations.model import Action, references_field
from allocation_gateway.references import folded

if TYPE_CHECKING:
    from collections.abc import Mapping

    from google.protobuf.message import Message

    from allocation_gateway.errors import AnyAllocation
    from allocation_gateway.operations.assessment import Assessed
    from allocation_gateway.operations.model import Operation

# Looked up once: in Python 3.11, each access to a member of an enum is a function call.
_ALLOCATE: Final = Action.ALLOCATE


def is_conclusive(operation: Operation, response: Any) -> bool:
    """Tells whether a response says how the write ended: for everything that it was asked for."""
    if operation.action is _ALLOCATE:
        return operation.allocations.is_conclusive(response.allocation)
    return not undetermined(operation, response)


def undetermined(operation: Operation, response: Any) -> list[str]:
    """Returns the references of which the response of a bulk call does not say what became of them."""
    return [] if operation.bulk is None else operation.bulk.undetermined(response)


def affected(operation: Operation, request: Any, response: Any) -> tuple[list[str], list[str]]:
    """Returns the references that are allocated by a write, or are to be, and those that are not allocated any more."""
    allocates = operation.action.allocates
    if operation.bulk is None:
        done = list(operation.references(request))
    elif isinstance(response, GatewayError):
        done = []
    elif told := operation.bulk.taken(response) if allocates else operation.bulk.done(response):
        among = set(map(folded, told))
        done = [reference for reference in operation.references(request) if folded(reference) in among]
    else:
        done = []
    return (done, []) if allocates else ([], done)


def allocation_of(operation: Operation, answer: Message | GatewayError, reference: str) -> AnyAllocation | None:
    """Returns the allocation that a recorded answer tells of a reference; None if it tells none."""
    if isinstance(answer, GatewayError):
        return answer.allocation
    if operation.bulk is not None:
        return operation.bulk.allocation_of(answer, reference)
    told: Any = answer
    return told.allocation if operation.action is _ALLOCATE else None


def may_be_queued(operation: Operation, answer: Message | GatewayError, reference: str) -> bool:
    """Tells whether, by a recorded answer, the turn of a reference in upstream's queue may still be to come."""
    if operation.action is not Action.ALLOCATE_BULK or operation.bulk is None:
        return False
    return isinstance(answer, GatewayError) or folded(reference) not in map(folded, operation.bulk.done(answer))


def single(operation: Operation, reference: str, found: AnyAllocation) -> Any:
    """Returns the response of a write of one shipment or consignment that was found carried out."""
    if operation.action is _ALLOCATE:
        found.reconciled = True
        return operation.response(allocation=found)
    return operation.response(**{references_field(operation.response): reference})


def bulk(
    operation: Operation,
    request: Any,
    known: Mapping[str, Assessed],
    response: Any,
    refusal: GatewayError | None = None,
) -> Any:
    """Returns the response of a bulk call, as one of its operation's class.

    Args:
        operation: The row that was called.
        request: The caller's request.
        known: What is known of references from reading them.
        response: What upstream answered for the others; None if it was not asked, or refused.
        refusal: With what it refused them.
    """
    if operation.bulk is None:
        raise ValueError("only bulk calls have responses in parts")
    references = operation.references(request)
    if response is None:
        response = operation.response()
        if refusal is not None:
            others = [reference for reference in references if reference not in known]
            response = operation.bulk.refuse(response, others, refusal)
    return operation.bulk.complete(response, references, known, allocates=operation.action.allocates)


def progress(known: Mapping[str, Assessed], unknown: list[str]) -> error_reason_pb2.WriteProgress:
    """Returns what is known of the references of a bulk call."""
    return error_reason_pb2.WriteProgress(
        done=[reference for reference, found in known.items() if found.assessment is Assessment.DONE],
        rejected=[reference for reference, found in known.items() if found.assessment is Assessment.NOT_OWN],
        unknown=[*unknown, *(name for name, found in known.items() if found.assessment is Assessment.UNDECIDED)],
    )

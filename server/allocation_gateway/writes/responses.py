"""The responses of writes whose outcome was read instead of told, in whole or in part."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from allocation.v1 import consignment_allocation_service_pb2 as pb
from allocation.v1 import core_pb2, error_reason_pb2
from allocation.v1 import shipment_allocation_service_pb2 as ship_pb
from allocation.v1.error_reason_pb2 import ErrorReason

from allocation_gateway.errors import GatewayError
from allocation_gateway.operations.model import Effect
from allocation_gateway.writes.adoption import Standing, is_allocated

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from google.protobuf.message import Message

    from allocation_gateway.errors import AnyAllocation
    from allocation_gateway.operations.model import Operation
    from allocation_gateway.writes.readback import Found

_REJECTED: Final = "shipment_invalid_state"


def of_one(kind: type[Message], reference: str) -> Any:
    """Returns a message that consists of one reference, in its first field."""
    field = kind.DESCRIPTOR.fields[0].name
    return kind(**{field: reference})


def is_conclusive(operation: Operation, response: Any) -> bool:
    """Tells whether a response says how the write ended: for everything that it was asked for."""
    if operation.effect is Effect.ALLOCATE:
        allocation = response.allocation
        if isinstance(allocation, core_pb2.Allocation):
            return is_allocated(allocation)
        # A summary has no state: what has no word of its own only says that the request was accepted.
        says = allocation.carrier_service_reference or allocation.description or allocation.links
        return bool(says) or is_allocated(allocation)
    return not operation.effect.is_bulk or not unsaid(response)


def unsaid(response: Any) -> list[str]:
    """Returns the references of which the response of a bulk call does not say what became of them."""
    if hasattr(response, "results"):
        return [item.consignment_reference for item in response.results if item.outcome == pb.OUTCOME_UNKNOWN]
    # An allocation with filters is answered without a word of single shipments.
    return list(getattr(response, "unaccounted", ()))


def affected(operation: Operation, request: Any, response: Any) -> tuple[list[str], list[str]]:
    """Returns the references that are allocated by a write, and those that are not any more."""
    if operation.effect is Effect.ALLOCATE:
        return list(operation.references(request)), []
    if operation.effect is Effect.DEALLOCATE:
        return [], list(operation.references(request))
    if hasattr(response, "results"):
        done = [item.consignment_reference for item in response.results if item.outcome == pb.OUTCOME_DONE]
        return (done, []) if operation.effect.allocates else ([], done)
    # Queued is not allocated.
    return [item.shipment_reference for item in getattr(response, "allocations", ()) if is_allocated(item)], []


def allocation_of(answer: Message | GatewayError, reference: str) -> AnyAllocation | None:
    """Returns the allocation that a recorded answer tells of a reference; None if it tells none."""
    told: Any = answer
    if isinstance(answer, GatewayError):
        return answer.allocation
    if hasattr(told, "allocation"):
        return told.allocation  # type: ignore[no-any-return]
    if hasattr(told, "results"):
        return next((one.allocation for one in told.results if one.consignment_reference == reference), None)
    return next((one for one in getattr(told, "allocations", ()) if one.shipment_reference == reference), None)


def single(operation: Operation, reference: str, found: AnyAllocation) -> Any:
    """Returns the response of a write of one shipment or consignment that was found carried out."""
    if operation.effect is Effect.ALLOCATE:
        found.reconciled = True
        return operation.response(allocation=found)
    return of_one(operation.response, reference)


def bulk(
    operation: Operation,
    request: Any,
    known: Mapping[str, Found],
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
    if response is None:
        others = [reference for reference in operation.references(request) if reference not in known]
        response = operation.response() if refusal is None else _refused(operation, others, refusal)
    if isinstance(response, ship_pb.AllocateShipmentsWithFiltersResponse):
        for reference in known:
            response.shipments.add(reference=reference, rel="shipment", type="shipment")
        return response
    if hasattr(response, "results"):
        told = {item.consignment_reference: item for item in response.results}
        results = [
            _result(operation, reference, known[reference]) if reference in known else told[reference]
            for reference in operation.references(request)
            if reference in known or reference in told
        ]
        return operation.response(results=results, unreadable=response.unreadable)
    rejected = []
    unread = [reference for reference in response.unaccounted if reference not in known]
    del response.unaccounted[:]
    response.unaccounted.extend(unread)
    for reference, found in known.items():
        if found.standing is Standing.OTHER:
            rejected.append(reference)
        elif found.standing is Standing.UNDECIDED:
            response.unaccounted.append(reference)
        else:
            response.queued.append(reference)
            found.allocation.reconciled = True
            response.allocations.append(found.allocation)
    if rejected:
        response.rejected.add(code=_REJECTED, message="It was allocated before.", references=rejected)
    return response


def _refused(operation: Operation, references: Sequence[str], refusal: GatewayError) -> Any:
    response: Any = operation.response()
    if hasattr(response, "results"):
        for reference in references:
            response.results.add(
                consignment_reference=reference,
                outcome=pb.OUTCOME_REJECTED,
                reason=refusal.reason,
                description=refusal.message,
            )
    elif hasattr(response, "rejected"):
        code = refusal.metadata.get("upstream_code", "")
        response.rejected.add(code=code, message=refusal.message, references=references)
    return response


def progress(known: Mapping[str, Found], unknown: list[str]) -> error_reason_pb2.WriteProgress:
    """Returns what is known of the references of a bulk call."""
    return error_reason_pb2.WriteProgress(
        done=[reference for reference, found in known.items() if found.standing is Standing.DONE],
        rejected=[reference for reference, found in known.items() if found.standing is Standing.OTHER],
        unknown=[*unknown, *(name for name, found in known.items() if found.standing is Standing.UNDECIDED)],
    )


def _result(operation: Operation, reference: str, found: Found) -> pb.ConsignmentResult:
    if found.standing is Standing.OTHER:
        return pb.ConsignmentResult(
            consignment_reference=reference,
            outcome=pb.OUTCOME_REJECTED,
            reason=ErrorReason.ERROR_REASON_INVALID_STATE,
            description="It was allocated before.",
        )
    if found.standing is Standing.UNDECIDED:
        return pb.ConsignmentResult(
            consignment_reference=reference,
            outcome=pb.OUTCOME_UNKNOWN,
            description="It is allocated, and nothing tells whether by this request.",
        )
    result = pb.ConsignmentResult(consignment_reference=reference, outcome=pb.OUTCOME_DONE)
    if operation.effect.allocates and isinstance(found.allocation, pb.ConsignmentAllocation):
        found.allocation.reconciled = True
        result.allocation.CopyFrom(found.allocation)
    return result

"""The answers of writes whose outcome was read instead of told, in whole or in part."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from allocation.v1 import consignment_allocation_service_pb2 as pb
from allocation.v1 import core_pb2, error_reason_pb2
from allocation.v1 import shipment_allocation_service_pb2 as ship_pb
from allocation.v1.error_reason_pb2 import ErrorReason
from grpc import StatusCode

from allocation_gateway.errors import GatewayError, WriteEffect
from allocation_gateway.operations.model import Effect
from allocation_gateway.policy.adoption import Standing, is_allocated
from allocation_gateway.upstream.verdicts import STATE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from google.protobuf.message import Message

    from allocation_gateway.errors import AnyAllocation
    from allocation_gateway.operations.model import Operation
    from allocation_gateway.policy.survey import Found

_REJECTED: Final = "shipment_invalid_state"


def is_conclusive(operation: Operation, response: Any) -> bool:
    """Tells whether a response says how the write ended: for everything that it was asked for."""
    if operation.effect is Effect.ALLOCATE:
        allocation = response.allocation
        if isinstance(allocation, core_pb2.Allocation):
            return is_allocated(allocation)
        # A summary has no state: what has no word of its own only says that the request was taken in hand.
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


def single(operation: Operation, reference: str, found: AnyAllocation) -> Any:
    """Returns the response of a write of one shipment or consignment that was found carried out."""
    if operation.effect is Effect.ALLOCATE:
        found.reconciled = True
        return operation.response(allocation=found)
    field = operation.response.DESCRIPTOR.fields[0].name
    return operation.response(**{field: reference})


def adopted(operation: Operation, request: Any, known: Mapping[str, Found]) -> Any:
    """Returns the response of a write of which is known what became of it; None if something else is there."""
    if operation.effect.is_bulk:
        return bulk(operation, request, known, None)
    ((reference, what),) = known.items()
    return None if what.standing is Standing.OTHER else single(operation, reference, what.allocation)


def other(found: AnyAllocation) -> GatewayError:
    """Returns the error for a shipment or consignment that is not the write's to allocate, with how it stands."""
    return GatewayError(
        STATE.code,
        STATE.reason,
        "It is allocated already, and not by this request." if is_allocated(found) else STATE.message,
        effect=WriteEffect.NONE,
        allocation=found if is_allocated(found) else None,
    )


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
        return operation.response(results=results)
    rejected = []
    for reference, found in known.items():
        if reference in response.unaccounted:
            response.unaccounted.remove(reference)
        if found.standing is Standing.OTHER:
            rejected.append(reference)
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
        unknown=unknown,
    )


def _result(operation: Operation, reference: str, found: Found) -> pb.ConsignmentResult:
    if found.standing is Standing.OTHER:
        return pb.ConsignmentResult(
            consignment_reference=reference,
            outcome=pb.OUTCOME_REJECTED,
            reason=ErrorReason.ERROR_REASON_INVALID_STATE,
            description="It was allocated before.",
        )
    result = pb.ConsignmentResult(consignment_reference=reference, outcome=pb.OUTCOME_DONE)
    if operation.effect.allocates and isinstance(found.allocation, pb.ConsignmentAllocation):
        found.allocation.reconciled = True
        result.allocation.CopyFrom(found.allocation)
    return result


def in_doubt(cause: GatewayError, detail: Message | None, retry: Message) -> GatewayError:
    """Returns the error for a write of which it is not known whether it was carried out.

    Args:
        cause: With what the doubt began.
        detail: What is known of the references of a bulk call.
        retry: When to ask again.
    """
    metadata = dict(cause.metadata)
    if cause.code is not StatusCode.UNKNOWN:
        metadata["cause"] = cause.reason_name
    return GatewayError(
        StatusCode.UNKNOWN,
        ErrorReason.ERROR_REASON_OUTCOME_UNKNOWN,
        f"{cause.message} Repeat the call with the same request_id to learn what became of it."
        if cause.code is StatusCode.UNKNOWN
        else f"It is not known yet whether this was carried out: {cause.message}",
        effect=WriteEffect.UNKNOWN,
        metadata=metadata,
        details=[retry] if detail is None else [retry, detail],
    )

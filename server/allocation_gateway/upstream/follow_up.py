"""What is read after an answer that does not say enough by itself.

The Consignments API answers without a body, or refuses without a code that says why; what it knows stands on the
consignment. Whatever a reading does not give, in the time that there is, leaves the answer as it was.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from allocation.v1 import consignment_allocation_service_pb2 as pb
from allocation.v1.error_reason_pb2 import ErrorReason

from allocation_gateway import errors
from allocation_gateway.codecs.consignment_labels import no_label
from allocation_gateway.errors import GatewayError, WriteEffect
from allocation_gateway.operations import consignments
from allocation_gateway.operations.model import Effect, FollowUp
from allocation_gateway.upstream import verdicts

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from google.protobuf.message import Message

    from allocation_gateway.operations.model import Operation
    from allocation_gateway.upstream.verdicts import Verdict

    Read: TypeAlias = Callable[[Operation, Message], Awaitable[Any]]
    Complete: TypeAlias = Callable[[Operation, Any, "Message | GatewayError", Read], Awaitable[Message]]

# So many consignments are read at once to tell why they were refused.
_AT_ONCE: Final = 8
_ALLOCATABLE: Final = frozenset({pb.CONSIGNMENT_STATE_UNALLOCATED, pb.CONSIGNMENT_STATE_ALLOCATION_FAILED})
_DEALLOCATABLE: Final = frozenset(
    {pb.CONSIGNMENT_STATE_ALLOCATED, pb.CONSIGNMENT_STATE_MANIFESTED, pb.CONSIGNMENT_STATE_MANIFEST_FAILED}
)
_ALLOCATED: Final = frozenset(
    {
        pb.CONSIGNMENT_STATE_ALLOCATED,
        pb.CONSIGNMENT_STATE_READY_TO_SHIP,
        pb.CONSIGNMENT_STATE_MANIFESTING,
        pb.CONSIGNMENT_STATE_MANIFESTED,
        pb.CONSIGNMENT_STATE_MANIFEST_FAILED,
    }
)
# Refusals that do not say why: a reading may.
_VAGUE: Final = frozenset(
    {
        ErrorReason.ERROR_REASON_INVALID_REQUEST,
        ErrorReason.ERROR_REASON_RESOURCE_NOT_FOUND,
        ErrorReason.ERROR_REASON_ALLOCATION_FAILED,
        ErrorReason.ERROR_REASON_INVALID_STATE,
        ErrorReason.ERROR_REASON_UPSTREAM_CONFLICT,
    }
)


async def complete(operation: Operation, request: Any, outcome: Message | GatewayError, read: Read) -> Message:
    """Completes what came of an operation.

    Args:
        operation: The row that was called; it has a follow-up.
        request: Its request.
        outcome: Its response, or the error in its place.
        read: Carries out a row that changes nothing. Fails with a GatewayError.

    Raises:
        GatewayError: The operation failed; it says why as far as a reading could tell.
    """
    if operation.follow_up is None:
        raise ValueError("the row has no follow-up")
    return await _COMPLETIONS[operation.follow_up](operation, request, outcome, read)


async def _consignment(operation: Operation, request: Any, outcome: Message | GatewayError, read: Read) -> Message:
    if isinstance(outcome, GatewayError):
        raise await _explained(operation, request.consignment_reference, outcome, read)
    told: Any = outcome
    if operation.effect is not Effect.ALLOCATE or told.allocation.carrier_service_reference:
        return outcome
    if not (told.allocation.description or told.allocation.links):
        return outcome  # it says nothing: what became of it is read until it is known
    found = await _read(request.consignment_reference, read)
    if isinstance(found, GatewayError) or found.state not in _ALLOCATED:
        return outcome
    found.description = told.allocation.description
    found.unreadable.extend(told.allocation.unreadable)
    if told.allocation.links:
        del found.links[:]
        found.links.extend(told.allocation.links)
    return type(told)(allocation=found)  # type: ignore[no-any-return]


async def _consignments(operation: Operation, _: Any, outcome: Message | GatewayError, read: Read) -> Message:
    if isinstance(outcome, GatewayError):
        raise outcome
    places = asyncio.Semaphore(_AT_ONCE)

    async def explain(result: pb.ConsignmentResult) -> None:
        async with places:
            found = await _read(result.consignment_reference, read)
        verdict = _verdict(operation, found)
        if verdict is not None:
            result.reason = verdict.reason
        if verdict is verdicts.FAILED and isinstance(found, pb.ConsignmentAllocation):
            result.MergeFrom(pb.ConsignmentResult(failed_allocation=_failed_allocation(found)))

    response: Any = outcome
    rejected = [result for result in response.results if result.outcome == pb.OUTCOME_REJECTED]
    await asyncio.gather(*(explain(result) for result in rejected))
    return outcome


async def _labels(operation: Operation, request: Any, outcome: Message | GatewayError, read: Read) -> Message:
    if not isinstance(outcome, GatewayError):
        return outcome
    if outcome.effect is not WriteEffect.NONE or outcome.reason not in _VAGUE:
        raise outcome
    found = await _read(request.consignment_reference, read)
    if isinstance(found, GatewayError) and found.reason != ErrorReason.ERROR_REASON_CONSIGNMENT_NOT_FOUND:
        if outcome.reason == ErrorReason.ERROR_REASON_ALLOCATION_FAILED:
            raise outcome
        # It may be the label alone that was not to be had.
        raise outcome.with_effect(WriteEffect.UNKNOWN)
    if isinstance(found, GatewayError) or found.state not in _ALLOCATED or not _agrees(request, found):
        raise _why(operation, outcome, found)
    found.reconciled = True
    return await labelled(request, found, read)


async def labelled(request: Any, found: pb.ConsignmentAllocation, read: Read) -> Message:
    """Returns the response for a consignment that is allocated, with its label or the reason why there is none."""
    try:
        return pb.AllocateConsignmentWithLabelsResponse(
            allocation=found, labels=[await read(consignments.LABEL, request)]
        )
    except GatewayError as error:
        return pb.AllocateConsignmentWithLabelsResponse(
            allocation=found, label_error=pb.LabelError(**no_label(error.message))
        )


_COMPLETIONS: Final[Mapping[FollowUp, Complete]] = {
    FollowUp.CONSIGNMENT: _consignment,
    FollowUp.CONSIGNMENTS: _consignments,
    FollowUp.LABELS: _labels,
}


async def _read(reference: str, read: Read) -> pb.ConsignmentAllocation | GatewayError:
    try:
        response = await read(consignments.READ, consignments.READ.request(consignment_reference=reference))
    except GatewayError as error:
        return error
    return response.allocation  # type: ignore[no-any-return]


async def _explained(operation: Operation, reference: str, error: GatewayError, read: Read) -> GatewayError:
    """Returns a refusal with the reason that reading the consignment gives, if upstream gave none itself."""
    if error.effect is not WriteEffect.NONE or error.reason not in _VAGUE:
        return error
    return _why(operation, error, await _read(reference, read))


def _why(operation: Operation, error: GatewayError, found: pb.ConsignmentAllocation | GatewayError) -> GatewayError:
    verdict = _verdict(operation, found)
    return error if verdict is None else _error(verdict, error, found)


def _verdict(operation: Operation, found: pb.ConsignmentAllocation | GatewayError) -> Verdict | None:
    """Returns why a consignment was refused, as far as it can be told from where it stands."""
    if isinstance(found, GatewayError):
        missing = found.reason == ErrorReason.ERROR_REASON_CONSIGNMENT_NOT_FOUND
        return verdicts.NO_CONSIGNMENT if missing else None
    allowed = _ALLOCATABLE if operation.effect.allocates else _DEALLOCATABLE
    if found.state and found.state not in allowed:
        return verdicts.STATE
    if operation.effect.allocates and found.state == pb.CONSIGNMENT_STATE_ALLOCATION_FAILED:
        return verdicts.FAILED
    return None


def _failed_allocation(found: pb.ConsignmentAllocation) -> pb.FailedAllocation | None:
    return found.failed_allocation if found.HasField("failed_allocation") else None


def _error(verdict: Verdict, error: GatewayError, found: pb.ConsignmentAllocation | GatewayError) -> GatewayError:
    details: list[Message] = []
    if isinstance(found, GatewayError):
        details += found.details
    elif verdict is verdicts.FAILED and (failed := _failed_allocation(found)):
        details.append(errors.clipped(failed))
    return GatewayError(
        verdict.code,
        verdict.reason,
        verdict.message,
        effect=WriteEffect.NONE,
        metadata=error.metadata,
        details=details,
    )


def _agrees(request: pb.AllocateConsignmentWithLabelsRequest, found: pb.ConsignmentAllocation) -> bool:
    """Tells whether an allocation can be the one that a request asks for, as far as the consignment says."""
    selector = request.WhichOneof("selector")
    if selector == "service_group":
        return found.service_group == request.service_group
    if selector == "carrier_service_reference":
        return found.carrier_service_reference == request.carrier_service_reference
    return True

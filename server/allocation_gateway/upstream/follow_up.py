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
from allocation_gateway.codecs.states import BEFORE_DISPATCH, CAN_DEALLOCATE, Stage
from allocation_gateway.errors import GatewayError, WriteEffect
from allocation_gateway.operations import consignments
from allocation_gateway.operations.allocations import CONSIGNMENTS
from allocation_gateway.operations.model import Action, FollowUp
from allocation_gateway.references import is_same
from allocation_gateway.upstream import error_table

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from google.protobuf.message import Message

    from allocation_gateway.operations.model import Operation
    from allocation_gateway.upstream.error_table import ErrorEntry

    Outcome: TypeAlias = "Message | GatewayError"
    Read: TypeAlias = Callable[[Operation, Message], Awaitable[Outcome]]
    Complete: TypeAlias = Callable[[Operation, Any, Outcome, Read], Awaitable[Outcome]]
    Restore: TypeAlias = Callable[[Any, Any, Read], Awaitable[Message]]

# So many consignments are read at once to tell why they were refused.
_AT_ONCE: Final = 8
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


async def complete(operation: Operation, request: Any, outcome: Outcome, read: Read) -> Outcome:
    """Completes what came of an operation.

    Args:
        operation: The row that was called; it has a follow-up.
        request: Its request.
        outcome: Its response, or the error in its place.
        read: Carries out a row that changes nothing.

    Returns:
        The response; or the error in its place, which says why as far as a reading could tell.
    """
    if operation.follow_up is None:
        raise ValueError("the row has no follow-up")
    return await _COMPLETIONS[operation.follow_up](operation, request, outcome, read)


async def restore(operation: Operation, request: Any, response: Message, read: Read) -> Message:
    """Returns a response that was remembered or read back, with what a claim does not keep of it and no reading tells.

    Args:
        operation: The row that was called.
        request: Its request.
        response: The response.
        read: Carries out a row that changes nothing.
    """
    if operation.follow_up not in _RESTORATIONS:
        return response
    return await _RESTORATIONS[operation.follow_up](request, response, read)


async def _consignment(operation: Operation, request: Any, outcome: Outcome, read: Read) -> Outcome:
    if isinstance(outcome, GatewayError):
        return await _explained(operation, request.consignment_reference, outcome, read)
    told: Any = outcome
    if operation.action is not Action.ALLOCATE or told.allocation.carrier_service_reference:
        return outcome
    if not (told.allocation.description or told.allocation.links):
        return outcome  # it says nothing: what became of it is read until it is known
    found = await _read(request.consignment_reference, read)
    if isinstance(found, GatewayError) or found.state not in BEFORE_DISPATCH:
        return outcome
    found.description = told.allocation.description
    found.unreadable.extend(told.allocation.unreadable)
    if told.allocation.links:
        del found.links[:]
        found.links.extend(told.allocation.links)
    return type(told)(allocation=found)  # type: ignore[no-any-return]


async def _consignments(operation: Operation, _: Any, outcome: Outcome, read: Read) -> Outcome:
    if isinstance(outcome, GatewayError):
        return outcome
    places = asyncio.Semaphore(_AT_ONCE)

    async def explain(result: pb.ConsignmentResult) -> None:
        async with places:
            found = await _read(result.consignment_reference, read)
        entry = _entry(operation, found)
        if entry is not None:
            result.reason = entry.reason
        if entry is error_table.FAILED and not isinstance(found, GatewayError):
            result.MergeFrom(pb.ConsignmentResult(failed_allocation=_failed_allocation(found)))

    response: Any = outcome
    rejected = [result for result in response.results if result.outcome == pb.OUTCOME_REJECTED]
    await asyncio.gather(*(explain(result) for result in rejected))
    return outcome


async def _labels(operation: Operation, request: Any, outcome: Outcome, read: Read) -> Outcome:
    if not isinstance(outcome, GatewayError):
        return outcome
    if outcome.effect is not WriteEffect.NONE or outcome.reason not in _VAGUE:
        return outcome
    found = await _read(request.consignment_reference, read)
    if isinstance(found, GatewayError) and found.reason != ErrorReason.ERROR_REASON_CONSIGNMENT_NOT_FOUND:
        if outcome.reason == ErrorReason.ERROR_REASON_ALLOCATION_FAILED:
            return outcome
        # It may be the label alone that was not to be had.
        return outcome.with_effect(WriteEffect.UNKNOWN)
    if isinstance(found, GatewayError) or found.state not in BEFORE_DISPATCH or not _agrees(request, found):
        return _why(operation, outcome, found)
    found.reconciled = True
    return await _labelled(request, found, read)


async def _restore_labels(request: Any, response: Any, read: Read) -> Message:
    return response if response.labels else await _labelled(request, response.allocation, read)


async def _labelled(request: Any, found: pb.ConsignmentAllocation, read: Read) -> Message:
    """Returns the response for a consignment that is allocated, with its label or the reason why there is none."""
    label: Any = await read(consignments.LABEL, request)
    if isinstance(label, GatewayError):
        return pb.AllocateConsignmentWithLabelsResponse(
            allocation=found, label_error=pb.LabelError(**no_label(label.message))
        )
    return pb.AllocateConsignmentWithLabelsResponse(allocation=found, labels=[label])


_COMPLETIONS: Final[Mapping[FollowUp, Complete]] = {
    FollowUp.CONSIGNMENT: _consignment,
    FollowUp.CONSIGNMENTS: _consignments,
    FollowUp.LABELS: _labels,
}
_RESTORATIONS: Final[Mapping[FollowUp | None, Restore]] = {FollowUp.LABELS: _restore_labels}


async def _read(reference: str, read: Read) -> pb.ConsignmentAllocation | GatewayError:
    response: Any = await read(consignments.READ, consignments.READ.request(consignment_reference=reference))
    return response if isinstance(response, GatewayError) else response.allocation


async def _explained(operation: Operation, reference: str, error: GatewayError, read: Read) -> GatewayError:
    """Returns a refusal with the reason that reading the consignment gives, if upstream gave none itself."""
    if error.effect is not WriteEffect.NONE or error.reason not in _VAGUE:
        return error
    return _why(operation, error, await _read(reference, read))


def _why(operation: Operation, error: GatewayError, found: pb.ConsignmentAllocation | GatewayError) -> GatewayError:
    entry = _entry(operation, found)
    return error if entry is None else _error(entry, error, found)


def _entry(operation: Operation, found: pb.ConsignmentAllocation | GatewayError) -> ErrorEntry | None:
    """Returns why a consignment was refused, as far as it can be told from where it stands."""
    if isinstance(found, GatewayError):
        missing = found.reason == ErrorReason.ERROR_REASON_CONSIGNMENT_NOT_FOUND
        return error_table.NO_CONSIGNMENT if missing else None
    if found.state and not _may_be_written(operation, found):
        return error_table.STATE
    if operation.action.allocates and operation.allocations.states.has_failed(found.state):
        return error_table.FAILED
    return None


def _may_be_written(operation: Operation, found: pb.ConsignmentAllocation) -> bool:
    if operation.action.allocates:
        return operation.allocations.stage(found) is Stage.UNALLOCATED
    return found.state in CAN_DEALLOCATE


def _failed_allocation(found: pb.ConsignmentAllocation) -> pb.FailedAllocation | None:
    return found.failed_allocation if found.HasField("failed_allocation") else None


def _error(entry: ErrorEntry, error: GatewayError, found: pb.ConsignmentAllocation | GatewayError) -> GatewayError:
    details: list[Message] = []
    if isinstance(found, GatewayError):
        details += found.details
    elif entry is error_table.FAILED and (failed := _failed_allocation(found)):
        details.append(errors.clipped(failed))
    return error.retold(entry.code, entry.reason, entry.message, effect=WriteEffect.NONE, details=details)


def _agrees(request: pb.AllocateConsignmentWithLabelsRequest, found: pb.ConsignmentAllocation) -> bool:
    """Tells whether an allocation can be the one that a request asks for, as far as the consignment says."""
    selector = request.WhichOneof("selector")
    if selector == "service_group":
        return CONSIGNMENTS.agrees_on_group(found, request.service_group)
    if selector == "carrier_service_reference":
        return is_same(found.carrier_service_reference, request.carrier_service_reference)
    return True

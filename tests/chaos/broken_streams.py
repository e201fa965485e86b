"""Policies of streams, broken: what the phases of the suite that have streams have to catch. See chaos.broken."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any, Final

import msgspec
from allocation.v1 import consignment_allocation_service_pb2 as consignments
from allocation.v1.error_reason_pb2 import ErrorReason
from allocation_gateway.errors import GatewayError, WriteEffect
from allocation_gateway.operations.consignment_answers import ConsignmentResults
from allocation_gateway.operations.ship_answers import Listing
from allocation_gateway.rpc.streams import outcomes
from allocation_gateway.rpc.streams.belief import Standing
from allocation_gateway.rpc.streams.job import Job
from allocation_gateway.writes import resolution
from allocation_gateway.writes.batch import Batch
from grpc import StatusCode

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Changes = list[tuple[Any, str, Any]]


def random_item_ids() -> Changes:
    """The items of a job have other ids each time that it is begun."""
    return [(Job, "request_id", lambda *_: str(uuid.uuid4()))]


def whole_batches() -> Changes:
    """A bulk call that is done in part counts as done for all of its items."""

    def listed(_: Any, response: Any, references: Any) -> list[Any]:
        return [type(response)(queued=[reference]) for reference in references]

    def resulted(_: Any, response: Any, references: Any) -> list[Any]:
        done = consignments.OUTCOME_DONE
        return [
            type(response)(results=[consignments.ConsignmentResult(consignment_reference=name, outcome=done)])
            for name in references
        ]

    return [(Listing, "parts", listed), (ConsignmentResults, "parts", resulted)]


def batches_again() -> Changes:
    """A bulk call that was not answered counts as one that had no effect, for all of its items."""
    take = Batch.parts

    def parts(batch: Any, result: Any, members: Any) -> Any:
        error = result.response
        if isinstance(error, GatewayError) and error.effect is WriteEffect.UNKNOWN:
            result = msgspec.structs.replace(result, response=error.with_effect(WriteEffect.NONE))
        return take(batch, result, members)

    return [(Batch, "parts", parts)]


def forgotten_results() -> Changes:
    """What became of an item is not remembered, so that a job that is begun again does it again."""

    async def record(handle: Any, *_: Any, **__: Any) -> None:
        await handle.release()

    return [(resolution, "record", record)]


def cancelled_is_refused() -> Changes:
    """What was queued and is cancelled by now counts as not done, although it may have been allocated in between."""
    take = outcomes.of_reading

    def of_reading(standing: Standing, found: Any) -> outcomes.Found:
        told = take(standing, found)
        if standing is not Standing.CANCELLED or told.error is None:
            return told
        refusal = told.error.retold(
            StatusCode.FAILED_PRECONDITION,
            ErrorReason.ERROR_REASON_INVALID_STATE,
            told.error.message,
            effect=WriteEffect.NONE,
        )
        return outcomes.Found(outcomes.OutcomeKind.REFUSED, error=refusal)

    return [(outcomes, "of_reading", of_reading)]


STREAM_POLICIES: Final[Mapping[str, Callable[[], Changes]]] = {
    "random-item-ids": random_item_ids,
    "whole-batches": whole_batches,
    "batches-again": batches_again,
    "forgotten-results": forgotten_results,
    "cancelled-is-refused": cancelled_is_refused,
}

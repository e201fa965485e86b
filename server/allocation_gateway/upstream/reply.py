"""From an HTTP answer to the response of an rpc, or to the error that stands in its place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import structlog
from allocation.v1 import core_pb2

from allocation_gateway.codecs import json
from allocation_gateway.codecs.ship_bulk import is_bulk_result
from allocation_gateway.operations.model import Effect
from allocation_gateway.upstream import failures

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from allocation_gateway.errors import GatewayError
    from allocation_gateway.operations.model import Operation
    from allocation_gateway.upstream.http import Answer

SUCCESSES: Final = frozenset({200, 201, 202, 207})
# Statuses under which a bulk call can still answer with what it queued and rejected.
BULK_SUCCESSES: Final = frozenset({404, 407, 521})
_NOT_MADE: Final = frozenset(
    {
        core_pb2.SHIPMENT_STATE_UNSPECIFIED,
        core_pb2.SHIPMENT_STATE_UNALLOCATED,
        core_pb2.SHIPMENT_STATE_ALLOCATING,
        core_pb2.SHIPMENT_STATE_ALLOCATION_FAILED,
    }
)
_log = structlog.get_logger()


def read(operation: Operation, request: Message, answer: Answer) -> Message:
    """Returns the response.

    Raises:
        GatewayError: Upstream refused or failed, or its answer is not as documented.
    """
    body = _parse(answer)
    if not _succeeded(operation, answer.status, body):
        raise failures.failure(operation, request, answer, body)
    if body is None:
        problem = answer.problem or ("the body is empty" if not answer.body else "the body is not JSON")
        raise failures.broken(operation, answer, problem)
    defects = json.Defects()
    response = operation.decode(request, body, defects)
    if operation.effect is Effect.ALLOCATE and _reports_failure(response):
        raise failures.allocation_failed(operation, request, answer, body)
    if defects:
        if defects.fatal:
            raise _defective(operation, answer, response, defects)
        _log.warning("upstream_contract_broken", rpc=operation.name, defects=defects.summary())
    return response


def _parse(answer: Answer) -> Any:
    """Returns the JSON of an answer; None if it has none, which is what its `null` means too."""
    if answer.problem or not answer.body:
        return None
    try:
        return json.decode(answer.body)
    except json.NotJsonError:
        return None


def _succeeded(operation: Operation, status: int, body: object) -> bool:
    if status in SUCCESSES:
        return True
    return operation.effect is Effect.ALLOCATE_BULK and status in BULK_SUCCESSES and is_bulk_result(body)


def _reports_failure(response: Any) -> bool:
    return bool(response.allocation.state == core_pb2.SHIPMENT_STATE_ALLOCATION_FAILED)


def _defective(
    operation: Operation,
    answer: Answer,
    response: Any,
    defects: json.Defects,
) -> GatewayError:
    """Returns the error for an answer with defects. It carries what could be read of an allocation that was made."""
    if operation.effect is Effect.ALLOCATE and response.allocation.state not in _NOT_MADE and not defects.foreign:
        return failures.broken(
            operation, answer, defects.summary(), effect=failures.MADE, allocation=response.allocation
        )
    if operation.effect is Effect.DEALLOCATE and response.shipment_reference and not defects.foreign:
        return failures.broken(operation, answer, defects.summary(), effect=failures.MADE)
    return failures.broken(operation, answer, defects.summary())

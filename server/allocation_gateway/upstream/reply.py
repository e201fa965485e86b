"""From an HTTP answer to the response of an rpc, or to the error that stands in its place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

import structlog

from allocation_gateway.codecs import json
from allocation_gateway.codecs.findings import Findings
from allocation_gateway.codecs.ship_bulk import is_bulk_result
from allocation_gateway.errors import WriteEffect
from allocation_gateway.upstream import failures

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from google.protobuf.message import Message

    from allocation_gateway.operations.model import Operation
    from allocation_gateway.upstream.http import Answer

    Count: TypeAlias = Callable[[str, str], None]
    Trace: TypeAlias = Callable[[], Mapping[str, str]]

SUCCESSES: Final = frozenset({200, 201, 202, 207})
_ACCEPTED: Final = 202
# What stands for nothing in JSON is as good as nothing.
_NO_BODY: Final = frozenset({b"", b"null"})
_log = structlog.get_logger()


def read(
    operation: Operation,
    request: Any,
    answer: Answer,
    count: Count | None = None,
    trace: Trace = dict,
) -> Message:
    """Returns the response. It names what upstream's answer has and cannot be read, and does not decide.

    Args:
        operation: The row that was called.
        request: The caller's request.
        answer: The answer.
        count: Counts an answer that is not as documented, by the row's full name and by what becomes of it: `read`
            without a part of it, or `refused`.
        trace: Returns what names the trace in log lines.

    Raises:
        GatewayError: Upstream refused or failed, or what decides in its answer is not as documented. Or it has taken a
            write in hand, and not said how it ended.
    """
    findings = Findings()
    response = operation.decode(request, _fields(operation, request, answer, findings), findings)
    if findings:
        told = {**_named(operation, request), **trace()}
        _log.warning("upstream_contract_broken", rpc=operation.name, **told, findings=findings.summary())
        if count is not None:
            count(operation.full_name, "refused" if findings.broken else "read")
    is_unconfirmed = answer.status == _ACCEPTED and findings.rests_on_status
    if findings.refused and not is_unconfirmed:
        raise failures.refused(operation, request, answer, _parse(answer))
    if findings.broken:
        made = findings.made and not findings.foreign
        raise failures.broken(
            operation,
            answer,
            findings.why_broken(),
            effect=WriteEffect.MADE if made else WriteEffect.UNKNOWN,
            allocation=getattr(response, "allocation", None) if made else None,
        )
    if is_unconfirmed:
        raise failures.unconfirmed()
    return response


def _named(operation: Operation, request: Any) -> Mapping[str, str]:
    """Returns what log lines say of a request: the id of a write, and what it is about if that is one thing."""
    named = {}
    references = operation.references(request)
    if len(references) == 1:
        named["reference"] = references[0]
    if operation.action.writes and request.request_id:
        named["request_id"] = request.request_id
    return named


def _fields(operation: Operation, request: Message, answer: Answer, findings: Findings) -> Any:
    """Returns the fields of a successful answer: at once if it is as documented, else whatever can be read of it.

    Raises:
        GatewayError: It is not successful, or has no body that could be read.
    """
    document = operation.document
    if document is not None and answer.status in SUCCESSES and not answer.problem:
        documented = document.decode(answer.body)
        if documented is not None:
            return documented
    body = _parse(answer)
    if not _succeeded(operation, answer.status, body):
        raise failures.failure(operation, request, answer, body)
    if body is None and not _may_be_empty(operation, answer):
        problem = answer.problem or ("the body is empty" if not answer.body else "the body is not JSON")
        raise failures.broken(operation, answer, problem)
    return body if document is None else document.read(body, findings)


def _parse(answer: Answer) -> Any:
    """Returns the JSON of an answer; None if it has none, which is what its `null` means too."""
    if answer.problem or not answer.body:
        return None
    try:
        return json.decode(answer.body)
    except json.NotJsonError:
        return None


def _may_be_empty(operation: Operation, answer: Answer) -> bool:
    body = answer.body.removeprefix(json.BYTE_ORDER_MARK).strip()
    return answer.status in operation.bodiless_statuses and not answer.problem and body in _NO_BODY


def _succeeded(operation: Operation, status: int, body: object) -> bool:
    return status in SUCCESSES or (status in operation.bulk_statuses and is_bulk_result(body))

"""What an answer to a write that is no success says of its effect, and whether that is believed.

It is believed at once only where upstream's contract gives the status the meaning that nothing was done, the body is
JSON, and nothing in it speaks against it. docs/errors.md has the table as callers read it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from allocation_gateway.codecs.statuses import REFUSALS
from allocation_gateway.errors import WriteEffect
from allocation_gateway.operations.model import Action, Api
from allocation_gateway.upstream import error_table

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from allocation_gateway.operations.model import Operation
    from allocation_gateway.upstream.dialect import ErrorBody
    from allocation_gateway.upstream.error_table import ErrorEntry
    from allocation_gateway.upstream.http import Answer

# Nothing could be allocated. 531 is documented for quotes, without which there is no allocation either. Neither is a
# status of HTTP's, so that others use them for something else: it takes upstream's own words.
_NOT_ALLOCATED: Final = frozenset({521, 531})

# HTTP defines these as refused before the request was looked into, whoever gives them. Not among them are those that
# may come after the work was done: 406, that the answer is not acceptable; 408 and 499, that somebody stopped waiting;
# 424, that a part failed; nor 425, upon which clients are to send the same again by themselves; nor those whose meaning
# depends on what was asked for: 402, 412, 416.
_UNREAD: Final = frozenset({411, 413, 414, 415, 417, 421, 422, 423, 426, 428, 431, 451, 511})
# A proxy gives these in upstream's place, with a page of its own.
_REFUSED_BY_PROXY: Final = frozenset({401, 403, 405, 429})
_PROXY_CREDENTIALS: Final = 407
# With these upstream itself may end a call that it has begun to carry out. The others come from what stands before it.
_FROM_WITHIN: Final = frozenset({400, 404, 409, 410})
# What is wrong with a call whichever of its consignments was looked at first.
_OF_THE_CALL: Final = (error_table.NO_GROUP, error_table.NO_SERVICE, error_table.CREDENTIALS)
_ITS_FAILURES: Final = (error_table.UPSTREAM_FAILED, error_table.UNAVAILABLE, error_table.BROKEN)
_DOUBT: Final = WriteEffect.UNKNOWN


class InferredEffect(NamedTuple):
    """What is believed of a write's effect.

    Attributes:
        effect: The effect; None of what is no write.
        likely_unprocessed: Whether one reading that shows nothing done is enough to believe that nothing was. See
            GatewayError.
    """

    effect: WriteEffect | None
    likely_unprocessed: bool = False


def infer(
    operation: Operation,
    request: Message,
    answer: Answer,
    body: object,
    error: ErrorBody | None,
    entry: ErrorEntry,
    *,
    contradicts: bool,
) -> InferredEffect:
    """Returns what an answer that is no success says of the effect of an operation.

    Args:
        operation: The row that was called.
        request: Its request.
        answer: The answer.
        body: Its JSON; None if it is not JSON.
        error: What its body says; None if that is no JSON object.
        entry: What it comes to.
        contradicts: Whether something in the body says that the operation was carried out.
    """
    if not operation.action.writes:
        return InferredEffect(None)
    if contradicts or isinstance(body, list) or answer.problem:
        return InferredEffect(_DOUBT)
    is_documented = answer.status in _documented(operation)
    if error is not None and is_documented and entry not in _ITS_FAILURES:
        if not error.is_own and answer.status in _NOT_ALLOCATED:
            return InferredEffect(_DOUBT)
        is_of_all = answer.status not in _FROM_WITHIN or entry in _OF_THE_CALL
        if not is_of_all and _is_carried_out_in_turn(operation, request):
            return InferredEffect(_DOUBT, likely_unprocessed=True)
        return InferredEffect(WriteEffect.NONE)
    return InferredEffect(_DOUBT, likely_unprocessed=_is_likely_unprocessed(operation, answer, error))


def _is_carried_out_in_turn(operation: Operation, request: Message) -> bool:
    """Tells whether a call allocates several things one by one, so that it may be ended when some are done."""
    in_turn = operation.api is Api.CONSIGNMENTS and operation.action is Action.ALLOCATE_BULK
    return in_turn and len(operation.references(request)) > 1


def _documented(operation: Operation) -> frozenset[int]:
    """Returns the statuses of refusals, by what an operation of an API does."""
    return REFUSALS | _NOT_ALLOCATED if operation.api is Api.SHIP and operation.action.allocates else REFUSALS


def _is_likely_unprocessed(operation: Operation, answer: Answer, error: ErrorBody | None) -> bool:
    if answer.status == _PROXY_CREDENTIALS:
        return _is_proxys(operation, answer, error)
    return answer.status in _UNREAD or (answer.status in _REFUSED_BY_PROXY and error is None)


def _is_proxys(operation: Operation, answer: Answer, error: ErrorBody | None) -> bool:
    """Tells whether a 407 is a proxy's, and not upstream's word for a bulk call that was carried out in part."""
    if error is not None and error.is_own:
        return False
    if operation.api is not Api.SHIP or operation.action is not Action.ALLOCATE_BULK:
        return True
    # Every proxy has to say which credentials it takes, and most send a page.
    return "proxy-authenticate" in answer.headers or (error is None and bool(answer.body.strip()))

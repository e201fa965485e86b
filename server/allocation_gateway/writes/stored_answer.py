"""The answer of a write as its claim remembers it: the response, or the error of a write that was carried out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from google.rpc import error_details_pb2, status_pb2
from grpc import StatusCode

from allocation_gateway import errors
from allocation_gateway.errors import CAUSE_KEY, CODE_KEY, EFFECT_KEY, STATUS_KEY, GatewayError, WriteEffect

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from allocation_gateway.operations.model import Operation

_RESPONSE: Final = b"\x01"
_ERROR: Final = b"\x02"
_CODES: Final = {code.value[0]: code for code in StatusCode}


def pack(operation: Operation, answer: Message | GatewayError) -> bytes:
    """Returns an answer as bytes, without what its row says can be read again."""
    if isinstance(answer, GatewayError):
        return _ERROR + bytes(answer.status().SerializeToString())
    if operation.without_bulky_parts is not None:
        answer = operation.without_bulky_parts(answer)
    packed: bytes = answer.SerializeToString()
    return _RESPONSE + packed


def unpack(operation: Operation, packed: bytes) -> Message:
    """Returns the response.

    Raises:
        GatewayError: The answer was an error.
    """
    answer = content(operation, packed)
    if isinstance(answer, GatewayError):
        raise answer
    return answer


def content(operation: Operation, packed: bytes) -> Message | GatewayError:
    """Returns the response, or the error in its place."""
    if packed[:1] == _RESPONSE:
        return operation.response.FromString(packed[1:])
    return _error(operation, status_pb2.Status.FromString(packed[1:]))


def _error(operation: Operation, status: status_pb2.Status) -> GatewayError:
    info = error_details_pb2.ErrorInfo()
    allocation: Any = None
    for packed in status.details:
        found = operation.allocations.message()
        if packed.Unpack(found):
            allocation = found
        if packed.Is(info.DESCRIPTOR):
            packed.Unpack(info)
    metadata = dict(info.metadata)
    effect, cause = metadata.pop(EFFECT_KEY, None), metadata.pop(CAUSE_KEY, None)
    return GatewayError(
        _CODES[status.code],
        errors.reason_of(info.reason),
        status.message,
        effect=None if effect is None else WriteEffect(effect),
        cause=None if cause is None else errors.reason_of(cause),
        upstream_status=int(metadata.pop(STATUS_KEY, "0")),
        upstream_code=metadata.pop(CODE_KEY, ""),
        metadata=metadata,
        allocation=allocation,
    )

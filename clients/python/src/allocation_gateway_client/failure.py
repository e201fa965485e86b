"""What the status of a failed call tells: all of its details, by their types."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeVar

from allocation.v1.consignment_allocation_service_pb2 import ConsignmentAllocation, FailedAllocation
from allocation.v1.core_pb2 import Allocation
from allocation.v1.error_reason_pb2 import ExcludedServices, WriteProgress
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2
from grpc import StatusCode

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from allocation.v1.core_pb2 import ExcludedService
    from google.protobuf.message import Message

M = TypeVar("M", bound="Message")

_DOMAIN: Final = "allocation.v1"
_DETAILS: Final = "grpc-status-details-bin"
_PUSHBACK: Final = "grpc-retry-pushback-ms"
_CODES: Final = {code.value[0]: code for code in StatusCode}


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """What is wrong with a field of the request.

    Attributes:
        field: Its path, such as `shipments[2]`; empty in the last entry of a list that was too long.
        description: What is wrong with it.
    """

    field: str
    description: str


@dataclass(frozen=True, slots=True)
class Resource:
    """What was not found.

    Attributes:
        kind: Such as `allocation.v1.Shipment`.
        name: Its reference or code.
        description: What else there is to say, such as what is spelled alike.
    """

    kind: str
    name: str
    description: str


@dataclass(frozen=True, slots=True)
class Failure:
    """How an attempt failed. Its attributes are those of AllocationError, and two more.

    Attributes:
        is_of_gateway: Whether the gateway itself has said so, rather than a proxy, a lost connection or a time-out.
        pushback: What the peer says of when to repeat the call: seconds, negative for never, None for nothing.
    """

    code: StatusCode
    message: str
    pushback: float | None = None
    is_of_gateway: bool = False
    reason: str = ""
    effect: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    retry_after: float | None = None
    field_violations: Sequence[FieldViolation] = ()
    resource: Resource | None = None
    excluded_services: Sequence[ExcludedService] = ()
    omitted_services: int = 0
    allocation: Allocation | None = None
    consignment_allocation: ConsignmentAllocation | None = None
    failed_allocation: FailedAllocation | None = None
    progress: WriteProgress | None = None


def failure_of(code: StatusCode, message: str | None, trailers: Iterable[tuple[str, Any]] | None) -> Failure:
    """Returns what a status tells, from its code, its text and the trailing metadata of its call."""
    told = dict(trailers or ())
    pushback = _seconds(told.get(_PUSHBACK))
    status = status_pb2.Status()
    try:
        status.ParseFromString(told.get(_DETAILS, b""))
    except DecodeError:
        status.Clear()
    return _failure(code, message, status, pushback)


def failure_of_status(status: status_pb2.Status) -> Failure:
    """Returns what a status tells that stands in a message, such as that of an item of a stream."""
    code = _CODES.get(status.code, StatusCode.UNKNOWN)
    return _failure(code, status.message, status, None)


def _failure(code: StatusCode, message: str | None, status: status_pb2.Status, pushback: float | None) -> Failure:
    info = _detail(status, error_details_pb2.ErrorInfo)
    if info is None or info.domain != _DOMAIN:
        return Failure(code, message or "", pushback)
    retry = _detail(status, error_details_pb2.RetryInfo)
    request = _detail(status, error_details_pb2.BadRequest)
    resource = _detail(status, error_details_pb2.ResourceInfo)
    excluded = _detail(status, ExcludedServices)
    return Failure(
        code,
        message or "",
        pushback,
        is_of_gateway=True,
        reason=info.reason,
        effect=info.metadata.get("effect", ""),
        metadata=dict(info.metadata),
        # One without a delay says nothing: it is not a delay of 0.
        retry_after=retry.retry_delay.ToNanoseconds() / 1e9 if retry and retry.HasField("retry_delay") else None,
        field_violations=tuple(
            FieldViolation(one.field, one.description) for one in (request.field_violations if request else ())
        ),
        resource=resource and Resource(resource.resource_type, resource.resource_name, resource.description),
        excluded_services=tuple(excluded.excluded_services) if excluded else (),
        omitted_services=excluded.omitted_count if excluded else 0,
        allocation=_detail(status, Allocation),
        consignment_allocation=_detail(status, ConsignmentAllocation),
        failed_allocation=_detail(status, FailedAllocation),
        progress=_detail(status, WriteProgress),
    )


def _detail(status: status_pb2.Status, kind: type[M]) -> M | None:
    """Returns the first detail of a type; None if there is none, or it cannot be read."""
    found = kind()
    for packed in status.details:
        if packed.Is(kind.DESCRIPTOR):
            try:
                packed.Unpack(found)
            except DecodeError:
                return None
            return found
    return None


def _seconds(text: Any) -> float | None:
    """Returns what a pushback says: one that cannot be read means never, as gRPC has it."""
    if text is None:
        return None
    try:
        return int(text) / 1000
    except ValueError:
        return -1.0

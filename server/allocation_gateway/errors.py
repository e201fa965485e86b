"""The one way in which a call fails: a gRPC status with google.rpc details, small enough for the trailers of a call.

It is longer than the other modules since whatever a status may hold is made here, and cut to what trailers may have.
"""

from __future__ import annotations

import enum
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar
from urllib.parse import quote

from allocation.v1 import core_pb2, error_reason_pb2
from allocation.v1.error_reason_pb2 import ErrorReason
from google.protobuf.any_pb2 import Any as Packed
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2, status_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import grpc
    from allocation.v1.consignment_allocation_service_pb2 import ConsignmentAllocation
    from google.protobuf.message import Message

    AnyAllocation: TypeAlias = core_pb2.Allocation | ConsignmentAllocation

M = TypeVar("M", bound="Message")

DOMAIN: Final = "allocation.v1"
DETAILS_KEY: Final = "grpc-status-details-bin"
# Tells clients that retry by themselves when to do so (gRPC proposal A6).
PUSHBACK_KEY: Final = "grpc-retry-pushback-ms"
_NO_RETRY: Final = -1
# All trailers of a call together, as encoded on the wire. Peers refuse trailers from 8 kB on and turn the call into
# RESOURCE_EXHAUSTED; the rest is room for what proxies add.
TRAILER_BUDGET: Final = 5_800
# No item of a list that says anything takes less than ten bytes, so that more need not be tried.
_MOST_ITEMS: Final = TRAILER_BUDGET // 10
_FIXED_TRAILERS: Final = 120
_MAX_MESSAGE: Final = 400
_MAX_TEXT: Final = 200
# What an allocation can do without in an error detail, the least missed first.
_EXPENDABLE: Final = (
    "message",
    "description",
    "details",
    "links",
    "applicable_documents",
    "correlation_id",
    "tracking_details",
    "legs",
    "carrier",
    "carrier_name",
    "carrier_service_name",
    "state_text",
    "paperless_documents",
    "supplied_documents",
    "price",
    # What cannot be read is what such an error is mostly about.
    "unreadable",
)
# What the last violation says, after their number, of those that are left out.
_MORE: Final = " more are left out"
_REASON_PREFIX: Final = "ERROR_REASON_"
# The keys of the metadata of the ErrorInfo under which callers read what an error says by attributes of its own.
EFFECT_KEY: Final = "effect"
CAUSE_KEY: Final = "cause"
STATUS_KEY: Final = "upstream_status"
CODE_KEY: Final = "upstream_code"


class WriteEffect(enum.Enum):
    """What a failed write has done upstream. The values are what callers read in the metadata of the ErrorInfo."""

    NONE = "none"
    """Nothing was changed."""
    MADE = "made"
    """It was carried out, although the call fails."""
    UNKNOWN = "unknown"
    """It may or may not have been carried out."""


class GatewayError(Exception):
    """A call that fails, on purpose and with everything that its caller may know.

    Attributes:
        code: The gRPC status code.
        reason: Why, as an ErrorReason.
        message: One sentence for people. Never the text of an exception.
        effect: What the write has done that failed; None if it is no write, or nothing is said of it.
        cause: The reason of what has left a write in doubt; None if the error is not about such a doubt.
        upstream_status: The HTTP status of upstream's answer; 0 if there was none.
        upstream_code: Upstream's own code of the error; empty if it gave none.
        metadata: What else the metadata of the ErrorInfo says. Its keys are documented at ErrorReason.
        details: Further google.rpc details, the most important one first.
        excluded: The services that a failed allocation excluded.
        allocation: The allocation that was made although the call fails, without what could not be read; or the one
            that stands in its way.
        likely_unprocessed: True of a write if the answer's status says that the request was not let through or not
            looked at, but not in documented words of upstream's own: one reading that shows nothing done is enough to
            believe it.
        retry_after: Seconds for which upstream asks to be left alone; 0 if it does not.
        sent_together: How many writes the request was for that was refused with it, each of which has it.
    """

    sent_together: int = 1

    def __init__(
        self,
        code: grpc.StatusCode,
        reason: ErrorReason.ValueType,
        message: str,
        *,
        effect: WriteEffect | None = None,
        cause: ErrorReason.ValueType | None = None,
        upstream_status: int = 0,
        upstream_code: str = "",
        metadata: Mapping[str, str] | None = None,
        details: Sequence[Message] = (),
        excluded: Sequence[core_pb2.ExcludedService] = (),
        allocation: AnyAllocation | None = None,
        likely_unprocessed: bool = False,
        retry_after: float = 0.0,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = clip(message, _MAX_MESSAGE)
        self.effect = effect
        self.cause = cause
        self.upstream_status = upstream_status
        self.upstream_code = clip(upstream_code, _MAX_TEXT)
        self.metadata = {key: clip(value, _MAX_TEXT) for key, value in (metadata or {}).items()}
        self.details = details
        self.excluded = excluded
        self.allocation = allocation
        self.likely_unprocessed = likely_unprocessed
        self.retry_after = retry_after

    def with_effect(self, effect: WriteEffect | None) -> GatewayError:
        """Returns the same error with another effect."""
        error = self.copied()
        error.effect = effect
        return error

    def with_allocation(self, allocation: AnyAllocation) -> GatewayError:
        """Returns the same error with the allocation that stands in its way."""
        error = self.copied()
        error.allocation = allocation
        return error

    def for_each_of(self, writes: int) -> GatewayError:
        """Returns the same error as it is told to each of several writes that were sent in one request."""
        error = self.copied()
        error.sent_together = writes
        return error

    def with_metadata(self, **metadata: str) -> GatewayError:
        """Returns the same error with more metadata in its ErrorInfo."""
        error = self.copied()
        error.metadata = {**self.metadata, **metadata}
        return error

    def retold(
        self,
        code: grpc.StatusCode,
        reason: ErrorReason.ValueType,
        message: str,
        *,
        effect: WriteEffect | None = None,
        cause: ErrorReason.ValueType | None = None,
        details: Sequence[Message] = (),
    ) -> GatewayError:
        """Returns an error that says something else of the same answer of upstream's, with what is told of that answer.

        Args:
            code: The gRPC status code.
            reason: Why.
            message: One sentence for people.
            effect: What the write has done that failed.
            cause: The reason of what has left a write in doubt; None for the one that this error has, if any.
            details: Further google.rpc details.
        """
        return GatewayError(
            code,
            reason,
            message,
            effect=effect,
            cause=self.cause if cause is None else cause,
            upstream_status=self.upstream_status,
            upstream_code=self.upstream_code,
            metadata=self.metadata,
            details=details,
        )

    def copied(self) -> GatewayError:
        """Returns the same error as an object of its own: raised, it holds on to the frames that it came through."""
        error = GatewayError.__new__(GatewayError, *self.args)
        error.__dict__.update(self.__dict__)
        return error

    @property
    def reason_name(self) -> str:
        """The reason as callers see it."""
        return name_of(self.reason)

    @property
    def info(self) -> Mapping[str, str]:
        """The metadata of the ErrorInfo, with what the error says by attributes of its own."""
        told = dict(self.metadata)
        if self.upstream_status:
            told[STATUS_KEY] = str(self.upstream_status)
        if self.upstream_code:
            told[CODE_KEY] = self.upstream_code
        if self.cause is not None:
            told[CAUSE_KEY] = name_of(self.cause)
        if self.effect is not None:
            told[EFFECT_KEY] = self.effect.value
        return told

    def pushback_ms(self) -> int:
        """Returns in how many milliseconds a client may repeat the call by itself; a negative number if it must not."""
        for detail in self.details:
            if isinstance(detail, error_details_pb2.RetryInfo):
                return int(detail.retry_delay.ToMilliseconds())
        return _NO_RETRY

    def status(self) -> status_pb2.Status:
        """Returns the status with as many details as the trailers hold. What is cut says how much."""
        info = error_details_pb2.ErrorInfo(reason=self.reason_name, domain=DOMAIN, metadata=self.info)
        status = status_pb2.Status(code=self.code.value[0], message=self.message)
        _attach(status, info)
        for detail in self.details:
            if isinstance(detail, error_details_pb2.BadRequest):
                _attach_violations(status, detail)
            elif isinstance(detail, error_reason_pb2.WriteProgress):
                _attach_progress(status, detail)
            else:
                _attach(status, detail)
        if self.allocation is not None:
            _attach_allocation(status, self.allocation)
        if self.excluded:
            _attach_excluded(status, self.excluded)
        return status


def name_of(reason: ErrorReason.ValueType) -> str:
    """Returns a reason as callers see it."""
    return ErrorReason.Name(reason).removeprefix(_REASON_PREFIX)


def reason_of(name: str) -> ErrorReason.ValueType:
    """Returns the reason that callers see by a name.

    Raises:
        ValueError: There is none of that name.
    """
    return ErrorReason.Value(f"{_REASON_PREFIX}{name}")


def status_names(error: GatewayError | None) -> tuple[str, str]:
    """Returns the names of the status code and of the reason with which something ends; no reason without an error."""
    return ("OK", "") if error is None else (error.code.name, error.reason_name)


def clip(text: str, limit: int) -> str:
    """Cuts a text that takes more bytes than a limit, and says how many characters are missing."""
    # No character takes less than a byte: of a long text the rest need not be looked at.
    encoded = text[: limit + 1].encode()
    if len(encoded) <= limit:
        return text
    kept = encoded[:limit].decode(errors="ignore")
    return f"{kept}... ({len(text) - len(kept)} more characters)"


def clipped(detail: M) -> M:
    """Returns a copy of a detail whose texts are short enough for all of them to fit."""
    kept = type(detail)()
    kept.CopyFrom(detail)
    for field, value in detail.ListFields():
        if isinstance(value, str):
            setattr(kept, field.name, clip(value, _MAX_MESSAGE))
    return kept


def bad_request(violations: Iterable[tuple[str, str]]) -> error_details_pb2.BadRequest:
    """Makes a BadRequest from pairs of field path and description. It holds no more than could ever be told."""
    remaining = iter(violations)
    made = [
        error_details_pb2.BadRequest.FieldViolation(
            field=clip(field, _MAX_TEXT), description=clip(description, _MAX_TEXT)
        )
        for field, description in islice(remaining, _MOST_ITEMS)
    ]
    more = sum(1 for _ in remaining)
    return error_details_pb2.BadRequest(field_violations=[*made, _left_out(more)] if more else made)


def _left_out(count: int) -> error_details_pb2.BadRequest.FieldViolation:
    return error_details_pb2.BadRequest.FieldViolation(description=f"{count}{_MORE}")


def resource(kind: str, name: str, description: str = "Upstream does not know it.") -> error_details_pb2.ResourceInfo:
    """Makes a ResourceInfo of one of the resource types of the contract, such as `Shipment`."""
    return error_details_pb2.ResourceInfo(
        resource_type=f"{DOMAIN}.{kind}",
        resource_name=clip(name, _MAX_TEXT),
        description=clip(description, _MAX_TEXT),
    )


def retry_after(seconds: float) -> error_details_pb2.RetryInfo:
    """Makes a RetryInfo."""
    delay = Duration()
    delay.FromNanoseconds(int(seconds * 1e9))
    return error_details_pb2.RetryInfo(retry_delay=delay)


def wire_size(status: status_pb2.Status) -> int:
    """Returns how many bytes the trailers of a status take: the text percent-encoded, the details in base64."""
    encoded = -(-int(status.ByteSize()) // 3) * 4
    return _FIXED_TRAILERS + len(quote(status.message, safe=" !\"#$&'()*+,/:;<=>?@[\\]^`{|}")) + encoded


def _attach(status: status_pb2.Status, detail: Message) -> bool:
    """Adds a detail if it fits."""
    packed = Packed()
    packed.Pack(detail)
    status.details.append(packed)
    if wire_size(status) <= TRAILER_BUDGET:
        return True
    del status.details[-1]
    return False


def _attach_violations(status: status_pb2.Status, detail: error_details_pb2.BadRequest) -> None:
    violations = list(detail.field_violations)
    count = _fitting(violations)
    if count == len(violations) and _attach(status, detail):
        return
    total = len(violations)
    if len(violations) > _MOST_ITEMS:
        total += int(violations.pop().description.removesuffix(_MORE)) - 1
    count = min(count, len(violations))
    while count:
        count = count * 3 // 4
        kept = [*violations[:count], _left_out(total - count)]
        if _attach(status, error_details_pb2.BadRequest(field_violations=kept)):
            return


def _fitting(items: Sequence[Any]) -> int:
    """Returns how many messages or texts there is room for at most, if nothing else took any."""
    size = 0
    for count, item in enumerate(items):
        size += 2 + (len(item) if isinstance(item, str) else item.ByteSize())
        if size > TRAILER_BUDGET:
            return count
    return len(items)


def _attach_progress(status: status_pb2.Status, detail: error_reason_pb2.WriteProgress) -> None:
    """Adds what is known of the references of a bulk call. The caller knows its own: those left out are unknown too."""
    kept = error_reason_pb2.WriteProgress()
    kept.CopyFrom(detail)
    while not _attach(status, kept) and kept.unknown:
        count = len(kept.unknown) * 3 // 4
        kept.omitted_count += len(kept.unknown) - count
        del kept.unknown[count:]


def _attach_excluded(status: status_pb2.Status, excluded: Sequence[core_pb2.ExcludedService]) -> None:
    clipped = [_clipped(service) for service in excluded[:_MOST_ITEMS]]
    count = _fitting(clipped)
    while not _attach(
        status,
        error_reason_pb2.ExcludedServices(excluded_services=clipped[:count], omitted_count=len(excluded) - count),
    ):
        if count == 0:
            return
        count = count * 3 // 4


def _clipped(service: core_pb2.ExcludedService) -> core_pb2.ExcludedService:
    kept = core_pb2.ExcludedService()
    kept.CopyFrom(service)
    if kept.HasField("exclusion"):
        _clip_fields(kept.exclusion, "reason", "code_text")
    if kept.HasField("carrier"):
        del kept.carrier.tags[:]
        _clip_fields(kept.carrier, "reference", "name", "service_reference", "service_name")
    return kept


def _clip_fields(message: Message, *fields: str) -> None:
    for field in fields:
        setattr(message, field, clip(getattr(message, field), _MAX_TEXT))


def _attach_allocation(status: status_pb2.Status, allocation: AnyAllocation) -> None:
    """Adds an allocation. Excluded services become a count; other long parts are left out one by one, and named."""
    kept: Any = type(allocation)()
    kept.CopyFrom(allocation)
    if isinstance(kept, core_pb2.Allocation) and kept.excluded_services:
        _attach(status, error_reason_pb2.ExcludedServices(omitted_count=len(kept.excluded_services)))
        del kept.excluded_services[:]
    text = "message" if isinstance(kept, core_pb2.Allocation) else "description"
    present = {field.name for field, _ in kept.ListFields()}
    left_out: list[str] = []
    large = {field for field in _EXPENDABLE if field in present and _is_large(getattr(kept, field))}
    for field in _EXPENDABLE:
        if not large and _attach(status, kept):
            return
        large.discard(field)
        if field in present:
            kept.ClearField(field)
            left_out.append(field)
            setattr(kept, text, f"Left out, since it is too long: {', '.join(left_out)}.")
    _attach(status, kept)


def _is_large(value: Any) -> bool:
    """Tells whether a field alone is too large to be told, so that it need not be tried."""
    if isinstance(value, str):
        return len(value) > TRAILER_BUDGET
    if hasattr(value, "ByteSize"):
        return bool(value.ByteSize() > TRAILER_BUDGET)
    return _fitting(value) < len(value)

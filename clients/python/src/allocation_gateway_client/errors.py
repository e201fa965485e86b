"""The errors of calls: one class for each way to go on, with everything that the gateway told.

AllocationError
├── InvalidRequest          mend the request: `field_violations`
├── NotFound                `resource`
├── Refused                 the state of things forbids it
│   ├── InvalidState        `allocation` or `consignment_allocation` is what is there already
│   └── NoServiceAvailable  `excluded_services` or `failed_allocation` says why
├── TryAgain                nothing was done, and later it may be: `retry_after`
├── UnknownOutcome          it may have been done: repeat it with the same `request_id`
├── UnfinishedJob           begin it again with the same `job_id`
├── NotPermitted            by the gateway, or by a proxy in front of it
├── NotSupported            this gateway does not offer the rpc
└── GatewayFailure          never the caller's fault
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from grpc import StatusCode

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from allocation.v1.consignment_allocation_service_pb2 import ConsignmentAllocation, FailedAllocation
    from allocation.v1.core_pb2 import Allocation, ExcludedService
    from allocation.v1.error_reason_pb2 import WriteProgress
    from google.protobuf.message import Message

    from allocation_gateway_client.failure import Failure, FieldViolation, Resource


class AllocationError(Exception):
    """A call that failed.

    Attributes:
        code: The gRPC status code.
        reason: The name of an ErrorReason, such as `SHIPMENT_NOT_FOUND`; a newer gateway may have others. Empty if the
            status is not the gateway's: a lost connection, a time-out, a proxy.
        message: What happened, for people. It may change at any time.
        effect: `none` if nothing was done under this `request_id`, `made` if it was done although the call failed,
            `unknown`, or empty if nothing is said of it.
        metadata: What else the gateway said, such as `upstream_status` and `upstream_correlation_id`.
        request: What was asked for, with its `request_id`: `client.call(error.request, account=error.account)` repeats
            it.
        request_id: The id of a write; empty for a read.
        account: The account that the call was for; empty if it named none.
        retry_after: After how many seconds to come back; None if nothing is said of it.
        field_violations: Which fields of the request are wrong.
        resource: What was not found; None if that is not told.
        excluded_services: Why carrier services were excluded, as many of them as fit.
        omitted_services: How many more were excluded.
        allocation: The allocation of the shipment that is there; None if none is told. What of it could not be read is
            named by its `unreadable`.
        consignment_allocation: The same of a consignment.
        failed_allocation: Why a consignment could not be allocated; None if that is not told.
        progress: What is known of each reference of a bulk call; None if nothing is.
    """

    code: StatusCode
    reason: str
    message: str
    effect: str
    metadata: Mapping[str, str]
    retry_after: float | None
    field_violations: Sequence[FieldViolation]
    resource: Resource | None
    excluded_services: Sequence[ExcludedService]
    omitted_services: int
    allocation: Allocation | None
    consignment_allocation: ConsignmentAllocation | None
    failed_allocation: FailedAllocation | None
    progress: WriteProgress | None

    def __init__(self, failure: Failure, request: Message, account: str = "") -> None:
        super().__init__(failure, request, account)
        self.request = request
        self.request_id: str = getattr(request, "request_id", "")
        self.account = account
        for name in failure.__slots__:
            setattr(self, name, getattr(failure, name))

    def __str__(self) -> str:
        fields = "; ".join(f"{one.field}: {one.description}" for one in self.field_violations)
        parts = [self.reason or self.code.name, self.message, f"({fields})" if fields else ""]
        return " ".join(part for part in parts if part)


class InvalidRequest(AllocationError):
    """The request is not valid: mend what `field_violations` names. REQUEST_ID_REUSED: it is another request's id."""


class NotFound(AllocationError):
    """What the request names is not known: `resource`, or any of its references if that is not told."""


class Refused(AllocationError):
    """The state of things forbids it. Nothing was done, and a repetition is refused again."""


class InvalidState(Refused):
    """The shipment or consignment is in a state that forbids it. What is there may be what was wanted."""


class NoServiceAvailable(Refused):
    """No carrier service could take it, or quote for it."""


class TryAgain(AllocationError):
    """It was not done, and may be in a while: a limit was reached, something is unreachable, another write is going on.

    The client has repeated the call until its time, or its budget, was used up.
    """


class UnknownOutcome(AllocationError):
    """It may have been done or not. Keep `request_id`, and repeat the call with it: that is how to ask.

    `client.call(error.request, account=error.account)` does. Where `allocation` or `consignment_allocation` is set and
    `retry_after` is not, it can never be known whether this request made what is there: look at it.
    """

    def __str__(self) -> str:
        told = f"{super().__str__()} The outcome is unknown: repeat the call with request_id {self.request_id}"
        return f"{told} and account {self.account}" if self.account else told


class UnfinishedJob(AllocationError):
    """A job that was over before every item had its outcome. Begin it again with its `job_id`, for the same account.

    Nothing is done twice by that, and what is known already is told again.

    Attributes:
        job_id: The id of the job.
        unanswered: The references of all items that were taken from the caller's iterable and have no outcome, whether
            they were sent or not. What was not taken yet is the caller's own. To begin the job again with all of its
            items does none of them twice.
    """

    def __init__(
        self, failure: Failure, request: Message, account: str, job_id: str, unanswered: Sequence[str]
    ) -> None:
        super().__init__(failure, request, account)
        # What it is made of again when it is pickled.
        self.args = (failure, request, account, job_id, unanswered)
        self.job_id = job_id
        self.unanswered = unanswered

    def __str__(self) -> str:
        count = len(self.unanswered)
        return f"{super().__str__()} {count} items have no outcome: begin again with job_id {self.job_id}"


class NotPermitted(AllocationError):
    """The gateway, or a proxy in front of it, does not let this caller do it."""


class NotSupported(AllocationError):
    """The operation is switched off at this gateway, or this gateway is older than the operation."""


class GatewayFailure(AllocationError):
    """The gateway, what it stands in front of, or how it is set up, has failed. `effect` says what was done."""


_BY_REASON: Final[Mapping[str, type[AllocationError]]] = {
    "INVALID_STATE": InvalidState,
    "ALLOCATION_FAILED": NoServiceAvailable,
    "NO_QUOTES_AVAILABLE": NoServiceAvailable,
}
_BY_CODE: Final[Mapping[StatusCode, type[AllocationError]]] = {
    StatusCode.INVALID_ARGUMENT: InvalidRequest,
    StatusCode.NOT_FOUND: NotFound,
    StatusCode.FAILED_PRECONDITION: Refused,
    StatusCode.RESOURCE_EXHAUSTED: TryAgain,
    StatusCode.UNAVAILABLE: TryAgain,
    StatusCode.ABORTED: TryAgain,
    StatusCode.DEADLINE_EXCEEDED: TryAgain,
    StatusCode.PERMISSION_DENIED: NotPermitted,
    StatusCode.UNAUTHENTICATED: NotPermitted,
    StatusCode.UNIMPLEMENTED: NotSupported,
}


def error_of(failure: Failure, request: Message, *, is_in_doubt: bool, account: str = "") -> AllocationError:
    """Returns the error for a failed call.

    Args:
        failure: How the last attempt ended.
        request: What was asked for.
        is_in_doubt: Whether an attempt may have had an effect that nothing said since speaks against.
        account: The account that it was for; empty if none was named.
    """
    if is_in_doubt:
        return UnknownOutcome(failure, request, account)
    kind = _BY_REASON.get(failure.reason) or _BY_CODE.get(failure.code, GatewayFailure)
    return kind(failure, request, account)

"""What allocctl says of a call that failed, and its exit code: one for each way to go on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from google.protobuf.json_format import MessageToDict

from allocation_gateway_client.errors import (
    AllocationError,
    InvalidRequest,
    InvalidState,
    NoServiceAvailable,
    NotFound,
    NotPermitted,
    NotSupported,
    Refused,
    TryAgain,
    UnfinishedJob,
    UnknownOutcome,
)
from allocation_gateway_client.values import money

if TYPE_CHECKING:
    from collections.abc import Mapping

    from allocation.v1.error_reason_pb2 import WriteProgress

FAILED: Final = 1
USAGE: Final = 2
INTERRUPTED: Final = 130
# Several calls that did not all end alike.
SEVERAL: Final = 10

_EXIT_CODES: Final[Mapping[type[AllocationError], int]] = {
    InvalidRequest: 3,
    NotFound: 4,
    InvalidState: 5,
    NoServiceAvailable: 5,
    Refused: 5,
    TryAgain: 6,
    UnknownOutcome: 7,
    UnfinishedJob: 7,
    NotPermitted: 8,
    NotSupported: 9,
}


_ADVICE: Final[Mapping[str, str]] = {
    "ACCOUNT_NOT_FOUND": "Check --account: the gateway has no account of that name.",
    "CALLER_UNAUTHENTICATED": "Check --token-file and the client certificate, or ask the gateway's operators.",
    "REQUEST_ID_REUSED": "This --request-id belongs to another request: leave it out.",
    "SERVICE_GROUP_AMBIGUOUS": "Use the code of one of them, or say of which --api it is.",
    "SERVICE_GROUP_NOT_FOUND": "`allocctl groups` lists the groups that the gateway knows.",
}


def exit_code(error: AllocationError) -> int:
    """Returns the exit code for a failed call."""
    return exit_code_of(type(error))


def exit_code_of(kind: type[AllocationError]) -> int:
    """Returns the exit code for a failed call of a kind."""
    return _EXIT_CODES.get(kind, FAILED)


def together(codes: list[int]) -> int:
    """Returns the exit code for several calls: that which all that failed have, or SEVERAL."""
    failed = {code for code in codes if code}
    return failed.pop() if len(failed) == 1 else SEVERAL if failed else 0


def of_account(name: str) -> str:
    """Returns what to add to an advice to repeat a command, so that it is repeated for the same account."""
    return f" for account {name}" if name else ""


def advice(error: AllocationError) -> str:
    """Returns what to do next; empty if there is nothing to say."""
    later = "" if error.retry_after is None else f" after {error.retry_after:g} s"
    if isinstance(error, UnknownOutcome):
        unreachable = "" if error.reason else "Is the address right, and the gateway running? "
        again = f"{of_account(error.account)}{later}"
        return f"{unreachable}Repeat the command{again} with --request-id {error.request_id} to learn how it ended."
    if isinstance(error, TryAgain):
        if not error.reason:
            return "The gateway did not answer: check --address, --plaintext and --ca-file, and whether it is running."
        return f"Nothing was done. Repeat the command{later}."
    if isinstance(error, NoServiceAvailable):
        return "Look at why each service was excluded: --json shows all of it."
    if isinstance(error, InvalidState):
        return "Look at how it stands with `allocctl show`; `allocctl deallocate` takes an allocation back."
    if isinstance(error, NotPermitted):
        return _ADVICE["CALLER_UNAUTHENTICATED"]
    if error.reason in _ADVICE:
        return _ADVICE[error.reason]
    if correlation := error.metadata.get("upstream_correlation_id"):
        return f"Quote the correlation id {correlation} to the support of the API."
    return ""


def lines(error: AllocationError) -> list[str]:
    """Returns a failure for people: what happened, the facts, and what to do next."""
    told = [str(error)]
    told += [f"  excluded: {_excluded(one)}" for one in error.excluded_services]
    if error.omitted_services:
        told.append(f"  and {error.omitted_services} more")
    if error.failed_allocation is not None:
        told.append(f"  {error.failed_allocation.message}")
    for there in (error.allocation, error.consignment_allocation):
        if there is not None and there.HasField("price"):
            told.append(f"  it is allocated for {money(there.price.gross)}")
    if error.progress is not None:
        told += [f"  {what}: {', '.join(known)}" for what, known in _progress(error.progress) if known]
    return [*told, advice(error)] if advice(error) else told


def _excluded(service: Any) -> str:
    carrier = service.carrier
    return f"{carrier.service_reference or carrier.reference}: {service.exclusion.reason}"


def _progress(told: WriteProgress) -> list[tuple[str, list[str]]]:
    return [("done", list(told.done)), ("rejected", list(told.rejected)), ("unknown", list(told.unknown))]


def as_json(error: AllocationError) -> dict[str, Any]:
    """Returns a failure for programs: its absent parts are left out."""
    found: dict[str, Any] = {
        "kind": type(error).__name__,
        "code": error.code.name,
        "reason": error.reason,
        "message": error.message,
        "effect": error.effect,
        "request_id": error.request_id,
        "account": error.account,
        "metadata": dict(error.metadata),
        "retry_after": error.retry_after,
        "field_violations": [{"field": one.field, "description": one.description} for one in error.field_violations],
        "excluded_services": [MessageToDict(one, preserving_proto_field_name=True) for one in error.excluded_services],
        "omitted_services": error.omitted_services,
    }
    if error.resource is not None:
        found["resource"] = {"kind": error.resource.kind, "name": error.resource.name}
    if isinstance(error, UnfinishedJob):
        found |= {"job_id": error.job_id, "unanswered": list(error.unanswered)}
    for name in ("allocation", "consignment_allocation", "failed_allocation", "progress"):
        detail = getattr(error, name)
        if detail is not None:
            found[name] = MessageToDict(detail, preserving_proto_field_name=True)
    return {"error": {name: value for name, value in found.items() if value not in ("", None, [], {}, 0)}}

"""What allocctl says of a call that failed, and its exit code: one for each way to go on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from google.protobuf.json_format import MessageToDict

from allocation_gateway_client.errors import (
    AllocationError,
    GatewayFailure,
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
    from collections.abc import Iterable, Mapping

    from allocation.v1.error_reason_pb2 import WriteProgress
    from google.protobuf.message import Message

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


_OPERATORS: Final = "Ask the gateway's operators: "
_SERVICES: Final = "Check the reference: `allocctl quotes` lists the services that can take a shipment or consignment."
_GIVEN: Final = "Check the reference, and that --address and --account are those that it belongs to."
# What the kind of an error does not tell by itself.
_ADVICE: Final[Mapping[str, str]] = {
    "ACCOUNT_NOT_FOUND": "Check --account: the gateway has no account of that name.",
    "API_NOT_CONFIGURED": f"{_OPERATORS}it has no key for this API. --api says of which one a reference is.",
    "CALLER_NOT_ALLOWED": f"{_OPERATORS}its policy does not allow you this.",
    "CALLER_UNAUTHENTICATED": "Check --token-file and the client certificate, or ask the gateway's operators.",
    "CARRIER_SERVICE_NOT_FOUND": _SERVICES,
    "CONSIGNMENT_NOT_FOUND": _GIVEN,
    "GATEWAY_DEFECT": "Tell the gateway's operators: its log has the cause.",
    "GATEWAY_MISCONFIGURED": f"{_OPERATORS}it is not set up rightly.",
    "OPERATION_DISABLED": f"{_OPERATORS}they have switched this off.",
    "REFRESH_NOT_ALLOWED": f"{_OPERATORS}refreshing service groups is off. Without --refresh it tells what it knows.",
    "REQUEST_ID_REUSED": "This --request-id belongs to another request: leave it out.",
    "RESOURCE_NOT_FOUND": "The API does not say what is missing: check every reference.",
    "SERVICE_GROUP_AMBIGUOUS": "Use the code of one of them, or say of which --api it is.",
    "SERVICE_GROUP_NOT_FOUND": "`allocctl groups` lists the groups that the gateway knows.",
    "SHIPMENT_NOT_FOUND": _GIVEN,
    "UPSTREAM_CONFLICT": "Look at how it stands with `allocctl show`: something else may have changed it.",
    "UPSTREAM_CONTRACT_BROKEN": "Tell the gateway's operators: the API has answered what nobody can read.",
    "UPSTREAM_CREDENTIALS_REJECTED": f"{_OPERATORS}the API rejects their key.",
    "VIRTUAL_SERVICE_NOT_FOUND": _SERVICES,
}
# What is wrong with them is wrong with every row of a file, not with the one that was asked for.
_OF_ALL: Final = frozenset({"ACCOUNT_NOT_FOUND", "API_NOT_CONFIGURED"})
# For reasons that are told above in no other way, those of a newer gateway, and answers that are not the gateway's.
_ADVICE_BY_KIND: Final[Mapping[type[AllocationError], str]] = {
    InvalidRequest: "Mend what is named there, and try again.",
    NotFound: "Check what the command names.",
    NoServiceAvailable: "Look at why each service was excluded: --json shows all of it.",
    InvalidState: "Look at how it stands with `allocctl show`; `allocctl deallocate` takes an allocation back.",
    Refused: "Nothing was done, and it would be refused again: look at how it stands with `allocctl show`.",
    NotPermitted: "It was not let through: check --address and who you say you are, or ask the gateway's operators.",
    NotSupported: "It does not know the call: the gateway is older than this command, or is not at this --address.",
}
# The fields of requests that name shipments or consignments.
_ONE: Final = ("shipment_reference", "consignment_reference")
_MANY: Final = ("shipments", "consignments", "shipment_references", "consignment_references")
_MOST_NAMED: Final = 3


def exit_code(error: AllocationError) -> int:
    """Returns the exit code for a failed call."""
    return exit_code_of(type(error))


def exit_code_of(kind: type[AllocationError]) -> int:
    """Returns the exit code for a failed call of a kind."""
    return _EXIT_CODES.get(kind, FAILED)


def exit_code_of_name(kind: str) -> int:
    """Returns the exit code for a failed call of a kind, by its name; 0 if there is none of that name."""
    if kind == GatewayFailure.__name__:
        return FAILED
    return next((code for one, code in _EXIT_CODES.items() if one.__name__ == kind), 0)


def together(codes: Iterable[int]) -> int:
    """Returns the exit code for several calls: that which all that failed have, or SEVERAL."""
    failed = {code for code in codes if code}
    return failed.pop() if len(failed) == 1 else SEVERAL if failed else 0


def is_refusal(error: AllocationError) -> bool:
    """Returns whether the gateway has refused what was asked for, so that another try is another request.

    Whatever else has failed is asked for again by the same request: the caller's token, the gateway or the API.
    """
    is_of_request = isinstance(error, InvalidRequest | NotFound | Refused)
    return is_of_request and bool(error.reason) and error.reason not in _OF_ALL


def is_of_all(error: AllocationError) -> bool:
    """Returns whether whatever else is asked for would fail as well, until somebody mends something."""
    is_of_moment = isinstance(error, TryAgain | UnknownOutcome) and bool(error.reason)
    return not is_of_moment and not is_refusal(error) and error.effect != "made"


def references(request: Message) -> list[str]:
    """Returns the shipments or consignments that a request is about."""
    fields: Any = request
    one = [getattr(fields, name) for name in _ONE if name in request.DESCRIPTOR.fields_by_name]
    many = [list(getattr(fields, name)) for name in _MANY if name in request.DESCRIPTOR.fields_by_name]
    return [name for name in (*one, *(name for names in many for name in names)) if name]


def to_learn(again: str) -> str:
    """Returns how to learn what became of a call, from what is to be done again."""
    return f"To learn how it ended, {again}"


def advice(error: AllocationError, again: str = "") -> str:
    """Returns what to do next; `again` says how a call is repeated whose outcome is unknown."""
    later = "" if error.retry_after is None else f" after {error.retry_after:g} s"
    if isinstance(error, UnknownOutcome):
        if (error.allocation or error.consignment_allocation) and error.retry_after is None:
            return "Whether this request has made what is there can never be known: look at it with `allocctl show`."
        unreachable = "" if error.reason else "Is the address right, and the gateway running? "
        wait = "" if error.retry_after is None else f"Wait {error.retry_after:g} s. "
        return f"{unreachable}{wait}{to_learn(again or f'repeat the call with request_id {error.request_id}')}"
    if isinstance(error, UnfinishedJob):
        return "Begin it again with the same id: nothing is booked twice."
    if isinstance(error, TryAgain):
        if not error.reason:
            return "The gateway did not answer: check --address, --plaintext and --ca-file, and whether it is running."
        return f"Nothing was done. Repeat the command{later}."
    if error.effect == "made":
        return "It is done, although its answer cannot be read: look at it with `allocctl show`."
    if told := _ADVICE.get(error.reason, ""):
        missing = error.metadata.get("missing", "")
        return f"{told} Missing: {missing}." if missing else told
    for kind, told in _ADVICE_BY_KIND.items():
        if isinstance(error, kind):
            return told
    correlation = error.metadata.get("upstream_correlation_id", "")
    quoted = f", and quote the correlation id {correlation} to the support of the API" if correlation else ""
    return f"Tell the gateway's operators{quoted}."


def lines(error: AllocationError, again: str = "") -> list[str]:
    """Returns a failure for people: of what, what happened, the facts, and what to do next."""
    named = references(error.request)
    rest = f" and {len(named) - _MOST_NAMED} more" if len(named) > _MOST_NAMED else ""
    about = f"{', '.join(named[:_MOST_NAMED])}{rest}: " if named else ""
    told = [f"{about}{error}"]
    told += [f"  excluded: {_excluded(one)}" for one in error.excluded_services]
    if error.omitted_services:
        told.append(f"  and {error.omitted_services} more")
    if error.failed_allocation is not None:
        told.append(f"  {error.failed_allocation.message}")
    for there in (error.allocation, error.consignment_allocation):
        if there is not None:
            amount = f" for {money(there.price.gross)}" if there.price.HasField("gross") else ""
            told.append(f"  it is allocated{amount}")
    if error.progress is not None:
        told += [f"  {what}: {', '.join(known)}" for what, known in _progress(error.progress) if known]
    return [*told, advice(error, again)]


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
        "references": references(error.request),
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

"""What the Consignments API refuses and how.

No list of its error codes is published. The names here follow its SDK's exception classes where there is one, and the
texts of those are the SDK's; the switches choose statuses and the style of the codes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from allocation_gateway.sandbox.consignments.switches import ConsignmentsSwitches

SAMPLE_CODE = "SampleErrorCode"
COURIER_REFUSAL = "Could not be booked with courier."
NO_SERVICE = "No carrier service is available for the consignment."


@dataclass(frozen=True, slots=True)
class Detail:
    """One child of an error; `target` is the member of the request at fault."""

    code: str
    target: str | None
    message: str


class ConsignmentsError(Exception):
    """A refusal, the only exception that answers a caller.

    `name` is the code without a style. `details` are the children. `policy` means that the API management in front
    answers, in its own form.
    """

    def __init__(
        self,
        status: int,
        name: str,
        message: str,
        *,
        details: tuple[Detail, ...] = (),
        policy: bool = False,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.name = name
        self.message = message
        self.details = details
        self.policy = policy
        self.headers = headers or {}


def code(name: str, switches: ConsignmentsSwitches) -> str:
    """An error's code in the style of the moment."""
    if switches.error_codes == "sample":
        return SAMPLE_CODE
    return f"{name}Exception" if switches.error_codes == "exception" else name


def missing_key(switches: ConsignmentsSwitches) -> ConsignmentsError:
    """There is no subscription key."""
    message = (
        "Access denied due to missing subscription key. "
        "Make sure to include subscription key when making requests to an API."
    )
    return access(401, "MissingApiKey", message, switches)


def invalid_key(key: str, switches: ConsignmentsSwitches) -> ConsignmentsError:
    """The subscription key is wrong. The service's own text for this repeats it."""
    if switches.access_error == "api_error":
        return access(401, "InvalidApiKey", f"API key '{key}' is not valid", switches)
    message = (
        "Access denied due to invalid subscription key. Make sure to provide a valid key for an active subscription."
    )
    return access(401, "InvalidApiKey", message, switches)


def access(status: int, name: str, message: str, switches: ConsignmentsSwitches) -> ConsignmentsError:
    """The caller may not do this at all."""
    return ConsignmentsError(status, name, message, policy=switches.access_error == "apim")


def no_operation() -> ConsignmentsError:
    """No operation has this method and path; API management does not tell which of them is wrong."""
    return ConsignmentsError(404, "OperationNotFound", "Resource not found", policy=True)


def too_many_calls(seconds: int) -> ConsignmentsError:
    """The rate limit is exceeded."""
    message = f"Rate limit is exceeded. Try again in {seconds} seconds."
    return ConsignmentsError(429, "RateLimit", message, policy=True, headers={"Retry-After": str(seconds)})


def invalid(message: str, target: str | None = None, *, status: int = 400) -> ConsignmentsError:
    """The request itself is wrong."""
    detail = Detail("Validation", target, message)
    return ConsignmentsError(status, "Validation", message, details=(detail,))


def unknown_consignment(reference: str, status: int) -> ConsignmentsError:
    """There is no such consignment. Readings say 404; for allocations only 400 is listed."""
    return ConsignmentsError(status, "ConsignmentNotFound", f"Item {reference} not found")


def wrong_state(reference: str, state: str, doing: str, switches: ConsignmentsSwitches) -> ConsignmentsError:
    """The consignment's state does not allow it."""
    message = f"Consignment {reference} cannot be {doing} in state {state}"
    return ConsignmentsError(switches.wrong_state, "ConsignmentInvalidState", message)


def failed(reference: str, reason: str) -> ConsignmentsError:
    """Allocation was tried and failed."""
    return ConsignmentsError(400, "AllocationFailed", f"Consignment {reference} could not be allocated. {reason}")


def unknown_group(group: str, customer: str, switches: ConsignmentsSwitches) -> ConsignmentsError:
    """There is no such group to allocate with."""
    message = f"Specified carrier service group ({group}) is not among Customer ({customer}) Carrier Service Groups"
    return ConsignmentsError(switches.unknown_group, "CarrierServiceGroupNotFoundForCustomer", message)


def unread_group(group: str, customer: str) -> ConsignmentsError:
    """There is no such group to read."""
    return ConsignmentsError(
        404, "ServiceGroupNotFound", f"Service group ({group}) not found for customer ({customer})"
    )


def unknown_service(reference: str, switches: ConsignmentsSwitches) -> ConsignmentsError:
    """There is no such carrier service."""
    message = f"Specified MpdCarrierService not found in database: {reference}"
    return ConsignmentsError(switches.unknown_service, "MpdCarrierServiceNotFound", message)


def unknown_quote(reference: str, status: int) -> ConsignmentsError:
    """There is no such quote."""
    return ConsignmentsError(status, "QuoteNotFound", f"Item {reference} not found")


def unusable_quote(name: str, message: str, switches: ConsignmentsSwitches) -> ConsignmentsError:
    """The quote has expired or is another consignment's."""
    return ConsignmentsError(switches.unusable_quote, name, message)


def no_label(reference: str) -> ConsignmentsError:
    """The consignment has no label."""
    return ConsignmentsError(404, "LabelNotFound", f"Label not found for consignment reference '{reference}'")

"""Reading requests: what they must be before anything is done for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from allocation_gateway.sandbox.consignments import errors
from allocation_gateway.sandbox.messages import NotJsonError, decode

if TYPE_CHECKING:
    from allocation_gateway.sandbox.consignments.switches import ConsignmentsSwitches

T = TypeVar("T")

# What the SDK sends where the reference says that there is no body: an empty JSON string.
EMPTY_STRING = b'""'


def no_body(body: bytes) -> None:
    """Insist that a request has no body, in one of the ways of having none.

    Raises:
        ConsignmentsError: it has one.
    """
    if body.strip() not in {b"", EMPTY_STRING}:
        raise errors.invalid("This operation takes no body.")


def json(body: bytes) -> Any:
    """The body as JSON.

    Raises:
        ConsignmentsError: it is none.
    """
    try:
        return decode(body)
    except NotJsonError:
        raise errors.invalid("The request body is not valid JSON.") from None


def typed(document: Any, kind: type[T]) -> T:
    """The document as a type.

    Raises:
        ConsignmentsError: a required member is absent or one is of the wrong type.
    """
    try:
        return msgspec.convert(document, kind)
    except msgspec.ValidationError as error:
        message, _, place = str(error).partition(" - at `")
        target = place.rstrip("`").removeprefix("$").removeprefix(".")
        raise errors.invalid(message, target or None) from None


def references(given: tuple[str, ...], switches: ConsignmentsSwitches) -> tuple[str, ...]:
    """The references of a bulk request; each rule about them is a switch, for none is documented.

    Raises:
        ConsignmentsError: there are none, too many, or one twice.
    """
    target = "ConsignmentReferences"
    if not given and switches.empty_list == "refused":
        raise errors.invalid("At least one consignment reference is required.", target)
    if switches.batch_limit and len(given) > switches.batch_limit:
        raise errors.invalid(f"At most {switches.batch_limit} consignment references are allowed.", target)
    different = tuple(dict.fromkeys(given))
    if len(different) < len(given) and switches.duplicates == "refused":
        raise errors.invalid("A consignment reference is given more than once.", target)
    return given if switches.duplicates == "each" else different

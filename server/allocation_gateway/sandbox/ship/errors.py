"""What Ship refuses and how: HTTP status, parent code and child codes.

Source: the error table (2020 reference, 2023 pages). `ShipError` is the only exception that answers a caller.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from allocation_gateway.sandbox.ship.eligibility import Exclusion
    from allocation_gateway.sandbox.ship.shipments import Shipment
    from allocation_gateway.sandbox.ship.switches import ShipSwitches

ALLOCATION_FAILED = "allocation_failed"
NOT_FOUND = "not_found"
SHIPMENT_INVALID_STATE = "shipment_invalid_state"
SHIPMENT_NOT_FOUND = "shipment_not_found"
SHIPMENT_NOT_FOUND_TEXT = "The shipment cannot be found."

FAILED_ALLOCATION_STATUS = 521
NO_QUOTES_STATUS = 531


@dataclass(frozen=True, slots=True)
class Detail:
    """One child of an error; `property` is the path of the request's member at fault, if one is."""

    code: str
    message: str
    property: str | None = None


class ShipError(Exception):
    """A refusal. `shipment` and `exclusions` are set where an allocation or quote was tried and failed."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        details: Sequence[Detail],
        shipment: Shipment | None = None,
        exclusions: Sequence[Exclusion] = (),
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.details = tuple(details)
        self.shipment = shipment
        self.exclusions = tuple(exclusions)


def invalid(switches: ShipSwitches, details: Sequence[Detail]) -> ShipError:
    """400: the request itself is wrong."""
    return ShipError(400, switches.validation_parent, "A provided property is invalid", details)


def not_found(message: str, child: str = NOT_FOUND) -> ShipError:
    """404: a path or a thing does not exist."""
    return ShipError(404, NOT_FOUND, message, [Detail(child, message)])


def method_not_supported(method: str) -> ShipError:
    """405: the path exists, but not with this method."""
    code, message = "method_not_supported", f"The method {method} is not supported on this path."
    return ShipError(405, code, message, [Detail(code, message)])


def unauthorised(child: str, message: str) -> ShipError:
    """401: the API key is absent or wrong."""
    return ShipError(401, "unauthorised", message, [Detail(child, message)])


def version_header(switches: ShipSwitches, child: str, message: str) -> ShipError:
    """400: the version header is absent or wrong; the early contract gives these codes as their own parents."""
    parent = child if switches.version_error_parent == "own" else switches.validation_parent
    return ShipError(400, parent, message, [Detail(child, message)])


def failed(
    switches: ShipSwitches,
    child: str,
    message: str,
    shipment: Shipment | None = None,
    exclusions: Sequence[Exclusion] = (),
) -> ShipError:
    """521: the request was understood but the shipment could not be allocated."""
    parent = child if switches.failure_parent == "child" else switches.failure_parent
    return ShipError(FAILED_ALLOCATION_STATUS, parent, message, [Detail(child, message)], shipment, exclusions)


def no_quotes(shipment: Shipment, exclusions: Sequence[Exclusion]) -> ShipError:
    """531: no service can quote for the shipment."""
    code, message = "no_quotes_available", f"No quotes are available for shipment {shipment.reference}"
    return ShipError(NO_QUOTES_STATUS, code, message, [Detail(code, message)], shipment, exclusions)


def unknown_shipment(switches: ShipSwitches) -> ShipError:
    """No such shipment: 404 or 521, both are defined."""
    if switches.unknown_shipment == FAILED_ALLOCATION_STATUS:
        return failed(switches, SHIPMENT_NOT_FOUND, SHIPMENT_NOT_FOUND_TEXT)
    return not_found(SHIPMENT_NOT_FOUND_TEXT, SHIPMENT_NOT_FOUND)


def unknown_service(switches: ShipSwitches, reference: str) -> ShipError:
    """No such carrier service: 521 by the error page, 404 by the endpoint table."""
    message = f"The carrier service {reference} cannot be found."
    if switches.unknown_service == FAILED_ALLOCATION_STATUS:
        return failed(switches, "carrier_service_not_found", message)
    return not_found(message)


def unknown_group(switches: ShipSwitches, code: str) -> ShipError:
    """No such service group: 404 by the endpoint table; no code of its own exists."""
    message = f"The carrier service group {code} cannot be found."
    if switches.unknown_group == FAILED_ALLOCATION_STATUS:
        return failed(switches, ALLOCATION_FAILED, message)
    return not_found(message)


def unknown_virtual(switches: ShipSwitches, reference: str) -> ShipError:
    """Neither a service nor a group: 400 by the error list, 404 by the guide."""
    message = f"The virtual service {reference} cannot be found."
    if switches.unknown_virtual == 400:
        return invalid(switches, [Detail("virtual_service_not_found", message, "virtual_service_reference")])
    return not_found(message)


def unusable_quote(switches: ShipSwitches, message: str) -> ShipError:
    """A quote that has expired or belongs to another shipment: no code is documented."""
    if switches.unusable_quote == FAILED_ALLOCATION_STATUS:
        return failed(switches, ALLOCATION_FAILED, message)
    if switches.unusable_quote == 400:
        return invalid(switches, [Detail("invalid_value", message, "quote_ref")])
    return not_found(message)

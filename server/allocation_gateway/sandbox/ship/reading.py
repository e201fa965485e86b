"""Reading the request bodies of bulk calls, and what all bodies have in common."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from allocation_gateway.sandbox.messages import NotJsonError, decode
from allocation_gateway.sandbox.ship import errors
from allocation_gateway.sandbox.ship.errors import Detail
from allocation_gateway.sandbox.ship.selection import WithFilters

if TYPE_CHECKING:
    from collections.abc import Mapping

    from allocation_gateway.sandbox.ship.catalogue import Direction
    from allocation_gateway.sandbox.ship.eligibility import ProofOfDelivery
    from allocation_gateway.sandbox.ship.switches import ShipSwitches
    from allocation_gateway.sandbox.ship.violations import Violations

MOST_SHIPMENTS = 100
_REFERENCE = re.compile(r"sp_[0-9]{32}")

_PROOFS: Mapping[str, ProofOfDelivery] = {"require": "require", "prefer": "prefer", "prevent": "prevent"}
_DIRECTIONS: Mapping[str, Direction] = {"inbound": "inbound", "outbound": "outbound"}


def json_object(body: bytes, switches: ShipSwitches) -> Mapping[str, Any]:
    """The body as a JSON object.

    Raises:
        ShipError: 400, it is none.
    """
    try:
        document = decode(body)
    except NotJsonError:
        document = None
    if not isinstance(document, dict):
        raise errors.invalid(switches, [Detail("invalid_format", "The body must be a JSON object")])
    return document


def is_malformed(reference: str, switches: ShipSwitches) -> bool:
    """Whether a reference is to be refused for its form alone."""
    if switches.malformed_reference == "not_found":
        return False
    return _REFERENCE.fullmatch(reference.lower() if switches.reference_case == "any" else reference) is None


def shipment_references(body: Mapping[str, Any], violations: Violations) -> tuple[str, ...]:
    """The `shipments` of a bulk request: 1 to 100, none twice."""
    references = violations.strings(body, "shipments", "shipments", fewest=1, most=MOST_SHIPMENTS)
    violations.unique(references, "shipments", "duplicate_references")
    for index, reference in enumerate(references):
        if is_malformed(reference, violations.switches):
            violations.add("invalid_reference_format", f"'{reference}' is not a reference", f"shipments[{index}]")
    return references


def capabilities(body: Mapping[str, Any], violations: Violations) -> ProofOfDelivery | None:
    """The service capabilities; the sources disagree on whether they are one object or an array of them."""
    given = body.get("capabilities")
    if given is None:
        return None
    accepted = violations.switches.capabilities
    if isinstance(given, dict) and accepted != "array":
        return _capability(given, "capabilities", violations)
    if isinstance(given, list) and accepted != "object":
        proofs = [_capability(item, f"capabilities[{index}]", violations) for index, item in enumerate(given)]
        if len(proofs) > 1:
            violations.add("duplicate_values", "proof_of_delivery is given more than once", "capabilities")
        return proofs[0] if proofs else None
    shape = "an object" if accepted == "object" else "an array"
    violations.add("invalid_format", f"capabilities must be {shape}", "capabilities")
    return None


def _capability(given: object, path: str, violations: Violations) -> ProofOfDelivery | None:
    if not isinstance(given, dict):
        violations.add("invalid_format", f"{path} must be an object", path)
        return None
    violations.choice(given, "type", f"{path}.type", ("proof_of_delivery",), "invalid_value", required=True)
    value = violations.choice(given, "value", f"{path}.value", _PROOFS, "invalid_value", required=True)
    return None if value is None else _PROOFS[value]


def filters(body: Mapping[str, Any], violations: Violations) -> WithFilters | None:
    """The filters of a bulk request; None if they are wrong, which the violations then say."""
    given = violations.object(body, "filters", "filters", required=True)
    if given is None:
        return None
    direction = violations.choice(
        given, "direction", "filters.direction", _DIRECTIONS, "invalid_direction", required=True
    )
    tags = violations.tags(given, "filters.tags")
    pickup = violations.flag(given, "pickup", "filters.pickup", default=False)
    drop_off = violations.flag(given, "drop_off", "filters.drop_off", default=True)
    return None if direction is None else WithFilters(_DIRECTIONS[direction], tags, pickup, drop_off)

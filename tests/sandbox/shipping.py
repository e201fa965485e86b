"""A well-formed shipment to create, and creating it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sandbox.calling import Caller


def address(kind: str, country: str = "GB") -> dict[str, Any]:
    """A complete address."""
    return {
        "address_type": kind,
        "address_line1": "2 Test Road",
        "postal_code": "M1 1AA",
        "country_iso_code": country,
        "contact": {
            "first_name": "Grace",
            "last_name": "Tester",
            "contact_details": {"email": "grace@example.com"},
        },
    }


def content(**members: Any) -> dict[str, Any]:
    """A complete content of 2 kg."""
    return {
        "description": "Test contents",
        "value": {"amount": 12.50, "currency": "GBP"},
        "weight": {"value": 2, "unit": "kg"},
        "dimensions": {"length": 10, "width": 20, "height": 30, "unit": "cm"},
        **members,
    }


def request(**members: Any) -> dict[str, Any]:
    """A complete CreateShipmentRequest; a member given as None is left out."""
    body = {
        "shipment_type": "scheduled",
        "addresses": [address("origin"), address("destination")],
        "contents": [content()],
        **members,
    }
    return {name: value for name, value in body.items() if value is not None}


async def create(caller: Caller, **members: Any) -> str:
    """Create a shipment; the answer is its reference."""
    response = await caller.ship("POST", "/shipments", request(**members))
    assert response.status_code == 201, response.text
    return str(response.json()["reference"])

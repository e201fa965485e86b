"""Calls of the gateway by its client."""

from __future__ import annotations

from typing import TYPE_CHECKING

from allocation_gateway_client import Client, money

if TYPE_CHECKING:
    from collections.abc import Callable
    from decimal import Decimal


def open_at(address: str) -> Callable[[str, str], tuple[str, Decimal]]:
    """Returns what allocates a shipment."""
    client = Client(address, plaintext=True)

    def allocate(shipment: str, group: str) -> tuple[str, Decimal]:
        allocation = client.allocate_shipment_with_service_group(shipment, group).allocation
        return allocation.carrier.name, money(allocation.price.gross).amount

    return allocate

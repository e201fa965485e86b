"""Prices, as services have them and as consignments are booked for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from decimal import Decimal


@dataclass(frozen=True, slots=True)
class Rate:
    """A price. Decimals keep the scale with which they are written."""

    net: Decimal
    gross: Decimal
    tax: Decimal
    tax_rate: Decimal
    country: str
    currency: str

"""The kinds of values that every API's catalogue is made of: a field's type is the check of its value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import msgspec

if TYPE_CHECKING:
    from decimal import Decimal

MOST = 10**12
MOST_DECIMALS = 12

Name = Annotated[str, msgspec.Meta(min_length=1)]
Reference = Annotated[str, msgspec.Meta(min_length=1, max_length=50)]
Weekday = Annotated[int, msgspec.Meta(ge=0, le=6)]
ClockTime = Annotated[str, msgspec.Meta(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")]

# Monday is 0.
EVERY_DAY = (0, 1, 2, 3, 4, 5, 6)


def check_exact(*values: Decimal) -> None:
    """Refuse numbers that could not be calculated with exactly.

    Raises:
        ValueError: one is too large, has too many decimals, or is no number.
    """
    for value in values:
        exponent = value.as_tuple().exponent
        if not isinstance(exponent, int) or exponent < -MOST_DECIMALS or abs(value) >= MOST:
            raise ValueError(f"{value} is not a number below {MOST} with at most {MOST_DECIMALS} decimals")

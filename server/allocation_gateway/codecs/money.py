"""Exact decimals: JSON numbers become google.type.Money and google.type.Decimal by value, never via binary floats."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Final

from allocation_gateway.codecs.values import Number

if TYPE_CHECKING:
    from allocation_gateway.codecs.findings import Findings
    from allocation_gateway.codecs.json import Object

NANOS: Final = 1_000_000_000
NANO_DIGITS: Final = 9
MIN_UNITS: Final = -(2**63)
MAX_UNITS: Final = 2**63 - 1
_UNIT_DIGITS: Final = 19
# By the number of decimals, what makes them nanos.
_SCALES: Final = tuple(10 ** (NANO_DIGITS - digits) for digits in range(NANO_DIGITS + 1))
# Digits cost time to read, and no price needs so many.
_LONGEST: Final = 1000


def money(source: Object, key: str, path: str, findings: Findings, currency: str = "") -> Object | None:
    """Reads an amount as the fields of google.type.Money, or notes why it cannot be one exactly.

    An amount must be a JSON number with at most nine significant decimals, whose whole part fits an int64.
    """
    value = source.get(key)
    if value.__class__ is Number:
        whole, _, fraction = value.partition(".")
        digits = len(fraction)
        if digits <= NANO_DIGITS and fraction.isdigit() and len(whole) < _UNIT_DIGITS:
            # What nearly all prices are: such a whole part fits.
            nanos = int(fraction) * _SCALES[digits]
            return {"currency_code": currency, "units": int(whole), "nanos": -nanos if whole[0] == "-" else nanos}
        exact = _split(value)
        if exact is None:
            findings.tell(f"{path}{key}", "the number has more than nine decimals or is out of range")
            return None
        units, nanos = exact
    elif value.__class__ is int:
        units, nanos = int(value), 0
    else:
        findings.note(f"{path}{key}", "a number", value)
        return None
    if not MIN_UNITS <= units <= MAX_UNITS:
        findings.tell(f"{path}{key}", "the number is out of range")
        return None
    return {"currency_code": currency, "units": units, "nanos": nanos}


def decimal(source: Object, key: str, path: str, findings: Findings) -> Object | None:
    """Reads a number as the fields of google.type.Decimal, in the scale that upstream wrote; None if there is none."""
    value = source.get(key)
    if value.__class__ is Number or value.__class__ is int:
        return {"value": str(value)}
    if value is not None:
        findings.note(f"{path}{key}", "a number", value)
    return None


def _split(text: Number) -> tuple[int, int] | None:
    """Returns units and nanos of a number with an exponent or many digits, both with its sign.

    None if they cannot hold it exactly.
    """
    mantissa = text.lower().partition("e")[0]
    if not mantissa.strip("-.0"):
        return 0, 0
    if len(text) > _LONGEST:
        return None
    try:
        sign, digits, exponent = Decimal(text).as_tuple()
    except InvalidOperation:  # an exponent beyond what any decimal holds
        return None
    plain = "".join(map(str, digits)).rstrip("0")
    power = int(exponent) + len(digits) - len(plain) + NANO_DIGITS
    if power < 0 or len(plain) + power > _UNIT_DIGITS + NANO_DIGITS:
        return None
    units, nanos = divmod(int(plain) * 10**power, NANOS)
    return (-units, -nanos) if sign else (units, nanos)

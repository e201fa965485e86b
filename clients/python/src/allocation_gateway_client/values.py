"""What protobuf says of money, decimals and times, in the types that Python has for them. Nothing is ever rounded."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from google.protobuf.timestamp_pb2 import Timestamp
    from google.type import decimal_pb2, money_pb2

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=timezone.utc)
_NANOS: Final = 9
_USUAL_DECIMALS: Final = 2
# What google.type.Decimal allows. Python's Decimal takes more: NaN, Infinity, 1_000, digits of any script.
_DECIMAL: Final = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")


@dataclass(frozen=True, slots=True)
class Money:
    """An exact amount of a currency. As text: `2.00 GBP`.

    Attributes:
        amount: The amount, with at least two decimals.
        currency: The code of ISO 4217.
    """

    amount: Decimal
    currency: str

    def __str__(self) -> str:
        return f"{self.amount:f} {self.currency}"


def money(message: money_pb2.Money) -> Money:
    """Returns an amount as it was sent.

    Raises:
        ValueError: Its units and its nanos differ in sign, or the nanos are a whole unit: it is no amount at all.
    """
    units, nanos = message.units, message.nanos
    if abs(nanos) >= 10**_NANOS or units * nanos < 0:
        raise ValueError(f"units {units} and nanos {nanos} are no amount of money")
    sign = "-" if units < 0 or nanos < 0 else ""
    decimals = f"{abs(nanos):0{_NANOS}d}".rstrip("0").ljust(_USUAL_DECIMALS, "0")
    return Money(Decimal(f"{sign}{abs(units)}.{decimals}"), message.currency_code)


def decimal(message: decimal_pb2.Decimal) -> Decimal:
    """Returns a google.type.Decimal as it was sent, such as the value of a tax rate.

    Raises:
        decimal.InvalidOperation: Its text is no number.
    """
    text = message.value or "0"
    if not _DECIMAL.fullmatch(text):
        raise InvalidOperation(f"{text!r} is no number")
    return Decimal(text)


def time(message: Timestamp) -> datetime:
    """Returns a time, aware and in UTC. Python knows microseconds: what is finer is cut off."""
    return _EPOCH + timedelta(seconds=message.seconds, microseconds=message.nanos // 1000)

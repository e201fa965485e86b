"""Money, decimals and times of the Python client: exact at the limits of what protobuf can say."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation, localcontext

import pytest
from allocation_gateway_client import Money, decimal, money, time
from google.protobuf.timestamp_pb2 import Timestamp
from google.type.decimal_pb2 import Decimal as DecimalMessage
from google.type.money_pb2 import Money as MoneyMessage


@pytest.mark.parametrize(
    ("units", "nanos", "text"),
    [
        (2, 0, "2.00"),
        (0, 0, "0.00"),
        (0, -10_000_000, "-0.01"),
        (-1, -500_000_000, "-1.50"),
        (0, 1, "0.000000001"),
        (2**63 - 1, 999_999_999, "9223372036854775807.999999999"),
        (-(2**63), -999_999_999, "-9223372036854775808.999999999"),
    ],
)
def test_money_is_exact_whatever_the_precision_of_the_caller(units: int, nanos: int, text: str) -> None:
    with localcontext(prec=3):
        read = money(MoneyMessage(currency_code="GBP", units=units, nanos=nanos))
    assert str(read) == f"{text} GBP"
    assert read == Money(Decimal(text), "GBP")


@pytest.mark.parametrize(("units", "nanos"), [(1, -1), (-1, 1), (0, 1_000_000_000)])
def test_what_is_no_amount_is_not_guessed(units: int, nanos: int) -> None:
    with pytest.raises(ValueError, match="no amount of money"):
        money(MoneyMessage(units=units, nanos=nanos))


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-sNaN", "1_000", "٣", " 1", "1.", ".5", "-1e-3", "+2"])
def test_a_decimal_is_what_protobuf_has_for_one(text: str) -> None:
    """Python would take all of them, and some would be no number then."""
    if text in {"1.", ".5", "-1e-3", "+2"}:
        assert decimal(DecimalMessage(value=text)) == Decimal(text)
        return
    with pytest.raises(InvalidOperation, match="no number"):
        decimal(DecimalMessage(value=text))


def test_decimals_and_times() -> None:
    assert decimal(DecimalMessage(value="0.200")) == Decimal("0.200")
    assert decimal(DecimalMessage()) == 0
    read = time(Timestamp(seconds=1_700_000_000, nanos=123_456_789))
    assert read == datetime(2023, 11, 14, 22, 13, 20, 123_456, tzinfo=UTC)
    assert time(Timestamp(seconds=-1, nanos=500_000_000)) == datetime(1969, 12, 31, 23, 59, 59, 500_000, tzinfo=UTC)

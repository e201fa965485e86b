"""Money: any JSON number is either told exactly, or not at all."""

from __future__ import annotations

from decimal import Context, Decimal
from fractions import Fraction
from typing import Any, Final

from allocation_gateway.codecs import json
from allocation_gateway.codecs import ship_common as common
from allocation_gateway.codecs.findings import Findings
from allocation_gateway.codecs.money import decimal, money
from google.type import decimal_pb2, money_pb2
from hypothesis import assume, example, given
from hypothesis import strategies as st

INT64: Final = st.integers(-(2**63), 2**63 - 1)
NANOS: Final = 10**9
NUMBERS: Final = st.from_regex(r"-?(0|[1-9][0-9]{0,25})(\.[0-9]{1,25})?([eE][+-]?[0-9]{1,3})?", fullmatch=True)
# Longer than this, a number is refused unread: no price has so many digits.
LONGEST: Final = 1_000


def read(text: str) -> tuple[money_pb2.Money | None, Findings]:
    """Reads an amount as it stands in a body."""
    defects = Findings()
    fields = money(json.decode(b'{"net":%s}' % text.encode()), "net", "price.", defects, "GBP")
    return (None if fields is None else money_pb2.Money(**fields)), defects


def value_of(amount: money_pb2.Money) -> Fraction:
    return Fraction(amount.units) + Fraction(amount.nanos, NANOS)


def fits(value: Fraction) -> bool:
    """Tells whether units and nanos can hold a value exactly."""
    units = int(value)
    return (value * NANOS).denominator == 1 and -(2**63) <= units <= 2**63 - 1


@given(NUMBERS)
@example("-0")
@example("-9223372036854775808.999999999")
@example("9223372036854775808")
@example("0.0000000010")
@example("0.00000000010")
@example("1e-9")
@example("-1e-10")
@example("123456789012345678.1")
@example("1234567890123456789.1")
def test_a_number_is_told_by_value_if_money_can_hold_it_and_is_a_defect_otherwise(text: str) -> None:
    """Neither rounded nor refused without need; the parts have one sign and no more than nine decimals."""
    amount, defects = read(text)

    exact = Fraction(Decimal(text))
    if not fits(exact):
        assert amount is None
        (defect,) = defects.messages
        assert defect.startswith("price.net: the number ")
        return
    assert not defects
    assert amount is not None
    assert value_of(amount) == exact
    assert abs(amount.nanos) < NANOS
    assert amount.units * amount.nanos >= 0
    assert amount.currency_code == "GBP"


@given(
    units=INT64,
    nanos=st.integers(0, NANOS - 1),
    shift=st.integers(-40, 40),
    zeros=st.integers(0, 40),
    sign=st.booleans(),
)
def test_every_amount_is_read_back_however_it_is_spelled(
    units: int, nanos: int, shift: int, zeros: int, sign: bool
) -> None:
    """With the point moved by an exponent, and with zeros at the end."""
    whole = money_pb2.Money(currency_code="GBP", units=units, nanos=-nanos if units < 0 else nanos)
    if units == 0 and sign:
        whole.nanos = -nanos
    exact = value_of(whole)
    context = Context(prec=200)
    spelled = format(
        context.divide(context.create_decimal(exact.numerator), exact.denominator).scaleb(shift, context), "f"
    )
    if zeros:
        spelled += ("" if "." in spelled else ".") + "0" * zeros
    if shift:
        spelled += f"e{-shift}"
    assert Fraction(Decimal(spelled)) == exact

    amount, defects = read(spelled)

    assert (amount, defects.messages) == (whole, [])


@given(st.from_regex(r"-?[1-9](\.[0-9]{1,5})?[eE][+-]?[1-9][0-9]{3,30}", fullmatch=True))
def test_an_exponent_of_any_size_is_refused_at_once(text: str) -> None:
    """It costs neither time nor memory in proportion to the number that it stands for."""
    amount, defects = read(text)

    assert amount is None
    assert len(defects.messages) == 1


@given(st.integers(LONGEST, 4_000), st.sampled_from(["1.{}", "1.{}1", "0.{}1", "1{}", "-{}.5e-1"]))
def test_a_number_of_thousands_of_digits_is_exact_or_refused(digits: int, form: str) -> None:
    """Whichever of the two it is, it is never wrong."""
    text = form.format("0" * digits if "{}.5" not in form else "1" + "0" * digits)

    amount, defects = read(text)

    assert (amount is None) == bool(defects)
    assert amount is None or value_of(amount) == Fraction(Decimal(text))


ANY_JSON: Final = st.recursive(
    st.none() | st.booleans() | st.text(max_size=10) | st.sampled_from(["1.10", "0", "1e3", "NaN", "Infinity"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(ANY_JSON)
def test_what_is_no_number_is_no_money(value: Any) -> None:
    """A string with a number in it is not one either."""
    defects = Findings()
    source = json.decode(json.encode({"net": value}))

    assert money(source, "net", "", defects, "GBP") is None
    assert len(defects.messages) == 1
    assert decimal(source, "net", "", defects) is None
    assert len(defects.messages) == (1 if value is None else 2)


@given(NUMBERS)
@example("0.0000")
@example("-1.50E+10")
@example("123456789012345678901234567890")
def test_a_decimal_has_the_value_and_the_digits_that_upstream_wrote(text: str) -> None:
    """A proportion such as 0.2000 keeps its scale."""
    assume(text != "-0")  # an integer, whose sign says nothing
    defects = Findings()

    fields = decimal(json.decode(b'{"value":%s}' % text.encode()), "value", "", defects)

    assert fields is not None
    assert not defects
    told = decimal_pb2.Decimal(**fields).value
    assert told == text
    assert Decimal(told) == Decimal(text)


@given(net=NUMBERS, gross=NUMBERS, tax=NUMBERS)
def test_a_price_is_whole_or_absent(net: str, gross: str, tax: str) -> None:
    """If one of its amounts cannot be told, none is."""
    defects = Findings()
    text = f'{{"net":{net},"gross":{gross},"taxes":[{{"amount":{tax}}}],"currency":"EUR"}}'

    price = common.price(json.decode(text.encode()), "price.", defects)

    exact = [Fraction(Decimal(amount)) for amount in (net, gross, tax)]
    assert (price is not None) == all(map(fits, exact)) == (not defects)
    if price is not None:
        amounts = (price["net"], price["gross"], price["taxes"][0]["amount"])
        assert [value_of(money_pb2.Money(**amount)) for amount in amounts] == exact

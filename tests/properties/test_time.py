"""Date-times: exact to the nanosecond, whatever their offset and however many digits they have."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any, Final

import pytest
from allocation_gateway.codecs.findings import Findings
from allocation_gateway.codecs.time import dates, timestamp
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import example, given
from hypothesis import strategies as st

OFFSETS: Final = st.integers(-23 * 60 - 59, 23 * 60 + 59)
FIRST: Final = datetime(1, 1, 2, tzinfo=UTC)
LAST: Final = datetime(9999, 12, 30, tzinfo=UTC)
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def read(value: object) -> tuple[Timestamp | None, Findings]:
    """Reads a date-time."""
    defects = Findings()
    fields = timestamp({"created": value}, "created", "quotes[].", defects)
    return (None if fields is None else Timestamp(**fields)), defects


@given(
    moment=st.datetimes(FIRST.replace(tzinfo=None), LAST.replace(tzinfo=None)),
    offset=st.none() | OFFSETS,
    colon=st.booleans(),
    digits=st.text("0123456789", max_size=20),
    separator=st.sampled_from("Tt "),
)
def test_a_date_time_is_exact_to_the_nanosecond(
    moment: datetime, offset: int | None, colon: bool, digits: str, separator: str
) -> None:
    """Digits beyond nanoseconds are cut, not rounded: rounding could move a day."""
    moment = moment.replace(microsecond=0)
    text = moment.isoformat(separator) + (f".{digits}" if digits else "")
    if offset is not None:
        text += f"{'-' if offset < 0 else '+'}{abs(offset) // 60:02}{':' if colon else ''}{abs(offset) % 60:02}"

    found, defects = read(text)

    assert not defects
    assert found is not None
    aware = moment.replace(tzinfo=timezone(timedelta(minutes=offset or 0)))
    assert found.seconds == (aware - EPOCH) // timedelta(seconds=1)
    assert found.nanos == int((digits + "0" * 9)[:9])


@given(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text()
    | st.from_regex(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d([.,]\d{1,25})?([Zz]|[+-]\d\d:?\d\d)?", fullmatch=True)
    | st.lists(st.text(), max_size=2)
)
@example("0001-01-01T00:00:01+23:59")
@example("9999-12-31T23:59:59-23:59")
@example("2020-02-30T00:00:00Z")
@example("2020-01-01T24:00:00Z")
@example("2020-01-01T00:00:60Z")
@example("2020-01-01T00:00:00+24:00")
@example("2020-01-01")
@example("\u0662020-01-01T00:00:00Z")
def test_anything_is_a_date_time_or_a_defect(value: Any) -> None:
    """A value that is there is never dropped without a word, and nothing is raised."""
    found, defects = read(value)

    if isinstance(value, str) and value.startswith("0001-01-01T00:00:00"):
        return  # it may be what .NET writes for no date
    assert defects.messages in ([], ["quotes[].created: expected a date-time in ISO 8601"])
    assert (found is None) == bool(defects) or value is None
    if found is not None:
        found.ToJsonString()  # refuses what is out of range


@pytest.mark.parametrize("rest", ["", "Z", ".0000000", "+00:00", "+01:00", ".0000000-08:00"])
def test_a_date_that_was_never_set_is_none(rest: str) -> None:
    found, defects = read(f"0001-01-01T00:00:00{rest}")
    assert (found, bool(defects)) == (None, False)


@given(
    st.dictionaries(
        st.sampled_from(["start", "end", "has_value", "other"]),
        st.none() | st.booleans() | st.sampled_from(["2020-07-16T19:20:30+01:00", "soon", ""]) | st.integers(),
    )
)
def test_any_range_is_read(value: dict[str, Any]) -> None:
    """It is unset only if it says that it has no value."""
    defects = Findings()

    found = dates({"shipping_date": value}, "shipping_date", "", defects)

    assert (found is None) == (value.get("has_value") is False)

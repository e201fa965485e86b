"""Upstream's date-times as google.protobuf.Timestamp.

They are ISO 8601 with an offset and up to seven fractional digits; one without an offset is taken as UTC, since that is
what upstream's documented defaults are in.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from allocation_gateway.codecs import json

if TYPE_CHECKING:
    from allocation_gateway.codecs.findings import Findings
    from allocation_gateway.codecs.json import Object

_DATE_TIME: Final = re.compile(
    r"(\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d)(?:[.,](\d{1,20}))?([Zz]|[+-]\d\d(?::?\d\d)?)?", re.ASCII
)
# What .NET, for which upstream's SDK is made, writes for a date that was never set. As a date it would prove an age.
_UNSET: Final = re.compile(r"0001-01-01T00:00:00(?:\.0{1,20})?(?:Z|[+-]\d\d:?\d\d)?", re.ASCII)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_SECOND: Final = -62_135_596_800  # 0001-01-01T00:00:00Z, the earliest Timestamp
_LAST_SECOND: Final = 253_402_300_799  # 9999-12-31T23:59:59Z, the latest


def timestamp(source: Object, key: str, path: str, findings: Findings) -> Object | None:
    """Reads a date-time as the fields of a Timestamp, exact to the nanosecond; None if there is none."""
    text = source.get(key)
    if text is None or (text.__class__ is str and _UNSET.fullmatch(text)):
        return None
    fields = _parse(text) if text.__class__ is str else None
    if fields is None:
        findings.tell(f"{path}{key}", "expected a date-time in ISO 8601")
    return fields


def date_range(source: Object, path: str, findings: Findings) -> Object:
    """Reads a DateRange. One with `"has_value": false` has neither end."""
    json.boolean(source, "has_value", path, findings)
    return {
        "start": timestamp(source, "start", path, findings),
        "end": timestamp(source, "end", path, findings),
    }


def dates(source: Object, key: str, path: str, findings: Findings) -> Object | None:
    """Reads a DateRange below a key; None if there is none, or it says that it has no value."""
    value = source.get(key)
    if value.__class__ is dict and value.get("has_value") is False:
        return None
    return json.child(source, key, path, findings, date_range)


def _parse(text: str) -> Object | None:
    match = _DATE_TIME.fullmatch(text)
    if match is None:
        return None
    head, fraction, offset = match.groups()
    try:
        moment = datetime.fromisoformat(f"{head}{offset or 'Z'}".upper())
    except ValueError:  # a month 13, or an hour 25
        return None
    # Not datetime.timestamp(): that is a float.
    delta = moment - _EPOCH
    seconds = delta.days * 86_400 + delta.seconds
    if not _FIRST_SECOND <= seconds <= _LAST_SECOND:
        return None
    return {"seconds": seconds, "nanos": int(fraction[:9].ljust(9, "0")) if fraction else 0}

"""Whether a destination lies in a place that a rule excludes."""

from __future__ import annotations

import re
from functools import lru_cache

_POSTCODE = re.compile(r"([A-Z]{1,2})(\d[A-Z\d]?)\s*(\d)([A-Z]{2})")
_EXCLUDED = re.compile(r"([A-Z]{1,2})(?:(\d[A-Z\d]?)(?:\s+(\d)([A-Z]{2})?)?)?")

ZIP_PREFIX = 3


def lies_in(postcode: str, excluded: str) -> bool:
    """Whether a UK postcode is of the excluded area, district, sector or unit."""
    parts, rule = _parts(postcode.strip().upper(), _POSTCODE), _parts(excluded.strip().upper(), _EXCLUDED)
    return bool(rule) and parts[: len(rule)] == rule


def zip_lies_in(code: str, excluded: str) -> bool:
    """Whether a US ZIP code begins with the excluded prefix, or with one of the excluded range."""
    first, _, last = excluded.partition("-")
    prefix = code.strip()[:ZIP_PREFIX]
    return len(prefix) == ZIP_PREFIX and first <= prefix <= (last or first)


@lru_cache(maxsize=4096)
def _parts(text: str, pattern: re.Pattern[str]) -> tuple[str, ...]:
    """Area, district, sector and unit, as far as they are given; empty for what is no postcode."""
    found = pattern.fullmatch(text)
    return () if found is None else tuple(part for part in found.groups() if part is not None)

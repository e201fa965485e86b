"""The patterns by which a policy names callers."""

from __future__ import annotations

import re
from typing import Final

from allocation_gateway.callers.model import DNS, JWT, SPIFFE

# What a single asterisk does not reach beyond, by the kind of name.
_SEPARATORS: Final = {SPIFFE: "/", DNS: ".", JWT: ":/"}
_STARS: Final = re.compile(r"(\*+)")


def compiled(pattern: str) -> re.Pattern[str]:
    """Returns what tells whether a name fits a pattern.

    `*` stands for one part of a name: any text up to the next separator, which is `/` in SPIFFE ids, `.` in DNS names,
    and `:` or `/` in the subjects of tokens. `**` stands for any text. Neither stands for nothing.

    Raises:
        ValueError: It is no pattern. The text says why.
    """
    kind = next((kind for kind in _SEPARATORS if pattern.startswith(kind)), None)
    if kind is None:
        raise ValueError(f"must begin with one of {', '.join(_SEPARATORS)}")
    name = pattern.removeprefix(kind)
    if not name or not name.isprintable() or " " in name:
        raise ValueError("must be followed by a name without spaces")
    if kind == DNS:
        name = name.lower()
    parts = [_part(part, _SEPARATORS[kind]) for part in _STARS.split(name)]
    return re.compile(re.escape(kind) + "".join(parts))


def _part(part: str, separators: str) -> str:
    if not part.startswith("*"):
        return re.escape(part)
    if len(part) > 2:
        raise ValueError("has more than two asterisks in a row")
    return ".+" if part == "**" else f"[^{re.escape(separators)}]+"

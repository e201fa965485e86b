"""The values of JSON as they are parsed here, and what JSON calls them."""

from __future__ import annotations

from typing import Final


class Number(str):
    """A JSON number with a fraction or an exponent, as the exact text that upstream sent."""

    __slots__ = ()


_KINDS: Final = {
    str: "a string",
    Number: "a number",
    int: "a number",
    bool: "a boolean",
    dict: "an object",
    list: "an array",
    type(None): "nothing",
}


def kind_of(value: object) -> str:
    """Returns what JSON calls a value."""
    return _KINDS.get(type(value), "something else")

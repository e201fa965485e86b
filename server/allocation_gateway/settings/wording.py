"""What a setting must be, and what was given instead, as one English sentence."""

from __future__ import annotations

import datetime as dt
import types
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

from msgspec import Meta

# A longer text may be a key that went into the wrong variable.
_LONGEST_SHOWN: Final = 20


def sentence(hint: Any, value: object, *, is_from_text: bool) -> str:
    """Returns what is wrong with a value, such as `must be a whole number from 0 to 65535, got 'abc'`.

    Args:
        hint: The type of the setting.
        value: What was given.
        is_from_text: Whether it comes from an environment variable, where lists are separated by commas.
    """
    kind, metas = _unwrapped(hint)
    # A secret is never shown, and neither is what is inside of a list or a table.
    given = f", got {shown(value)}" if _is_shown(kind) else ""
    return f"must be {_described(kind, metas, is_from_text=is_from_text)}{given}"


def _unwrapped(hint: Any) -> tuple[Any, list[Meta]]:
    """Returns a type without what is said about it, and without the None of one that may be left out."""
    metas: list[Meta] = []
    while True:
        if get_origin(hint) is Annotated:
            hint, *more = get_args(hint)
            metas += [meta for meta in more if isinstance(meta, Meta)]
        elif get_origin(hint) in {Union, types.UnionType}:
            (hint,) = (part for part in get_args(hint) if part is not type(None))
        else:
            return hint, metas


def _is_shown(kind: Any) -> bool:
    return kind in {int, float, bool, str, Path} or get_origin(kind) in {Literal, tuple, dict}


def _described(kind: Any, metas: list[Meta], *, is_from_text: bool) -> str:
    origin = get_origin(kind)
    if kind is int or kind is float:
        return f"{'a whole number' if kind is int else 'a number'}{_bounds(metas)}"
    if kind is bool:
        return "true or false"
    if origin is Literal:
        *most, last = get_args(kind)
        return f"{', '.join(most)} or {last}"
    if origin is tuple:
        return "texts, separated by commas" if is_from_text else "an array of texts"
    if origin is dict:
        of = _described(*_unwrapped(get_args(kind)[1]), is_from_text=False)
        return f"Operation=value, separated by commas, where the value is {of}" if is_from_text else f"a table of {of}"
    return "the path of a file" if kind is Path else "a text"


def _bounds(metas: list[Meta]) -> str:
    above = next((meta.gt for meta in metas if meta.gt is not None), None)
    least = next((meta.ge for meta in metas if meta.ge is not None), None)
    most = next((meta.le for meta in metas if meta.le is not None), None)
    if above is not None:
        return f" above {above}" if most is None else f" above {above} and at most {most}"
    if least is not None:
        return f" of at least {least}" if most is None else f" from {least} to {most}"
    return ""


def shown(value: object) -> str:
    """Returns a value as an error may show it: a long text may be a key that went into the wrong variable."""
    if isinstance(value, str):
        return repr(value) if len(value) <= _LONGEST_SHOWN else f"a text of {len(value)} characters"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        text = f"{value}"
        return text if len(text) <= _LONGEST_SHOWN else f"a number of {len(text)} digits"
    if isinstance(value, dict):
        return "a table" if value else "an empty table"
    if isinstance(value, list):
        return "an array" if value else "an empty array"
    return "a date or a time" if isinstance(value, dt.date | dt.time) else "something else"

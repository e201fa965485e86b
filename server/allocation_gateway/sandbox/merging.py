"""Changing a catalogue from outside: members of its entries set by name, every value checked by its type."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

T = TypeVar("T", bound=msgspec.Struct)


def merged(table: Mapping[str, T], kind: type[T], key: str, changes: Mapping[str, Mapping[str, Any]]) -> list[T]:
    """The changed and the new entries of a table; `key` is the member that holds an entry's name.

    Raises:
        ValueError: an unknown member or a wrong value, or a new entry without its required members.
    """
    entries = []
    for name, members in changes.items():
        known = table.get(name)
        before = {} if known is None else msgspec.structs.asdict(known)
        try:
            entries.append(msgspec.convert({**before, **members, key: name}, kind))
        except msgspec.ValidationError as error:
            raise ValueError(f"{kind.__name__.lower()} {name!r}: {error}") from error
    return entries

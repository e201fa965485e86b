"""The mechanism of the switches: typed values with defaults, merged and checked as a whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

S = TypeVar("S", bound=msgspec.Struct)


class SwitchBoard(Generic[S]):
    """The current values of one API's switches: an immutable struct that is replaced as a whole.

    The struct's field types are the allowed values; it must forbid unknown fields.
    """

    def __init__(self, defaults: S) -> None:
        self._defaults = defaults
        self.current = defaults

    def merged(self, changes: Mapping[str, object]) -> S:
        """The current values with the changes, not yet in force.

        Raises:
            ValueError: a name or value that does not exist.
        """
        return msgspec.convert({**self.view(), **changes}, type(self._defaults))

    def view(self) -> dict[str, Any]:
        """Every switch with its value."""
        return msgspec.structs.asdict(self.current)

    def reset(self) -> None:
        """Put every switch back to its default."""
        self.current = self._defaults

"""What is wrong with a request: every violation is collected, so that one answer names them all."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from allocation_gateway.sandbox.ship import errors
from allocation_gateway.sandbox.ship.errors import Detail

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from allocation_gateway.sandbox.ship.switches import ShipSwitches

MOST_TAGS = 10
LONGEST_TAG = 50
LARGEST_NUMBER = 10**9


class Violations:
    """What is wrong with a request so far, with checks that add to it and answer the value if it is right."""

    def __init__(self, switches: ShipSwitches) -> None:
        self.switches = switches
        self._details: list[Detail] = []

    def add(self, code: str, message: str, path: str | None) -> None:
        """Note a violation."""
        self._details.append(Detail(code, message, path))

    def settle(self) -> None:
        """Refuse the request if anything is wrong.

        Raises:
            ShipError: 400 with every violation.
        """
        if self._details:
            raise errors.invalid(self.switches, self._details)

    def missing(self, path: str) -> None:
        """Note that a required member is absent."""
        self.add("required_property_missing", f"{path} is required", path)

    def text(
        self, holder: Mapping[str, Any], name: str, path: str, *, required: bool, shortest: int = 1, longest: int = 0
    ) -> str | None:
        """A string member; `longest` 0 means unbounded."""
        value = holder.get(name)
        if value is None:
            if required:
                self.missing(path)
            return None
        if not isinstance(value, str):
            self.add("invalid_format", f"{path} must be a string", path)
        elif len(value) < shortest:
            self.add("value_too_short", f"{path} needs at least {shortest} characters", path)
        elif longest and len(value) > longest:
            self.add("value_too_long", f"{path} allows at most {longest} characters", path)
        else:
            return value
        return None

    def choice(
        self, holder: Mapping[str, Any], name: str, path: str, allowed: Collection[str], code: str, *, required: bool
    ) -> str | None:
        """A string member that must be one of a set."""
        value = self.text(holder, name, path, required=required, shortest=0)
        if value is not None and value not in allowed:
            self.add(code, f"'{value}' is not a valid {name}", path)
            return None
        return value

    def flag(self, holder: Mapping[str, Any], name: str, path: str, *, default: bool) -> bool:
        """A boolean member."""
        value = holder.get(name)
        if value is None:
            return default
        if not isinstance(value, bool):
            self.add("invalid_format", f"{path} must be true or false", path)
        return value is True

    def number(self, holder: Mapping[str, Any], name: str, path: str) -> Decimal | None:
        """A required number that is not negative and small enough to calculate with exactly."""
        value = holder.get(name)
        if value is None:
            self.missing(path)
        elif isinstance(value, bool) or not isinstance(value, int | Decimal):
            self.add("invalid_format", f"{path} must be a number", path)
        elif value < 0:
            self.add("value_too_small", f"{path} must not be negative", path)
        elif value > LARGEST_NUMBER:
            self.add("value_too_large", f"{path} must not exceed {LARGEST_NUMBER}", path)
        else:
            return Decimal(value)
        return None

    def whole(self, holder: Mapping[str, Any], name: str, path: str, *, default: int) -> int:
        """A positive whole number."""
        if holder.get(name) is None:
            return default
        value = self.number(holder, name, path)
        if value is not None and (value != int(value) or value < 1):
            self.add("invalid_value", f"{path} must be a positive whole number", path)
        return default if value is None else int(value)

    def object(self, holder: Mapping[str, Any], name: str, path: str, *, required: bool) -> Mapping[str, Any] | None:
        """An object member."""
        value = holder.get(name)
        if value is None:
            if required:
                self.missing(path)
            return None
        if not isinstance(value, dict):
            self.add("invalid_format", f"{path} must be an object", path)
            return None
        return value

    def elements(
        self, holder: Mapping[str, Any], name: str, path: str, *, fewest: int = 0, most: int = 0
    ) -> Sequence[Any]:
        """An array member, required where it needs elements; `most` 0 means unbounded."""
        value = holder.get(name)
        if value is None:
            if fewest:
                self.missing(path)
            return ()
        if not isinstance(value, list):
            self.add("invalid_format", f"{path} must be an array", path)
            return ()
        if len(value) < fewest:
            self.add("too_few_elements", f"{path} needs at least {fewest} element(s)", path)
        elif most and len(value) > most:
            self.add("too_many_elements", f"{path} allows at most {most} elements", path)
            return ()
        return value

    def strings(self, holder: Mapping[str, Any], name: str, path: str, **bounds: int) -> tuple[str, ...]:
        """An array of strings."""
        values = []
        for index, value in enumerate(self.elements(holder, name, path, **bounds)):
            if isinstance(value, str):
                values.append(value)
            else:
                self.add("invalid_format", f"{path}[{index}] must be a string", f"{path}[{index}]")
        return tuple(values)

    def unique(self, values: Sequence[str], path: str, code: str) -> None:
        """Note every value that was there before."""
        seen: set[str] = set()
        for index, value in enumerate(values):
            if value in seen:
                self.add(code, f"'{value}' is given more than once", f"{path}[{index}]")
            seen.add(value)

    def tags(self, holder: Mapping[str, Any], path: str) -> tuple[str, ...]:
        """An array of tags."""
        tags = self.strings(holder, "tags", path, most=MOST_TAGS)
        for index, tag in enumerate(tags):
            if len(tag) > LONGEST_TAG:
                self.add("value_too_long", f"A tag allows at most {LONGEST_TAG} characters", f"{path}[{index}]")
        self.unique(tags, path, "duplicate_tags")
        return tags

"""What settings are made of: the kinds of their values, secrets, and the error when one cannot be used."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from msgspec import Meta

from allocation_gateway.settings.known_secrets import HIDDEN, KNOWN


class ConfigurationError(Exception):
    """The configuration cannot be used. The text is one line for the operator and names the setting."""


class Secret:
    """A text that never shows itself: not in a log, not in a trace, not in a traceback."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value
        # Of a URL, only its passwords are secret: whoever takes it apart adds them.
        if "://" not in value:
            KNOWN.add(value)

    def reveal(self) -> str:
        """Returns the text itself, for the one place that sends it."""
        return self._value

    def __repr__(self) -> str:
        return HIDDEN

    def __bool__(self) -> bool:
        return bool(self._value)


Port: TypeAlias = Annotated[int, Meta(ge=0, le=65535)]
Count: TypeAlias = Annotated[int, Meta(ge=1)]
Limit: TypeAlias = Annotated[int, Meta(ge=0)]
Workers: TypeAlias = Annotated[int, Meta(ge=1, le=256)]
WorkerSeconds: TypeAlias = Annotated[float, Meta(ge=1, le=86400)]
Seconds: TypeAlias = Annotated[float, Meta(ge=0, le=86400)]
PositiveSeconds: TypeAlias = Annotated[float, Meta(gt=0, le=86400)]
PerSecond: TypeAlias = Annotated[float, Meta(ge=0, le=1_000_000)]
SandboxShipments: TypeAlias = Annotated[int, Meta(ge=0, le=10_000_000)]
Ratio: TypeAlias = Annotated[float, Meta(gt=0, le=1)]


def described(text: str) -> Meta:
    """Attaches the documentation of a setting to its type."""
    return Meta(description=text)


def from_text(kind: type, value: object) -> object:
    """Returns what a text stands for where the kind is none that msgspec knows: a path or a secret."""
    if not isinstance(value, str):
        raise TypeError("expected `str`")
    return kind(value)

"""What a request must be before upstream is asked: one rule for each field name, the same in every request."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from allocation.v1 import core_pb2

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from google.protobuf.message import Message

    from allocation_gateway.settings import Settings

MAX_REFERENCE: Final = 255
MAX_SHIPMENTS: Final = 100
MAX_CAPABILITIES: Final = 10
MAX_TAGS: Final = 10
MAX_TAG: Final = 50
_UUID: Final = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", re.ASCII | re.IGNORECASE)


class Violation(NamedTuple):
    """A field of the request that is not as it must be."""

    field: str
    description: str


Rule: TypeAlias = "Callable[[str, Any, Settings], Iterable[Violation]]"


def _text(field: str, value: str, limit: int) -> Iterator[Violation]:
    if not value:
        yield Violation(field, "must not be empty")
    elif len(value) > limit:
        yield Violation(field, f"must have at most {limit} characters, not {len(value)}")


def _reference(field: str, value: str, _: Settings) -> Iterator[Violation]:
    yield from _text(field, value, MAX_REFERENCE)
    if value in {".", ".."}:
        # Percent-encoding leaves dots alone, and every server resolves such a segment: it would name another resource.
        yield Violation(field, "must not be a dot segment")


def _references(field: str, values: Sequence[str], settings: Settings) -> Iterator[Violation]:
    if not 1 <= len(values) <= MAX_SHIPMENTS:
        yield Violation(field, f"must have 1 to {MAX_SHIPMENTS} references, not {len(values)}")
    seen: set[str] = set()
    for index, value in enumerate(values):
        yield from _reference(f"{field}[{index}]", value, settings)
        if value and value in seen:
            yield Violation(f"{field}[{index}]", "must not be there twice")
        seen.add(value)


def _request_id(field: str, value: str, _: Settings) -> Iterator[Violation]:
    if value and not _UUID.fullmatch(value):
        yield Violation(field, "must be a UUID, such as 123e4567-e89b-42d3-a456-426614174000")


def _capabilities(field: str, values: Sequence[core_pb2.ServiceCapability], settings: Settings) -> Iterator[Violation]:
    limit = 1 if settings.ship_capabilities_shape == "object" else MAX_CAPABILITIES
    if len(values) > limit:
        yield Violation(field, f"must have at most {limit}, not {len(values)}")
    for index, value in enumerate(values):
        yield from _text(f"{field}[{index}].type", value.type, MAX_REFERENCE)
        yield from _text(f"{field}[{index}].value", value.value, MAX_REFERENCE)


def _filters(field: str, value: core_pb2.AllocationFilters, _: Settings) -> Iterator[Violation]:
    if value.direction not in {core_pb2.DIRECTION_INBOUND, core_pb2.DIRECTION_OUTBOUND}:
        yield Violation(f"{field}.direction", "must be DIRECTION_INBOUND or DIRECTION_OUTBOUND")
    if len(value.tags) > MAX_TAGS:
        yield Violation(f"{field}.tags", f"must have at most {MAX_TAGS}, not {len(value.tags)}")
    for index, tag in enumerate(value.tags):
        yield from _text(f"{field}.tags[{index}]", tag, MAX_TAG)


RULES: Final[Mapping[str, Rule]] = {
    "shipment_reference": _reference,
    "shipments": _references,
    "request_id": _request_id,
    "service_group": _reference,
    "carrier_service_reference": _reference,
    "virtual_service_reference": _reference,
    "quote_reference": _reference,
    "capabilities": _capabilities,
    "filters": _filters,
}


def rules_of(request: type[Message]) -> tuple[tuple[str, Rule], ...]:
    """Returns the rules of a request message, in the order of its fields. A field without a rule is a KeyError."""
    return tuple((field.name, RULES[field.name]) for field in request.DESCRIPTOR.fields)


def violations(request: Message, rules: Iterable[tuple[str, Rule]], settings: Settings) -> list[Violation]:
    """Returns everything that is wrong with a request."""
    return [violation for field, rule in rules for violation in rule(field, getattr(request, field), settings)]

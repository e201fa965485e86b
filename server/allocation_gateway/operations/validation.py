"""What a request must be before upstream is asked: one rule for each field name, the same in every request."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from allocation.v1 import consignment_allocation_service_pb2 as pb
from allocation.v1 import core_pb2, job_pb2, service_group_service_pb2

from allocation_gateway.references import folded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from google.protobuf.message import Message

    from allocation_gateway.settings import Settings

_LABEL_FORMATS: Final = frozenset(pb.LabelFormat.values()) - {pb.LABEL_FORMAT_UNSPECIFIED}
MAX_REFERENCE: Final = 255
MAX_SHIPMENTS: Final = 100
MAX_CAPABILITIES: Final = 10
MAX_TAGS: Final = 10
MAX_TAG: Final = 50
MAX_ITEMS: Final = 1_000
MIN_ITEM_DEADLINE: Final = 1
MAX_ITEM_DEADLINE: Final = 3_600
MAX_PAGE: Final = 1_000
MAX_TOKEN: Final = 4_096
# Without a group and without IGNORECASE, either of which takes as long again.
_UUID: Final = re.compile("-".join(f"[0-9a-fA-F]{{{digits}}}" for digits in (8, 4, 4, 4, 12)))


class Violation(NamedTuple):
    """A field of the request that is not as it must be."""

    field: str
    description: str


Rule: TypeAlias = "Callable[[str, Any, Settings], Iterable[Violation]]"


class FieldRule(NamedTuple):
    """The rule of one field.

    Attributes:
        field: The name of the field.
        rule: What it must be.
        is_choice: True if it is a member of a oneof: unset, it is another member's turn.
    """

    field: str
    rule: Rule
    is_choice: bool


def _text(field: str, value: str, limit: int) -> Sequence[Violation]:
    if not value:
        return (Violation(field, "must not be empty"),)
    if len(value) > limit:
        return (Violation(field, f"must have at most {limit} characters, not {len(value)}"),)
    return ()


def _reference(field: str, value: str, _: Settings) -> Sequence[Violation]:
    if value in {".", ".."}:
        # Percent-encoding leaves dots alone, and every server resolves such a segment: it would name another resource.
        return (Violation(field, "must not be a dot segment"),)
    return _text(field, value, MAX_REFERENCE)


def _references(field: str, values: Sequence[str], settings: Settings) -> Iterator[Violation]:
    limit = settings.consignments.max_references if field == "consignments" else MAX_SHIPMENTS
    yield from _each_once(field, values, limit, settings)


def _watched(field: str, values: Sequence[str], settings: Settings) -> Iterator[Violation]:
    yield from _each_once(field, values, MAX_ITEMS, settings)


def _each_once(field: str, values: Sequence[str], limit: int, settings: Settings) -> Iterator[Violation]:
    if not 1 <= len(values) <= limit:
        # Nothing is said of each of them: there may be a hundred thousand.
        yield Violation(field, f"must have 1 to {limit} references, not {len(values)}")
        return
    seen: set[str] = set()
    for index, value in enumerate(values):
        yield from _reference(f"{field}[{index}]", value, settings)
        name = folded(value)
        if name and name in seen:
            yield Violation(f"{field}[{index}]", "must not be given twice")
        seen.add(name)


def is_uuid(value: str) -> bool:
    """Tells whether a text is a UUID in its usual form."""
    return _UUID.fullmatch(value) is not None


def _request_id(field: str, value: str, _: Settings) -> Sequence[Violation]:
    if value and not is_uuid(value):
        return (Violation(field, "must be a UUID, such as 123e4567-e89b-42d3-a456-426614174000"),)
    return ()


def _capabilities(field: str, values: Sequence[core_pb2.ServiceCapability], settings: Settings) -> Iterator[Violation]:
    limit = 1 if settings.ship.capabilities_shape == "object" else MAX_CAPABILITIES
    if len(values) > limit:
        yield Violation(field, f"must have at most {limit}, not {len(values)}")
        return
    for index, value in enumerate(values):
        yield from _text(f"{field}[{index}].type", value.type, MAX_REFERENCE)
        yield from _text(f"{field}[{index}].value", value.value, MAX_REFERENCE)


def _filters(field: str, value: core_pb2.AllocationFilters | pb.ConsignmentFilters, _: Settings) -> Iterator[Violation]:
    if value.direction not in {core_pb2.DIRECTION_INBOUND, core_pb2.DIRECTION_OUTBOUND}:
        yield Violation(f"{field}.direction", "must be DIRECTION_INBOUND or DIRECTION_OUTBOUND")
    if isinstance(value, core_pb2.AllocationFilters):
        yield from _tags(f"{field}.tags", value.tags)


def _tags(field: str, values: Sequence[str]) -> Iterator[Violation]:
    if len(values) > MAX_TAGS:
        yield Violation(field, f"must have at most {MAX_TAGS}, not {len(values)}")
        return
    for index, tag in enumerate(values):
        yield from _text(f"{field}[{index}]", tag, MAX_TAG)


def _label_format(field: str, value: pb.LabelFormat.ValueType, _: Settings) -> Iterator[Violation]:
    if value not in _LABEL_FORMATS:
        yield Violation(field, "must be a LabelFormat")


def _api(field: str, value: service_group_service_pb2.Api.ValueType, _: Settings) -> Iterator[Violation]:
    if value not in service_group_service_pb2.Api.values():
        yield Violation(field, "must be an Api")


def _account(field: str, value: str, settings: Settings) -> Iterator[Violation]:
    if value not in {"", settings.account}:
        yield Violation(field, f"must be empty or `{settings.account}`, the account that the call is for")


def _page_size(field: str, value: int, _: Settings) -> Iterator[Violation]:
    if not 0 <= value <= MAX_PAGE:
        yield Violation(field, f"must be 0 to {MAX_PAGE}, not {value}")


def _page_token(field: str, value: str, _: Settings) -> Iterator[Violation]:
    # Whether it is one, whoever reads it sees.
    if len(value) > MAX_TOKEN:
        yield Violation(field, "is not a page token")


def _job(field: str, value: job_pb2.AllocationJob, settings: Settings) -> Iterator[Violation]:
    if value.job_id and not is_uuid(value.job_id):
        yield Violation(f"{field}.job_id", "must be a UUID, such as 123e4567-e89b-42d3-a456-426614174000")
    yield from selector_violations(f"{field}.selector", value.selector, settings)
    if value.wait_for not in job_pb2.WaitFor.values():
        yield Violation(f"{field}.wait_for", "must be a WaitFor")
    if value.HasField("item_deadline"):
        seconds = value.item_deadline.seconds + value.item_deadline.nanos / 1e9
        if not MIN_ITEM_DEADLINE <= seconds <= MAX_ITEM_DEADLINE:
            yield Violation(f"{field}.item_deadline", f"must be {MIN_ITEM_DEADLINE} to {MAX_ITEM_DEADLINE} seconds")


def selector_violations(field: str, value: job_pb2.AllocationSelector, settings: Settings) -> Iterator[Violation]:
    """Yields everything that is wrong with the selector of a job, or of one of its items."""
    scope = value.WhichOneof("scope")
    if scope is not None:
        yield from _reference(f"{field}.{scope}", getattr(value, scope), settings)
    yield from _capabilities(f"{field}.capabilities", value.capabilities, settings)


def _items(field: str, values: Sequence[Message], _: Settings) -> Iterator[Violation]:
    # What is wrong with one of them is told of that one alone.
    if len(values) > MAX_ITEMS:
        yield Violation(
            f"{field}[{MAX_ITEMS}]", f"must not be there: a message has at most {MAX_ITEMS} items, not {len(values)}"
        )


RULES: Final[Mapping[str, Rule]] = {
    "job": _job,
    "items": _items,
    "shipment_reference": _reference,
    "shipments": _references,
    "consignment_reference": _reference,
    "consignments": _references,
    "shipment_references": _watched,
    "consignment_references": _watched,
    "request_id": _request_id,
    "service_group": _reference,
    "carrier_service_reference": _reference,
    "virtual_service_reference": _reference,
    "quote_reference": _reference,
    "capabilities": _capabilities,
    "filters": _filters,
    "label_format": _label_format,
    "api": _api,
    "account": _account,
    "page_size": _page_size,
    "page_token": _page_token,
}


def rules_of(request: type[Message]) -> tuple[FieldRule, ...]:
    """Returns the rules of a request message, in the order of its fields. A field without a rule is a KeyError."""
    return tuple(
        FieldRule(field.name, RULES[field.name], field.containing_oneof is not None and field.has_presence)
        for field in request.DESCRIPTOR.fields
    )


def violations(request: Message, rules: Iterable[FieldRule], settings: Settings) -> list[Violation]:
    """Returns everything that is wrong with a request."""
    found: list[Violation] = []
    for field, rule, is_choice in rules:
        if not is_choice or request.HasField(field):
            found.extend(rule(field, getattr(request, field), settings))
    return found

"""What differs between the REST APIs apart from their operations: headers, and the shape and the codes of errors."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from allocation.v1 import core_pb2

    from allocation_gateway.codecs.json import Object
    from allocation_gateway.operations.model import Action
    from allocation_gateway.settings import ApiSettings
    from allocation_gateway.upstream.error_table import ErrorEntry


class Complaint(NamedTuple):
    """One code in an error body, with the property it is about and its text."""

    code: str
    property: str
    message: str


@dataclass(frozen=True, slots=True)
class ErrorBody:
    """What an error body says.

    Attributes:
        code: The parent code; empty if there is none.
        complaints: Its children, the most telling ones first.
        correlation_id: Upstream's correlation id; empty if there is none.
        excluded: The services that a failed allocation excluded.
        is_own: True if only upstream itself can have written it, and no proxy in between.
        is_quota: True if the API management in front of upstream says that the calls of a period are used up.
        retry_after: Seconds that the API management asks to wait in its text; 0 if it does not.
    """

    code: str = ""
    complaints: Sequence[Complaint] = ()
    correlation_id: str = ""
    excluded: Sequence[core_pb2.ExcludedService] = ()
    is_own: bool = False
    is_quota: bool = False
    retry_after: float = 0.0


@dataclass(frozen=True, slots=True)
class Dialect:
    """How one API is spoken to.

    Attributes:
        headers: Makes the headers of every request from the API's settings and its key.
        error_body: Reads an error body.
        contradicts: Tells whether a body under a status of refusal says that an operation of this effect was carried
            out, or is being carried out. What it says and nobody knows counts as that.
        by_code: The row of each code that upstream is known to use.
        fields: The fields of ours that a code is about, where upstream's own name for it is missing or not ours.
        properties: The field of ours that is sent as a property of upstream's or in its path, by upstream's name for it
            in small letters, where that is another one.
        probe: A path below the base URL that is harmless to read.
    """

    headers: Callable[[ApiSettings, str], list[tuple[str, str]]]
    error_body: Callable[[Object], ErrorBody]
    contradicts: Callable[[Object, Action], bool]
    by_code: Mapping[str, ErrorEntry]
    probe: str
    fields: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    properties: Mapping[str, str] = field(default_factory=dict)


def objects(value: object) -> Iterator[Object]:
    """Returns the objects in an array; nothing if it is none."""
    if isinstance(value, list):
        yield from (item for item in value if isinstance(item, dict))


def text(source: Object, key: str) -> str:
    """Returns a string; empty if there is none."""
    value = source.get(key)
    return value if isinstance(value, str) else ""

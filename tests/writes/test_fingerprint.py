"""What makes two requests the same: every field that a caller can set, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from allocation.v1 import shipment_allocation_service_pb2 as pb
from allocation_gateway.operations.table import OPERATIONS
from allocation_gateway.writes.fingerprint import FIELDS, fingerprint
from mapping import consignments, table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from google.protobuf.message import Message

WRITES = [row for row in OPERATIONS if row.effect.writes]
REQUESTS = {**table.REQUESTS, **consignments.REQUESTS}


def paths(message: Any, prefix: str = "") -> Iterator[str]:
    """Returns the paths of all fields of a request."""
    for field in message.fields:
        if field.name != "request_id":
            yield prefix + field.name
            if field.message_type is not None:
                yield from paths(field.message_type, f"{prefix}{field.name}.")


def other(field: Any) -> Any:
    """Returns a value that no request here has."""
    if field.message_type is not None:
        return None
    return {field.CPPTYPE_BOOL: True, field.CPPTYPE_ENUM: 2, field.CPPTYPE_STRING: "other"}[field.cpp_type]


def changes(request: Message) -> Iterator[Message]:
    """Returns copies of a request with one field set, or grown, at any depth."""
    for field in request.DESCRIPTOR.fields:
        if field.name == "request_id":
            continue
        copy: Any = type(request)()
        copy.CopyFrom(request)
        if field.message_type is not None:
            part = getattr(copy, field.name).add() if field.is_repeated else getattr(copy, field.name)
            part.SetInParent()
            yield copy
            for changed in changes(part):
                again: Any = type(request)()
                again.CopyFrom(copy)
                target = getattr(again, field.name)
                (target[-1] if field.is_repeated else target).CopyFrom(changed)
                yield again
        elif field.is_repeated:
            getattr(copy, field.name).append(other(field))
            yield copy
        else:
            setattr(copy, field.name, other(field))
            yield copy


def test_every_field_of_every_write_belongs_to_a_version_of_the_list() -> None:
    """A field that is added has to be put into a new version."""
    known = frozenset[str]().union(*FIELDS.values())
    assert {path for row in WRITES for path in paths(row.request.DESCRIPTOR)} == known


def test_the_first_version_of_the_list_stays_as_it_is() -> None:
    """Releases that are in use at the same time have to agree: these texts must never change."""
    assert fingerprint("s/AllocateShipment", pb.AllocateShipmentRequest(shipment_reference="sp_1")) == (
        "1:cbacb7359e293d65f8676e9011eba2d4"
    )
    request = pb.AllocateShipmentsWithFiltersRequest(shipments=["a", "b"])
    request.filters.tags.append("gift")
    request.filters.pickup = False
    assert fingerprint("s/AllocateShipmentsWithFilters", request) == "1:ec8d3b22106b012957043c2091d1e492"


@pytest.mark.parametrize("row", WRITES, ids=[row.name for row in WRITES])
def test_another_value_of_any_field_is_another_request(row: Any) -> None:
    """At any depth; the id alone makes no difference, and neither does writing it anew."""
    request: Any = REQUESTS[row.name]
    first = fingerprint(row.full_name, request)
    named = type(request).FromString(request.SerializeToString())
    named.request_id = "123e4567-e89b-42d3-a456-426614174000"
    assert fingerprint(row.full_name, named) == first
    others = [changed for changed in changes(request) if changed != request]
    assert len(others) >= len(request.DESCRIPTOR.fields) - 1
    assert len({first, *(fingerprint(row.full_name, changed) for changed in others)}) == 1 + len(
        {changed.SerializeToString(deterministic=True) for changed in others}
    )


def test_the_rpc_is_a_part_of_the_request() -> None:
    request = pb.AllocateShipmentRequest(shipment_reference="sp_1")
    assert fingerprint("a", request) != fingerprint("b", request)


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (["a", "b"], ["ab"]),
        (["a", "b"], ["b", "a"]),
        (["a\nshipments=b"], ["a", "b"]),
        (["a\nshipments=1:b"], ["a", "b"]),
        (["1:a"], ["a"]),
        ([], [""]),
    ],
)
def test_no_value_passes_for_another(one: list[str], two: list[str]) -> None:
    """Whatever characters it has, and wherever one ends and the next begins."""
    first, second = (fingerprint("a", pb.AllocateShipmentsRequest(shipments=names)) for names in (one, two))
    assert first != second

"""What makes two requests the same: every field that a caller can set, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from allocation.v1 import shipment_allocation_service_pb2 as pb
from allocation_gateway.operations.table import OPERATIONS
from allocation_gateway.writes.fingerprint import fingerprint, fingerprints
from google.protobuf import struct_pb2, wrappers_pb2
from mapping import consignments, table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from google.protobuf.message import Message

WRITES = [row for row in OPERATIONS if row.action.writes]
REQUESTS = {**table.REQUESTS, **consignments.REQUESTS}


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


def test_fingerprints_stay_as_they_are() -> None:
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


BULK = [row for row in WRITES if row.action.is_bulk]


@pytest.mark.parametrize("row", BULK, ids=[row.name for row in BULK])
def test_those_of_requests_that_differ_in_one_reference_are_made_together(row: Any) -> None:
    request: Any = type(REQUESTS[row.name])()
    request.CopyFrom(REQUESTS[row.name])
    request.request_id = "123e4567-e89b-42d3-a456-426614174000"
    references = getattr(request, row.named_by)
    references[:] = ["any"]
    made = fingerprints(row.full_name, request, row.named_by)
    for name in ("sp_1", "\n", f"a\n{row.named_by}=1:b", "", "1:a", "\u20ac" * 200):
        references[:] = [name]
        assert made(name) == fingerprint(row.full_name, request)


def test_requests_that_differ_in_more_than_one_reference_are_not_made_together() -> None:
    with pytest.raises(ValueError, match="one value"):
        fingerprints("a", pb.AllocateShipmentsRequest(shipments=["a", "b"]), "shipments")


def test_fields_of_every_type_count() -> None:
    """No request has a map, a number with a fraction or bytes. One that is added needs nothing here."""

    def of(message: Message) -> str:
        return fingerprint("a", message)

    maps = [
        struct_pb2.Struct(fields={"a": struct_pb2.Value(number_value=number), "b": struct_pb2.Value(bool_value=True)})
        for number in (1.0, 1.5)
    ]
    turned = struct_pb2.Struct(fields=dict(reversed(list(maps[0].fields.items()))))
    assert of(maps[0]) == of(turned)
    distinct = [
        *maps,
        struct_pb2.Struct(fields={"b": struct_pb2.Value(number_value=1.0), "a": struct_pb2.Value(bool_value=True)}),
        wrappers_pb2.BytesValue(value=b"\0"),
        wrappers_pb2.BytesValue(value=b"\0\0"),
        wrappers_pb2.DoubleValue(value=0.5),
        wrappers_pb2.DoubleValue(value=0.25),
    ]
    assert len({of(message) for message in distinct}) == len(distinct)

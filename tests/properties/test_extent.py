"""How much of an answer is parsed: what is bounded, and that nothing real is near the bounds."""

from __future__ import annotations

import json as standard
import time
from pathlib import Path
from typing import Any, Final

import pytest
from allocation.v1 import consignment_allocation_service_pb2 as pb
from allocation.v1 import shipment_allocation_service_pb2 as ship_pb
from allocation_gateway.codecs import json
from allocation_gateway.operations.table import OPERATIONS
from allocation_gateway.upstream import reply
from allocation_gateway.upstream.http import Answer
from hypothesis import given
from hypothesis import strategies as st

FIXTURES: Final = Path(__file__).parent.parent / "fixtures"
BY_NAME: Final = {row.name: row for row in OPERATIONS}
VALUES: Final = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=8) | st.dictionaries(st.text(max_size=5), inner, max_size=8),
    max_leaves=200,
)


def count(value: Any) -> int:
    if isinstance(value, list):
        return 1 + sum(map(count, value))
    return 1 + sum(map(count, value.values())) if isinstance(value, dict) else 1


@given(value=VALUES)
def test_no_document_has_more_values_than_are_counted(value: Any) -> None:
    """What separates values is at least as many as they are, less one: the bound cannot be passed unseen."""
    text = standard.dumps(value)
    assert count(value) <= 1 + sum(map(text.count, ",[{"))


@pytest.mark.parametrize(
    ("data", "is_read"),
    [
        (b"[" + b"1," * 59_998 + b"1]", True),
        (b"[" + b"1," * 110_001 + b"1]", False),
        (b"[" + b"{}," * 29_999 + b"{}]", True),
        (b"[" + b"{}," * 70_000 + b"{}]", False),
        (b'{"a":' * 60_001 + b"1" + b"}" * 60_001, False),
        (b'"' + rb"\n" * 2_000_000 + b'"', True),
        (b'"' + rb"\n" * 2_000_001 + b'"', False),
        (b'"' + "é".encode() * 1_000_001 + b'"', False),
        (b'"' + b"x" * 16_000_000 + b'"', True),
    ],
)
def test_too_much_is_refused_before_it_is_parsed(data: bytes, is_read: bool) -> None:
    if is_read:
        json.check_extent(data)
        return
    with pytest.raises(json.TooMuchError):
        json.check_extent(data)


@pytest.mark.parametrize("file", sorted(FIXTURES.glob("*/*.json")), ids=lambda file: file.stem)
def test_no_documented_answer_is_near_the_bounds(file: Path) -> None:
    """A hundred times each, as of a bulk call, is a fifth of what is read."""
    assert 100 * count(standard.loads(file.read_bytes())) <= json.MOST_VALUES / 5


def test_a_long_description_takes_no_time() -> None:
    """Nor does what only begins like one: the pattern for it took the square of its length."""
    operation = BY_NAME["AllocateConsignment"]
    for description in ("Consignment x" + " " * 1_000_000, "Consignment " + "a " * 500_000):
        body = {"StatusCode": 200, "CarrierServiceReference": "MPD_1", "Description": description}
        request = pb.AllocateConsignmentRequest(consignment_reference="EC-000-05B-MMA")
        started = time.process_time()
        reply.read(operation, request, Answer(200, {}, standard.dumps(body).encode()))
        assert time.process_time() - started < 1


def test_a_text_that_is_too_long_is_left_out_and_named() -> None:
    operation = BY_NAME["AllocateConsignment"]
    body = {"StatusCode": 200, "CarrierServiceReference": "MPD_1", "CarrierName": "x" * 1_048_577}
    request = pb.AllocateConsignmentRequest(consignment_reference="EC-000-05B-MMA")
    response: Any = reply.read(operation, request, Answer(200, {}, standard.dumps(body).encode()))
    assert response.allocation.carrier_service_reference == "MPD_1"
    assert response.allocation.carrier_name == ""
    assert len(response.allocation.unreadable) == 1


def test_results_of_other_shipments_are_left_out() -> None:
    """And of one with two that disagree there is none: it is unaccounted for."""
    body = [
        {"shipment_reference": "sp_1", "state": "allocated"},
        {"shipment_reference": "sp_1", "state": "allocated"},
        {"shipment_reference": "sp_2", "state": "allocated"},
        {"shipment_reference": "sp_2", "state": "allocation_failed"},
        {"shipment_reference": "sp_9", "state": "allocated"},
    ]
    request = ship_pb.AllocateShipmentsRequest(shipments=["sp_1", "sp_2", "sp_3"])
    answer = Answer(202, {}, standard.dumps(body).encode())
    response: Any = reply.read(BY_NAME["AllocateShipments"], request, answer)
    assert [item.shipment_reference for item in response.allocations] == ["sp_1"]
    assert list(response.unaccounted) == ["sp_2", "sp_3"]

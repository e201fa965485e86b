"""Answers are read alike whether or not the decoder could check their types: faster if so, and not otherwise."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any, Final

import pytest
from allocation_gateway.codecs import json as codec
from allocation_gateway.codecs.findings import Findings
from allocation_gateway.operations import ship
from hypothesis import example, given, settings
from hypothesis import strategies as st
from mapping.table import GOLDEN, REQUESTS, answer
from properties.answers import REPLACEMENTS, mutated, places

if TYPE_CHECKING:
    from allocation_gateway.operations.model import Operation

BY_NAME: Final = {operation.name: operation for operation in ship.ROWS}
DOCUMENTS: Final = {rpc: [json.loads(answer(name))] for rpc, name in GOLDEN.items()}
DOCUMENTS["AllocateShipments"] += [[json.loads(answer("service_group"))] * 2]
DOCUMENTS["GetShipmentAllocation"] += [json.loads(answer("shipment_unallocated"))]
# What has the documented type and says something all the same, or nothing.
TYPED: Final[tuple[Any, ...]] = (
    *("", "text", "Allocated", "ALLOCATION_FAILED", "EX_Rates", "2020-13-01T00:00:00Z"),
    *(None, 0, -1, 0.5, 1e-10, 10**40, [], {}, {"has_value": False, "start": 3}),
)


def read(operation: Operation, body: bytes, *, checked: bool) -> tuple[Any, ...]:
    """Reads an answer in one of the two ways, and returns all that comes of it."""
    assert operation.document is not None
    findings = Findings()
    document = operation.document
    fields = document.decode(body) if checked else document.read(codec.decode(body), findings)
    response = operation.decode(REQUESTS[operation.name], fields, findings)
    return response, findings.messages, findings.foreign, findings.made, findings.refused


def check(operation: Operation, body: bytes) -> bool:
    """Checks that both ways come to the same, and tells whether there are two."""
    assert operation.document is not None
    if operation.document.decode(body) is None:
        return False
    assert read(operation, body, checked=True) == read(operation, body, checked=False)
    return True


@pytest.mark.parametrize("rpc", REQUESTS)
def test_the_documented_answers_are_read_the_fast_way(rpc: str) -> None:
    """Each of them, with nothing found amiss."""
    for document in DOCUMENTS[rpc]:
        assert check(BY_NAME[rpc], json.dumps(document).encode()), document


@pytest.mark.parametrize("rpc", REQUESTS)
def test_one_change_comes_to_the_same_both_ways(rpc: str) -> None:
    """Of any node, to what has its type and to what has not."""
    both = 0
    for document in DOCUMENTS[rpc]:
        for path in places(document):
            for replacement in (*REPLACEMENTS, *TYPED):
                both += check(BY_NAME[rpc], json.dumps(mutated(document, path, replacement)).encode())
    assert both, "no change left the types as they are"


@given(data=st.data(), rpc=st.sampled_from(sorted(REQUESTS)))
@settings(max_examples=300)
def test_several_changes_come_to_the_same_both_ways(data: st.DataObject, rpc: str) -> None:
    """Of nodes that have their types after it, for the most part."""
    document = copy.deepcopy(data.draw(st.sampled_from(DOCUMENTS[rpc])))
    for _ in range(data.draw(st.integers(1, 6))):
        paths = list(places(document))
        if paths:
            document = mutated(document, data.draw(st.sampled_from(paths)), data.draw(st.sampled_from(TYPED)))

    check(BY_NAME[rpc], json.dumps(document, ensure_ascii=data.draw(st.booleans())).encode())


@given(rpc=st.sampled_from(sorted(REQUESTS)), junk=st.binary(max_size=8))
@example("AllocateShipment", b"\xff")
@example("AllocateShipments", b"\\ud800")
def test_what_is_passed_over_has_to_be_text_too(rpc: str, junk: bytes) -> None:
    """In a field that nobody reads, and in its name."""
    for place in (b'{"x":"%s",', b'{"%s":0,'):
        body = json.dumps(DOCUMENTS[rpc][0]).encode().replace(b"{", place % junk, 1)
        check(BY_NAME[rpc], body)  # whose second way refuses what is no JSON


@pytest.mark.parametrize("rpc", REQUESTS)
@pytest.mark.parametrize(
    "body", [b"", b"null", b"0", b'"text"', b"[0]", b"[" * 5_000, b'{"x":' + b"[" * 5_000, b"{", b"1" * 9_999]
)
def test_what_has_another_shape_is_not_read_the_fast_way(rpc: str, body: bytes) -> None:
    """Whether or not it is JSON."""
    document = BY_NAME[rpc].document

    assert document is not None
    assert document.decode(body) is None

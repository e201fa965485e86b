"""SECURITY.md says for each attack what bounds it, and by which advisory it is known."""

from __future__ import annotations

import re
import uuid
from pathlib import Path
from typing import Final

import grpc
import pytest
from allocation.v1 import shipment_allocation_service_pb2 as pb
from allocation.v1.shipment_allocation_service_pb2_grpc import ShipmentAllocationServiceStub
from attacks import undefended
from attacks.attacker import ATTACKS
from attacks.measuring import ROOT
from attacks.undefended import DEFENCES, REST_ON_NOTHING, RESTS_ON
from support.front import KEY, LONG
from support.gateway import running_gateway
from support.upstream import running_upstream, shipped

TEXT: Final = (ROOT / "SECURITY.md").read_text()
ROWS: Final = [row for row in TEXT.splitlines() if row.startswith("|")]


@pytest.mark.parametrize("name", ATTACKS)
def test_attack_is_in_the_table_with_its_advisories(name: str) -> None:
    rows = [row for row in ROWS if f"`{name}`" in row]
    assert rows, name
    for advisory in re.findall(r"CVE-\d+-\d+", ATTACKS[name].of):
        assert any(advisory in row for row in rows), advisory


def test_tests_that_the_table_names_are_there() -> None:
    tests = Path(__file__).resolve().parents[1]
    sources = "".join(path.read_text() for path in tests.glob("*/test_*.py"))
    for name in re.findall(r"`(test_\w+)`", TEXT):
        assert f"def {name}(" in sources, name


def test_each_attack_meets_a_defence_or_there_is_a_reason_why_not() -> None:
    assert RESTS_ON.keys() | REST_ON_NOTHING.keys() == ATTACKS.keys()
    assert not RESTS_ON.keys() & REST_ON_NOTHING.keys()
    assert {name for defences in RESTS_ON.values() for name in defences} == DEFENCES.keys()


def test_a_gateway_without_its_defences_serves() -> None:
    """One that was renamed would be taken out by nobody, and what nobody attacks has to be answered without any."""
    command, extra = undefended.command(DEFENCES), undefended.environment()
    settings = {"ALLOW_PLAINTEXT": "true", "SHIP_API_KEY": KEY}
    with running_upstream() as upstream:
        upstream.default = shipped
        settings["SHIP_BASE_URL"] = upstream.url
        with running_gateway(settings, extra=extra, command=command) as gateway:
            request = pb.AllocateShipmentRequest(shipment_reference=f"sp_{uuid.uuid4()}")
            with grpc.insecure_channel(gateway.address) as channel:
                answer = ShipmentAllocationServiceStub(channel).AllocateShipment(request, timeout=LONG)
            assert answer.allocation.shipment_reference == request.shipment_reference

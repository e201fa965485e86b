"""The one service configuration that all clients have: every rpc is in it, and only what books nothing is retried."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Final

import pytest
from allocation.v1 import (
    consignment_allocation_service_pb2,
    service_group_service_pb2,
    shipment_allocation_service_pb2,
)
from allocation_gateway.operations.streams import STREAMS, WATCHES
from allocation_gateway.operations.table import OPERATIONS
from allocation_gateway.rpc.local import LOCAL_RPCS

CLIENTS: Final = Path(__file__).resolve().parents[2] / "clients"
SOURCE: Final = CLIENTS / "service_config.json"
CONFIG: Final = json.loads(SOURCE.read_text())
CONTRACT: Final = (shipment_allocation_service_pb2, consignment_allocation_service_pb2, service_group_service_pb2)
# What RefreshServiceGroups forgets is forgotten for every caller: it is not repeated either.
FORGETS: Final = {"RefreshServiceGroups"}


def names(methods: list[dict[str, object]]) -> list[str]:
    return [f"{name['service']}/{name['method']}" for method in methods for name in method["name"]]  # type: ignore[attr-defined]


def test_every_rpc_is_in_it_once_with_a_time_out_unless_it_lasts() -> None:
    contract = [
        f"{service.full_name}/{method.name}"
        for file in CONTRACT
        for service in file.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    ]
    lasting = {row.full_name for row in (*STREAMS, *WATCHES)}
    assert len(contract) == len(OPERATIONS) + len(LOCAL_RPCS) + len(lasting)
    assert Counter(names(CONFIG["methodConfig"])) == Counter(contract)
    for method in CONFIG["methodConfig"]:
        if lasting.isdisjoint(names([method])):
            assert 1 <= float(method["timeout"].removesuffix("s")) <= 60
        else:
            assert "timeout" not in method, "only its caller knows how long a job may take"


def test_only_reads_are_retried_by_grpc() -> None:
    """A write has to be repeated with its `request_id`, which gRPC knows nothing of when it has none yet."""
    retried = {
        name.partition("/")[2] for name in names([one for one in CONFIG["methodConfig"] if "retryPolicy" in one])
    }
    reads = {row.name for row in OPERATIONS if not row.action.writes}
    local = {row.name for row in LOCAL_RPCS} - FORGETS
    assert retried == reads | local


@pytest.mark.parametrize("copy", sorted(CLIENTS.glob("*/**/service_config.json")), ids=lambda path: path.parts[-2])
def test_each_client_has_it_as_it_is(copy: Path) -> None:
    assert copy.read_text() == SOURCE.read_text(), "run make generate"


def test_the_python_client_has_it() -> None:
    assert (CLIENTS / "python/src/allocation_gateway_client/service_config.json").is_file()


def test_the_typescript_client_has_it() -> None:
    text = (CLIENTS / "typescript/src/gen/service_config.ts").read_text()
    assert json.loads(text.partition(" = ")[2].rstrip().removesuffix(";")) == CONFIG, "run make generate"

"""Metrics by callers and carriers: who is who, and that nobody who makes up names decides how many series there are."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import grpc
import pytest
from allocation.v1 import consignment_allocation_service_pb2 as consignments_pb
from allocation.v1 import shipment_allocation_service_pb2 as pb
from allocation.v1.consignment_allocation_service_pb2_grpc import ConsignmentAllocationServiceStub
from allocation.v1.core_pb2 import ExclusionCode
from allocation.v1.shipment_allocation_service_pb2_grpc import ShipmentAllocationServiceStub
from allocation_gateway.telemetry.named import LONGEST_NAME, MOST_NAMES, OTHER, BoundedNames
from allocation_gateway.telemetry.telemetry import Telemetry
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from support.collector import Collector, running_collector
from support.front import LONG, READ, running_front
from support.gateway import running_gateway
from support.issuer import AUDIENCE, ISSUER, Issuer, bearing
from support.status import failure

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# Beside those that are bounded: what stands for the others.
MOST_SERIES: Final = MOST_NAMES + 1
CALLS: Final = "allocation_gateway.caller.call.duration"
# Nobody takes it, and the sandbox says why of each service.
UNWANTED: Final = "sp_90000000000000000000000000000005"


@pytest.fixture
def collector() -> Iterator[Collector]:
    with running_collector() as running:
        yield running


def counts(collector: Collector, metric: str, *attributes: str) -> Counter[tuple[Any, ...]]:
    """Returns what was counted at the end, by attributes."""
    found: Counter[tuple[Any, ...]] = Counter()
    for point in collector.of(metric):
        found[tuple(point.attributes[name] for name in attributes)] += point.count
    return found


def identified(folder: Path, collector: Collector, issued: Issuer, policy: str = "") -> dict[str, str]:
    """Returns the settings of a gateway whose callers have tokens."""
    (folder / "jwks.json").write_bytes(issued.published())
    (folder / "policy.toml").write_text(policy)
    followed = {"POLICY_FILE": str(folder / "policy.toml")} if policy else {}
    return {
        **followed,
        "JWKS_FILE": str(folder / "jwks.json"),
        "JWT_ISSUER": ISSUER,
        "JWT_AUDIENCE": AUDIENCE,
        "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": collector.endpoint,
    }


def test_calls_are_told_by_caller_as_long_as_there_are_few(tmp_path: Path, collector: Collector) -> None:
    """Each of very many callers has a valid token. The first of them have series of their own."""
    issued = Issuer(one="ES256")
    with running_front(settings=identified(tmp_path, collector, issued)) as front:
        failure(lambda: front.stub.GetShipmentAllocation(READ, timeout=LONG))
        for number in range(MOST_NAMES + 20):
            token = bearing(issued.token(f"shop-{number}"))
            front.stub.GetShipmentAllocation(READ, timeout=LONG, metadata=token)
        assert front.gateway.stop() == 0
    told = counts(collector, CALLS, "caller", "rpc.response.status_code")
    assert told.pop((OTHER, "UNAUTHENTICATED")) == 1
    assert told.pop((OTHER, "OK")) == 20
    assert told == {(f"jwt:shop-{number}", "OK"): 1 for number in range(MOST_NAMES)}


def test_caller_of_whom_the_policy_does_not_know_has_no_name(tmp_path: Path, collector: Collector) -> None:
    issued = Issuer(one="ES256")
    rules = '[[rules]]\nname = "shop"\ncallers = ["jwt:shop"]\nrpcs = ["GetShipmentAllocation"]\n'
    with running_front(settings=identified(tmp_path, collector, issued, rules)) as front:
        for subject in ("shop", "stranger"):
            metadata = bearing(issued.token(subject))
            call = front.stub.GetShipmentAllocation.future(READ, timeout=LONG, metadata=metadata)
            call.exception()
        write = pb.AllocateShipmentRequest(shipment_reference="sp_1")
        failure(lambda: front.stub.AllocateShipment(write, timeout=LONG, metadata=bearing(issued.token("shop"))))
        assert front.gateway.stop() == 0
    assert counts(collector, CALLS, "caller", "rpc.response.status_code") == {
        ("jwt:shop", "OK"): 1,
        ("jwt:shop", "PERMISSION_DENIED"): 1,
        (OTHER, "PERMISSION_DENIED"): 1,
    }


def test_allocations_are_told_by_carrier_and_failed_ones_by_why_no_service_was_left(collector: Collector) -> None:
    settings = {"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": collector.endpoint}
    with running_gateway(settings, "--sandbox") as gateway, grpc.insecure_channel(gateway.address) as channel:
        stub = ShipmentAllocationServiceStub(channel)
        allocate = pb.AllocateShipmentRequest(shipment_reference="sp_90000000000000000000000000000003")
        answer = stub.AllocateShipment(allocate, timeout=LONG)
        consignment = ConsignmentAllocationServiceStub(channel).AllocateConsignment(
            consignments_pb.AllocateConsignmentRequest(consignment_reference="EC-000-05B-MMA"), timeout=LONG
        )
        failure(lambda: stub.AllocateShipment(pb.AllocateShipmentRequest(shipment_reference=UNWANTED), timeout=LONG))
        assert gateway.stop() == 0
    assert counts(collector, "allocation_gateway.allocations", "api", "carrier") == {
        ("ship", answer.allocation.carrier.reference): 1,
        ("consignments", consignment.allocation.carrier_reference): 1,
    }
    assert consignment.allocation.carrier_reference
    excluded = counts(collector, "allocation_gateway.allocation.exclusions", "api", "code")
    assert excluded
    known = {name.removeprefix("EXCLUSION_CODE_") for name in ExclusionCode.keys()}  # noqa: SIM118 - it is no mapping
    assert {code for _, code in excluded} <= known - {"UNSPECIFIED"}


@pytest.mark.parametrize("name", ["x" * (LONGEST_NAME + 1), "two\nlines", "half a pair \ud800"])
def test_name_that_no_series_should_have_is_put_with_the_others(name: str) -> None:
    assert BoundedNames().of(name) == OTHER


def told(metric: str, reader: InMemoryMetricReader) -> dict[tuple[str, ...], int]:
    data: Any = reader.get_metrics_data()
    (found,) = [one for one in data.resource_metrics[0].scope_metrics[0].metrics if one.name == metric]
    return {tuple(map(str, point.attributes.values())): point.value for point in found.data.data_points}


def test_upstream_that_makes_up_carriers_and_codes_makes_no_more_series() -> None:
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    named = Telemetry(meter_provider=provider).metrics.named
    for api in ("ship", "consignments"):
        for number in range(MOST_NAMES + 50):
            named.carriers(api).append(f"carrier {number}")
            named.count()
    named.excluded("ship", [0, 1, 99, 1000, *range(2000, 4000)])  # type: ignore[list-item] # as upstream may send them
    allocations = told("allocation_gateway.allocations", reader)
    exclusions = told("allocation_gateway.allocation.exclusions", reader)
    provider.shutdown()
    assert len(allocations) == 2 * MOST_SERIES
    assert sum(allocations.values()) == 2 * (MOST_NAMES + 50)
    assert allocations["ship", OTHER] == 50
    assert exclusions == {("ship", "UNSPECIFIED"): 2003, ("ship", "AVAILABILITY"): 1}


def test_without_metrics_nothing_is_kept() -> None:
    carriers = Telemetry().metrics.named.carriers("ship")
    carriers.append("FF_DPD")
    assert not carriers

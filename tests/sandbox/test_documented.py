"""The documentation names everything there is, by its exact name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, get_args, get_type_hints

import msgspec
import pytest
from allocation_gateway.sandbox import faults
from allocation_gateway.sandbox.server import Sandbox
from allocation_gateway.sandbox.ship import seed
from allocation_gateway.sandbox.ship.switches import ShipSwitches

if TYPE_CHECKING:
    from allocation_gateway.sandbox.ship.catalogue import Group, Service

TEXT = (Path(__file__).parents[2] / "docs" / "sandbox.md").read_text()


def row(name: str, table: str = "") -> str:
    """The first line of a table that begins with the name, after the text that introduces the table."""
    lines = TEXT[TEXT.index(table) :].splitlines()
    return next((line for line in lines if line.startswith(f"| `{name}` |")), "")


@pytest.mark.parametrize(("name", "kind"), get_type_hints(ShipSwitches).items())
def test_every_switch_has_a_row_with_its_values_default_first(name: str, kind: object) -> None:
    values = get_args(kind) or (True, False)
    default = getattr(ShipSwitches(), name)
    ordered = sorted(values, key=lambda value: value != default)
    assert row(name).split("|")[2].strip() == ", ".join(f"`{msgspec.json.encode(value).decode()}`" for value in ordered)


@pytest.mark.parametrize("action", get_args(faults.Action))
def test_every_fault_has_a_row_with_its_members(action: type[msgspec.Struct]) -> None:
    line = row(str(action.__struct_config__.tag))
    assert all(f"`{name}`" in line for name in action.__struct_fields__)


@pytest.mark.parametrize("service", seed.SERVICES, ids=lambda service: service.reference)
def test_every_service_has_a_row_with_its_carrier_and_prices(service: Service) -> None:
    line = row(service.reference, "\nServices (")
    assert f"`{service.carrier}`" in line
    assert all(str(option.net) in line for option in service.prices)
    assert all(f"`{tag}`" in line for tag in service.tags)


@pytest.mark.parametrize("group", seed.GROUPS, ids=lambda group: group.code)
def test_every_group_has_a_row_with_its_services_in_order(group: Group) -> None:
    assert row(group.code).split("|")[2].strip() == ", ".join(f"`{reference}`" for reference in group.services)


@pytest.mark.parametrize("reference", [*(reference for reference, _ in seed.SHIPMENTS), seed.CANCELLED_SHIPMENT])
def test_every_shipment_has_a_row(reference: str) -> None:
    assert row(reference)


def test_every_path_is_named() -> None:
    ship = Sandbox().ship
    for routes in ship._router._by_length.values():
        for route in routes:
            assert f"{route.method} {route.template}`" in TEXT

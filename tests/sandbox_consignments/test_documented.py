"""The documentation names everything there is, by its exact name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, get_args, get_type_hints

import msgspec
import pytest
from allocation_gateway.sandbox.consignments import errors, seed, states
from allocation_gateway.sandbox.consignments.seed import seed as fill
from allocation_gateway.sandbox.consignments.switches import ConsignmentsSwitches
from allocation_gateway.sandbox.consignments.world import World
from allocation_gateway.sandbox.server import Sandbox

if TYPE_CHECKING:
    from allocation_gateway.sandbox.consignments.catalogue import Group, Service

TEXT = (Path(__file__).parents[2] / "docs" / "sandbox-consignments.md").read_text()


def row(name: str, table: str = "") -> str:
    """The first line of a table that begins with the name, after the text that introduces the table."""
    lines = TEXT[TEXT.index(table) :].splitlines()
    return next((line for line in lines if line.startswith(f"| `{name}` |")), "")


@pytest.mark.parametrize(("name", "kind"), get_type_hints(ConsignmentsSwitches).items())
def test_every_switch_has_a_row_with_its_values_default_first(name: str, kind: object) -> None:
    default = getattr(ConsignmentsSwitches(), name)
    values = get_args(kind) or ((True, False) if kind is bool else ())
    shown = [f"`{msgspec.json.encode(value).decode()}`" for value in sorted(values, key=lambda value: value != default)]
    expected = ", ".join(shown) if shown else f"a number, `{default}`"
    assert row(name, "\n## Switches").split("|")[2].strip() == expected


@pytest.mark.parametrize("service", seed.SERVICES, ids=lambda service: service.reference)
def test_every_service_has_a_row_with_its_carrier_price_and_tags(service: Service) -> None:
    line = row(service.reference, "\nServices (")
    assert f"| `{service.carrier}` | {'none' if service.net is None else service.net} |" in line
    assert all(f"`{tag}`" in line for tag in service.tags)


@pytest.mark.parametrize("group", seed.GROUPS, ids=lambda group: group.code)
def test_every_group_has_a_row_with_its_services_in_order(group: Group) -> None:
    assert row(group.code).split("|")[2].strip() == ", ".join(f"`{reference}`" for reference in group.services)


def test_every_carrier_is_named() -> None:
    assert all(f"`{carrier.reference}`" in TEXT for carrier in seed.CARRIERS)


def test_every_consignment_has_a_row_or_begins_in_the_state_of_its_number() -> None:
    world = World(fill(0))
    for reference in {*world.consignments} - {seed.in_state(state) for state in states.NUMBERS}:
        assert row(reference), reference
    assert all(f"`{quote}`" in TEXT for quote in (*world.quotes, *world.quotations))


def test_the_start_up_option_adds_consignments_as_documented() -> None:
    assert f"`{seed.numbered(1)}` is the first" in TEXT
    added = {*World(fill(3)).consignments} - {*World(fill(0)).consignments}
    assert added == {"EC-100-000-001", "EC-100-000-002", "EC-100-000-003"}


def test_every_path_is_named() -> None:
    consignments = Sandbox().consignments
    for routes in consignments._router._by_length.values():
        for route in routes:
            assert f"`{route.method} {route.template}`" in TEXT


def test_every_code_is_named() -> None:
    switches = ConsignmentsSwitches()
    access = msgspec.structs.replace(switches, access_error="api_error")
    problems = [
        errors.invalid(""),
        errors.unknown_consignment("", 400),
        errors.wrong_state("", "", "", switches),
        errors.failed("", ""),
        errors.unknown_group("", "", switches),
        errors.unread_group("", ""),
        errors.unknown_service("", switches),
        errors.unknown_quote("", 400),
        errors.no_label(""),
        errors.missing_key(access),
        errors.invalid_key("", access),
    ]
    assert all(f"`{errors.code(problem.name, switches)}`" in TEXT for problem in problems)


def test_the_two_documents_know_of_each_other() -> None:
    assert "docs/sandbox.md" in TEXT
    assert "sandbox-consignments.md" in (Path(__file__).parents[2] / "docs" / "sandbox.md").read_text()

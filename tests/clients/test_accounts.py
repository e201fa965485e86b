"""The account in the Python client and the command line: by a gateway with several, what is for one is done in it."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, Final

import pytest
from allocation_gateway_client import AsyncClient, Client, NotFound, OutcomeKind, UnfinishedJob, UnknownOutcome
from allocation_gateway_client.cli import commands
from click.testing import CliRunner
from support.accounts import DEFAULT, running_accounts
from support.losing import losing_wire

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from click.testing import Result
    from support.accounts import Scene

LONG: Final = 60.0
NORTH: Final = {"allocation-account": "north"}


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with running_accounts(tmp_path_factory.mktemp("accounts"), ["north", "south"]) as scene:
        yield scene
        assert scene.worlds.wrong == []


def booked(scene: Scene, reference: str) -> dict[str, int]:
    """Returns in which accounts a shipment was allocated, and how often."""
    found = {name: world.bookings.get(reference, 0) for name, world in scene.worlds.of.items()}
    return {name: times for name, times in found.items() if times}


def allocctl(scene: Scene, *arguments: str) -> Result:
    command = [*arguments, "--plaintext", "--address", scene.gateway.address]
    return CliRunner().invoke(commands.allocctl, command, catch_exceptions=False)


def test_a_call_is_for_its_own_account_or_that_of_its_client(scene: Scene) -> None:
    """Two are never sent: the gateway would refuse that."""
    with Client(scene.gateway.address, plaintext=True, account="north", metadata={"x-team": "checkout"}) as client:
        client.allocate_shipment("sp_1")
        client.allocate_shipment("sp_2", account="south")
        client.allocate_shipment("sp_3", account="")
        client.allocate_shipment("sp_4", account="south", metadata=NORTH)
        with pytest.raises(NotFound) as caught:
            client.get_shipment_allocation("sp_1", account="west")
    assert (caught.value.reason, caught.value.account) == ("ACCOUNT_NOT_FOUND", "west")
    with Client(scene.gateway.address, plaintext=True, metadata=NORTH) as client:
        client.allocate_shipment("sp_5")
        client.allocate_shipment("sp_6", account="south")
        assert client.call_metadata() == tuple(NORTH.items())
    with Client(scene.gateway.address, plaintext=True, account="south") as client:
        client.allocate_shipment("sp_7", metadata=NORTH)
    accounts = ("north", "south", DEFAULT, "south", "north", "south", "north")
    for number, account in enumerate(accounts, 1):
        assert booked(scene, f"sp_{number}") == {account: 1}


def test_a_client_that_awaits_does_the_same(scene: Scene) -> None:
    async def ask() -> None:
        async with AsyncClient(scene.gateway.address, plaintext=True, account="north") as client:
            await client.allocate_shipment("sp_11")
            await client.allocate_shipment("sp_12", account="south")
            async for outcome in client.allocate_shipment_stream(["sp_13"], timeout=LONG, account="south"):
                assert outcome.kind is OutcomeKind.ALLOCATED
            async for standing in client.watch_shipment_allocations(["sp_12"], timeout=LONG, account="south"):
                assert standing.is_final

    asyncio.run(ask())
    assert [booked(scene, f"sp_{number}") for number in (11, 12, 13)] == [{"north": 1}, {"south": 1}, {"south": 1}]


def test_jobs_and_watches_are_for_an_account(scene: Scene) -> None:
    with Client(scene.gateway.address, plaintext=True, account="north") as client:
        found = [*client.allocate_shipment_stream(["sp_21"], timeout=LONG)]
        found += client.allocate_shipment_stream(["sp_22"], timeout=LONG, account="south")
        assert {one.kind for one in found} == {OutcomeKind.ALLOCATED}
        assert [one.is_final for one in client.watch_shipment_allocations(["sp_21"], timeout=LONG)] == [True]
        with pytest.raises(NotFound) as caught:
            list(client.allocate_shipment_stream(["sp_23"], timeout=LONG, account="west"))
    assert caught.value.account == "west"
    assert [booked(scene, f"sp_{number}") for number in (21, 22, 23)] == [{"north": 1}, {"south": 1}, {}]


def test_what_is_unknown_is_asked_for_in_the_account_that_the_error_names(scene: Scene) -> None:
    """Elsewhere its id is not known, and asking would book."""
    with (
        losing_wire(scene.gateway.address) as wire,
        Client(wire.address, plaintext=True, account="north") as client,
    ):
        wire.lose("sp_31", times=1000)
        with pytest.raises(UnknownOutcome) as caught:
            client.allocate_shipment("sp_31", account="south", timeout=2)
        wire.lose("", times=0)
        error = caught.value
        assert error.account == "south"
        assert "account south" in str(error)
        answer: Any = client.call(error.request, account=error.account)
    assert answer.allocation.shipment_reference == "sp_31"
    assert booked(scene, "sp_31") == {"south": 1}


def test_a_job_is_gone_on_with_in_the_account_that_the_error_names(scene: Scene) -> None:
    with (
        losing_wire(scene.gateway.address) as wire,
        Client(wire.address, plaintext=True) as client,
    ):
        wire.lose("sp_41", times=1000)
        with pytest.raises(UnfinishedJob) as caught:
            list(client.allocate_shipment_stream(["sp_41"], timeout=2, account="south"))
        wire.lose("", times=0)
        error = caught.value
        (outcome,) = client.allocate_shipment_stream(
            error.unanswered, job_id=error.job_id, account=error.account, timeout=LONG
        )
    assert outcome.kind is OutcomeKind.ALLOCATED
    assert booked(scene, "sp_41") == {"south": 1}


def test_the_command_line_has_it_as_an_option_and_in_a_profile(scene: Scene, tmp_path: Path) -> None:
    assert allocctl(scene, "allocate", "sp_51", "--account", "north").exit_code == 0
    profiles = tmp_path / "profiles.toml"
    profiles.write_text('[default]\naccount = "south"\n')
    assert allocctl(scene, "allocate", "sp_52", "--profiles", str(profiles)).exit_code == 0
    refused = allocctl(scene, "allocate", "sp_53", "--account", "west", "--json")
    assert (refused.exit_code, json.loads(refused.stdout)["error"]["account"]) == (4, "west")
    assert "Check --account" in allocctl(scene, "show", "sp_53", "--account", "west").stderr
    assert [booked(scene, f"sp_{number}") for number in (51, 52, 53)] == [{"north": 1}, {"south": 1}, {}]


@pytest.mark.parametrize("more", [(), ("--stream",)], ids=["calls", "stream"])
def test_a_file_is_gone_on_with_for_the_account_that_it_was_begun_for(
    scene: Scene, tmp_path: Path, more: tuple[str, ...]
) -> None:
    """In another account nothing is known of what was done, and all of it would be booked again."""
    reference = f"sp_61{len(more)}"
    file = tmp_path / "wave.csv"
    file.write_text(f"reference\n{reference}\n")
    command = ("allocate", "--file", str(file), *more)
    assert allocctl(scene, *command, "--account", "north").exit_code == 0
    for other in ((), ("--account", "south")):
        refused = allocctl(scene, *command, *other)
        assert refused.exit_code == 2
        assert "for account north" in refused.stderr
    assert allocctl(scene, *command, "--account", "north").exit_code == 0
    assert booked(scene, reference) == {"north": 1}

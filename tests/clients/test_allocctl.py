"""The command line: what it prints for people and for programs, its exit codes, and files that are continued."""

from __future__ import annotations

import json
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import grpc
import pytest
from allocation.v1 import core_pb2
from allocation.v1 import service_group_service_pb2 as groups
from allocation.v1 import shipment_allocation_service_pb2 as pb
from allocation.v1.error_reason_pb2 import ErrorReason
from allocation_gateway.errors import WriteEffect
from allocation_gateway_client.cli import commands, failures
from allocation_gateway_client.errors import error_of
from allocation_gateway_client.failure import failure_of
from click.testing import CliRunner, Result
from clients.conftest import MANY, many_shipments
from clients.project import ROOT
from google.type import money_pb2
from support.losing import losing_wire
from support.scripted import SILENCE, Scripted, scripted_server, told

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from allocation_gateway.errors import GatewayError
    from support.gateway import Gateway
    from support.sandbox import Sandbox

COMMAND: Final = str(Path(sys.executable).parent / "allocctl")
SHIPMENT: Final = "sp_00794403010635468411384028069888"
CONSIGNMENT: Final = "EC-000-05B-MMA"
NOBODY: Final = "sp_00000000000000000000000000000000"
BULK: Final = ("sp_00794407328944469090495223169024", "sp_00794407551522883083874672967680")
C: Final = grpc.StatusCode
LONG: Final = 60.0
Run: TypeAlias = "Callable[..., Result]"


@pytest.fixture
def allocctl(gateway: Gateway, sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command against a fresh sandbox, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, address: str = gateway.address) -> Result:
        command = [*arguments, "--plaintext", "--address", address]
        return CliRunner().invoke(commands.allocctl, command, catch_exceptions=False)

    return run


def test_an_allocation_for_people(allocctl: Run, sandbox: Sandbox) -> None:
    done = allocctl("allocate", "--group", "valuables", SHIPMENT)
    facts = ("Lineten", "Lineten - Standard On Demand", "2.00 GBP", "tracking 43765709", "4 excluded services")
    assert done.stdout == "  ".join((SHIPMENT, "allocated", *facts)) + "\n"
    assert done.exit_code == 0
    assert allocctl("deallocate", SHIPMENT).stdout == f"{SHIPMENT}  deallocated\n"
    assert allocctl("show", SHIPMENT).stdout == f"{SHIPMENT}  unallocated\n"
    assert sandbox.bookings(SHIPMENT) == (1, 1)


def test_an_allocation_for_programs(allocctl: Run) -> None:
    done = allocctl("allocate", "-g", "valuables", SHIPMENT, "--json")
    assert json.loads(done.stdout)["allocation"]["price"]["gross"] == {"currency_code": "GBP", "units": "2"}
    refused = allocctl("allocate", SHIPMENT, "--json")
    error = json.loads(refused.stdout)["error"]
    assert (error["kind"], error["reason"], error["effect"]) == ("InvalidState", "INVALID_STATE", "none")
    assert error["allocation"]["carrier"]["name"] == "Lineten"
    assert refused.exit_code == 5


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("allocate", CONSIGNMENT), f"{CONSIGNMENT}  "),
        (("allocate", CONSIGNMENT, "--labels", "pdf"), "  label: "),
        (("allocate", "--service", "FF_DPD_Next_Day_103386", "sp_90000000000000000000000000000001"), "DPD"),
        (("allocate", "--virtual", "exampleSG123", "sp_90000000000000000000000000000002"), "2.00 GBP"),
        (("allocate", "--bulk", "sp_00794407328944469090495223169024", NOBODY), "  queued\n"),
        (("allocate", "--bulk", CONSIGNMENT), f"{CONSIGNMENT}  done"),
        (("quotes", "sp_90000000000000000000000000000003"), "GBP"),
        (("quotes", CONSIGNMENT), "GBP"),
        (("groups",), "valuables"),
        (("groups", "valuables", "--api", "ship"), "valuableGoods"),
        (("show", CONSIGNMENT), "unallocated"),
        (("raw",), "ConsignmentAllocationService/GetConsignmentQuotes\n"),
        (("raw", "ServiceGroupService/GetServiceGroup", '{"service_group": "exampleSG123"}'), '"code"'),
    ],
)
def test_what_else_there_is(allocctl: Run, arguments: tuple[str, ...], text: str) -> None:
    done = allocctl(*arguments)
    assert text in done.stdout, done.stderr
    assert done.exit_code == 0


def test_a_watch_ends_when_all_are_final(allocctl: Run) -> None:
    assert allocctl("allocate", "--group", "valuables", SHIPMENT).exit_code == 0
    done = allocctl("watch", SHIPMENT)
    assert (done.exit_code, done.stdout.split("  ")[:2]) == (0, [SHIPMENT, "allocated"])
    gone = allocctl("watch", SHIPMENT, NOBODY, "--json")
    told_of = {one["reference"]: one for one in map(json.loads, gone.stdout.splitlines())}
    assert gone.exit_code == 4
    assert told_of[SHIPMENT]["allocation"]["price"]["gross"] == {"currency_code": "GBP", "units": "2"}
    assert (told_of[NOBODY]["final"], told_of[NOBODY]["error"]["reason"]) == (True, "SHIPMENT_NOT_FOUND")
    waiting = allocctl("watch", "sp_90000000000000000000000000000003", "--timeout", "1")
    assert (waiting.exit_code, "unallocated" in waiting.stdout) == (6, True)
    assert allocctl("watch", SHIPMENT, CONSIGNMENT).exit_code == 2


def test_each_failure_says_what_to_do(allocctl: Run, sandbox: Sandbox) -> None:
    unknown = allocctl("allocate", NOBODY)
    assert (unknown.exit_code, unknown.stdout) == (4, "")
    assert unknown.stderr.startswith(f"{NOBODY}: SHIPMENT_NOT_FOUND ")
    assert "--account are those" in unknown.stderr
    invalid = allocctl("allocate", "sp_1", "--request-id", "not-a-uuid")
    assert invalid.exit_code == 3
    assert "request_id: " in invalid.stderr
    nowhere = allocctl("allocate", SHIPMENT, "--timeout", "0.5", address="127.0.0.1:1")
    assert nowhere.exit_code == 7
    assert "is the address right" in nowhere.stderr.lower()
    group = allocctl("groups", "nothing-of-the-kind")
    assert group.exit_code == 4
    assert "`allocctl groups` lists" in group.stderr
    several = allocctl("allocate", NOBODY, SHIPMENT)
    assert (several.exit_code, len(several.stdout.splitlines())) == (4, 1)
    assert allocctl("allocate", NOBODY, SHIPMENT).exit_code == 10
    ambiguous = allocctl("groups", "valuables")
    assert ambiguous.exit_code == 3
    assert "--api" in ambiguous.stderr
    dangerous = allocctl("allocate", "sp_90000000000000000000000000000005")
    assert dangerous.exit_code == 5
    assert "  excluded: " in dangerous.stderr


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (told(C.INTERNAL, ErrorReason.ERROR_REASON_GATEWAY_DEFECT), 1),
        (told(C.RESOURCE_EXHAUSTED, ErrorReason.ERROR_REASON_GATEWAY_OVERLOADED, after=99), 6),
        (C.PERMISSION_DENIED, 8),
        (C.UNIMPLEMENTED, 9),
    ],
    ids=str,
)
def test_each_kind_of_failure_has_its_exit_code(
    allocctl: Run, answer: GatewayError | grpc.StatusCode, code: int
) -> None:
    with scripted_server() as server:
        server.answers.append(answer)
        assert allocctl("allocate", SHIPMENT, address=server.address).exit_code == code


def test_an_unknown_outcome_is_learned_with_its_id(allocctl: Run, gateway: Gateway, sandbox: Sandbox) -> None:
    with losing_wire(gateway.address) as wire:
        wire.lose(SHIPMENT, times=1000)
        unknown = allocctl("allocate", SHIPMENT, "--timeout", "1.5", "--json", address=wire.address)
    assert unknown.exit_code == 7
    request_id = json.loads(unknown.stdout)["error"]["request_id"]
    assert allocctl("allocate", SHIPMENT, "--request-id", request_id).exit_code == 0
    assert sandbox.bookings(SHIPMENT) == (1, 0)


def test_the_command_that_asks_for_an_unknown_outcome_is_told(
    allocctl: Run, gateway: Gateway, sandbox: Sandbox, tmp_path: Path
) -> None:
    """It is run as it stands there: of a bulk call, and of one of several calls, whose account is that of a profile."""
    profiles = tmp_path / "profiles.toml"
    profiles.write_text('[default]\naccount = "default"\n')
    more = ("--profiles", str(profiles), "--timeout", "1")

    def repeated(said: str, about: str) -> list[str]:
        (line,) = [one for one in said.splitlines() if one.startswith(f"{about}: ")]
        (command,) = re.findall(r"To learn how it ended, run: (.+)$", said, re.MULTILINE)
        assert "The outcome is unknown" in line
        name, *words = shlex.split(command)
        assert name == "allocctl"
        assert {"--account", "--request-id"} <= {*words}
        return words

    with losing_wire(gateway.address) as wire:
        wire.lose(BULK[1], times=1000)
        bulk = allocctl("allocate", "--bulk", "-g", "exampleSG123", *BULK, *more, address=wire.address)
        one = allocctl("allocate", SHIPMENT, *more)
        wire.lose(SHIPMENT, times=1000)
        taken_back = allocctl("deallocate", NOBODY, SHIPMENT, *more, address=wire.address)
        wire.lose("", times=0)
        assert [one.exit_code, bulk.exit_code, taken_back.exit_code] == [0, 7, 10]
        for words in (repeated(bulk.stderr, ", ".join(BULK)), repeated(taken_back.stderr, SHIPMENT)):
            done = CliRunner().invoke(commands.allocctl, words)
            assert done.exit_code == 0, done.stderr
    assert sandbox.bookings(SHIPMENT) == (1, 1)
    assert sandbox.bookings(BULK[0]) == (1, 0)


def test_an_unknown_outcome_of_a_raw_call_is_asked_for_by_its_json(allocctl: Run) -> None:
    unknown = told(C.UNKNOWN, ErrorReason.ERROR_REASON_OUTCOME_UNKNOWN, effect=WriteEffect.UNKNOWN)
    with scripted_server() as server:
        server.answers.append(unknown)
        body = '{"shipment_reference": "sp_1"}'
        done = allocctl("raw", "ShipmentAllocationService/AllocateShipment", body, address=server.address)
        assert done.exit_code == 7
        assert f'put "request_id": "{_ids(server)[0]}" into the JSON' in done.stderr
        assert "--request-id" not in done.stderr


def test_a_failure_names_what_it_is_about_for_programs_too(allocctl: Run) -> None:
    several = allocctl("allocate", NOBODY, "EC-1", "--json")
    assert [json.loads(line)["error"]["references"] for line in several.stdout.splitlines()] == [[NOBODY], ["EC-1"]]


def test_every_reason_says_what_to_do() -> None:
    """And none sends whoever is not allowed something to look at a token that is valid."""
    rows = re.findall(r"^\| ([A-Z_]+) \| `([A-Z_]+)` \|", (ROOT / "docs" / "errors.md").read_text(), re.MULTILINE)
    reasons = {name.removeprefix("ERROR_REASON_") for name in [*ErrorReason.keys()]} - {"UNSPECIFIED"}
    assert {reason for _, reason in rows} == reasons
    advices = {}
    for code, reason in rows:
        if code == "OK":
            continue
        status = told(C[code], ErrorReason.Value(f"ERROR_REASON_{reason}")).status().SerializeToString()
        failure = failure_of(C[code], "", [("grpc-status-details-bin", status)])
        error = error_of(failure, pb.AllocateShipmentRequest(), is_in_doubt=code == "UNKNOWN")
        advices[reason] = failures.advice(error)
        assert failures.lines(error)[-1] == advices[reason]
    assert all(advices.values())
    assert [reason for reason, advice in advices.items() if "--token-file" in advice] == ["CALLER_UNAUTHENTICATED"]
    for code in (
        C.INVALID_ARGUMENT,
        C.NOT_FOUND,
        C.FAILED_PRECONDITION,
        C.PERMISSION_DENIED,
        C.UNIMPLEMENTED,
        C.INTERNAL,
    ):
        bare = error_of(failure_of(code, "", None), pb.AllocateShipmentRequest(), is_in_doubt=False)
        assert failures.advice(bare)


def test_an_allocation_without_a_price_is_not_said_to_cost_nothing() -> None:
    taxed = core_pb2.Allocation(shipment_reference=SHIPMENT, price=core_pb2.Price(net=money_pb2.Money(units=2)))
    there = told(C.FAILED_PRECONDITION, ErrorReason.ERROR_REASON_INVALID_STATE, allocation=taxed)
    failure = failure_of(C.FAILED_PRECONDITION, "", [("grpc-status-details-bin", there.status().SerializeToString())])
    told_of = failures.lines(error_of(failure, pb.AllocateShipmentRequest(), is_in_doubt=False))
    assert "  it is allocated" in told_of


def test_labels_are_saved(allocctl: Run, tmp_path: Path) -> None:
    done = allocctl("allocate", CONSIGNMENT, "--labels", "pdf")
    assert f"  saved: {CONSIGNMENT}.pdf" in done.stdout.splitlines()
    assert (tmp_path / f"{CONSIGNMENT}.pdf").read_bytes().startswith(b"%PDF")
    (tmp_path / "labels").mkdir()
    again = allocctl("allocate", CONSIGNMENT, "--labels", "pdf", "--save", "labels", "--json")
    assert again.exit_code in (0, 5)
    assert [*(tmp_path / "labels").iterdir()] == (
        [tmp_path / "labels" / f"{CONSIGNMENT}.pdf"] if not again.exit_code else []
    )


def test_a_refresh_of_the_groups_looks_up_a_name_too(allocctl: Run) -> None:
    with scripted_server() as server:
        found = groups.ServiceGroup(code="valuableGoods")
        server.answers.extend(
            [
                groups.RefreshServiceGroupsResponse(service_group_count=3),
                groups.GetServiceGroupResponse(service_group=found),
            ]
        )
        done = allocctl("groups", "valuables", "--refresh", address=server.address)
    assert [call.path.rpartition("/")[2] for call in server.calls] == ["RefreshServiceGroups", "GetServiceGroup"]
    assert "valuableGoods" in done.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ("allocate",),
        ("allocate", "--file", __file__, "--labels", "pdf"),
        ("allocate", "--file", __file__, "--bulk"),
        ("allocate", "--file", __file__, "--request-id", "6e1f3b1a-0000-4000-8000-000000000001"),
        ("allocate", "--file", __file__, "--stream", "--concurrency", "2"),
        ("allocate", "--bulk", "--labels", "pdf", CONSIGNMENT),
        ("allocate", "--result", "results", SHIPMENT),
        ("allocate", "--retry-failed", SHIPMENT),
        ("allocate", "--concurrency", "2", SHIPMENT),
        ("allocate", "--save", ".", CONSIGNMENT),
        ("allocate", "--bulk", "--request-id", "6e1f3b1a-0000-4000-8000-000000000001", *["sp_1"] * 101),
        ("watch", "--timeout", "0", SHIPMENT),
        ("show", "--timeout", "-1", SHIPMENT),
        ("show", "--timeout", "nan", SHIPMENT),
        ("show", "sp_\udcff"),
        ("raw", "ServiceGroupService/GetServiceGroup", "5"),
        ("raw", "ServiceGroupService/GetServiceGroup", "null"),
        ("raw", "ServiceGroupService/GetServiceGroup", '{"service_group": "\\ud800"}'),
        ("raw", "ShipmentAllocationService/AllocateShipmentStream", "{}"),
        ("allocate", "--group", "a", "--quote", "b", SHIPMENT),
        ("allocate", "--service", "a", CONSIGNMENT),
        ("allocate", "--bulk", "--quote", "a", SHIPMENT),
        ("allocate", "--request-id", "6e1f3b1a-0000-4000-8000-000000000001", SHIPMENT, NOBODY),
        ("raw", "Nothing/AtAll"),
        ("raw", "ServiceGroupService/GetServiceGroup", '{"shipment": 1}'),
        ("show", SHIPMENT, "--token-file", __file__),
        ("show", SHIPMENT, "--profile", "none"),
    ],
    ids=str,
)
def test_wrong_usage_is_told_before_anything_is_sent(allocctl: Run, arguments: tuple[str, ...]) -> None:
    done = allocctl(*arguments)
    assert done.exit_code == 2
    assert "Error: " in done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_get_their_completion(shell: str) -> None:
    done = CliRunner().invoke(commands.allocctl, ["completion", shell])
    assert "_ALLOCCTL_COMPLETE" in done.stdout


def test_profiles_are_read_and_options_win(gateway: Gateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    file = tmp_path / "allocctl" / "profiles.toml"
    file.parent.mkdir()
    file.write_text(f'[default]\naddress = "{gateway.address}"\nplaintext = true\n[away]\naddress = "127.0.0.1:1"\n')

    def code(*arguments: str) -> int:
        return CliRunner().invoke(commands.allocctl, ["groups", *arguments]).exit_code

    assert code() == 0
    assert code("--profile", "away", "--plaintext", "--timeout", "0.5") == 6
    assert code("--profile", "away", "--plaintext", "--address", gateway.address) == 0
    for wrong in (
        '[default]\nadress = "x"\n',
        "[default]\nplaintext = 1\n",
        "[default]\ntimeout = true\n",
        "[default]\ntimeout = 0\n",
        "[default]\nmetadata = { x-team = 5 }\n",
        '[default]\nmetadata = { "x team" = "a" }\n',
        "[default",
        f'address = "{gateway.address}"\nplaintext = true\n',
    ):
        file.write_text(wrong)
        assert code() == 2
    # Which is no profile of that name.
    assert code("--profile", "address") == 2


def lines(results: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in results.read_text().splitlines()]


def test_a_file_is_allocated_row_by_row_and_continued(allocctl: Run, sandbox: Sandbox, tmp_path: Path) -> None:
    wave = tmp_path / "wave.csv"
    wave.write_text(
        f"reference,group\n{SHIPMENT},valuables\n{NOBODY},\nsp_01017652898121961272041674506240,\n{CONSIGNMENT},\n"
    )
    first = allocctl("allocate", "--file", str(wave), "--json")
    results = tmp_path / "wave.results.jsonl"
    assert json.loads(first.stdout) == {"results": str(results), "done": 3, "refused": 1, "open": 0}
    assert first.exit_code == 4
    written = lines(results)
    assert written[0]["source"] == "wave.csv"
    assert {one["reference"]: one["outcome"] for one in written[1:]}[NOBODY] == "refused"
    assert next(one for one in written[1:] if one["reference"] == SHIPMENT)["price"] == "2.00 GBP"
    again = allocctl("allocate", "--file", str(wave))
    assert (again.exit_code, "--retry-failed" in again.stderr) == (4, True)
    assert len(lines(results)) == 5
    assert allocctl("allocate", "--file", str(wave), "--retry-failed").exit_code == 4
    tries = [one for one in lines(results)[1:] if one["reference"] == NOBODY]
    assert tries[0]["request_id"] != tries[1]["request_id"]
    assert sandbox.bookings(SHIPMENT) == (1, 0)


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (told(C.UNAUTHENTICATED, ErrorReason.ERROR_REASON_CALLER_UNAUTHENTICATED), 8),
        (told(C.NOT_FOUND, ErrorReason.ERROR_REASON_ACCOUNT_NOT_FOUND), 4),
        (told(C.FAILED_PRECONDITION, ErrorReason.ERROR_REASON_API_NOT_CONFIGURED), 5),
        (told(C.INTERNAL, ErrorReason.ERROR_REASON_GATEWAY_DEFECT), 1),
        (told(C.INTERNAL, ErrorReason.ERROR_REASON_UPSTREAM_CREDENTIALS_REJECTED, effect=WriteEffect.NONE), 1),
        (C.UNIMPLEMENTED, 9),
        (C.NOT_FOUND, 4),
    ],
    ids=str,
)
def test_what_has_failed_for_another_reason_than_the_row_stays_open_and_a_run_of_it_stops(
    allocctl: Run, tmp_path: Path, failure: GatewayError | grpc.StatusCode, code: int
) -> None:
    """The next run asks for the same rows by the same ids."""
    wave = tmp_path / "wave.csv"
    wave.write_text("\n".join(["reference", *(f"sp_{index}" for index in range(40)), ""]))
    with scripted_server() as server:
        server.default = failure
        command = ("allocate", "--file", str(wave), "--concurrency", "2")
        stopped = allocctl(*command, address=server.address)
        assert stopped.exit_code == code
        assert "nothing more is begun" in stopped.stderr
        written = lines(tmp_path / "wave.results.jsonl")[1:]
        assert 3 <= len(written) <= 6
        assert {one["outcome"] for one in written} == {"open"}
        server.default = pb.AllocateShipmentResponse()
        assert allocctl(*command, address=server.address).exit_code == 0
        ids = dict.fromkeys(_ids(server))
        assert len(server.calls) == len(written) + 40
        assert len(ids) == 40


def test_what_a_file_of_results_has_left_is_told_by_the_exit_code(allocctl: Run, tmp_path: Path) -> None:
    """Also of a file that an earlier version has written, which does not say of which kind an error was."""
    wave, results = tmp_path / "wave.csv", tmp_path / "wave.results.jsonl"
    wave.write_text(f"reference\n{SHIPMENT}\n")
    head = {"job": "6f1d3a52-7d4f-4d58-9f0c-2b7a2f6f3c10", "source": "wave.csv", "stream": False, "account": ""}
    row = {"reference": SHIPMENT, "outcome": "refused", "reason": "INVALID_STATE"}
    results.write_text(f"{json.dumps(head)}\n{json.dumps(row)}\n")
    assert allocctl("allocate", "--file", str(wave)).exit_code == 5


def test_a_file_is_gone_on_with_at_the_gateway_that_it_was_begun_at(allocctl: Run, tmp_path: Path) -> None:
    """Another one knows nothing of it: what was tried in the sandbox is not done in production."""
    wave = tmp_path / "wave.csv"
    wave.write_text(f"reference\n{SHIPMENT}\n")
    assert allocctl("allocate", "--file", str(wave)).exit_code == 0
    with scripted_server() as server:
        elsewhere = allocctl("allocate", "--file", str(wave), address=server.address)
        assert (elsewhere.exit_code, server.calls) == (2, [])
        assert "was begun at the gateway" in elsewhere.stderr
        assert allocctl("allocate", "--file", str(wave), "--result", "other", address=server.address).exit_code == 9


@pytest.mark.parametrize(
    "text",
    [
        "shipment\nsp_1\n",
        "reference,colour\nsp_1,red\n",
        "reference,group,quote\nsp_1,a,b\n",
        "reference\nsp_1\nsp_1\n",
        "reference,group\nsp_1\n",
        "reference,group\n,a\n",
        "reference,service\nEC-1,a\n",
        "",
    ],
)
def test_a_file_that_is_wrong_is_told_before_anything_is_sent(allocctl: Run, tmp_path: Path, text: str) -> None:
    wave = tmp_path / "wave.csv"
    wave.write_text(text)
    assert allocctl("allocate", "--file", str(wave)).exit_code == 2
    assert not (tmp_path / "wave.results.jsonl").exists()


def test_another_file_is_not_written_over(allocctl: Run, tmp_path: Path) -> None:
    wave = tmp_path / "wave.csv"
    wave.write_text(f"reference\n{SHIPMENT}\n")
    done = allocctl("allocate", "--file", str(wave), "--result", str(wave))
    assert done.exit_code == 2
    assert wave.read_text() == f"reference\n{SHIPMENT}\n"


@pytest.fixture(scope="module")
def many() -> Iterator[tuple[Gateway, Sandbox]]:
    with many_shipments() as running:
        yield running


@pytest.mark.clients
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["interrupted", "killed"])
def test_a_run_that_ends_early_goes_on_where_it_was(
    many: tuple[Gateway, Sandbox], tmp_path: Path, number: signal.Signals
) -> None:
    gateway, sandbox = many
    sandbox.call("POST", "reset")
    references = [f"sp_{index:032d}" for index in range(1, MANY + 1)]
    wave, results = tmp_path / "wave.csv", tmp_path / "results.jsonl"
    wave.write_text("\n".join(["reference", *references, ""]))
    command = [COMMAND, "allocate", "--file", str(wave), "--result", str(results)]
    command += ["--plaintext", "--address", gateway.address]
    begun = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    end = time.monotonic() + LONG
    while not results.exists() or len(results.read_bytes().splitlines()) < MANY // 8:
        assert begun.poll() is None
        assert time.monotonic() < end
        time.sleep(0.01)
    begun.send_signal(number)
    assert begun.wait(LONG) == (130 if number is signal.SIGINT else -signal.SIGKILL)
    assert len(lines(results)) < MANY
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, timeout=LONG, check=True)
    assert json.loads(done.stdout)["done"] == MANY
    assert sandbox.all_bookings() == dict.fromkeys(references, (1, 0))


def test_a_line_that_was_cut_off_is_no_obstacle(allocctl: Run, sandbox: Sandbox, tmp_path: Path) -> None:
    wave, results = tmp_path / "wave.csv", tmp_path / "wave.results.jsonl"
    wave.write_text(f"reference\n{SHIPMENT}\n{NOBODY}\n")
    assert allocctl("allocate", "--file", str(wave)).exit_code == 4
    head, *rest = results.read_text().splitlines(keepends=True)
    done = next(line for line in rest if SHIPMENT in line)
    results.write_text(head + done[: len(done) // 2])
    for _ in range(2):
        assert allocctl("allocate", "--file", str(wave)).exit_code in (0, 4)
    assert {one["reference"]: one["outcome"] for one in lines(results)[1:]} == {SHIPMENT: "done", NOBODY: "refused"}
    assert sandbox.bookings(SHIPMENT) == (1, 0)


@pytest.mark.clients
def test_an_interrupted_call_says_with_which_id_to_ask() -> None:
    with scripted_server() as server:
        server.answers.append(SILENCE)
        command = [COMMAND, "allocate", "--plaintext", "--address", server.address, SHIPMENT]
        begun = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        end = time.monotonic() + LONG
        while not server.calls:
            assert time.monotonic() < end
            time.sleep(0.01)
        begun.send_signal(signal.SIGINT)
        _, told_of = begun.communicate(timeout=LONG)
    assert begun.returncode == 130
    assert f"--request-id {_ids(server)[0]}" in told_of


@pytest.mark.parametrize("command", [("watch", SHIPMENT), ("quotes", SHIPMENT)], ids=lambda one: one[0])
def test_an_interrupted_read_has_the_exit_code_of_what_is_interrupted(command: tuple[str, ...]) -> None:
    with scripted_server() as server:
        server.answers.append(SILENCE)
        begun = subprocess.Popen(
            [COMMAND, *command, "--plaintext", "--address", server.address], stderr=subprocess.PIPE, text=True
        )
        end = time.monotonic() + LONG
        while not server.calls:
            assert time.monotonic() < end
            time.sleep(0.01)
        begun.send_signal(signal.SIGINT)
        _, told_of = begun.communicate(timeout=LONG)
    assert (begun.returncode, told_of) == (130, "")


def test_a_run_stops_by_itself_when_nobody_answers(allocctl: Run, tmp_path: Path) -> None:
    wave = tmp_path / "wave.csv"
    wave.write_text("\n".join(["reference", *(f"sp_{index}" for index in range(200)), ""]))
    command = ["allocate", "--file", str(wave), "--concurrency", "4", "--timeout", "0.2"]
    done = allocctl(*command, address="127.0.0.1:1")
    assert done.exit_code == 7
    assert "is the address right" in done.stderr.lower()
    assert "nothing more is begun" in done.stderr
    assert 5 <= len(lines(tmp_path / "wave.results.jsonl")) < 20


def test_the_server_is_asked_with_the_same_id_when_a_run_is_continued(tmp_path: Path) -> None:
    wave = tmp_path / "wave.csv"
    wave.write_text(f"reference\n{SHIPMENT}\n")
    busy = told(C.ABORTED, ErrorReason.ERROR_REASON_WRITE_IN_PROGRESS, after=99)
    with scripted_server() as server:
        server.answers.extend([busy, busy])
        command = ["allocate", "--file", str(wave), "--plaintext", "--address", server.address]
        assert [CliRunner().invoke(commands.allocctl, command).exit_code for _ in range(2)] == [6, 6]
        assert len(_ids(server)) == 2
        assert len(set(_ids(server))) == 1


def _ids(server: Scripted) -> list[str]:
    return [pb.AllocateShipmentRequest.FromString(call.request).request_id for call in server.calls]

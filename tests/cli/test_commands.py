"""The commands, as an operator runs them."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
from typing import TYPE_CHECKING, Any, Final

import pytest
from allocation_gateway import settings as configuration
from allocation_gateway import stand_in
from allocation_gateway.sandbox.options import SHIP_PREFIX, SandboxOptions
from allocation_gateway.version import __version__
from support.certificates import Authority
from support.front import KEY, LONG, running_front
from support.gateway import COMMAND, PREFIX, environment, running_gateway
from support.upstream import running_upstream

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.command import Command
    from support.upstream import Upstream

BASE_URL: Final = "SHIP_BASE_URL"


def run(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [COMMAND, *arguments], env=environment(settings), capture_output=True, text=True, timeout=LONG, check=False
    )


def test_version() -> None:
    done = run("--version")
    assert (done.returncode, done.stdout) == (0, f"allocation-gateway {__version__}\n")


@pytest.mark.parametrize("arguments", [[], ["fly"], ["serve", "--fast"]])
def test_wrong_usage_exits_with_two_and_says_what_there_is(arguments: list[str], command: Command) -> None:
    done = command(*arguments)
    assert done.code == 2
    assert "usage: allocation-gateway" in done.err


def test_settings_lists_each_setting_with_its_default(command: Command) -> None:
    done = command("settings")
    rows = [line.split(" | ") for line in done.out.splitlines()[2:]]
    names = [re.sub(r"[|` ]", "", row[0]) for row in rows]
    assert done.code == 0
    assert names == [*(name.upper() for name in configuration.FIELDS), "CONFIG_FILE"]
    assert all(len(row) == 3 and len(row[2]) > 10 for row in rows)


def test_check_accepts_a_good_configuration_without_calling_anybody(upstream: Upstream) -> None:
    done = run("check", ALLOW_PLAINTEXT="true", SHIP_API_KEY=KEY, SHIP_BASE_URL=upstream.url)
    assert (done.returncode, done.stdout, done.stderr) == (0, "The configuration is valid.\n", "")
    assert upstream.received.empty()


def error(code: str, *children: str) -> dict[str, Any]:
    return {"code": code, "message": "", "details": [{"code": child, "message": ""} for child in children]}


# What upstream answers, and which setting is at fault for it; none if all is well.
ANSWERS: Final = [
    (404, error("not_found", "shipment_not_found"), ""),
    (404, error("not_found", "not_found"), ""),
    (400, error("validation_error", "invalid_reference_format"), ""),
    (200, {"reference": "sp_00000000000000000000000000000000", "state": "unallocated"}, ""),
    (401, error("unauthorised", "invalid_api_key"), "SHIP_API_KEY"),
    (401, error("unauthorised", "missing_api_key_header"), "SHIP_API_KEY"),
    (401, b"no", "SHIP_API_KEY"),
    (403, error("forbidden"), "SHIP_API_KEY"),
    (400, error("version_header_error", "version_header_error"), "SHIP_API_VERSION"),
    (400, error("validation_error", "version_header_missing"), "SHIP_API_VERSION"),
    (404, b"<html>", BASE_URL),
    (404, {"error": "Not Found"}, BASE_URL),
    (200, b"<html>", BASE_URL),
    (200, ["something else"], BASE_URL),
    (301, b"", BASE_URL),
    (502, b"<html>", BASE_URL),
    (500, {"message": "boom"}, BASE_URL),
]


PLAIN: Final = {"ALLOW_PLAINTEXT": "true", "SHIP_API_KEY": KEY}


@pytest.mark.parametrize(("status", "body", "fault"), ANSWERS)
def test_check_upstream_says_which_setting_is_wrong(
    status: int, body: object, fault: str, upstream: Upstream, command: Command
) -> None:
    upstream.answer(status, body)
    done = command("check", "--upstream", SHIP_BASE_URL=upstream.url, **PLAIN)
    asked = upstream.next_request()
    assert asked.line == "GET /pro/shipments/sp_00000000000000000000000000000000 HTTP/1.1"
    assert (asked.headers["x-api-key"], asked.headers["x-api-version"]) == (KEY, "1.1")
    assert upstream.received.empty()
    if fault:
        assert (done.code, done.out) == (1, "")
        assert done.err.startswith(f"allocation-gateway: {PREFIX}{fault}: ")
        assert done.err.count("\n") == 1
    else:
        assert done == (0, "The configuration is valid, and upstream accepts it.\n", "")


@pytest.fixture
def nobody() -> Iterator[str]:
    """An address at which nobody listens."""
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{place.getsockname()[1]}"


def wrong_address(what: str) -> tuple[int, str, str]:
    """Returns how a check ends that finds something wrong with the address."""
    return 1, "", f"allocation-gateway: {PREFIX}SHIP_BASE_URL: {what}\n"


def test_check_upstream_says_that_nobody_is_there(nobody: str, command: Command) -> None:
    done = command("check", "--upstream", SHIP_BASE_URL=f"http://{nobody}", **PLAIN)
    assert done == wrong_address("no connection could be made")


def test_check_upstream_says_that_there_is_no_answer(upstream: Upstream, command: Command) -> None:
    upstream.hold()
    done = command("check", "--upstream", SHIP_BASE_URL=upstream.url, SHIP_TIMEOUT="0.5", **PLAIN)
    assert done == wrong_address("there was no answer in time")
    upstream.answer(raw=b"", close=True)
    done = command("check", "--upstream", SHIP_BASE_URL=upstream.url, **PLAIN)
    assert done == wrong_address("the connection was lost")


def test_check_upstream_tells_tls_from_the_rest(tmp_path: Path, command: Command) -> None:
    authority, other = Authority(tmp_path), Authority(tmp_path, "other")
    with running_upstream(authority.server_context()) as encrypted:
        encrypted.answer(404, error("not_found"))
        good = command("check", "--upstream", trusted=str(authority.file), SHIP_BASE_URL=encrypted.url, **PLAIN)
        assert good.code == 0
        done = command("check", "--upstream", trusted=str(other.file), SHIP_BASE_URL=encrypted.url, **PLAIN)
        assert done == wrong_address("TLS failed: CERTIFICATE_VERIFY_FAILED")


def test_check_upstream_notices_that_plaintext_answers(upstream: Upstream, command: Command) -> None:
    url = upstream.url.replace("http:", "https:")
    done = command("check", "--upstream", SHIP_BASE_URL=url, SHIP_CONNECT_TIMEOUT="1", **PLAIN)
    assert done.code == 1
    assert done.err.startswith(f"allocation-gateway: {PREFIX}SHIP_BASE_URL: ")
    assert done.err.count("\n") == 1


def test_health_tells_how_a_gateway_is(nobody: str, command: Command) -> None:
    with running_front(SHUTDOWN_DELAY="20") as front:
        address = front.gateway.address
        assert command("health", "--address", address) == (0, "SERVING\n", "")
        front.gateway.process.send_signal(signal.SIGTERM)
        front.gateway.wait_for("draining")
        assert command("health", "--address", address) == (1, "NOT_SERVING\n", "")
        front.gateway.stop()
    assert command("health", "--address", nobody) == (1, "UNAVAILABLE\n", "")


def test_health_with_a_file_that_cannot_be_read_is_one_line(command: Command) -> None:
    done = command("health", "--ca-file", "/no/such/file")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("allocation-gateway: --ca-file: cannot be read")
    assert done.err.count("\n") == 1


@pytest.mark.parametrize("option", ["--server-name", "--cert-file", "--key-file"])
def test_health_without_tls_takes_nothing_that_belongs_to_it(option: str, command: Command) -> None:
    done = command("health", option, "x")
    assert (done.code, done.err) == (2, f"allocation-gateway: {option}: needs --ca-file\n")


def test_several_gateways_use_one_sandbox_by_its_url(command: Command) -> None:
    """What one of them allocates, the other knows."""
    with running_gateway({}, "--sandbox") as own, running_gateway({}, f"--sandbox={own.sandbox_url}/") as other:
        assert other.sandbox_url == ""
        demo = ("demo", "--address", other.address, "--sandbox", own.sandbox_url)
        assert command(*demo).code == 0
        assert "Lineten, 2.00 GBP" in command(*demo).out


def test_a_sandbox_at_what_is_no_url_is_refused() -> None:
    done = run("serve", "--sandbox=somewhere")
    assert done.returncode == 2
    assert "SHIP_BASE_URL: must be an http:// or https:// URL" in done.stderr


def test_interrupted_command_shows_no_traceback(upstream: Upstream) -> None:
    upstream.hold()
    settings = {"ALLOW_PLAINTEXT": "true", "SHIP_API_KEY": KEY, "SHIP_BASE_URL": upstream.url}
    with subprocess.Popen(
        [COMMAND, "check", "--upstream"],
        env=environment(settings),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        upstream.next_request()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=LONG)
    assert (process.returncode, out, err) == (130, "", "")


def test_sandbox_on_a_taken_port_is_one_line_and_a_failure() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = run("sandbox", "--port", str(taken.getsockname()[1]))
    assert done.returncode != 0
    assert done.stderr.count("\n") == 1
    assert "Address already in use" in done.stderr


# What makes an installation one that has not got a module.
WITHOUT: Final = """
import sys
class Absent:
    def find_spec(name, path=None, target=None):
        if name == "{}":
            raise ModuleNotFoundError(name=name)
sys.meta_path.insert(0, Absent)
"""


@pytest.mark.parametrize(
    ("absent", "arguments"),
    [
        ("allocation_gateway.sandbox", ("sandbox", "--port", "0")),
        ("allocation_gateway.sandbox", ("serve", "--sandbox")),
        ("allocation_gateway.sandbox", ("serve", "--sandbox", "--workers", "2")),
        ("aiohttp", ("sandbox",)),
        ("aiohttp", ("serve", "--sandbox")),
    ],
)
def test_without_the_sandbox_one_line_says_what_to_install(
    absent: str, arguments: tuple[str, ...], tmp_path: Path
) -> None:
    """As in an image for production; or where its code is, but not what it needs."""
    (tmp_path / "sitecustomize.py").write_text(WITHOUT.format(absent))
    path = os.pathsep.join(filter(None, (str(tmp_path), os.environ.get("PYTHONPATH"))))
    given = {"PORT": "0", "SANDBOX_PORT": "0", "ALLOW_UNSHARED_CLAIMS": "true"}
    done = subprocess.run(
        [COMMAND, *arguments],
        env=environment(given) | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=LONG,
        check=False,
    )
    assert done.returncode == 2
    assert [line for line in done.stderr.splitlines() if not line.startswith("{")] == [
        "allocation-gateway: the sandbox is not installed: it comes with allocation-gateway[sandbox], and with images "
        "of the target sandbox"
    ]


def test_sandbox_is_where_the_gateway_looks_for_it_with_the_key_that_it_takes() -> None:
    """The gateway says so by itself, since it may not have the sandbox."""
    options = SandboxOptions()
    assert options.api_key == stand_in.KEY
    assert stand_in.base_url("ship", "http://host:1/") == f"http://host:1/{SHIP_PREFIX}"
    assert stand_in.base_url("consignments", "http://host:1/") == "http://host:1"

"""The commands, as an operator runs them."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
from typing import TYPE_CHECKING, Any, Final

import pytest
from allocation_gateway import cli
from allocation_gateway import settings as configuration
from allocation_gateway.version import __version__
from support.certificates import Authority
from support.front import KEY, LONG, running_front
from support.gateway import COMMAND, PREFIX, environment
from support.upstream import running_upstream

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.upstream import Upstream

BASE_URL: Final = "SHIP_BASE_URL"


def run(*arguments: str, trusted: str = "", **settings: str) -> subprocess.CompletedProcess[str]:
    env = {**environment(settings), **({"SSL_CERT_FILE": trusted} if trusted else {})}
    return subprocess.run([COMMAND, *arguments], env=env, capture_output=True, text=True, timeout=LONG, check=False)


def test_version() -> None:
    done = run("--version")
    assert (done.returncode, done.stdout) == (0, f"allocation-gateway {__version__}\n")


@pytest.mark.parametrize("arguments", [[], ["fly"], ["serve", "--fast"]])
def test_wrong_usage_exits_with_two_and_says_what_there_is(arguments: list[str]) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert "usage: allocation-gateway" in done.stderr


def test_settings_lists_each_setting_with_its_default(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["settings"]) == 0
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines()[2:]]
    names = [re.sub(r"[|` ]", "", row[0]) for row in rows]
    assert names == [*(name.upper() for name in configuration.TYPES), "CONFIG_FILE"]
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


@pytest.mark.parametrize(("status", "body", "fault"), ANSWERS)
def test_check_upstream_says_which_setting_is_wrong(
    status: int,
    body: object,
    fault: str,
    upstream: Upstream,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    upstream.answer(status, body)
    settings = {
        "ALLOW_PLAINTEXT": "true",
        "SHIP_API_KEY": KEY,
        "SHIP_BASE_URL": upstream.url,
        "SHIP_API_VERSION": "1.1",
    }
    for name, value in settings.items():
        monkeypatch.setenv(PREFIX + name, value)
    code = cli.main(["check", "--upstream"])
    told = capsys.readouterr()
    asked = upstream.next_request()
    assert asked.line == "GET /pro/shipments/sp_00000000000000000000000000000000 HTTP/1.1"
    assert (asked.headers["x-api-key"], asked.headers["x-api-version"]) == (KEY, "1.1")
    assert upstream.received.empty()
    if fault:
        assert (code, told.out) == (1, "")
        assert told.err.startswith(f"allocation-gateway: {PREFIX}{fault}: ")
        assert told.err.count("\n") == 1
    else:
        assert (code, told.err) == (0, "")
        assert told.out == "The configuration is valid, and upstream accepts it.\n"


@pytest.fixture
def nobody() -> Iterator[str]:
    """An address at which nobody listens."""
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{place.getsockname()[1]}"


def test_check_upstream_says_that_nobody_is_there(nobody: str) -> None:
    done = run("check", "--upstream", ALLOW_PLAINTEXT="true", SHIP_API_KEY=KEY, SHIP_BASE_URL=f"http://{nobody}")
    assert done.returncode == 1
    assert done.stderr == f"allocation-gateway: {PREFIX}SHIP_BASE_URL: no connection could be made\n"


def test_check_upstream_says_that_there_is_no_answer(upstream: Upstream) -> None:
    settings = {"ALLOW_PLAINTEXT": "true", "SHIP_API_KEY": KEY, "SHIP_BASE_URL": upstream.url, "SHIP_TIMEOUT": "0.5"}
    upstream.hold()
    done = run("check", "--upstream", **settings)
    assert done.returncode == 1
    assert done.stderr == f"allocation-gateway: {PREFIX}SHIP_BASE_URL: there was no answer in time\n"
    upstream.answer(raw=b"", close=True)
    done = run("check", "--upstream", **settings)
    assert done.stderr == f"allocation-gateway: {PREFIX}SHIP_BASE_URL: the connection was lost\n"


def test_check_upstream_tells_tls_from_the_rest(tmp_path: Path, upstream: Upstream) -> None:
    authority, other = Authority(tmp_path), Authority(tmp_path, "other")
    settings = {"ALLOW_PLAINTEXT": "true", "SHIP_API_KEY": KEY}
    with running_upstream(authority.server_context()) as encrypted:
        encrypted.answer(404, error("not_found"))
        done = run("check", "--upstream", trusted=str(authority.file), SHIP_BASE_URL=encrypted.url, **settings)
        assert done.returncode == 0
        done = run("check", "--upstream", trusted=str(other.file), SHIP_BASE_URL=encrypted.url, **settings)
        assert done.returncode == 1
        assert done.stderr == f"allocation-gateway: {PREFIX}SHIP_BASE_URL: TLS failed: CERTIFICATE_VERIFY_FAILED\n"
    encrypted_url = upstream.url.replace("http:", "https:")
    done = run("check", "--upstream", SHIP_BASE_URL=encrypted_url, SHIP_CONNECT_TIMEOUT="2", **settings)
    assert done.returncode == 1
    assert done.stderr.startswith(f"allocation-gateway: {PREFIX}SHIP_BASE_URL: ")
    assert done.stderr.count("\n") == 1


def test_health_tells_whether_a_gateway_serves(nobody: str) -> None:
    with running_front() as front:
        done = run("health", "--address", front.gateway.address)
        assert (done.returncode, done.stdout) == (0, "SERVING\n")
    done = run("health", "--address", nobody)
    assert (done.returncode, done.stdout) == (1, "UNAVAILABLE\n")


def test_health_tells_that_a_gateway_is_on_its_way_out() -> None:
    with running_front(SHUTDOWN_DELAY="20") as front:
        front.gateway.process.send_signal(signal.SIGTERM)
        front.gateway.wait_for("draining")
        done = run("health", "--address", front.gateway.address)
        assert (done.returncode, done.stdout) == (1, "NOT_SERVING\n")
        front.gateway.stop()


def test_health_with_a_file_that_cannot_be_read_is_one_line() -> None:
    done = run("health", "--ca-file", "/no/such/file")
    assert done.returncode == 2
    assert done.stderr.startswith("allocation-gateway: --ca-file: cannot be read")
    assert done.stderr.count("\n") == 1


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

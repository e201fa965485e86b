"""TLS and mutual TLS of the listener, from files."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any, Final

import grpc
import pytest
from allocation.v1.shipment_allocation_service_pb2_grpc import ShipmentAllocationServiceStub
from support.certificates import Authority
from support.front import KEY, LONG, READ, SHIPMENT, running_front
from support.gateway import COMMAND, environment
from support.status import failure

if TYPE_CHECKING:
    from pathlib import Path

    from support.command import Command
    from support.front import Front

UNAVAILABLE: Final = grpc.StatusCode.UNAVAILABLE


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def stranger(tmp_path: Path) -> Authority:
    """An authority that nobody here trusts."""
    return Authority(tmp_path, "stranger")


def call(front: Front, authority: Authority | None, pair: tuple[Path, Path] | None = None) -> str:
    """Makes a call over a connection of its own. Returns the reference that came back."""
    credentials = grpc.ssl_channel_credentials(
        authority.file.read_bytes() if authority else None,
        pair[1].read_bytes() if pair else None,
        pair[0].read_bytes() if pair else None,
    )
    options = [("grpc.use_local_subchannel_pool", 1)]
    with grpc.secure_channel(front.gateway.address, credentials, options) as channel:
        answer = ShipmentAllocationServiceStub(channel).GetShipmentAllocation(READ, timeout=LONG)
        return answer.allocation.shipment_reference


def tls(pair: tuple[Path, Path], **more: str) -> dict[str, str]:
    return {"ALLOW_PLAINTEXT": "false", "TLS_CERT_FILE": str(pair[0]), "TLS_KEY_FILE": str(pair[1]), **more}


def test_tls_serves_those_who_trust_its_authority(authority: Authority, stranger: Authority) -> None:
    """Who trusts another one, or speaks plaintext, gets nothing."""
    with running_front(settings=tls(authority.issue("gateway"))) as front:
        assert call(front, authority) == SHIPMENT
        assert failure(lambda: call(front, stranger)).code is UNAVAILABLE
        assert failure(lambda: front.stub.GetShipmentAllocation(READ, timeout=LONG)).code is UNAVAILABLE


def test_mutual_tls_serves_only_clients_of_its_authority(authority: Authority, stranger: Authority) -> None:
    settings = tls(authority.issue("gateway"), TLS_CLIENT_CA_FILE=str(authority.file))
    with running_front(settings=settings) as front:
        assert call(front, authority, authority.issue("client")) == SHIPMENT
        assert failure(lambda: call(front, authority)).code is UNAVAILABLE
        assert failure(lambda: call(front, authority, stranger.issue("other"))).code is UNAVAILABLE


def test_renewed_certificate_counts_for_the_next_connection(authority: Authority, stranger: Authority) -> None:
    """No restart is needed, and a connection that stands is not disturbed."""
    pair = authority.issue("gateway")
    with running_front(settings=tls(pair)) as front:
        credentials = grpc.ssl_channel_credentials(authority.file.read_bytes())
        with grpc.secure_channel(front.gateway.address, credentials) as standing:
            stub = ShipmentAllocationServiceStub(standing)
            stub.GetShipmentAllocation(READ, timeout=LONG)
            for old, new in zip(pair, stranger.issue("renewed"), strict=True):
                new.replace(old)
            assert call(front, stranger) == SHIPMENT
            assert failure(lambda: call(front, authority)).code is UNAVAILABLE
            stub.GetShipmentAllocation(READ, timeout=LONG)


@pytest.mark.parametrize("half", ["certificate without its key", "empty certificate", "no certificate"])
def test_certificate_that_is_half_renewed_does_not_count_yet(
    authority: Authority, stranger: Authority, half: str
) -> None:
    """The last good pair goes on until the new one is whole."""
    pair, renewed = authority.issue("gateway"), stranger.issue("renewed")
    with running_front(settings=tls(pair)) as front:
        assert call(front, authority) == SHIPMENT
        if half == "certificate without its key":
            pair[0].write_bytes(renewed[0].read_bytes())
        elif half == "empty certificate":
            pair[0].write_bytes(b"")
        else:
            pair[0].unlink()
        assert call(front, authority) == SHIPMENT
        for old, new in zip(pair, renewed, strict=True):
            new.replace(old)
        assert call(front, stranger) == SHIPMENT


def test_health_command_speaks_tls_and_health_port_takes_probes_that_know_none(
    authority: Authority, stranger: Authority, command: Command
) -> None:
    with running_front(settings=tls(authority.issue("gateway"), HEALTH_PORT="0")) as front:
        address = front.gateway.address
        assert command("health", "--address", address, "--ca-file", str(authority.file)) == (0, "SERVING\n", "")
        for wrong in ([], ["--ca-file", str(stranger.file)]):
            assert command("health", "--address", address, *wrong) == (1, "UNAVAILABLE\n", "")
        plain = front.gateway.wait_for("listening")["health"]
        assert command("health", "--address", plain) == (0, "SERVING\n", "")


def test_health_command_trusts_the_listeners_certificate_itself_by_the_name_that_it_has(
    authority: Authority, command: Command
) -> None:
    """As `helm test` does, where nobody has said which authority has signed it."""
    pair = authority.issue("gateway", host="allocations.example.com")
    with running_front(settings=tls(pair)) as front:
        ask = ("health", "--address", front.gateway.address, "--ca-file", str(pair[0]))
        assert command(*ask) == (1, "UNAVAILABLE\n", "")
        assert command(*ask, "--server-name", "allocations.example.com") == (0, "SERVING\n", "")
        assert command(*ask, "--server-name", "other.example.com") == (1, "UNAVAILABLE\n", "")


def test_health_command_shows_a_certificate_where_tls_is_mutual(authority: Authority, command: Command) -> None:
    settings = tls(authority.issue("gateway"), TLS_CLIENT_CA_FILE=str(authority.file))
    chain, key = authority.issue("client")
    with running_front(settings=settings) as front:
        ask = ("health", "--address", front.gateway.address, "--ca-file", str(authority.file))
        assert command(*ask) == (1, "UNAVAILABLE\n", "")
        assert command(*ask, "--cert-file", str(chain), "--key-file", str(key)) == (0, "SERVING\n", "")


def refused(command: str, settings: dict[str, str]) -> str:
    """Runs a command that has to refuse its configuration with one line, and returns the line."""
    given = {"PORT": "0", "SHIP_API_KEY": KEY, **settings}
    done = subprocess.run(
        [COMMAND, command], capture_output=True, text=True, timeout=LONG, check=False, env=environment(given)
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    return done.stderr


@pytest.mark.parametrize("command", ["serve", "check"])
def test_plaintext_has_to_be_asked_for(command: str) -> None:
    assert "ALLOCATION_GATEWAY_ALLOW_PLAINTEXT" in refused(command, {})


def broken_files(case: str, authority: Authority, stranger: Authority, folder: Path) -> tuple[str, dict[str, str]]:
    """Returns the setting that is at fault, and the settings."""
    certificate, key = map(str, authority.issue("gateway"))
    other = str(stranger.issue("other")[1])
    nonsense = folder / "nonsense"
    nonsense.write_text("-----BEGIN NONSENSE-----\n")
    empty = folder / "empty"
    empty.touch()
    missing = str(folder / "missing")
    pair = {"TLS_CERT_FILE": certificate, "TLS_KEY_FILE": key}
    cases: dict[str, tuple[str, dict[str, str]]] = {
        "no key": ("TLS_KEY_FILE", {"TLS_CERT_FILE": certificate}),
        "no certificate": ("TLS_CERT_FILE", {"TLS_KEY_FILE": key}),
        "authority without certificate": (
            "TLS_CLIENT_CA_FILE",
            {"TLS_CLIENT_CA_FILE": certificate, "ALLOW_PLAINTEXT": "true"},
        ),
        "missing certificate": ("TLS_CERT_FILE", {**pair, "TLS_CERT_FILE": missing}),
        "missing key": ("TLS_KEY_FILE", {**pair, "TLS_KEY_FILE": missing}),
        "missing authority": ("TLS_CLIENT_CA_FILE", {**pair, "TLS_CLIENT_CA_FILE": missing}),
        "empty key": ("TLS_KEY_FILE", {**pair, "TLS_KEY_FILE": str(empty)}),
        "key of another certificate": ("TLS_KEY_FILE", {**pair, "TLS_KEY_FILE": other}),
        "nonsense certificate": ("TLS_CERT_FILE", {**pair, "TLS_CERT_FILE": str(nonsense)}),
        "nonsense authority": ("TLS_CLIENT_CA_FILE", {**pair, "TLS_CLIENT_CA_FILE": str(nonsense)}),
    }
    return cases[case]


@pytest.mark.parametrize(
    "case",
    [
        "no key",
        "no certificate",
        "authority without certificate",
        "missing certificate",
        "missing key",
        "missing authority",
        "empty key",
        "key of another certificate",
        "nonsense certificate",
        "nonsense authority",
    ],
)
def test_files_that_cannot_be_used_are_named(
    case: str, authority: Authority, stranger: Authority, tmp_path: Path, command: Command
) -> None:
    setting, settings = broken_files(case, authority, stranger, tmp_path)
    done = command("check", SHIP_API_KEY=KEY, **settings)
    assert (done.code, done.out) == (2, "")
    assert f"ALLOCATION_GATEWAY_{setting}: " in done.err
    assert done.err.count("\n") == 1


def test_files_that_cannot_be_used_stop_the_process(authority: Authority, stranger: Authority, tmp_path: Path) -> None:
    setting, settings = broken_files("key of another certificate", authority, stranger, tmp_path)
    assert f"ALLOCATION_GATEWAY_{setting}: " in refused("serve", settings)


def test_encrypted_key_is_refused_without_a_question(authority: Authority, tmp_path: Path) -> None:
    """OpenSSL would ask for a password on the terminal, and wait."""
    from cryptography.hazmat.primitives import serialization

    certificate, key = authority.issue("gateway")
    loaded: Any = serialization.load_pem_private_key(key.read_bytes(), None)
    key.write_bytes(
        loaded.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"a password"),
        )
    )
    assert "ALLOCATION_GATEWAY_TLS_KEY_FILE: " in refused("serve", tls((certificate, key)))

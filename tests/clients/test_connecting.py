"""How the Python client reaches its gateway: TLS, tokens, metadata, several addresses, a gateway that restarts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest
from allocation.v1 import core_pb2
from allocation.v1 import shipment_allocation_service_pb2 as pb
from allocation_gateway_client import Client, Tls, TryAgain, connecting
from clients.program import mutual_tls
from support.gateway import running_gateway
from support.scripted import scripted_server

if TYPE_CHECKING:
    from pathlib import Path

    from support.certificates import Authority

SHIPMENT: Final = "sp_00794403010635468411384028069888"
ANSWER: Final = pb.GetShipmentAllocationResponse(allocation=core_pb2.Allocation(shipment_reference=SHIPMENT))


def read(address: str, **options: Any) -> str:
    with Client(address, **options) as client:
        return client.get_shipment_allocation(SHIPMENT).allocation.shipment_reference


def test_mutual_tls_of_a_real_gateway(authority: Authority) -> None:
    tls = mutual_tls(authority)
    with running_gateway(tls.settings, "--sandbox") as gateway:
        own = (tls.proved["cert"], tls.proved["key"])
        assert read(gateway.address, tls=Tls(authority.file, *own)) == SHIPMENT
        named = Tls(authority.file, *own, server_name="localhost")
        assert read(gateway.address, tls=named) == SHIPMENT
        with pytest.raises(TryAgain):
            read(gateway.address, tls=Tls(authority.file), timeout=1)
        with pytest.raises(TryAgain):
            read(gateway.address, timeout=1)


def test_half_a_certificate_and_a_token_in_the_open_are_refused(authority: Authority, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("secret")
    with pytest.raises(ValueError, match="belong together"):
        Client("127.0.0.1:1", tls=Tls(certificate_file=authority.file))
    with pytest.raises(ValueError, match="plaintext"):
        Client("127.0.0.1:1", plaintext=True, token_file=token)
    with pytest.raises(FileNotFoundError):
        Client("127.0.0.1:1", token_file=tmp_path / "none")
    for wrong in (b"\n", b"two\nlines", b"gr\xc3\xb6\xc3\x9fe", b"\xff"):
        token.write_bytes(wrong)
        with pytest.raises(ValueError, match="empty, or is not a token") as caught:
            Client("127.0.0.1:1", token_file=token)
        assert "lines" not in str(caught.value)


def test_a_token_is_followed_and_sent_with_metadata_of_ones_own(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connecting, "_TOKEN_CHECK", 0.0)
    token = tmp_path / "token"
    token.write_text("first\n")
    with scripted_server(authority.server_credentials()) as server:
        server.default = ANSWER
        options: dict[str, Any] = {"tls": Tls(authority.file), "token_file": token, "metadata": {"x-team": "checkout"}}
        with Client(server.address, **options) as client:
            client.get_shipment_allocation(SHIPMENT, metadata={"x-order": "17"})
            token.write_text("second")
            client.get_shipment_allocation(SHIPMENT)
            for meanwhile in (b"\xff\xfe", b"two\nlines", b""):
                token.write_bytes(meanwhile)
                client.get_shipment_allocation(SHIPMENT)
            token.unlink()
            client.get_shipment_allocation(SHIPMENT)
    sent = [call.metadata for call in server.calls]
    assert [one["authorization"] for one in sent] == ["Bearer first", *["Bearer second"] * 5]
    assert (sent[0]["x-team"], sent[0]["x-order"]) == ("checkout", "17")
    assert sent[1]["user-agent"].startswith("allocation-gateway-client-python/")


def test_names_in_metadata_have_no_case_and_what_cannot_be_sent_is_told_at_once() -> None:
    """The text has no value in it: that may be a secret."""
    with scripted_server() as server:
        server.default = ANSWER
        with Client(server.address, plaintext=True, metadata={"X-Team": "a", "Allocation-Account": "north"}) as client:
            client.get_shipment_allocation(SHIPMENT, metadata={"X-Order": "17"})
            client.get_shipment_allocation(SHIPMENT, metadata={"ALLOCATION-ACCOUNT": "south"})
            for wrong in ({"x-team": "gr\xf6\xdfe"}, {"x team": "a"}, {"x-team": "a\nb"}):
                with pytest.raises(ValueError, match="cannot be sent") as caught:
                    client.allocate_shipment(SHIPMENT, metadata=wrong)
                assert not set(wrong.values()) & {*str(caught.value).split()}
            with pytest.raises(ValueError, match="allocation-account"):
                client.allocate_shipment(SHIPMENT, account="gr\xf6\xdfe")
        with pytest.raises(ValueError, match="x-team"):
            Client(server.address, plaintext=True, metadata={"x-team": "gr\xf6\xdfe"})
    sent = [
        {name: call.metadata.get(name) for name in ("x-team", "x-order", "allocation-account")} for call in server.calls
    ]
    assert sent == [
        {"x-team": "a", "x-order": "17", "allocation-account": "north"},
        {"x-team": "a", "x-order": None, "allocation-account": "south"},
    ]


def test_an_authorization_of_ones_own_is_sent_instead_of_the_token(authority: Authority, tmp_path: Path) -> None:
    """Two are never sent: the gateway would refuse that."""
    token = tmp_path / "token"
    token.write_text("file")
    own = {"authorization": "Bearer call"}
    with scripted_server(authority.server_credentials()) as server:
        server.default = ANSWER
        for of_client in (None, {"authorization": "Bearer client"}):
            with Client(server.address, tls=Tls(authority.file), token_file=token, metadata=of_client) as client:
                client.get_shipment_allocation(SHIPMENT)
                client.get_shipment_allocation(SHIPMENT, metadata=own)
    sent = [call.metadata["authorization"] for call in server.calls]
    assert sent == ["Bearer file", "Bearer call", "Bearer client", "Bearer call"]


def test_calls_go_to_all_addresses_in_turn() -> None:
    with scripted_server() as one, scripted_server() as other:
        one.default = other.default = ANSWER
        with Client(f"ipv4:{one.address},{other.address}", plaintext=True) as client:
            for _ in range(40):
                client.get_shipment_allocation(SHIPMENT)
        assert min(len(one.calls), len(other.calls)) >= 10

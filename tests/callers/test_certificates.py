"""Who calls, by a client certificate, with both engines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import grpc
import pytest
from allocation.v1.shipment_allocation_service_pb2_grpc import ShipmentAllocationServiceStub
from cryptography import x509
from support.certificates import Authority
from support.front import KEY, LONG, READ, Front, running_front
from support.issuer import AUDIENCE, ISSUER, Issuer, bearing
from support.status import failure

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from support.command import Command

POLICY: Final = """
[[rules]]
name = "readers"
callers = ["spiffe://shop.example/ns/*/sa/reader", "dns:reader.shop.example", "jwt:reader"]
rpcs = ["reads"]
"""
READER: Final = "spiffe://shop.example/ns/one/sa/reader"


@pytest.fixture(scope="module", params=["direct", "grpcio"])
def front(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Front, Authority]]:
    """A gateway with mutual TLS, which takes tokens too, and the authority of its clients."""
    folder = tmp_path_factory.mktemp(request.param)
    authority = Authority(folder)
    certificate, key = authority.issue("gateway")
    (folder / "policy.toml").write_text(POLICY)
    (folder / "jwks.json").write_bytes(ISSUED.published())
    settings = {
        "GRPC_ENGINE": request.param,
        "ALLOW_PLAINTEXT": "false",
        "TLS_CERT_FILE": str(certificate),
        "TLS_KEY_FILE": str(key),
        "TLS_CLIENT_CA_FILE": str(authority.file),
        "POLICY_FILE": str(folder / "policy.toml"),
        "JWKS_FILE": str(folder / "jwks.json"),
        "JWT_ISSUER": ISSUER,
        "JWT_AUDIENCE": AUDIENCE,
    }
    with running_front(settings=settings) as running:
        yield running, authority


ISSUED: Final = Issuer(one="ES256")


def call(
    front: tuple[Front, Authority], names: Sequence[x509.GeneralName], metadata: tuple[tuple[str, str], ...] = ()
) -> None:
    """Makes two calls on a connection whose client has a certificate with such names."""
    running, authority = front
    certificate, key = authority.issue("client", names=names)
    credentials = grpc.ssl_channel_credentials(authority.file.read_bytes(), key.read_bytes(), certificate.read_bytes())
    with grpc.secure_channel(running.gateway.address, credentials, [("grpc.use_local_subchannel_pool", 1)]) as channel:
        for _ in range(2):
            ShipmentAllocationServiceStub(channel).GetShipmentAllocation(READ, timeout=LONG, metadata=metadata)


def uri(text: str) -> x509.GeneralName:
    return x509.UniformResourceIdentifier(text)


@pytest.mark.parametrize(
    ("names", "caller"),
    [
        ([uri(READER)], READER),
        ([uri(READER), x509.DNSName("other.example")], READER),
        ([x509.DNSName("Reader.shop.example")], "dns:reader.shop.example"),
        ([uri("https://shop.example"), x509.DNSName("reader.shop.example")], "dns:reader.shop.example"),
    ],
    ids=["spiffe", "spiffe and DNS", "DNS", "DNS beside another URI"],
)
def test_certificate_says_who_calls(
    front: tuple[Front, Authority], names: Sequence[x509.GeneralName], caller: str
) -> None:
    front[0].gateway.forget()
    call(front, names)
    front[0].gateway.wait_for("call", caller=caller, rule="readers", code="OK")


@pytest.mark.parametrize(
    "names",
    [[], [uri(READER), uri("spiffe://shop.example/ns/two/sa/reader")], [uri("https://shop.example")]],
    ids=["no names", "two ids", "another URI"],
)
def test_certificate_that_names_nobody_is_refused(
    front: tuple[Front, Authority], names: Sequence[x509.GeneralName]
) -> None:
    told = failure(lambda: call(front, names))
    assert (told.code, told.reason) == (grpc.StatusCode.UNAUTHENTICATED, "CALLER_UNAUTHENTICATED")


@pytest.mark.parametrize(
    "name",
    [
        uri("spiffe://shop.example/ns/one/sa/writer"),
        uri("spiffe://other.example/ns/one/sa/reader"),
        uri("spiffe://shop.example/ns/one/two/sa/reader"),
        x509.DNSName("reader.shop.example.evil.example"),
    ],
)
def test_certificate_of_somebody_else_is_not_allowed(front: tuple[Front, Authority], name: x509.GeneralName) -> None:
    told = failure(lambda: call(front, [name]))
    assert (told.code, told.reason) == (grpc.StatusCode.PERMISSION_DENIED, "CALLER_NOT_ALLOWED")
    assert told.metadata == {"missing": "anything"}


def test_token_says_who_calls_where_there_is_one(front: tuple[Front, Authority]) -> None:
    """Whatever the certificate says, and one that is not valid is not made up for by the certificate."""
    call(front, [x509.DNSName("proxy.example")], bearing(ISSUED.token("reader")))
    assert failure(lambda: call(front, [uri(READER)], bearing(ISSUED.token("writer")))).reason == "CALLER_NOT_ALLOWED"
    assert failure(lambda: call(front, [uri(READER)], bearing("a.b.c"))).reason == "CALLER_UNAUTHENTICATED"


def test_keys_are_not_taken_unencrypted(tmp_path: Path, command: Command) -> None:
    """Whoever is in between would decide who calls."""
    certificate, key = Authority(tmp_path).issue("gateway")
    tls = {"TLS_CERT_FILE": str(certificate), "TLS_KEY_FILE": str(key), "SHIP_API_KEY": KEY}
    tokens = {"JWT_ISSUER": ISSUER, "JWT_AUDIENCE": AUDIENCE}
    told = command("check", JWKS_URL="http://issuer.example/keys", **tls, **tokens)
    assert told.code == 2
    assert "JWKS_URL: would take the keys unencrypted" in told.err
    assert command("check", JWKS_URL="https://issuer.example/keys", **tls, **tokens).code == 0

"""TLS towards upstream: always verified, against the authorities in SSL_CERT_FILE."""

from __future__ import annotations

import socket
import ssl
from typing import TYPE_CHECKING

import grpc
from support.certificates import Authority
from support.front import LONG, READ, SHIPMENT, WRITE, running_front
from support.status import failure
from support.upstream import running_upstream, shipped

if TYPE_CHECKING:
    from pathlib import Path


def test_upstream_of_a_trusted_authority_is_called(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    with running_upstream(authority.server_context()) as upstream:
        upstream.default = shipped
        with running_front(upstream, extra={"SSL_CERT_FILE": str(authority.file)}) as front:
            answer = front.stub.GetShipmentAllocation(READ, timeout=LONG)
    assert answer.allocation.shipment_reference == SHIPMENT


def test_upstream_of_an_unknown_authority_is_unavailable_and_sees_no_key(tmp_path: Path) -> None:
    authority, other = Authority(tmp_path), Authority(tmp_path, "other")
    with running_upstream(authority.server_context()) as upstream:
        upstream.default = shipped
        for trusted in ({"SSL_CERT_FILE": str(other.file)}, {}):
            with running_front(upstream, extra=trusted) as front:
                read = failure(lambda front=front: front.stub.GetShipmentAllocation(READ, timeout=LONG))  # type: ignore[misc]
                write = failure(lambda front=front: front.stub.AllocateShipment(WRITE, timeout=LONG))  # type: ignore[misc]
            for told in (read, write):
                assert (told.code, told.reason) == (grpc.StatusCode.UNAVAILABLE, "UPSTREAM_UNAVAILABLE")
            assert write.metadata == {"effect": "none"}
        assert upstream.received.empty()


def test_certificate_for_another_host_is_refused(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    with running_upstream(authority.server_context()) as upstream:
        url = upstream.url.replace("127.0.0.1", "127.0.0.2")
        with running_front(upstream, SHIP_BASE_URL=url, extra={"SSL_CERT_FILE": str(authority.file)}) as front:
            told = failure(lambda: front.stub.GetShipmentAllocation(READ, timeout=LONG))
    assert (told.code, told.reason) == (grpc.StatusCode.UNAVAILABLE, "UPSTREAM_UNAVAILABLE")


def test_write_that_was_given_up_during_the_handshake_is_never_sent(tmp_path: Path) -> None:
    """If the handshake ends well, but later than the caller, nothing may follow it."""
    authority = Authority(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(LONG)
        url = f"https://127.0.0.1:{server.getsockname()[1]}"
        # On a busy machine what the caller is told takes its time to arrive.
        settings = {"SHIP_BASE_URL": url, "DEADLINE_MARGIN": "0.4"}
        with running_front(settings=settings, extra={"SSL_CERT_FILE": str(authority.file)}) as front:
            call = front.stub.AllocateShipment.future(WRITE, timeout=1.6)
            connection, _ = server.accept()
            connection.settimeout(LONG)
            told = failure(lambda: call.result(LONG))
            assert (told.code, told.metadata) == (grpc.StatusCode.DEADLINE_EXCEEDED, {"effect": "none"})
            received = b""
            try:
                with authority.server_context().wrap_socket(connection, server_side=True) as tls:
                    received = tls.recv(65536)
            except (ssl.SSLError, OSError):  # it was given up itself
                pass
            assert received == b""

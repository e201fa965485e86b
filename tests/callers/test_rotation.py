"""Everything that says who may do what is replaced under load: no call fails, and nothing is done twice."""

from __future__ import annotations

import signal
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import grpc
import pytest
from allocation.v1.shipment_allocation_service_pb2_grpc import ShipmentAllocationServiceStub
from support.certificates import Authority
from support.front import KEY, LONG, another_write, running_front
from support.issuer import AUDIENCE, ISSUER, Issuer, bearing
from support.rotation import Load, Swapped, sent
from support.upstream import running_upstream, shipped

if TYPE_CHECKING:
    from pathlib import Path

    from support.upstream import Received, Reply

POLICY: Final = """
[[rules]]
name = "{name}"
callers = ["jwt:**"]
rpcs = ["reads", "single"]
calls_in_hand = 100
accounts = ["default", "retail"]
"""
ACCOUNTS: Final = """
[accounts.retail.ship]
api_key = "{key}"
"""


@pytest.mark.parametrize("engine", ["direct", "grpcio"])
def test_everything_is_replaced_under_load(engine: str, tmp_path: Path) -> None:
    """Keys, policy, accounts, certificate and authorities of clients. Upstream's journal is the witness."""
    authority, issuer = Authority(tmp_path), Issuer(old="ES256")
    trusted = authority.file.read_bytes()
    old, new = Authority(tmp_path, "old-clients"), Authority(tmp_path, "new-clients")

    def of_client(clients: Authority) -> grpc.ChannelCredentials:
        chain, own = (file.read_bytes() for file in clients.issue("client", host="client.example"))
        return grpc.ssl_channel_credentials(trusted, own, chain)

    files = Swapped(tmp_path)
    certificate, key = (file.read_bytes() for file in authority.issue("gateway"))
    policy = POLICY.format(name="one").encode()
    accounts = ACCOUNTS.format(key="retail-key").encode()
    files.put(cert=certificate, key=key, jwks=issuer.published(), policy=policy, api_key=KEY.encode())
    files.put(accounts=accounts, clients=old.file.read_bytes())
    accepted = {KEY, "retail-key"}
    refused: list[Received] = []
    with running_upstream() as upstream:

        def answer(received: Received) -> Reply:
            if received.headers["x-api-key"] not in accepted:
                refused.append(received)
            return shipped(received)

        upstream.default = answer
        names = {"TLS_CERT_FILE": "cert", "TLS_KEY_FILE": "key", "JWKS_FILE": "jwks", "POLICY_FILE": "policy"}
        names |= {"SHIP_API_KEY_FILE": "api_key", "ACCOUNTS_FILE": "accounts", "TLS_CLIENT_CA_FILE": "clients"}
        settings = {name: files.path(file) for name, file in names.items()}
        settings |= {"SHIP_API_KEY": "", "JWT_ISSUER": ISSUER, "JWT_AUDIENCE": AUDIENCE, "ALLOW_PLAINTEXT": "true"}
        with running_front(upstream, settings={**settings, "GRPC_ENGINE": engine}) as front:
            load = Load(
                front.gateway.address, ("default", "retail"), credentials=of_client(old), token=issuer.token(kid="old")
            )
            try:
                load.go_on()
                issuer.add("new", "ES256")
                accepted |= {"another-key", "another-retail-key"}
                certificate, key = (file.read_bytes() for file in authority.issue("gateway"))
                policy = POLICY.format(name="two").encode()
                files.put(cert=certificate, key=key, jwks=issuer.published(), policy=policy, api_key=b"another-key\n")
                both = old.file.read_bytes() + new.file.read_bytes()
                files.put(accounts=ACCOUNTS.format(key="another-retail-key").encode(), clients=both)
                load.token, load.credentials = issuer.token(kid="new"), of_client(new)
                front.gateway.wait_for("api_key_loaded", api="ship")
                front.gateway.wait_for("api_key_loaded", account="retail")
                front.gateway.wait_for("policy_loaded")
                load.go_on()
                accepted -= {KEY, "retail-key"}
                del issuer.keys["old"]
                files.put(jwks=issuer.published(), clients=new.file.read_bytes())
                front.gateway.process.send_signal(signal.SIGHUP)
                front.gateway.wait_for("token_keys_loaded", keys=1)
                load.go_on()
            finally:
                load.end()
            # Whoever has a certificate of the authority that is gone is let in no more.
            with grpc.secure_channel(front.gateway.address, of_client(old)) as channel:
                stub: Any = ShipmentAllocationServiceStub(channel)
                with pytest.raises(grpc.RpcError) as refusal:
                    stub.AllocateShipment(another_write(), timeout=LONG, metadata=bearing(load.token))
                assert refusal.value.code() is grpc.StatusCode.UNAVAILABLE
            front.gateway.wait_for("call", rule="two", code="OK")
            assert front.gateway.stop() == 0
        assert load.failures == []
        assert refused == []
        assert sent(upstream) == Counter(load.made)

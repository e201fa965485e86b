"""Everything that says who may do what is replaced under load: no call fails, and nothing is done twice."""

from __future__ import annotations

import signal
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

import grpc
import pytest
from allocation.v1.shipment_allocation_service_pb2_grpc import ShipmentAllocationServiceStub
from support.certificates import Authority
from support.front import KEY, LONG, another_write, running_front
from support.issuer import AUDIENCE, ISSUER, Issuer, bearing
from support.upstream import running_upstream, shipped

if TYPE_CHECKING:
    from pathlib import Path

    from support.upstream import Received, Reply

CALLERS: Final = 4
# Calls that are made between two steps, at least.
BETWEEN: Final = 40
POLICY: Final = """
[[rules]]
name = "{name}"
callers = ["jwt:**"]
rpcs = ["reads", "single"]
calls_in_hand = 100
"""


class Swapped:
    """A folder of files as Kubernetes mounts them: all are replaced in one step, by a link that changes its target."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = 0
        self._contents: dict[str, bytes] = {}

    def put(self, **contents: bytes) -> None:
        """Replaces what files hold, by their names."""
        self._contents |= contents
        self._count += 1
        version = self._folder / f"..{self._count}"
        version.mkdir()
        for name, content in self._contents.items():
            (version / name).write_bytes(content)
        link = self._folder / "..new"
        link.symlink_to(version.name)
        link.replace(self._folder / "..data")

    def path(self, name: str) -> str:
        """Returns the path by which a file is mounted."""
        return str(self._folder / "..data" / name)


class Load:
    """Callers that allocate, each over connections of its own, until they are told to end."""

    def __init__(self, address: str, authority: bytes, token: str) -> None:
        self.token = token
        self.failures: list[grpc.RpcError] = []
        self.made: list[str] = []
        self._address = address
        self._credentials = grpc.ssl_channel_credentials(authority)
        self._done = threading.Event()
        self._changed = threading.Condition()
        self._pool = ThreadPoolExecutor(CALLERS)
        self._work = [self._pool.submit(self._call) for _ in range(CALLERS)]

    def _call(self) -> None:
        options = [("grpc.use_local_subchannel_pool", 1)]
        while not self._done.is_set():
            # A few calls on each connection, so that new certificates are met.
            with grpc.secure_channel(self._address, self._credentials, options) as channel:
                stub = ShipmentAllocationServiceStub(channel)
                for _ in range(5):
                    self._once(stub)

    def _once(self, stub: Any) -> None:
        write = another_write()
        try:
            stub.AllocateShipment(write, timeout=LONG, metadata=bearing(self.token))
        except grpc.RpcError as error:
            self.failures.append(error)
        with self._changed:
            self.made.append(write.shipment_reference)
            self._changed.notify_all()

    def go_on(self) -> None:
        """Waits until so many more calls were made."""
        with self._changed:
            wanted = len(self.made) + BETWEEN
            assert self._changed.wait_for(lambda: len(self.made) >= wanted, LONG)

    def end(self) -> None:
        """Ends the calls."""
        self._done.set()
        self._pool.shutdown()


@pytest.mark.parametrize("engine", ["direct", "grpcio"])
def test_everything_is_replaced_under_load(engine: str, tmp_path: Path) -> None:
    """Keys of upstream and of tokens, the policy and the certificate. Upstream's journal is the witness."""
    authority, issuer = Authority(tmp_path), Issuer(old="ES256")
    files = Swapped(tmp_path)
    certificate, key = (file.read_bytes() for file in authority.issue("gateway"))
    policy = POLICY.format(name="one").encode()
    files.put(cert=certificate, key=key, jwks=issuer.published(), policy=policy, api_key=KEY.encode())
    accepted = {KEY}
    refused: list[Received] = []
    with running_upstream() as upstream:

        def answer(received: Received) -> Reply:
            if received.headers["x-api-key"] not in accepted:
                refused.append(received)
            return shipped(received)

        upstream.default = answer
        names = {"TLS_CERT_FILE": "cert", "TLS_KEY_FILE": "key", "JWKS_FILE": "jwks", "POLICY_FILE": "policy"}
        settings = {name: files.path(file) for name, file in {**names, "SHIP_API_KEY_FILE": "api_key"}.items()}
        settings |= {"SHIP_API_KEY": "", "JWT_ISSUER": ISSUER, "JWT_AUDIENCE": AUDIENCE, "ALLOW_PLAINTEXT": "true"}
        with running_front(upstream, settings={**settings, "GRPC_ENGINE": engine}) as front:
            load = Load(front.gateway.address, authority.file.read_bytes(), issuer.token(kid="old"))
            try:
                load.go_on()
                issuer.add("new", "ES256")
                accepted.add("another-key")
                certificate, key = (file.read_bytes() for file in authority.issue("gateway"))
                policy = POLICY.format(name="two").encode()
                files.put(cert=certificate, key=key, jwks=issuer.published(), policy=policy, api_key=b"another-key\n")
                load.token = issuer.token(kid="new")
                front.gateway.wait_for("api_key_loaded")
                front.gateway.wait_for("policy_loaded")
                load.go_on()
                accepted.discard(KEY)
                del issuer.keys["old"]
                files.put(jwks=issuer.published())
                front.gateway.process.send_signal(signal.SIGHUP)
                front.gateway.wait_for("token_keys_loaded", keys=1)
                load.go_on()
            finally:
                load.end()
            front.gateway.wait_for("call", rule="two", code="OK")
            assert front.gateway.stop() == 0
        assert load.failures == []
        assert refused == []
        lines = [upstream.received.get_nowait().line for _ in range(upstream.received.qsize())]
        sent = Counter(line.split("/shipments/")[1].split("/")[0] for line in lines if line.startswith("PUT "))
        assert sent == Counter(load.made)

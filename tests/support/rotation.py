"""What is replaced while callers are at work: files as Kubernetes mounts them, and the calls that none may fail of."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

import grpc
from allocation.v1.shipment_allocation_service_pb2_grpc import ShipmentAllocationServiceStub

from support.accounts import DEFAULT, for_account
from support.front import LONG, another_write
from support.issuer import bearing

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from support.upstream import Upstream

CALLERS: Final = 4
# Calls that are made between two steps, at least.
BETWEEN: Final = 40


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
    """Callers that allocate for some accounts, each over connections of its own, until they are told to end.

    Attributes:
        credentials: With what they connect; None without TLS.
        token: What they bear; empty if nothing.
        failures: How calls have failed.
        made: The references of the shipments of all calls.
    """

    def __init__(
        self,
        address: str,
        accounts: Sequence[str] = (DEFAULT,),
        *,
        credentials: grpc.ChannelCredentials | None = None,
        token: str = "",
    ) -> None:
        self.credentials = credentials
        self.token = token
        self._accounts = accounts
        self.failures: list[grpc.RpcError] = []
        self.made: list[str] = []
        self._address = address
        self._done = threading.Event()
        self._changed = threading.Condition()
        self._pool = ThreadPoolExecutor(CALLERS)
        self._work = [self._pool.submit(self._call) for _ in range(CALLERS)]

    def _call(self) -> None:
        while not self._done.is_set():
            # A few calls on each connection, so that new certificates are met.
            with self._channel() as channel:
                stub = ShipmentAllocationServiceStub(channel)
                for _ in range(3):
                    for account in self._accounts:
                        self._once(stub, account)

    def _channel(self) -> grpc.Channel:
        options = [("grpc.use_local_subchannel_pool", 1)]
        if self.credentials is None:
            return grpc.insecure_channel(self._address, options)
        return grpc.secure_channel(self._address, self.credentials, options)

    def _once(self, stub: Any, account: str) -> None:
        write = another_write()
        token = bearing(self.token) if self.token else ()
        try:
            stub.AllocateShipment(write, timeout=LONG, metadata=(*token, *for_account(account)))
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


def sent(upstream: Upstream) -> Counter[str]:
    """Returns how often upstream was asked to allocate each shipment: its journal is the witness."""
    lines = [upstream.received.get_nowait().line for _ in range(upstream.received.qsize())]
    return Counter(line.split("/shipments/")[1].split("/")[0] for line in lines if line.startswith("PUT "))

"""The gateways that a soak calls: some that stay, and some that are restarted one after the other."""

from __future__ import annotations

import socket
import subprocess
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from support.front import KEY
from support.gateway import running_gateway

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from support.gateway import Gateway

# Of each security: the last one stays, and shows whether memory and descriptors do.
REPLICAS: Final = 3
_AGED: Final = {"MAX_CONNECTION_AGE": "20", "MAX_CONNECTION_AGE_GRACE": "10", "KEEPALIVE_TIME": "20"}
# Longer than clients and proxies need to learn that a gateway goes.
_SHUTDOWN: Final = {"SHUTDOWN_DELAY": "1"}


def free_addresses(count: int) -> list[str]:
    """Returns addresses of this machine that nobody listens on, all different."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [f"127.0.0.1:{one.getsockname()[1]}" for one in sockets]


class Fleet:
    """The replicas of one security.

    Attributes:
        addresses: Where they listen, whichever process does.
        pauses: How many seconds it took to end each that was restarted, and to start it anew.
    """

    def __init__(self, stack: ExitStack, upstream: str, engine: str, tls: Mapping[str, str]) -> None:
        self.addresses = free_addresses(REPLICAS)
        self.pauses: list[float] = []
        self._settings = {
            "GRPC_ENGINE": engine,
            "ALLOW_PLAINTEXT": "true",
            "SHIP_BASE_URL": upstream,
            "SHIP_API_KEY": KEY,
            **_AGED,
            **_SHUTDOWN,
            **tls,
        }
        self._running: list[ExitStack] = []
        self.gateways: list[Gateway] = []
        for address in self.addresses:
            own = stack.enter_context(ExitStack())
            self._running.append(own)
            self.gateways.append(own.enter_context(self._gateway(address)))

    @contextmanager
    def _gateway(self, address: str) -> Iterator[Gateway]:
        with running_gateway({**self._settings, "PORT": address.rpartition(":")[2]}) as gateway:
            yield gateway
            code = gateway.stop()
            assert code == 0, f"a gateway ended with {code}"

    def restart(self, number: int) -> None:
        """Ends a gateway as an orchestrator does, and starts it anew."""
        own, begun = self._running[number], time.monotonic()
        own.close()
        self.gateways[number] = own.enter_context(self._gateway(self.addresses[number]))
        self.pauses.append(time.monotonic() - begun)

    @property
    def standing(self) -> Gateway:
        """The one that is never restarted."""
        return self.gateways[-1]


def use(pid: int) -> tuple[float, int]:
    """Returns the memory of a process in MiB, and how many descriptors it has open."""
    process = Path(f"/proc/{pid}")
    kilobytes = int((process / "status").read_text().partition("VmRSS:")[2].split()[0])
    return kilobytes / 1024, len(list((process / "fd").iterdir()))


@contextmanager
def program(command: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Runs a proxy or a client, however the block ends. What it says of itself goes to where this program's does."""
    with log.open("wb") as file, subprocess.Popen(command, stdout=file) as process:
        try:
            yield process
        finally:
            process.terminate()

"""The sandbox as a stand-in for upstream: the one place of the server that knows it.

The sandbox is a package of its own, which a gateway in production has not got. So nothing of it is imported before it
is asked for.
"""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Final, NamedTuple

from allocation_gateway.settings import ConfigurationError, variable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

KEY: Final = "sandbox-key"
"""The key of both APIs that the sandbox accepts, unless it is told another one."""
SHIPMENT: Final = "sp_00794403010635468411384028069888"
"""The shipment of the documented allocation, which the sandbox has."""
# What the paths of Ship begin with there. Those of the Consignments API begin at the root.
_SHIP_PREFIX: Final = "pro"
# What is missing where the extra was not installed: its code, or what that needs.
_EXTRA: Final = frozenset({"allocation_gateway.sandbox", "aiohttp"})
_MISSING: Final = (
    "the sandbox is not installed: it comes with allocation-gateway[sandbox], and with images of the target sandbox"
)


class Places(NamedTuple):
    """Where the sandbox listens.

    Attributes:
        root: Its URL.
        ship: Where the Ship API begins there.
        consignments: Where the Consignments API does.
    """

    root: str
    ship: str
    consignments: str


def base_url(api: str, url: str) -> str:
    """Returns where an API begins in the sandbox at a URL."""
    root = url.rstrip("/")
    return f"{root}/{_SHIP_PREFIX}" if api == "ship" else root


@contextmanager
def _installed() -> Iterator[None]:
    """Makes an import of the sandbox say what to install if it is not there."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name not in _EXTRA:
            raise
        raise ConfigurationError(_MISSING) from None


def command(arguments: Sequence[str]) -> int:
    """Runs the sandbox alone, by a command line of its own. Returns the exit code.

    Raises:
        ConfigurationError: It is not installed.
    """
    with _installed():
        from allocation_gateway.sandbox.command import main

        return main(arguments, program="allocation-gateway sandbox")


@asynccontextmanager
async def running(port: int, shipments: int) -> AsyncIterator[Places]:
    """Runs the sandbox in this process.

    Args:
        port: Where it listens, on the loopback. 0 lets the system choose.
        shipments: How many shipments, and how many consignments, it has besides its examples.

    Raises:
        ConfigurationError: It is not installed, or the port is taken.
    """
    with _installed():
        from allocation_gateway.sandbox.options import SandboxOptions
        from allocation_gateway.sandbox.server import Sandbox
    async with AsyncExitStack() as stack:
        try:
            sandbox = await stack.enter_async_context(Sandbox(SandboxOptions(port=port, shipments=shipments)))
        except OSError as error:
            raise ConfigurationError(f"{variable('sandbox_port')}: {error.strerror}") from error
        yield Places(sandbox.base_url, sandbox.ship_base_url, sandbox.consignments_base_url)

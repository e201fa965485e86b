"""Opens the stores of claims that the settings ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from allocation_gateway.claims.memory import MemoryClaims
from allocation_gateway.settings import DEFAULT_ACCOUNT, ConfigurationError, server_url, variable

if TYPE_CHECKING:
    from collections.abc import Callable

    from allocation_gateway.claims.model import ClaimStore
    from allocation_gateway.settings import Settings
    from allocation_gateway.telemetry.telemetry import Telemetry


class Stores:
    """The stores of claims of one process, by name. Each is made when it is first asked for, and kept until the end.

    So an account that is taken out and put in again finds its claims, also those in the memory of the process.
    """

    def __init__(
        self,
        make: Callable[[str], ClaimStore],
        make_spare: Callable[[str], ClaimStore] | None,
        *,
        renew: Callable[[], None] = lambda: None,
    ) -> None:
        """Has none yet.

        Args:
            make: Makes a store of a name.
            make_spare: Makes what takes its place while it cannot be reached; None if nothing does.
            renew: Makes new connections in place of those that the stores have.
        """
        self._renew = renew
        self._make = make
        self._make_spare = make_spare
        self._made: dict[str, tuple[ClaimStore, ClaimStore | None]] = {}

    def of(self, api: str, account: str = DEFAULT_ACCOUNT) -> tuple[ClaimStore, ClaimStore | None]:
        """Returns the store of an account's API, and what takes its place while it cannot be reached, if anything."""
        # Neither an API nor an account has an @ in its name. The names without one are those of earlier releases.
        name = api if account == DEFAULT_ACCOUNT else f"{api}@{account}"
        if name not in self._made:
            self._made[name] = self._make(name), None if self._make_spare is None else self._make_spare(name)
        return self._made[name]

    async def renew(self) -> None:
        """Makes new connections in place of those that there are, which are used until then."""
        self._renew()

    async def close(self) -> None:
        """Ends the use of all of them."""
        for store, _ in self._made.values():
            await store.close()


async def open_stores(settings: Settings, telemetry: Telemetry) -> Stores:
    """Opens what keeps the claims.

    A server that cannot be reached is no reason not to start: each step is refused until it can be.

    Raises:
        ConfigurationError: The server cannot be used for claims.
    """
    if not settings.store_url:
        return Stores(lambda _: in_memory(settings), None)
    # On demand: whoever needs no server pays neither the memory nor the start-up time of its client.
    from allocation_gateway.claims.checks import UnsafeServerError, UnusableServerError
    from allocation_gateway.claims.cluster import ClaimCluster
    from allocation_gateway.claims.server import ClaimServer
    from allocation_gateway.claims.shared import SharedClaims
    from allocation_gateway.claims.slots import SlotClaims

    url, timeout, checks = settings.store_url, settings.store_timeout, settings.store_checks
    namespace, retention = settings.store_namespace, settings.claim_retention
    server: ClaimCluster | ClaimServer
    if server_url.parse(url.reveal()).nodes:
        server = ClaimCluster(url, timeout=timeout, checks=checks, telemetry=telemetry)
    else:
        server = ClaimServer(url, timeout=timeout, checks=checks, namespace=namespace, telemetry=telemetry)
    try:
        await server.open()
    except UnusableServerError as error:
        await server.close()
        hint = f"; {variable('store_checks')} decides whether that matters" if type(error) is UnsafeServerError else ""
        raise ConfigurationError(f"{variable('store_url')}: {error}{hint}") from None

    def shared(name: str) -> ClaimStore:
        if isinstance(server, ClaimCluster):
            return SlotClaims(server, namespace=namespace, name=name, retention=retention)
        return SharedClaims(server, namespace=namespace, name=name, retention=retention)

    spare = (lambda _: in_memory(settings)) if settings.store_unavailable == "proceed" else None
    return Stores(shared, spare, renew=server.renew)


def in_memory(settings: Settings) -> ClaimStore:
    """Makes a store in the memory of this process."""
    return MemoryClaims(size=settings.claims_in_memory, retention=settings.claim_retention_in_memory)

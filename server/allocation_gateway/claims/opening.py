"""Opens the stores of claims that the settings ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from allocation_gateway.claims.memory import MemoryClaims
from allocation_gateway.settings import ConfigurationError, server_url, variable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from allocation_gateway.claims.model import ClaimStore
    from allocation_gateway.settings import Settings
    from allocation_gateway.telemetry.telemetry import Telemetry


async def open_claims(settings: Settings, names: Iterable[str], telemetry: Telemetry) -> Mapping[str, ClaimStore]:
    """Opens a store for each of several APIs, by their names.

    A server that cannot be reached is no reason not to start: each step is refused until it can be.

    Raises:
        ConfigurationError: The server cannot be used for claims.
    """
    if not settings.store_url:
        return keep_in_memory(settings, names)
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
    if isinstance(server, ClaimCluster):
        return {name: SlotClaims(server, namespace=namespace, name=name, retention=retention) for name in names}
    return {name: SharedClaims(server, namespace=namespace, name=name, retention=retention) for name in names}


def keep_in_memory(settings: Settings, names: Iterable[str]) -> Mapping[str, ClaimStore]:
    """Makes a store in the memory of this process for each of several APIs, by their names."""
    retention = settings.claim_retention_in_memory
    return {name: MemoryClaims(size=settings.claims_in_memory, retention=retention) for name in names}

"""Opens the service groups that the settings ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from allocation_gateway.groups import watcher
from allocation_gateway.groups.catalogue import Catalogue, CatalogueError
from allocation_gateway.groups.directory import Options
from allocation_gateway.groups.service_groups import ServiceGroups
from allocation_gateway.operations.model import Api
from allocation_gateway.settings import ConfigurationError, variable

if TYPE_CHECKING:
    from allocation_gateway.following import FollowedFiles
    from allocation_gateway.groups.listing import Listings
    from allocation_gateway.groups.replication import Replication
    from allocation_gateway.settings import Settings
    from allocation_gateway.telemetry.telemetry import Telemetry


def read_catalogue(settings: Settings, now: float) -> tuple[bytes, Catalogue]:
    """Reads the catalogue file that the settings name, or nothing if they name none.

    Args:
        settings: The configuration.
        now: The time, in seconds of the epoch.

    Raises:
        ConfigurationError: It cannot be used.
    """
    file = settings.service_group_catalogue_file
    if file is None:
        return b"", Catalogue()
    try:
        return watcher.read(file, now)
    except CatalogueError as error:
        raise ConfigurationError(f"{variable('service_group_catalogue_file')}: {file}: {error}") from None


def open_groups(
    settings: Settings,
    found: tuple[bytes, Catalogue],
    listings: Listings,
    telemetry: Telemetry,
    followed: FollowedFiles | None = None,
    source: ServiceGroups | None = None,
) -> ServiceGroups:
    """Makes what the settings ask for, and starts its background work.

    Args:
        settings: The configuration, of one account.
        found: What read_catalogue() has returned; of no use with a source.
        listings: Upstream's listings.
        telemetry: Where metrics go.
        followed: What takes note of which content of the catalogue is in use; None if nobody asks.
        source: The groups of the account that follows the catalogue for all; None if it is this one.
    """
    content, catalogue = found
    replication = _replication(settings) if settings.cache_url else None
    groups = ServiceGroups(
        Options(
            configured=settings.service_groups if source is None else (),
            strict=settings.service_group_policy == "strict",
            ttl=settings.service_group_ttl,
            stale=settings.service_group_stale,
            size=settings.service_group_cache_size,
            account=settings.account,
        ),
        listings=listings,
        telemetry=telemetry,
        publisher=replication,
        source=source,
    )
    if source is None:
        groups.use(catalogue)
    if source is None and settings.service_group_catalogue_file is not None:
        state = None if followed is None else followed.add("service_group_catalogue_file")
        groups.watch(settings.service_group_catalogue_file, content, state)
    if replication is not None:
        groups.replicate(replication)
    groups.load_listings()
    return groups


def _replication(settings: Settings) -> Replication:
    # Imported on demand: a gateway without a shared cache needs neither the memory nor the start-up time of its client.
    from allocation_gateway.groups.replication import Replication

    return Replication(
        settings.cache_url,
        namespace=settings.cache_namespace,
        base_urls={api: settings.api(api.value).base_url for api in Api if settings.api(api.value).is_configured},
        timeout=settings.cache_timeout,
        ttl=settings.service_group_ttl,
        account=settings.account,
    )

"""How a directory shares what it learns with other replicas, without knowing by what they are connected."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from allocation_gateway.groups.shared_entries import ObservedCode, SharedListing
    from allocation_gateway.operations.model import Api


class Publisher(Protocol):
    """Shares what is learned here with other replicas. Only listing() waits for them."""

    def publish_observed(self, api: Api, observed: ObservedCode) -> None:
        """Shares a code that was observed."""

    def publish_forgotten(self, api: Api, until: float) -> None:
        """Tells the other replicas to forget what was learned until a time, in seconds of the epoch."""

    def publish_listing(self, api: Api, listing: SharedListing) -> None:
        """Shares upstream's listing."""

    async def listing(self, api: Api) -> SharedListing | None:
        """Returns upstream's listing as another replica has loaded it; None if there is none, or none in time."""


class NoPublisher:
    """The publisher of a gateway that shares nothing."""

    def publish_observed(self, api: Api, observed: ObservedCode) -> None:
        """Does nothing."""

    def publish_forgotten(self, api: Api, until: float) -> None:
        """Does nothing."""

    def publish_listing(self, api: Api, listing: SharedListing) -> None:
        """Does nothing."""

    async def listing(self, api: Api) -> SharedListing | None:
        """Returns None."""
        del api
        return None

"""What is known of a service group."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

from allocation_gateway.settings import DEFAULT_ACCOUNT

if TYPE_CHECKING:
    from allocation_gateway.operations.model import Api


class Source(enum.Enum):
    """Where a service group is known from, the one that is believed first coming first."""

    CATALOGUE = "catalogue"
    """The catalogue file or the setting SERVICE_GROUPS: known for as long as it stands there."""
    LISTING = "listing"
    """Upstream's own list."""
    OBSERVED = "observed"
    """An allocation with it that succeeded."""


@dataclass(frozen=True, slots=True)
class Group:
    """A service group.

    Attributes:
        api: The API that it belongs to.
        code: Its code, exactly as upstream has it.
        source: Where it is known from.
        learned_at: When that was, in seconds of the epoch.
        trusted_until: Until when it is believed, in seconds of the epoch; None if for as long as its source has it.
        display_name: Its name for people; empty if it has none.
        aliases: Its further names.
        account: The account whose group it is, of one in the catalogue. The other sources know of one account alone.
    """

    api: Api
    code: str
    source: Source
    learned_at: float
    trusted_until: float | None = None
    display_name: str = ""
    aliases: tuple[str, ...] = ()
    account: str = DEFAULT_ACCOUNT

    @property
    def names(self) -> tuple[str, ...]:
        """Everything that it is called apart from its code."""
        return (self.display_name, *self.aliases) if self.display_name else self.aliases

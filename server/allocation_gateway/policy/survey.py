"""Reads the shipments or consignments of a write, and collects what has become of each."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from allocation.v1.error_reason_pb2 import ErrorReason

from allocation_gateway.errors import GatewayError
from allocation_gateway.operations import consignments, ship
from allocation_gateway.operations.model import Api
from allocation_gateway.policy import adoption, quotes
from allocation_gateway.policy.adoption import Origin, Standing
from allocation_gateway.policy.protection.model import Kind
from allocation_gateway.upstream.client import Exchange
from allocation_gateway.upstream.http import Attempt

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from allocation_gateway.claims.model import Claim
    from allocation_gateway.errors import AnyAllocation
    from allocation_gateway.operations.model import Operation
    from allocation_gateway.policy.account import Account
    from allocation_gateway.telemetry.observation import Observation

_READERS: Final[Mapping[Api, Operation]] = {Api.SHIP: ship.READ, Api.CONSIGNMENTS: consignments.READ}
_MISSING: Final = frozenset(
    {ErrorReason.ERROR_REASON_SHIPMENT_NOT_FOUND, ErrorReason.ERROR_REASON_CONSIGNMENT_NOT_FOUND}
)
# So many references of a bulk call are read at once.
_AT_ONCE: Final = 8


class Found(NamedTuple):
    """What has become of one reference.

    Attributes:
        standing: What it means for the write.
        allocation: How the shipment or consignment stands.
    """

    standing: Standing
    allocation: AnyAllocation


class Survey:
    """What is known of the references of one write.

    Attributes:
        known: What has become of each reference of which that is certain.
        absent: The references of which the last reading has shown no effect.
    """

    def __init__(self, account: Account, operation: Operation, request: Any, claim: Claim) -> None:
        """Knows nothing yet.

        Args:
            account: Whom to ask.
            operation: The row of the write.
            request: Its request, as it was sent.
            claim: Its claim, as it was taken just now.
        """
        self.known: dict[str, Found] = {}
        self.absent: set[str] = set()
        self._account = account
        self._operation = operation
        self._request = request
        self._claim = claim
        self._references = claim.references
        self._begun = asyncio.get_running_loop().time() - claim.age
        self._terms = quotes.decode(claim.note)

    @property
    def is_complete(self) -> bool:
        """True if it is known of every reference what has become of it."""
        return all(reference in self.known for reference in self._references)

    @property
    def shows_nothing(self) -> bool:
        """True if the last reading has shown no effect on any reference of which nothing else is known."""
        return len(self.absent) == len(self.open())

    def limit(self, references: Sequence[str]) -> None:
        """Leaves out all other references."""
        self._references = tuple(references)

    def open(self) -> list[str]:
        """Returns the references of which it is not known, in their order."""
        return [reference for reference in self._references if reference not in self.known]

    async def look(self, observation: Observation, deadline: float) -> None:
        """Reads every reference of which nothing certain is known.

        Args:
            observation: Whose readings they are.
            deadline: Until when to wait for them, by the event loop's clock.
        """
        places = asyncio.Semaphore(_AT_ONCE)

        async def look_at(reference: str) -> None:
            async with places:
                await self._look_at(reference, observation, deadline)

        self.absent.clear()
        wanted = self.open()
        if len(wanted) == 1:
            await self._look_at(wanted[0], observation, deadline)
        else:
            await asyncio.gather(*map(look_at, wanted))

    async def _look_at(self, reference: str, observation: Observation, deadline: float) -> None:
        exchange = Exchange(Attempt(), observation, deadline, is_further=True)
        reader = _READERS[self._operation.api]
        try:
            response = await self._account.read(reader, _wanted(reader, reference), exchange, Kind.READ_BACK)
        except GatewayError as error:
            # What upstream does not know has not been allocated; anything else says nothing.
            if error.reason in _MISSING:
                self.absent.add(reference)
            return
        found: AnyAllocation = response.allocation
        standing = adoption.standing(self._operation, self._request, found, self._origin(reference, exchange.date))
        if standing is Standing.ABSENT:
            self.absent.add(reference)
        elif standing is not Standing.PENDING:
            self.known[reference] = Found(standing, found)

    def _origin(self, reference: str, date: str) -> Origin:
        elapsed = asyncio.get_running_loop().time() - self._begun
        owner = self._claim.owners.get(reference, self._claim.request_id)
        return Origin(
            sent_after=_moment(date) - timedelta(seconds=elapsed),
            terms=self._terms,
            # At a first attempt the date alone decides: what was known before may have been undone by somebody else.
            is_other=self._claim.attempts > 1 and owner != self._claim.request_id,
        )


def _wanted(reader: Operation, reference: str) -> Any:
    field = reader.request.DESCRIPTOR.fields[0].name
    return reader.request(**{field: reference})


def _moment(date: str) -> datetime:
    """Returns the moment that a header Date gives; that of our own clock if it gives none."""
    try:
        moment = parsedate_to_datetime(date)
    except (ValueError, OverflowError):
        return datetime.now(UTC)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)

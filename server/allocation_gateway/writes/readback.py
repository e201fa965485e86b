"""Reads the shipments or consignments of a write back, and collects what has become of each."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from allocation.v1.error_reason_pb2 import ErrorReason

from allocation_gateway.claims.model import ClaimState, StoreUnavailableError
from allocation_gateway.errors import GatewayError
from allocation_gateway.operations import table
from allocation_gateway.operations.assessment import Assessed, Assessment
from allocation_gateway.operations.model import references_field
from allocation_gateway.protection.model import RequestKind
from allocation_gateway.telemetry.conventions import AttemptKind
from allocation_gateway.upstream.call import UpstreamCall
from allocation_gateway.upstream.http import Attempt
from allocation_gateway.writes import adoption, note, responses, stored_answer
from allocation_gateway.writes.adoption import Origin
from allocation_gateway.writes.clocks import clock_reading

if TYPE_CHECKING:
    from collections.abc import Sequence

    from allocation_gateway.account_api import AccountApi
    from allocation_gateway.claims.model import ClaimStore
    from allocation_gateway.errors import AnyAllocation
    from allocation_gateway.operations.model import Operation
    from allocation_gateway.telemetry.observation import Observation
    from allocation_gateway.writes.claim_handle import ClaimHandle
    from allocation_gateway.writes.clocks import ClockReading
    from allocation_gateway.writes.note import Note

_MISSING: Final = frozenset(
    {ErrorReason.ERROR_REASON_SHIPMENT_NOT_FOUND, ErrorReason.ERROR_REASON_CONSIGNMENT_NOT_FOUND}
)
# So many references of a bulk call are read at once.
_AT_ONCE: Final = 8


class _Reading(NamedTuple):
    """What reading one reference has told.

    Attributes:
        found: How it stands; None of one that upstream does not know.
        clock: What the answer tells of upstream's clock; None if it tells nothing.
    """

    found: AnyAllocation | None
    clock: ClockReading | None


class CurrentAllocation(NamedTuple):
    """What stands where a write was refused for the state of its shipment or consignment.

    Attributes:
        allocation: The allocation; None if there is none.
        explains_refusal: Whether it is known that what stands is not the write's own doing, and the reason.
    """

    allocation: AnyAllocation | None
    explains_refusal: bool


class ReadBack:
    """What is known of the references of one write from reading them.

    Attributes:
        known: What has become of each reference of which that is certain.
        absent: The references of which the last reading has shown no effect.
        failed: Those of them that the last reading has shown as tried and not allocated.
    """

    def __init__(
        self,
        api: AccountApi,
        store: ClaimStore,
        operation: Operation,
        request: Any,
        handle: ClaimHandle,
        *,
        for_stream: bool = False,
    ) -> None:
        """Knows nothing yet.

        Args:
            api: Whom to ask.
            store: Where the claims are of other writes.
            operation: The row of the write.
            request: Its request, as it was sent.
            handle: Its claim.
            for_stream: Whether it is an item of a stream, which is read within the share of streams.
        """
        self.known: dict[str, Assessed] = {}
        self.absent: set[str] = set()
        self.failed: set[str] = set()
        self._undecided: dict[str, Assessed] = {}
        self._api = api
        self._store = store
        self._operation = operation
        self._request = request
        self._handle = handle
        self._for_stream = for_stream
        # As the caller has spelled them, and not as they are locked: so they are asked for, and told.
        self._references = operation.references(request)
        self._reader = table.READERS[operation.api]

    @property
    def is_complete(self) -> bool:
        """True if it is known of every reference what has become of it."""
        return all(reference in self.known for reference in self._references)

    @property
    def shows_no_effect(self) -> bool:
        """True if the last reading has shown no effect on any reference of which nothing else is known."""
        return len(self.absent) == len(self.undetermined())

    @property
    def shows_effect(self) -> bool:
        """True if some reference is known to have come about by the write, or may have."""
        return any(found.assessment is not Assessment.NOT_OWN for found in self.known.values())

    @property
    def has_undecided(self) -> bool:
        """True if it can never be known of some reference whose doing it is how it stands."""
        return any(found.assessment is Assessment.UNDECIDED for found in self.known.values())

    def limit(self, references: Sequence[str]) -> None:
        """Leaves out all other references."""
        self._references = tuple(references)

    def undetermined(self) -> list[str]:
        """Returns the references of which it is not known, in their order."""
        return [reference for reference in self._references if reference not in self.known]

    def accept_undecided(self) -> None:
        """Records that nothing will ever tell of some references whose doing it is how they stand."""
        self.known.update(self._undecided)

    async def read(self, observation: Observation, deadline: float) -> None:
        """Reads every reference of which nothing certain is known. What the policies hold back is not read.

        Args:
            observation: Whose readings they are.
            deadline: Until when to wait for them, by the event loop's clock.
        """
        self.absent.clear()
        self.failed.clear()
        self._undecided.clear()
        if not self._api.protection.withdraw_read_back():
            return
        # Of a large bulk call, the note is large too: it is decoded once for all references.
        remembered = note.decode(self._handle.new.note)
        await self._each(partial(self._read_one, remembered), self.undetermined(), observation, deadline)

    async def current_allocation(self, observation: Observation, deadline: float) -> CurrentAllocation | None:
        """Reads what a single write was for that was refused for its state. Returns None if it cannot be read."""
        (reference,) = self._references
        reading = await self._fetch(reference, observation, deadline, AttemptKind.FOLLOW_UP)
        if reading is None:
            return None
        found = reading.found
        if found is None:
            return CurrentAllocation(None, explains_refusal=False)
        origin = await self._origin(note.decode(self._handle.new.note), reference, found, reading.clock)
        explains = adoption.explains_refusal(self._operation, self._request, found, origin)
        return CurrentAllocation(found if self._operation.allocations.is_allocated(found) else None, explains)

    async def snapshots(self, references: Sequence[str], observation: Observation, deadline: float) -> dict[str, str]:
        """Reads how references stand before anything is sent. Returns the snapshot of each one that could be read."""
        taken: dict[str, str] = {}

        async def take(reference: str, observation: Observation, deadline: float) -> None:
            reading = await self._fetch(reference, observation, deadline, AttemptKind.READ_BEFORE)
            if reading is None or reading.found is None:
                return
            shown = adoption.snapshot(self._operation.allocations, reading.found)
            if shown is not None:
                taken[reference] = shown

        await self._each(take, references, observation, deadline)
        return taken

    @staticmethod
    async def _each(read: Any, references: Sequence[str], observation: Observation, deadline: float) -> None:
        if len(references) == 1:
            await read(references[0], observation, deadline)
            return
        places = asyncio.Semaphore(_AT_ONCE)

        async def in_turn(reference: str) -> None:
            async with places:
                await read(reference, observation, deadline)

        await asyncio.gather(*map(in_turn, references))

    async def _fetch(
        self, reference: str, observation: Observation, deadline: float, kind: AttemptKind
    ) -> _Reading | None:
        """Reads how a reference stands. Returns None if it could not be read."""
        attempt = Attempt(now=self._api.now)
        call = UpstreamCall(attempt, observation, deadline, keeps_to_deadline=True, kind=kind)
        request = self._reader.request(**{references_field(self._reader.request): reference})
        try:
            result = await self._api.read_once(
                self._reader, request, call, RequestKind.READ_BACK, for_stream=self._for_stream
            )
        except GatewayError:
            return None
        if result.is_stale:
            return None
        response: Any = result.response
        if not isinstance(response, GatewayError):
            return _Reading(response.allocation, clock_reading(result.date, call.attempt.sent_at, result.head_at))
        return _Reading(None, None) if response.reason in _MISSING else None

    async def _read_one(self, remembered: Note, reference: str, observation: Observation, deadline: float) -> None:
        reading = await self._fetch(reference, observation, deadline, AttemptKind.READ_BACK)
        if reading is None:
            return
        if reading.found is None:
            # What upstream does not know has not been allocated.
            self.absent.add(reference)
            return
        origin = await self._origin(remembered, reference, reading.found, reading.clock)
        assessment = adoption.assess(self._operation, self._request, reading.found, origin)
        if assessment is Assessment.ABSENT:
            self.absent.add(reference)
            if self._operation.allocations.states.has_failed(reading.found.state):
                self.failed.add(reference)
        elif assessment is Assessment.UNDECIDED:
            self._undecided[reference] = Assessed(assessment, reading.found)
        elif assessment in {Assessment.DONE, Assessment.NOT_OWN}:
            self.known[reference] = Assessed(assessment, reading.found)

    async def _origin(
        self, remembered: Note, reference: str, found: AnyAllocation, clock: ClockReading | None
    ) -> Origin:
        handle = self._handle
        origin = Origin(
            claimed=handle.began,
            clock=clock,
            terms=remembered.terms,
            before=remembered.before.get(reference),
            has_sent=handle.has_sent,
            effects_end_at=handle.effects_end_at,
            is_resumed=handle.is_resumed,
        )
        owner = handle.owner_of(reference)
        if owner in {"", handle.claim.request_id} or not adoption.may_be_another_writes(self._operation, found, origin):
            return origin
        return await self._compared(origin, owner, reference, found)

    async def _compared(self, origin: Origin, owner: str, reference: str, found: AnyAllocation) -> Origin:
        """Returns an origin with what comparing tells of an allocation and the one that another write has made.

        What is not known of the other write is not held against this one.
        """
        unknown = origin._replace(is_of_another=None)
        try:
            claim = await self._store.at(self._handle.locks_of((reference,))).read(owner)
        except StoreUnavailableError:
            return unknown
        operation = None if claim is None else table.named(claim.operation)
        if claim is None or operation is None or claim.state is not ClaimState.DONE:
            return unknown
        answer = stored_answer.content(operation, claim.answer)
        booked = responses.allocation_of(operation, answer, reference)
        allocations = self._operation.allocations
        if booked is None or not (operation.bulk is None or allocations.is_allocated(booked)):
            return unknown._replace(is_queued_by_another=responses.may_be_queued(operation, answer, reference))
        is_same = adoption.is_same_booking(allocations, found, booked)
        return origin._replace(is_of_another=is_same, is_new=is_same is False)

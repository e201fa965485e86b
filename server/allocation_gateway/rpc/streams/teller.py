"""What the caller of a job is told: outcomes, how far it has come, and the end."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from allocation.v1 import job_pb2

from allocation_gateway.operations.validation import MAX_ITEMS
from allocation_gateway.rpc.streams.outcomes import ALLOCATED, QUEUED, REFUSED

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from allocation_gateway.errors import GatewayError
    from allocation_gateway.operations.streams import AllocationStream
    from allocation_gateway.rpc.streams.outcomes import Found

# Clients take messages of up to 4 MB unless they say otherwise.
_MESSAGE_BYTES: Final = 1_000_000
_PROGRESS_SECONDS: Final = 1.0


class Teller:
    """Collects what is to be told, and tells it as the caller takes it.

    Attributes:
        tally: How far the call has come.
        paused: Why nothing is sent for now; None if nothing is in the way.
    """

    def __init__(
        self,
        row: AllocationStream,
        write: Callable[[bytes], Awaitable[None]],
        clock: Callable[[], float],
        count: Callable[[str, str], None],
    ) -> None:
        """Has nothing to tell.

        Args:
            row: The rpc.
            write: Sends a message, and waits until the caller has room for another.
            clock: The event loop's clock.
            count: Counts the outcome of an item: for which API, and what it is.
        """
        self.tally = job_pb2.AllocationProgress()
        self.paused: GatewayError | None = None
        self._row = row
        self._api = row.api.value
        self._reference = row.reference
        self._write = write
        self._clock = clock
        self._count = count
        # The fields of each: it is made where it is told, and not copied to there.
        self._outcomes: deque[tuple[object, dict[str, Any]]] = deque()
        self._refused: deque[job_pb2.AllocationRefusedMessage] = deque()
        self._repeated: deque[str] = deque()
        self._news = asyncio.Event()
        # When it was told last how far the call has come, and when it is told next, in the same numbers each time.
        self._told_at = clock()
        self._due = self._told_at + _PROGRESS_SECONDS
        self._told_outcomes = 0
        self._being_told = 0

    @property
    def untold(self) -> int:
        """How many outcomes the caller has not taken yet."""
        return len(self._outcomes) + self._being_told

    @property
    def backlog(self) -> int:
        """How much is still to be told."""
        return len(self._outcomes) + len(self._refused) + len(self._repeated)

    def outcome(self, key: object, reference: str, request_id: str, found: Found) -> None:
        """Queues the outcome of an item for the caller.

        Args:
            key: What tell() returns once the caller has taken it.
            reference: The item, as the caller wrote it.
            request_id: The id of its write; empty if it has none.
            found: What became of it.
        """
        tally, kind = self.tally, found.kind
        told: dict[str, Any] = {self._reference: reference, "request_id": request_id}
        if kind is QUEUED:
            tally.queued += 1
            told["queued"] = True
        elif kind is ALLOCATED:
            tally.allocated += 1
            told["allocation"] = found.allocation
        elif found.error is None:
            raise ValueError("an item that is neither queued nor allocated must have an error")
        elif kind is REFUSED:
            tally.refused += 1
            told["refusal"] = found.error.status()
        else:
            tally.unknown += 1
            told["unknown"] = found.error.status()
        self._count(self._api, kind.value)
        self._outcomes.append((key, told))
        self._news.set()

    def refuse(self, index: int, error: GatewayError) -> None:
        """Queues for the caller that a message of its own was refused as a whole."""
        self._refused.append(job_pb2.AllocationRefusedMessage(message_index=index, status=error.status()))
        self._news.set()

    def repeat(self, reference: str) -> None:
        """Queues for the caller that a reference was in hand already."""
        self.tally.repeated += 1
        self._repeated.append(reference)
        self._news.set()

    def wake(self) -> None:
        """Ends a wait."""
        self._news.set()

    async def wait(self) -> None:
        """Waits until there is something to tell, or until how far it has come is to be told."""
        try:
            async with asyncio.timeout_at(self._due):
                await self._news.wait()
        except TimeoutError:
            pass
        self._news.clear()

    async def begin(self, job: job_pb2.AllocationJob) -> None:
        """Tells the job."""
        await self._send(job=job)

    async def tell(self) -> list[object]:
        """Tells what there is, and how far it has come if it is time. Returns the keys of what was told."""
        told: list[object] = []
        while self._refused:
            await self._send(refused=self._refused.popleft())
        while self._repeated:
            some = [self._repeated.popleft() for _ in range(min(len(self._repeated), MAX_ITEMS))]
            await self._send(repeated=job_pb2.RepeatedAllocationItems(references=some))
        if self._outcomes:
            response: Any = self._row.response()
            self._add_outcomes(response.results.results, told)
            self._being_told = len(told)
            await self._write(response.SerializeToString())
            self._being_told = 0
        if self._outcomes:
            self._news.set()
        now = self._clock()
        if now >= self._due:
            self._measure(now)
            await self._send(progress=self.tally)
        return told

    def _add_outcomes(self, results: Any, keys: list[object]) -> None:
        """Adds as many outcomes as go into one message to its results, and their keys to a list."""
        size = 0
        while self._outcomes and len(keys) < MAX_ITEMS and size < _MESSAGE_BYTES:
            key, fields = self._outcomes.popleft()
            size += results.add(**fields).ByteSize()
            keys.append(key)

    def _measure(self, now: float) -> None:
        """Notes how many outcomes there were in a second since it was told last, and why none may come."""
        tally = self.tally
        outcomes = tally.allocated + tally.refused + tally.unknown + tally.queued
        tally.rate = max(outcomes - self._told_outcomes, 0) / (now - self._told_at)
        self._told_at, self._told_outcomes = now, outcomes
        self._due = now + _PROGRESS_SECONDS
        if self.paused is None:
            tally.ClearField("paused")
        else:
            tally.paused.CopyFrom(self.paused.status())

    async def end(self, job_id: str, bulk_calls: int, readings: int) -> None:
        """Tells the summary."""
        self.tally.ClearField("paused")
        self.tally.ClearField("rate")
        await self._send(
            summary=job_pb2.AllocationSummary(
                job_id=job_id, progress=self.tally, bulk_calls=bulk_calls, readings=readings
            )
        )

    async def _send(self, **content: Any) -> None:
        await self._write(self._row.response(**content).SerializeToString())

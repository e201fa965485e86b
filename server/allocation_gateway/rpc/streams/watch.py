"""One call that watches how shipments or consignments stand, until all of them are final."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from allocation_gateway.errors import GatewayError
from allocation_gateway.rpc.streams.belief import Belief, standing_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from allocation_gateway.errors import AnyAllocation
    from allocation_gateway.operations.streams import AllocationWatch
    from allocation_gateway.rpc.streams.readings import Readings
    from allocation_gateway.telemetry.observation import Observation

# Seconds without a change after which the caller is shown that the call is alive.
_HEARTBEAT: Final = 10.0
# Clients take messages of up to 4 MB unless they say otherwise.
_MESSAGE_BYTES: Final = 1_000_000


class WatchRun:
    """One call that watches. It is a ReadingListener.

    Attributes:
        observation: The call, as telemetry sees it.
    """

    def __init__(
        self,
        row: AllocationWatch,
        references: Sequence[str],
        readings: Readings,
        observation: Observation,
        write: Callable[[bytes], Awaitable[None]],
    ) -> None:
        """Has told nothing yet.

        Args:
            row: The rpc.
            references: What is watched.
            readings: Reads it.
            observation: The call, as telemetry sees it.
            write: Sends a message, and waits until the caller has room for another.
        """
        self._row = row
        self._readings = readings
        self.observation = observation
        self._write = write
        self._clock = asyncio.get_running_loop().time
        now = self._clock()
        # What is not final yet, with what was seen of it.
        self._pending = {reference: Belief(now, is_known=False) for reference in references}
        # What was told last, and what is to be told: of each the latest.
        self._told: dict[str, bytes] = {}
        self._changed: dict[str, Any] = {}
        self._news = asyncio.Event()
        self._failures: list[GatewayError] = []

    async def run(self) -> None:
        """Carries it out.

        Raises:
            GatewayError: It has ended before all of them were final.
        """
        for reference in tuple(self._pending):
            self._readings.follow(reference, self, at_once=True)
        try:
            while (self._pending or self._changed) and not self._failures:
                try:
                    async with asyncio.timeout(_HEARTBEAT):
                        await self._news.wait()
                except TimeoutError:
                    pass
                self._news.clear()
                await self._tell()
        finally:
            for reference in self._pending:
                self._readings.leave(reference, self)
        if self._pending:
            raise self._failures[0]

    def end_soon(self, error: GatewayError, seconds: float) -> None:
        """See Run. Nothing is under way that would be lost."""
        del seconds
        self.fail(error)

    def fail(self, error: GatewayError) -> None:
        """See Run."""
        self._failures.append(error)
        self._news.set()

    def read(self, reference: str, found: AnyAllocation | GatewayError) -> bool:
        """See ReadingListener."""
        standing: Any = self._row.standing(**{self._row.reference: reference})
        if isinstance(found, GatewayError):
            standing.error.CopyFrom(found.status())
        else:
            standing.allocation.CopyFrom(found)
        standing.final = self._is_final(reference, found)
        text = standing.SerializeToString(deterministic=True)
        if text != self._told.get(reference):
            self._told[reference] = text
            self._changed[reference] = standing
            self._news.set()
        if standing.final:
            del self._pending[reference]
            del self._told[reference]
        return bool(standing.final)

    def _is_final(self, reference: str, found: AnyAllocation | GatewayError) -> bool:
        standing = standing_of(self._row.read, found)
        return self._pending[reference].is_final(standing, self._clock(), self._readings.patience)

    async def _tell(self) -> None:
        """Tells what has changed, or that nothing has."""
        while True:
            some, size = [], 0
            while self._changed and size < _MESSAGE_BYTES:
                _, standing = self._changed.popitem()
                some.append(standing)
                size += standing.ByteSize()
            response = self._row.response(**{self._row.items: some, "pending": len(self._pending)})
            await self._write(response.SerializeToString())
            if not self._changed:
                return

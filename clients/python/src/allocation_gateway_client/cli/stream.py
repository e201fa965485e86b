"""A run over a file in one job for each API: a stream of items, and of what becomes of each."""

from __future__ import annotations

import asyncio
import signal
import time
from typing import TYPE_CHECKING, Any, Final

from allocation.v1 import job_pb2

from allocation_gateway_client.aio import AsyncClient
from allocation_gateway_client.cli import failures, progress, requests, wave
from allocation_gateway_client.cli.requests import Api
from allocation_gateway_client.errors import AllocationError, UnknownOutcome
from allocation_gateway_client.outcomes import OutcomeKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from allocation_gateway_client.cli.output import Output
    from allocation_gateway_client.cli.profiles import Profile
    from allocation_gateway_client.cli.wave import Job, Row
    from allocation_gateway_client.outcomes import Outcome

# However long a wave takes: a run goes on as long as something comes of it.
_LONGEST: Final = 30 * 86_400.0
# Seconds after which a gateway that was never reached is given up. One that was is waited for as long as --timeout
# says.
_PATIENCE_AT_FIRST: Final = 5.0
_DONE: Final = 0
_LEFT_OPEN: Final = failures.exit_code_of(UnknownOutcome)


class StreamRun:
    """Allocates the rows of a file by jobs."""

    def __init__(self, job: Job, profile: Profile, printer: Output, *, is_queued_enough: bool) -> None:
        """Takes what it needs.

        Args:
            job: The rows.
            profile: How the gateway is reached.
            printer: Prints.
            is_queued_enough: Whether a row is done when upstream has taken it in hand.
        """
        self._job = job
        self._profile = profile
        self._printer = printer
        self._is_queued_enough = is_queued_enough
        self._is_interrupted = False
        self._codes: set[int] = set()
        self._patience = min(_PATIENCE_AT_FIRST, profile.timeout)
        # When something came of it last.
        self._came_on_at = time.monotonic()
        self._bar = progress.bar(printer)
        self._task: Any = None

    async def all(self, remaining: Sequence[tuple[Row, int]]) -> int:
        """Works through rows, each with the number of its earlier refusals, and returns the exit code."""
        parts: dict[tuple[Api, int], dict[str, Row]] = {}
        for row, refusals in remaining:
            parts.setdefault((row.api, refusals), {})[row.reference] = row
        total = len(self._job.rows)
        running = asyncio.current_task()
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, self._interrupt, running)
        with self._bar:
            self._task = self._bar.add_task("", total=total, completed=total - len(remaining), told="")
            async with AsyncClient(**self._profile.options()) as client:
                try:
                    for (api, refusals), rows in parts.items():
                        await self._part(client, api, self._job.stream_id(refusals), rows)
                except AllocationError as error:
                    self._printer.failure(error)
                    self._codes.add(failures.exit_code(error))
                except asyncio.CancelledError:
                    if not self._is_interrupted:
                        raise
        if self._is_interrupted:
            return failures.INTERRUPTED
        return failures.together(list(self._codes))

    def _interrupt(self, running: Any) -> None:
        """Breaks off. What is in hand goes on at the gateway, and the next run is told of it."""
        self._is_interrupted = True
        running.cancel()

    async def _part(self, client: AsyncClient, api: Api, job_id: str, rows: dict[str, Row]) -> None:
        """Works through rows that make one job.

        Raises:
            AllocationError: It has ended before all of them had an outcome.
        """
        begin: Any = client.allocate_shipment_stream if api is Api.SHIP else client.allocate_consignment_stream
        job = begin(
            [requests.item(api, row.reference, row.selector) for row in rows.values()],
            timeout=_LONGEST,
            job_id=job_id,
            wait_for=job_pb2.WAIT_FOR_QUEUED if self._is_queued_enough else job_pb2.WAIT_FOR_ALLOCATED,
            on_progress=self._show,
            on_lost=self._lost,
        )
        async with job:
            async for outcome in job:
                self._take(rows[outcome.reference], outcome)

    def _show(self, told: job_pb2.AllocationProgress) -> None:
        """Shows what keeps the gateway from sending, if something does."""
        self._come_on()
        self._bar.update(self._task, told=f"paused: {told.paused.message}" if told.paused.message else self._counted())

    def _lost(self, error: AllocationError) -> None:
        """Gives up if nothing has come of it for too long."""
        if time.monotonic() - self._came_on_at > self._patience:
            raise error
        self._bar.update(self._task, told=f"broken off ({error.reason or error.code.name}), begun again")

    def _come_on(self) -> None:
        self._came_on_at = time.monotonic()
        self._patience = self._profile.timeout

    def _take(self, row: Row, told: Outcome[Any]) -> None:
        """Writes down what became of an item."""
        self._come_on()
        outcome, facts, code = self._outcome(told)
        self._job.record(row, outcome, {**facts, "request_id": told.request_id})
        self._codes.add(code)
        self._bar.update(self._task, advance=1, told=self._counted())

    def _outcome(self, told: Outcome[Any]) -> tuple[str, dict[str, Any], int]:
        """Returns what an item has come to, what to write down of it, and its exit code."""
        error = told.error
        if error is not None:
            return *wave.failed(error), failures.exit_code(error)
        if told.kind is OutcomeKind.ALLOCATED:
            return wave.DONE, wave.facts(told.allocation), _DONE
        is_done = self._is_queued_enough
        return (wave.DONE if is_done else wave.OPEN), {"state": "queued"}, _DONE if is_done else _LEFT_OPEN

    def _counted(self) -> str:
        count = len(self._codes - {_DONE})
        return f"{count} kinds of failure" if count else ""

"""A run over a file: several calls at once, a bar, and an end at Ctrl-C that loses nothing."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING, Any

from allocation_gateway_client.aio import AsyncClient
from allocation_gateway_client.cli import failures, progress, wave
from allocation_gateway_client.cli.stream import StreamRun
from allocation_gateway_client.errors import AllocationError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from google.protobuf.message import Message
    from rich.progress import Progress

    from allocation_gateway_client.cli.output import Output
    from allocation_gateway_client.cli.profiles import Profile
    from allocation_gateway_client.cli.wave import Job, Row


def run(job: Job, profile: Profile, printer: Output, concurrency: int, *, retry_failed: bool) -> int:
    """Allocates what is still to be done, call by call, and returns the exit code."""
    with job:
        pending = list(job.pending(retry_failed=retry_failed))
        code = asyncio.run(_Run(job, printer, concurrency).all(profile, pending))
    return _ended(job, printer, code)


def stream(job: Job, profile: Profile, printer: Output, *, is_queued_enough: bool, retry_failed: bool) -> int:
    """Allocates what is still to be done, in one call of each API, and returns the exit code."""
    with job:
        remaining = list(job.remaining(retry_failed=retry_failed))
        made = StreamRun(job, profile, printer, is_queued_enough=is_queued_enough)
        code = asyncio.run(made.all(remaining))
    return _ended(job, printer, code)


def _ended(job: Job, printer: Output, code: int) -> int:
    """Prints what all runs of a job have come to, and returns the exit code: what is left counts, whoever left it."""
    counts = job.counts()
    if printer.is_json:
        printer.json({"results": str(job.results), **counts})
    else:
        told = ", ".join(f"{count} {outcome}" for outcome, count in counts.items() if count)
        printer.errors.print(f"{told}: {job.results}", markup=False)
    if counts[wave.OPEN] and not printer.is_json:
        printer.errors.print("Run the same command again to go on: nothing is booked twice.")
    if counts[wave.REFUSED] and not printer.is_json:
        printer.errors.print("What was refused is not asked for again, unless you say --retry-failed.")
    return code if code == failures.INTERRUPTED else failures.together({code, *job.exit_codes()})


class _Run:
    def __init__(self, job: Job, printer: Output, concurrency: int) -> None:
        self._job = job
        self._printer = printer
        self._concurrency = concurrency
        self._is_stopped = False
        self._is_interrupted = False
        self._failed_alike = 0
        self._codes: set[int] = set()

    async def all(self, profile: Profile, pending: list[tuple[Row, Message]]) -> int:
        """Works through all of it, and returns the exit code."""
        total = len(self._job.rows)
        with progress.bar(self._printer) as bar:
            task = bar.add_task("", total=total, completed=total - len(pending), told="")
            work = iter(pending)
            async with AsyncClient(**profile.options()) as client:
                workers = [asyncio.create_task(self._work(client, work, bar, task)) for _ in range(self._concurrency)]
                asyncio.get_running_loop().add_signal_handler(signal.SIGINT, self._stop, workers)
                await _all_of(workers)
        if self._is_interrupted:
            return failures.INTERRUPTED
        return failures.together(list(self._codes))

    def _stop(self, workers: list[asyncio.Task[None]]) -> None:
        """Begins nothing more; at the second time it does not wait for what is in hand either."""
        if self._is_interrupted:
            for worker in workers:
                worker.cancel()
        else:
            self._printer.errors.print("Waiting for the calls in hand; press Ctrl-C again not to.")
        self._is_stopped = self._is_interrupted = True

    async def _work(self, client: AsyncClient, work: Iterator[tuple[Row, Message]], bar: Progress, task: Any) -> None:
        for row, request in work:
            error = await self._allocated(client, row, request)
            self._codes.add(0 if error is None else failures.exit_code(error))
            self._failed_alike = self._failed_alike + 1 if error is not None and failures.is_of_all(error) else 0
            if error is not None and self._failed_alike > self._concurrency and not self._is_stopped:
                self._is_stopped = True
                self._printer.failure(error)
                self._printer.errors.print("So many have failed in a row: nothing more is begun.")
            counts = f"{len(self._codes - {0})} kinds of failure" if self._codes - {0} else ""
            bar.update(task, advance=1, told=counts)
            if self._is_stopped:
                return

    async def _allocated(self, client: AsyncClient, row: Row, request: Message) -> AllocationError | None:
        """Makes the call of a row, and writes down what became of it. Returns how it failed, if it did."""
        try:
            response: Any = await client.call(request)
        except AllocationError as error:
            self._job.record(row, *wave.failed(error))
            return error
        # No message in general has it.
        name = getattr(request, "request_id")  # noqa: B009
        self._job.record(row, wave.DONE, {**wave.facts(response.allocation), "request_id": name})
        return None


async def _all_of(workers: list[asyncio.Task[None]]) -> None:
    """Waits for tasks, some of which may be cancelled. If one of them fails, so does this, and the others are ended."""
    try:
        await asyncio.wait(workers, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        for worker in workers:
            worker.cancel()
        await asyncio.wait(workers)
    for worker in workers:
        if not worker.cancelled():
            worker.result()

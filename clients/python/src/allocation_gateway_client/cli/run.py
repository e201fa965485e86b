"""A run over a file: several calls at once, a bar, and an end at Ctrl-C that loses nothing."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING, Any

from allocation_gateway_client.aio import AsyncClient
from allocation_gateway_client.cli import failures, progress, wave
from allocation_gateway_client.cli.stream import StreamRun
from allocation_gateway_client.errors import AllocationError, TryAgain, UnknownOutcome

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
    _tell(job, printer)
    return code


def stream(job: Job, profile: Profile, printer: Output, *, is_queued_enough: bool, retry_failed: bool) -> int:
    """Allocates what is still to be done, in one call of each API, and returns the exit code."""
    with job:
        remaining = list(job.remaining(retry_failed=retry_failed))
        made = StreamRun(job, profile, printer, is_queued_enough=is_queued_enough)
        code = asyncio.run(made.all(remaining))
    _tell(job, printer)
    return code


def _tell(job: Job, printer: Output) -> None:
    """Prints what all runs of a job have come to."""
    counts = job.counts()
    if printer.is_json:
        printer.json({"results": str(job.results), **counts})
    else:
        told = ", ".join(f"{count} {outcome}" for outcome, count in counts.items() if count)
        printer.errors.print(f"{told}: {job.results}", markup=False)
    if counts[wave.OPEN] and not printer.is_json:
        printer.errors.print("Run the same command again to go on: nothing is booked twice.")


class _Run:
    def __init__(self, job: Job, printer: Output, concurrency: int) -> None:
        self._job = job
        self._printer = printer
        self._concurrency = concurrency
        self._is_stopped = False
        self._is_interrupted = False
        self._unanswered = 0
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
            outcome, facts, code = await _allocated(client, request)
            self._job.record(row, outcome, facts)
            self._codes.add(code)
            self._unanswered = self._unanswered + 1 if outcome == wave.OPEN and not facts["reason"] else 0
            if self._unanswered > self._concurrency and not self._is_stopped:
                self._printer.errors.print("The gateway does not answer: nothing more is begun.")
                self._is_stopped = True
            counts = f"{len(self._codes - {0})} kinds of failure" if self._codes - {0} else ""
            bar.update(task, advance=1, told=counts)
            if self._is_stopped:
                return


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


async def _allocated(client: AsyncClient, request: Message) -> tuple[str, dict[str, Any], int]:
    """Makes a call, and returns its outcome, what to write down of it, and its exit code."""
    try:
        response: Any = await client.call(request)
    except AllocationError as error:
        is_open = isinstance(error, UnknownOutcome | TryAgain)
        told = {
            "reason": error.reason,
            "code": error.code.name,
            "message": error.message,
            "request_id": error.request_id,
        }
        if error.effect == "made":
            # It is booked: another try would be refused.
            return wave.DONE, told, failures.exit_code(error)
        return wave.OPEN if is_open else wave.REFUSED, told, failures.exit_code(error)
    # No message in general has it.
    name = getattr(request, "request_id")  # noqa: B009
    return wave.DONE, {**wave.facts(response.allocation), "request_id": name}, 0

"""A run over a file in one call of each API: a stream of items, and of what becomes of each."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING, Any, Final

import grpc
from allocation.v1 import consignment_allocation_service_pb2 as consignments
from allocation.v1 import job_pb2
from allocation.v1 import shipment_allocation_service_pb2 as shipments
from allocation.v1.consignment_allocation_service_pb2_grpc import ConsignmentAllocationServiceStub
from allocation.v1.shipment_allocation_service_pb2_grpc import ShipmentAllocationServiceStub

from allocation_gateway_client.aio import AsyncClient
from allocation_gateway_client.base import failed
from allocation_gateway_client.cli import failures, progress, requests, wave
from allocation_gateway_client.cli.requests import Api
from allocation_gateway_client.errors import GatewayFailure, TryAgain, UnknownOutcome, error_of
from allocation_gateway_client.failure import failure_of_status

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from allocation_gateway_client.cli.output import Output
    from allocation_gateway_client.cli.profiles import Profile
    from allocation_gateway_client.cli.wave import Job, Row
    from allocation_gateway_client.errors import AllocationError
    from allocation_gateway_client.failure import Failure

_CHUNK: Final = 500
_PAUSE: Final = 1.0
# A call that breaks off is begun again: so many times in a row without a single outcome in between.
_MOST_TRIES: Final = 5
_EXPIRED: Final = "CALLER_UNAUTHENTICATED"
_DONE: Final = 0
_LEFT_OPEN: Final = failures.exit_code_of(UnknownOutcome)


class StreamRun:
    """Allocates the rows of a job by streams."""

    def __init__(self, job: Job, printer: Output, *, is_queued_enough: bool) -> None:
        """Takes what it needs.

        Args:
            job: The rows.
            printer: Prints.
            is_queued_enough: Whether a row is done when upstream has taken it in hand.
        """
        self._job = job
        self._printer = printer
        self._is_queued_enough = is_queued_enough
        self._is_interrupted = False
        self._call: Any = None
        self._codes: set[int] = set()
        self._bar = progress.bar(printer)
        self._task: Any = None

    async def all(self, profile: Profile, remaining: Sequence[tuple[Row, int]]) -> int:
        """Works through rows, each with the number of its earlier refusals, and returns the exit code."""
        parts: dict[tuple[Api, int], dict[str, Row]] = {}
        for row, refusals in remaining:
            parts.setdefault((row.api, refusals), {})[row.reference] = row
        total = len(self._job.rows)
        running = asyncio.current_task()
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, self._interrupt, running)
        with self._bar:
            self._task = self._bar.add_task("", total=total, completed=total - len(remaining), told="")
            async with AsyncClient(**profile.options()) as client:
                try:
                    for (api, refusals), rows in parts.items():
                        await self._part(client, api, self._job.stream_id(refusals), rows)
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
        """Works through rows that make one job, by as many calls as it takes."""
        tries = 0
        while True:
            before = len(rows)
            try:
                await self._stream(client, api, job_id, rows)
            except grpc.RpcError as broken:
                failure = failed(broken)
            else:
                return
            has_come_on = len(rows) < before
            tries = 0 if has_come_on else tries + 1
            error = error_of(failure, job_pb2.AllocationJob(job_id=job_id), is_in_doubt=False)
            if tries == _MOST_TRIES or not _is_passing(error, failure, has_come_on=has_come_on):
                self._printer.failure(error)
                self._codes.add(failures.exit_code(error))
                return
            self._bar.update(self._task, told=f"broken off ({failure.reason or failure.code.name}), begun again")
            await asyncio.sleep(_PAUSE if failure.retry_after is None else failure.retry_after)

    async def _stream(self, client: AsyncClient, api: Api, job_id: str, rows: dict[str, Row]) -> None:
        """Makes one call for rows, and takes out of them what has an outcome.

        Raises:
            grpc.RpcError: It has ended before all of them had one.
        """
        method: Any = (
            ShipmentAllocationServiceStub(client.channel).AllocateShipmentStream
            if api is Api.SHIP
            else ConsignmentAllocationServiceStub(client.channel).AllocateConsignmentStream
        )
        call = method(self._messages(api, job_id, list(rows.values())), metadata=client.call_metadata())
        async for response in call:
            kind = response.WhichOneof("content")
            if kind == "results":
                for outcome in response.results.results:
                    self._take(rows, outcome)
            elif kind == "progress":
                paused = response.progress.paused.message
                self._bar.update(self._task, told=f"paused: {paused}" if paused else self._counted())
            elif kind == "refused":
                raise AssertionError(f"a message of allocctl's was refused: {response.refused.status.message}")

    async def _messages(self, api: Api, job_id: str, rows: Sequence[Row]) -> AsyncIterator[Any]:
        waits_for = job_pb2.WAIT_FOR_QUEUED if self._is_queued_enough else job_pb2.WAIT_FOR_ALLOCATED
        request: Any = (
            shipments.AllocateShipmentStreamRequest
            if api is Api.SHIP
            else consignments.AllocateConsignmentStreamRequest
        )
        yield request(job=job_pb2.AllocationJob(job_id=job_id, wait_for=waits_for))
        for begin in range(0, len(rows), _CHUNK):
            yield request(
                items=[requests.item(api, row.reference, row.selector) for row in rows[begin : begin + _CHUNK]]
            )

    def _take(self, rows: dict[str, Row], told: Any) -> None:
        """Writes down what became of an item."""
        is_shipment = "shipment_reference" in told.DESCRIPTOR.fields_by_name
        row = rows.pop(told.shipment_reference if is_shipment else told.consignment_reference, None)
        if row is None:
            return  # it was told twice
        outcome, facts, code = self._outcome(row, told)
        self._job.record(row, outcome, {**facts, "request_id": told.request_id})
        self._codes.add(code)
        self._bar.update(self._task, advance=1, told=self._counted())

    def _outcome(self, row: Row, told: Any) -> tuple[str, dict[str, Any], int]:
        """Returns what an item has come to, what to write down of it, and its exit code."""
        kind = told.WhichOneof("outcome")
        if kind == "allocation":
            return wave.DONE, wave.facts(told.allocation), _DONE
        if kind == "queued":
            is_done = self._is_queued_enough
            return (wave.DONE if is_done else wave.OPEN), {"state": "queued"}, _DONE if is_done else _LEFT_OPEN
        error = self._error(row, told, is_in_doubt=kind == "unknown")
        is_open = isinstance(error, UnknownOutcome | TryAgain)
        facts = {"reason": error.reason, "code": error.code.name, "message": error.message}
        return (wave.OPEN if is_open else wave.REFUSED), facts, failures.exit_code(error)

    @staticmethod
    def _error(row: Row, told: Any, *, is_in_doubt: bool) -> AllocationError:
        failure = failure_of_status(told.unknown if is_in_doubt else told.refusal)
        # The call that the item is, for whoever wants to make it.
        request = requests.bulk(row.api, [row.reference], row.selector, told.request_id)
        return error_of(failure, request, is_in_doubt=is_in_doubt)

    def _counted(self) -> str:
        count = len(self._codes - {_DONE})
        return f"{count} kinds of failure" if count else ""


def _is_passing(error: AllocationError, failure: Failure, *, has_come_on: bool) -> bool:
    """Tells whether a call that has broken off may come on if it is begun again."""
    if failure.reason == _EXPIRED:
        return has_come_on  # a token was valid when it began, and there may be a new one
    return isinstance(error, TryAgain) or (isinstance(error, GatewayFailure) and not failure.is_of_gateway)

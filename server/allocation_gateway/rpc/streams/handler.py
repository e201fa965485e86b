"""The rpcs that allocate a stream, as an engine calls them: admission, the first message, one way out for errors."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, Protocol

import structlog
from allocation.v1.error_reason_pb2 import ErrorReason
from google.protobuf.message import DecodeError
from grpc import StatusCode

from allocation_gateway.errors import GatewayError
from allocation_gateway.operations.validation import rules_of, violations
from allocation_gateway.rpc.base import DEFECT, Context, abort, invalid
from allocation_gateway.rpc.streams.job import Items, capability_violations, job_of
from allocation_gateway.rpc.streams.run import AllocationRun
from allocation_gateway.rpc.streams.sending import Sending
from allocation_gateway.rpc.streams.teller import Teller
from allocation_gateway.telemetry.conventions import is_server_error
from allocation_gateway.wire.message import UnreadableError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from allocation_gateway.operations.model import Route
    from allocation_gateway.operations.streams import AllocationStream
    from allocation_gateway.rpc.base import Gateway
    from allocation_gateway.rpc.streams.readings import Readings
    from allocation_gateway.telemetry.observation import CallObservation


# Items in hand at once: of all calls together, and the least and the most of each.
_ALL_ITEMS: Final = 8_000
_LEAST_ITEMS: Final = 200
_MOST_ITEMS: Final = 4_000


class StreamContext(Context, Protocol):
    """As much of grpc.aio.ServicerContext as an rpc needs that answers with a stream."""

    async def write(self, message: bytes) -> None:
        """Sends a message, and waits until the caller has room for another."""


class StreamHandler:
    """Answers one rpc."""

    def __init__(
        self,
        gateway: Gateway,
        row: AllocationStream,
        readings: Readings | None,
        routes: Mapping[str, Route],
        disabled: frozenset[str],
    ) -> None:
        """Takes what it needs.

        Args:
            gateway: What all rpcs share.
            row: The rpc.
            readings: The readings of its account; None if its API is not configured.
            routes: The configured spelling of each operation, by its full name.
            disabled: The full names of the operations that are switched off.
        """
        self._gateway = gateway
        self._row = row
        self._account = gateway.accounts.get(row.api)
        self._readings = readings
        self._routes = routes
        self._disabled = disabled
        self._rules = rules_of(row.request)
        self._runs: set[AllocationRun] = set()
        self._is_ending = False
        self._log = structlog.get_logger().bind()

    async def handle(self, requests: AsyncIterator[bytes], context: StreamContext) -> None:
        """Answers a call.

        Raises:
            grpc.aio.AbortError: The call failed; its status is set.
        """
        observation = self._gateway.telemetry.call(self._row.full_name, context.invocation_metadata() or ())
        fields: dict[str, Any] = {"rpc": self._row.name, **observation.log_fields()}
        code = StatusCode.CANCELLED
        try:
            with self._gateway.admission.admitted():
                await self._answer(requests, context, observation, fields)
            code = StatusCode.OK
        except GatewayError as error:
            code = error.code
            if "job_id" in fields:
                error.metadata = {**error.metadata, "job_id": fields["job_id"]}
            fields.update(reason=error.reason_name, message=error.message, **error.info)
            await abort(context, error)
        except (asyncio.CancelledError, UnreadableError):
            raise
        except Exception:  # noqa: BLE001 - no text of an exception may reach a caller, whatever it is
            code = StatusCode.INTERNAL
            self._log.exception("defect", **fields)
            await abort(context, DEFECT)
        finally:
            observation.finish(code.name)
            level = "error" if is_server_error(code.name) else "info"
            milliseconds = round(observation.seconds() * 1000, 3)
            getattr(self._log, level)("call", code=code.name, duration_ms=milliseconds, **fields)

    async def _answer(
        self,
        requests: AsyncIterator[bytes],
        context: StreamContext,
        observation: CallObservation,
        fields: dict[str, Any],
    ) -> None:
        row, account, readings = self._row, self._account, self._readings
        if account is None or readings is None:
            raise GatewayError(
                StatusCode.FAILED_PRECONDITION,
                ErrorReason.ERROR_REASON_API_NOT_CONFIGURED,
                f"The API that this rpc needs, {row.api.value}, is not configured in this gateway.",
            )
        settings = self._gateway.settings
        first = await self._first(requests)
        found = violations(first, self._rules, settings) or capability_violations(
            row, "job.selector", first.job.selector
        )
        if found:
            raise invalid("The first message is not valid.", found)
        job = job_of(first.job)
        items = Items(row, job, settings)
        fields["job_id"] = str(job.name)
        sending = Sending(self._gateway, row, account, self._routes, self._disabled, observation, fields)
        teller = Teller(row, context.write, account.clock)
        run = AllocationRun(row, job, items, sending, readings, teller, settings, self._window)
        remaining = context.time_remaining()
        until = None if remaining is None else account.clock() + max(remaining - settings.deadline_margin, 0.0)
        self._runs.add(run)
        try:
            if self._is_ending:
                run.end_soon()
            await run.run(first, requests, until)
        finally:
            self._runs.discard(run)

    def _window(self) -> int:
        """Returns how many items each call may have in hand, as long as there are so many calls."""
        return min(max(_ALL_ITEMS // max(len(self._runs), 1), _LEAST_ITEMS), _MOST_ITEMS)

    async def _first(self, requests: AsyncIterator[bytes]) -> Any:
        """Returns the first message; an empty one if there is none."""
        async for data in requests:
            try:
                return self._row.request.FromString(data)
            except DecodeError:
                raise invalid("The first message is not of the type that the rpc takes.", []) from None
        return self._row.request()

    def end(self) -> None:
        """Ends all calls as soon as what they have under way has ended, and tells them that the gateway ends."""
        self._is_ending = True
        for run in tuple(self._runs):
            run.end_soon()

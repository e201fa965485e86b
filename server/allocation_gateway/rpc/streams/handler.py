"""The rpcs that last, as an engine calls them: admission, the first message, one way out for errors."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeVar

import structlog
from allocation.v1.error_reason_pb2 import ErrorReason
from google.protobuf.message import DecodeError
from grpc import StatusCode

from allocation_gateway.errors import GatewayError
from allocation_gateway.groups.model import ACCOUNT
from allocation_gateway.operations.validation import rules_of, violations
from allocation_gateway.rpc.base import DEFECT, Context, abort, finish, invalid
from allocation_gateway.rpc.streams.job import Items, capability_violations, job_of
from allocation_gateway.rpc.streams.run import AllocationRun
from allocation_gateway.rpc.streams.sending import Sending
from allocation_gateway.rpc.streams.teller import Teller
from allocation_gateway.rpc.streams.watch import WatchRun
from allocation_gateway.wire.message import UnreadableError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping

    from allocation_gateway.account import Account
    from allocation_gateway.callers.guard import Guard
    from allocation_gateway.callers.policy import Grant
    from allocation_gateway.operations.model import Route
    from allocation_gateway.operations.streams import AllocationStream, AllocationWatch, LastingRpc
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


class Run(Protocol):
    """One call, while it lasts."""

    def end_soon(self) -> None:
        """Ends it as soon as what it has under way has ended: the gateway is about to end."""


Asked = TypeVar("Asked")


class LastingHandler(ABC, Generic[Asked]):
    """Answers one rpc, of which a call lasts."""

    def __init__(self, gateway: Gateway, row: LastingRpc, readings: Readings | None, *, writes: bool = False) -> None:
        """Takes what it needs.

        Args:
            gateway: What all rpcs share.
            row: The rpc.
            readings: The readings of its account; None if its API is not configured.
            writes: Whether it changes something.
        """
        self._gateway = gateway
        self._guard = gateway.guard
        self._writes = writes
        self._api = row.api.value
        self._name = row.name
        self._full_name = row.full_name
        self._configured_account = gateway.accounts.get(row.api)
        self._configured_readings = readings
        self._rules = rules_of(row.request)
        self._runs: set[Run] = set()
        self._is_ending = False
        self._log = structlog.get_logger().bind()

    async def handle(self, asked: Asked, context: StreamContext) -> None:
        """Answers a call.

        Raises:
            grpc.aio.AbortError: The call failed; its status is set.
        """
        observation = self._gateway.telemetry.call(self._full_name, context.invocation_metadata() or ())
        fields: dict[str, Any] = {"rpc": self._name, **observation.log_fields()}
        code = StatusCode.CANCELLED
        try:
            with self._gateway.admission.admitted():
                if self._guard is None:
                    await self._answer(asked, context, observation, fields, None)
                else:
                    await self._guarded(self._guard, asked, context, observation, fields)
            code = StatusCode.OK
        except GatewayError as error:
            code = error.code
            told = error.with_metadata(job_id=fields["job_id"]) if "job_id" in fields else error
            fields.update(reason=told.reason_name, message=told.message, **told.info)
            await abort(context, told)
        except (asyncio.CancelledError, UnreadableError):
            raise
        except Exception:  # noqa: BLE001 - no text of an exception may reach a caller, whatever it is
            code = StatusCode.INTERNAL
            self._log.exception("defect", **fields)
            fields["reason"] = DEFECT.reason_name
            await abort(context, DEFECT)
        finally:
            finish(self._log, code.name, observation, fields)
            if self._guard is not None:
                self._guard.called(code.name, fields, observation.seconds())
                # What it has done, and for which of its items, is told bulk call by bulk call.
                self._guard.audit(code.name, fields, account=ACCOUNT, writes=self._writes, references=tuple)

    async def _guarded(
        self, guard: Guard, asked: Asked, context: StreamContext, observation: CallObservation, fields: dict[str, Any]
    ) -> None:
        """Does what _answer() does for a caller who may make the call, within its share."""
        grant = await guard.admit(self._name, context.invocation_metadata() or (), context.auth_context(), fields)
        with nullcontext() if grant is None else grant.share:
            await self._answer(asked, context, observation, fields, grant)

    @abstractmethod
    async def _answer(
        self,
        asked: Asked,
        context: StreamContext,
        observation: CallObservation,
        fields: dict[str, Any],
        grant: Grant | None,
    ) -> None:
        """Answers a call. A GatewayError becomes its status; fields are for its log line.

        Of what the policy grants to the caller, the rpc itself has been looked at. None: there is no policy.
        """

    def _parts(self) -> tuple[Account, Readings]:
        """Returns the account of the API, and its readings.

        Raises:
            GatewayError: It is not configured.
        """
        if self._configured_account is None or self._configured_readings is None:
            raise GatewayError(
                StatusCode.FAILED_PRECONDITION,
                ErrorReason.ERROR_REASON_API_NOT_CONFIGURED,
                f"The API that this rpc needs, {self._api}, is not configured in this gateway.",
            )
        return self._configured_account, self._configured_readings

    def _until(self, context: StreamContext) -> float | None:
        """Returns when the caller's time is up, by the event loop's clock; None if that never is."""
        remaining = context.time_remaining()
        if remaining is None:
            return None
        margin = self._gateway.settings.deadline_margin
        return asyncio.get_running_loop().time() + max(remaining - margin, 0.0)

    @contextmanager
    def _lasting(self, run: Run) -> Iterator[None]:
        """Has a call end with the gateway, for as long as a block lasts."""
        self._runs.add(run)
        try:
            if self._is_ending:
                run.end_soon()
            yield
        finally:
            self._runs.discard(run)

    def end(self) -> None:
        """Ends all calls as soon as what they have under way has ended, and tells them that the gateway ends."""
        self._is_ending = True
        for run in tuple(self._runs):
            run.end_soon()


class StreamHandler(LastingHandler["AsyncIterator[bytes]"]):
    """Answers an rpc that allocates a stream."""

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
        super().__init__(gateway, row, readings, writes=True)
        self._row = row
        self._routes = routes
        self._disabled = disabled

    async def _answer(
        self,
        asked: AsyncIterator[bytes],
        context: StreamContext,
        observation: CallObservation,
        fields: dict[str, Any],
        grant: Grant | None,
    ) -> None:
        account, readings = self._parts()
        row, settings = self._row, self._gateway.settings
        first = await self._first(asked)
        found = violations(first, self._rules, settings) or capability_violations(
            row, "job.selector", first.job.selector
        )
        if found:
            raise invalid("The first message is not valid.", found)
        job = job_of(first.job)
        items = Items(row, job, settings)
        fields["job_id"] = str(job.name)
        allowed = None if grant is None else grant.service_groups
        sending = Sending(self._gateway, row, account, self._routes, self._disabled, observation, fields, allowed)
        teller = Teller(row, context.write, account.clock)
        run = AllocationRun(row, job, items, sending, readings, teller, settings, self._window)
        with self._lasting(run):
            await run.run(first, asked, self._until(context))

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


class WatchHandler(LastingHandler[bytes]):
    """Answers an rpc that watches."""

    def __init__(self, gateway: Gateway, row: AllocationWatch, readings: Readings | None) -> None:
        super().__init__(gateway, row, readings)
        self._row = row

    async def _answer(
        self,
        asked: bytes,
        context: StreamContext,
        observation: CallObservation,
        fields: dict[str, Any],
        grant: Grant | None,
    ) -> None:
        del observation, fields, grant
        _, readings = self._parts()
        row = self._row
        try:
            request = row.request.FromString(asked)
        except DecodeError:
            raise invalid("The request is not a message of the type that the rpc takes.", []) from None
        if found := violations(request, self._rules, self._gateway.settings):
            raise invalid("The request is not valid.", found)
        run = WatchRun(row, getattr(request, row.references), readings, context.write)
        with self._lasting(run):
            await run.run(self._until(context))

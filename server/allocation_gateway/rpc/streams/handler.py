"""The rpcs that last, as an engine calls them: admission, the first message, one way out for errors."""

from __future__ import annotations

import asyncio
import math
from abc import ABC, abstractmethod
from collections import Counter
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final, Generic, Protocol, TypeVar

import structlog
from allocation.v1.error_reason_pb2 import ErrorReason
from google.protobuf.message import DecodeError
from grpc import StatusCode

from allocation_gateway.callers.errors import unauthenticated
from allocation_gateway.errors import GatewayError
from allocation_gateway.operations.validation import rules_of, violations
from allocation_gateway.rpc.base import DEFECT, Context, abort, admitted, finish, invalid
from allocation_gateway.rpc.streams import ends, outcomes
from allocation_gateway.rpc.streams.audit import ItemAudit
from allocation_gateway.rpc.streams.job import Items, capability_violations, job_of
from allocation_gateway.rpc.streams.run import STATES, AllocationRun
from allocation_gateway.rpc.streams.sending import Sending
from allocation_gateway.rpc.streams.teller import Teller
from allocation_gateway.rpc.streams.watch import WatchRun
from allocation_gateway.wire.message import Oversized, UnreadableError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from allocation_gateway.account_api import AccountApi
    from allocation_gateway.accounts.model import Account
    from allocation_gateway.callers.policy import Grant
    from allocation_gateway.operations.streams import AllocationStream, AllocationWatch, LastingRpc
    from allocation_gateway.rpc.base import Gateway
    from allocation_gateway.rpc.streams.readings import AllReadings, Readings
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

    def fail(self, error: GatewayError) -> None:
        """Ends it at once, with an error."""

    def end_soon(self, error: GatewayError, seconds: float) -> None:
        """Ends it with an error as soon as what it has under way has ended, within so many seconds."""


Asked = TypeVar("Asked")
Lasting = TypeVar("Lasting", bound=Run)


class LastingHandler(ABC, Generic[Asked, Lasting]):
    """Answers one rpc, of which a call lasts."""

    # How a caller goes on whose call has ended before it was done.
    _again: ClassVar[str]

    def __init__(self, gateway: Gateway, row: LastingRpc, readings: AllReadings, *, writes: bool = False) -> None:
        """Takes what it needs.

        Args:
            gateway: What all rpcs share.
            row: The rpc.
            readings: The readings of all accounts.
            writes: Whether it changes something.
        """
        self._gateway = gateway
        self._guard = gateway.guard
        self._writes = writes
        self._api = row.api
        self._name = row.name
        self._full_name = row.full_name
        self._readings = readings
        self._rules = rules_of(row.request)
        self._runs: set[Lasting] = set()
        self._is_ending = False
        self._log = structlog.get_logger().bind()

    @property
    def runs(self) -> list[Lasting]:
        """The calls that last now. Any thread may ask for it."""
        return list(self._runs)

    async def handle(self, asked: Asked, context: StreamContext) -> None:
        """Answers a call.

        Raises:
            grpc.aio.AbortError: The call failed; its status is set.
        """
        metadata = context.invocation_metadata() or ()
        observation = self._gateway.telemetry.call(self._full_name, metadata)
        fields: dict[str, Any] = {"rpc": self._name, **observation.log_fields()}
        code = StatusCode.CANCELLED
        try:
            with self._gateway.admission.admitted_to_last():
                answer = partial(self._answer, asked, context, observation, fields)
                await admitted(self._gateway, self._name, metadata, context, fields, answer)
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
            finish(self._log, code.name, observation, fields, self._gateway.accounts)
            if self._guard is not None:
                self._guard.called(code.name, fields, observation.seconds())
                # What it has done, and for which of its items, is told as they end.
                self._guard.audit(code.name, fields, writes=self._writes, references=tuple)

    @abstractmethod
    async def _answer(
        self,
        asked: Asked,
        context: StreamContext,
        observation: CallObservation,
        fields: dict[str, Any],
        account: Account,
        grant: Grant | None,
    ) -> None:
        """Answers a call. A GatewayError becomes its status; fields are for its log line.

        The account is that of the call, to its end. Of what the policy grants to the caller, the rpc itself has been
        looked at. None: there is no policy.
        """

    def _parts(self, account: Account) -> tuple[AccountApi, Readings]:
        """Returns the API of an account, and its readings.

        Raises:
            GatewayError: It is not configured.
        """
        api = account.apis.get(self._api)
        if api is None:
            raise GatewayError(
                StatusCode.FAILED_PRECONDITION,
                ErrorReason.ERROR_REASON_API_NOT_CONFIGURED,
                f"The API that this rpc needs, {self._api.value}, is not configured in this gateway.",
            )
        return api, self._readings.of(api)

    @contextmanager
    def _lasting(self, run: Lasting, context: StreamContext, fields: dict[str, Any]) -> Iterator[None]:
        """Ends a call when it must end, for as long as a block lasts.

        That is at its deadline, with the gateway, before its connection is ended because of its age, and when the token
        of its caller has expired.
        """
        timers = list(self._timers(run, context, fields))
        self._runs.add(run)
        try:
            if self._is_ending:
                self._end(run)
            yield
        finally:
            self._runs.discard(run)
            for timer in timers:
                timer.cancel()

    def _timers(self, run: Run, context: StreamContext, fields: dict[str, Any]) -> Iterator[asyncio.TimerHandle]:
        call_later, settings = asyncio.get_running_loop().call_later, self._gateway.settings
        remaining = context.time_remaining()
        if remaining is not None:
            yield call_later(max(remaining - settings.deadline_margin, 0.0), run.fail, ends.too_late(self._again))
        # grpc.aio does not tell how old a connection is: there it is just ended.
        tell_remaining: Callable[[], float] | None = getattr(context, "connection_remaining", None)
        left = math.inf if tell_remaining is None else tell_remaining()
        if left < math.inf:
            last = min(settings.max_connection_age_grace, left) / 2
            yield call_later(left - last, run.end_soon, ends.aged(self._again), last)
        valid = None if self._guard is None else self._guard.remaining(context.invocation_metadata() or ())
        if valid is not None:
            yield call_later(max(valid, 0.0), self._expire, run, fields)

    @staticmethod
    def _expire(run: Run, fields: dict[str, Any]) -> None:
        fields["problem"] = "the token has expired since the call began"
        run.fail(unauthenticated())

    def _end(self, run: Run) -> None:
        run.end_soon(ends.stopping(self._again), self._gateway.settings.shutdown_grace)

    def end(self) -> None:
        """Ends all calls as soon as what they have under way has ended, and tells them that the gateway ends."""
        self._is_ending = True
        for run in tuple(self._runs):
            self._end(run)


class ItemRoom:
    """How many items may be in hand, of all rpcs that allocate streams together.

    Attributes:
        handlers: Those that answer them.
    """

    def __init__(self) -> None:
        self.handlers: list[StreamHandler] = []

    def window(self) -> int:
        """Returns how many items each call may have in hand, as long as there are so many calls."""
        calls = sum(handler.calls for handler in self.handlers)
        return min(max(_ALL_ITEMS // max(calls, 1), _LEAST_ITEMS), _MOST_ITEMS)


class StreamHandler(LastingHandler["AsyncIterator[bytes]", AllocationRun]):
    """Answers an rpc that allocates a stream."""

    _again = ends.JOB

    def __init__(self, gateway: Gateway, row: AllocationStream, readings: AllReadings, room: ItemRoom) -> None:
        super().__init__(gateway, row, readings, writes=True)
        self._row = row
        self._room = room
        room.handlers.append(self)

    async def _answer(
        self,
        asked: AsyncIterator[bytes],
        context: StreamContext,
        observation: CallObservation,
        fields: dict[str, Any],
        account: Account,
        grant: Grant | None,
    ) -> None:
        api, readings = self._parts(account)
        row, settings = self._row, account.settings
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
        sending = Sending(self._gateway, row, account, api, observation, fields, allowed)
        teller = Teller(row, context.write, api.clock, self._gateway.telemetry.metrics.stream_item_told)
        audit = ItemAudit(self._guard, fields)
        run = AllocationRun(row, job, items, sending, readings, teller, audit, settings, self._room.window)
        with self._lasting(run, context, fields):
            await run.run(first, asked)

    @property
    def calls(self) -> int:
        """How many calls last now."""
        return len(self._runs)

    def items(self) -> dict[str, int]:
        """Returns how many items are in hand in which state. Any thread may call it."""
        counts = Counter(dict.fromkeys(STATES, 0))
        for run in self.runs:
            counts.update(run.items())
        return dict(counts)

    def lag(self) -> float:
        """Returns for how many seconds the oldest item has been in hand. Any thread may call it."""
        return max((run.lag() for run in self.runs), default=0.0)

    async def _first(self, requests: AsyncIterator[bytes]) -> Any:
        """Returns the first message; an empty one if there is none."""
        async for data in requests:
            if isinstance(data, Oversized):
                raise outcomes.too_large(self._gateway.settings.max_request_bytes)
            try:
                return self._row.request.FromString(data)
            except DecodeError:
                raise invalid("The first message is not of the type that the rpc takes.", []) from None
        return self._row.request()


class WatchHandler(LastingHandler[bytes, WatchRun]):
    """Answers an rpc that watches."""

    _again = ends.WATCH

    def __init__(self, gateway: Gateway, row: AllocationWatch, readings: AllReadings) -> None:
        super().__init__(gateway, row, readings)
        self._row = row

    async def _answer(
        self,
        asked: bytes,
        context: StreamContext,
        observation: CallObservation,
        fields: dict[str, Any],
        account: Account,
        grant: Grant | None,
    ) -> None:
        del grant
        _, readings = self._parts(account)
        row = self._row
        try:
            request = row.request.FromString(asked)
        except DecodeError:
            raise invalid("The request is not a message of the type that the rpc takes.", []) from None
        if found := violations(request, self._rules, account.settings):
            raise invalid("The request is not valid.", found)
        run = WatchRun(row, getattr(request, row.references), readings, observation, context.write)
        with self._lasting(run, context, fields):
            await run.run()

"""Calls an operation upstream: from a valid request to a typed response, or to a GatewayError."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Any, Final

from allocation.v1.consignment_allocation_service_pb2 import AllocateConsignmentWithLabelsResponse
from allocation.v1.error_reason_pb2 import ErrorReason

from allocation_gateway.codecs import json
from allocation_gateway.errors import GatewayError, WriteEffect
from allocation_gateway.upstream import failures, follow_up
from allocation_gateway.upstream.engines import open_engine
from allocation_gateway.upstream.http import Attempt, NoAnswerError, Target, TooLateError
from allocation_gateway.upstream.reading import Reading
from allocation_gateway.upstream.redaction import Redactor
from allocation_gateway.version import __version__
from allocation_gateway.waiting import TimeLimit

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from google.protobuf.message import Message

    from allocation_gateway.operations.model import Api, Operation, Route
    from allocation_gateway.settings import ApiSettings, Secret, Settings
    from allocation_gateway.telemetry.observation import Observation
    from allocation_gateway.upstream.http import Answer, Engine

# Seconds before the deadline at which a further reading is given up, so that what it was to complete still arrives.
_LAST_MOMENT: Final = 0.05
_THROTTLED: Final = frozenset({429, 503})
# Failures of upstream itself, or of what stands in front of it.
_FAILURES: Final = frozenset({ErrorReason.ERROR_REASON_UPSTREAM_UNAVAILABLE, ErrorReason.ERROR_REASON_UPSTREAM_FAILED})


class Exchange:
    """One call's dealings with upstream.

    Attributes:
        attempt: The request that the call is about.
        observation: The call, as telemetry sees it.
        deadline: Until when somebody waits, by the event loop's clock. What is read after the answer keeps to it: the
            answer itself must not be lost over it.
        is_further: True of a request that only completes an earlier one.
        is_alive: Whether upstream answered of itself; None until it has answered or failed to.
        date: When upstream answered, as its answer says; empty if it does not.
        head_at: When the head of the answer had arrived, by the event loop's clock; infinity if that is not known.
        retry_after: Seconds for which upstream asks to be left alone; 0 if it does not.
    """

    __slots__ = ("attempt", "date", "deadline", "head_at", "is_alive", "is_further", "observation", "retry_after")

    def __init__(
        self, attempt: Attempt, observation: Observation, deadline: float, *, is_further: bool = False
    ) -> None:
        self.attempt = attempt
        self.observation = observation
        self.deadline = deadline
        self.is_further = is_further
        self.is_alive: bool | None = None
        self.date = ""
        self.head_at = math.inf
        self.retry_after = 0.0

    def another(self) -> Exchange:
        """Returns the dealings of a further request."""
        return Exchange(Attempt(), self.observation, self.deadline, is_further=True)

    def again(self) -> Exchange:
        """Returns the dealings of the same request, made once more."""
        return Exchange(Attempt(), self.observation, self.deadline)

    def until(self, timeout: float) -> float:
        """Returns until when to wait for an answer, by the event loop's clock."""
        end = asyncio.get_running_loop().time() + timeout
        return min(end, self.deadline - _LAST_MOMENT) if self.is_further else end


class Upstream:
    """One REST API with its address, its key and its limits.

    Attributes:
        api: Which one it is.
        on_refused_key: Looks whether there is a new key by now, since upstream refuses that in use; None if it cannot
            change.
    """

    def __init__(self, settings: Settings, api: Api, key: Secret, engine: Engine | None = None) -> None:
        """Opens no connection yet.

        Args:
            settings: The configuration.
            api: Which API it is.
            key: Its key.
            engine: What makes the HTTP requests; by default the one that is configured.
        """
        configured = settings.api(api.value)
        self.api = api
        self._settings = settings
        self._base_url = configured.base_url.rstrip("/")
        self._timeout = configured.timeout
        # The one in use.
        self._key = key.reveal()
        self.on_refused_key: Callable[[], Awaitable[None]] | None = None
        self._reading = Reading(Redactor(self._key))
        self._engine = engine or open_engine(settings.http_engine, self._target(configured, key))

    def _target(self, configured: ApiSettings, key: Secret) -> Target:
        return Target(
            base_url=self._base_url,
            headers=self._headers(key),
            connect_timeout=configured.connect_timeout,
            max_connections=configured.max_connections,
            max_answer_bytes=configured.max_answer_bytes,
        )

    def _headers(self, key: Secret) -> list[tuple[str, str]]:
        return [
            *failures.DIALECTS[self.api].headers(self._settings.api(self.api.value), key.reveal()),
            ("accept", "application/json"),
            ("accept-encoding", "gzip"),
            ("user-agent", f"allocation-gateway/{__version__}"),
        ]

    async def use_key(self, key: Secret) -> bool:
        """Sends a key with every request from now on. Returns whether it is another one than before."""
        latest = key.reveal()
        if latest == self._key:
            return False
        # In a thread: its patterns take some 80 ms to compile.
        redactor = await asyncio.to_thread(Redactor, latest)
        self._reading.redact(redactor)
        self._engine.use_headers(self._headers(key))
        self._key = latest
        return True

    def call(
        self, operation: Operation, route: Route, request: Message, exchange: Exchange
    ) -> Coroutine[Any, Any, Message]:
        """Carries out an operation once, and reads what its row says has to be read after it.

        Raises:
            GatewayError: Upstream refused, failed, did not answer in time, or answered something undocumented.
        """
        carry_out = self._once if operation.follow_up is None else self._followed_up
        return carry_out(operation, route, request, exchange)

    async def _followed_up(self, operation: Operation, route: Route, request: Message, exchange: Exchange) -> Message:
        outcome: Message | GatewayError
        try:
            outcome = await self._once(operation, route, request, exchange)
        except GatewayError as error:
            outcome = error
        return await follow_up.complete(operation, request, outcome, self._reader(exchange))

    async def completed(self, request: Any, response: Message, exchange: Exchange) -> Message:
        """Returns a response that was remembered or read, with the labels that it lacks, if it is one of labels."""
        if not isinstance(response, AllocateConsignmentWithLabelsResponse) or response.labels:
            return response
        return await follow_up.labelled(request, response.allocation, self._reader(exchange))

    def _reader(self, exchange: Exchange) -> follow_up.Read:
        async def read(row: Operation, wanted: Message) -> Message:
            further = exchange.another()
            if further.until(self._timeout) <= asyncio.get_running_loop().time():
                raise failures.no_answer(row, "there was no time left to ask", sent=False)
            response: Message = await self.read(row, wanted, further)
            return response

        return read

    async def _once(self, operation: Operation, route: Route, request: Message, exchange: Exchange) -> Message:
        """Sends a request, and once more if upstream itself refuses its key, and there is a new one by now."""
        key = self._key
        try:
            return await self._sent(operation, route, request, exchange)
        except GatewayError as error:
            if error.reason != ErrorReason.ERROR_REASON_UPSTREAM_CREDENTIALS_REJECTED:
                raise
            if self._key is key and self.on_refused_key is not None:
                await self.on_refused_key()
            if self._key is key or error.effect not in (None, WriteEffect.NONE):
                raise
        exchange.attempt.sent = False  # nothing has come of it
        return await self._sent(operation, route, request, exchange)

    async def _sent(self, operation: Operation, route: Route, request: Message, exchange: Exchange) -> Message:
        body = None if operation.encode is None else json.encode(operation.encode(request, self._settings))
        route = route.of(request)
        path = route.path(request)
        attempt = exchange.attempt
        seen = exchange.observation.request(route.method, route.template, self._base_url, path)
        try:
            with TimeLimit(exchange.until(self._timeout)):
                answer = await self._engine.exchange(
                    route.method, path, body=body, headers=seen.headers(), attempt=attempt
                )
        except NoAnswerError as error:
            seen.failed(type(error.__cause__ or error).__name__)
            exchange.is_alive = None if isinstance(error, TooLateError) else False
            raise failures.no_answer(operation, str(error), sent=attempt.sent) from error
        except TimeoutError as error:
            seen.failed("timeout")
            exchange.is_alive = False
            how = f"there was no answer within {self._timeout:g} seconds"
            raise failures.no_answer(operation, how, sent=attempt.sent) from error
        except asyncio.CancelledError:
            seen.failed("cancelled")
            raise
        except Exception as error:
            seen.failed(type(error).__name__)
            raise
        seen.answered(answer.status)
        exchange.date = answer.headers.get("date", "")
        exchange.head_at = answer.head_at
        exchange.is_alive = True
        if answer.status in _THROTTLED and "retry-after" in answer.headers:
            exchange.retry_after = failures.retry_seconds(answer.headers)
        try:
            return await self._reading.read(operation, request, answer, seen.undocumented)
        except GatewayError as error:
            exchange.is_alive = error.reason not in _FAILURES
            exchange.retry_after = exchange.retry_after or error.retry_after
            raise

    async def read(self, operation: Operation, request: Message, exchange: Exchange) -> Any:
        """Carries out a row that changes nothing, by its first spelling.

        Raises:
            GatewayError: As for `call`.
        """
        return await self._once(operation, next(iter(operation.routes.values())), request, exchange)

    async def probe(self) -> Answer:
        """Reads something that does not exist, outside of any operation.

        Raises:
            NoAnswerError: There was no answer.
            TimeoutError: There was none in time.
        """
        async with asyncio.timeout(self._timeout):
            path = failures.DIALECTS[self.api].probe
            answer = await self._engine.exchange("GET", path, body=None, headers=[], attempt=Attempt())
            return self._reading.prepared(answer)

    async def close(self) -> None:
        """Closes all connections."""
        await self._engine.close()
        self._reading.close()

"""Calls an operation upstream: from a valid request to a typed response, or to a GatewayError."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from allocation_gateway.codecs import json
from allocation_gateway.errors import GatewayError
from allocation_gateway.upstream import failures, follow_up, reply
from allocation_gateway.upstream.http import Attempt, HttpEngine, NoAnswerError
from allocation_gateway.version import __version__

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from allocation_gateway.operations.model import Api, Operation, Route
    from allocation_gateway.settings import Secret, Settings
    from allocation_gateway.telemetry.observation import Observation, RequestObservation
    from allocation_gateway.upstream.http import Answer

_REDACTED: Final = b"********"
# A shorter key could be part of an innocent word.
_SHORTEST_REDACTED: Final = 8
# Seconds before the deadline at which a further reading is given up, so that what it was to complete still arrives.
_LAST_MOMENT: Final = 0.05


class Exchange:
    """One call's dealings with upstream.

    Attributes:
        attempt: The request that the call is about.
        observation: The call, as telemetry sees it.
        deadline: Until when somebody waits, by the event loop's clock. What is read after the answer keeps to it: the
            answer itself must not be lost over it.
        is_further: True of a request that only completes an earlier one.
    """

    __slots__ = ("attempt", "deadline", "is_further", "observation")

    def __init__(
        self, attempt: Attempt, observation: Observation, deadline: float, *, is_further: bool = False
    ) -> None:
        self.attempt = attempt
        self.observation = observation
        self.deadline = deadline
        self.is_further = is_further

    def another(self) -> Exchange:
        """Returns the dealings of a further request."""
        return Exchange(Attempt(), self.observation, self.deadline, is_further=True)

    def until(self, timeout: float) -> float:
        """Returns until when to wait for an answer, by the event loop's clock."""
        end = asyncio.get_running_loop().time() + timeout
        return min(end, self.deadline - _LAST_MOMENT) if self.is_further else end


class Upstream:
    """One REST API with its address, its key and its limits."""

    def __init__(self, settings: Settings, api: Api, key: Secret) -> None:
        configured = settings.api(api.value)
        self.api = api
        self._settings = settings
        self._base_url = configured.base_url.rstrip("/")
        self._timeout = configured.timeout
        self._key = key
        self._engine = HttpEngine(
            self._base_url,
            headers=[
                *failures.DIALECTS[api].headers(configured, key.reveal()),
                ("accept", "application/json"),
                ("accept-encoding", "gzip"),
                ("user-agent", f"allocation-gateway/{__version__}"),
            ],
            connect_timeout=configured.connect_timeout,
            max_connections=configured.max_connections,
            max_answer_bytes=configured.max_answer_bytes,
        )

    async def call(self, operation: Operation, route: Route, request: Message, exchange: Exchange) -> Message:
        """Carries out an operation once, and reads what its row says has to be read after it.

        Raises:
            GatewayError: Upstream refused, failed, did not answer in time, or answered something undocumented.
        """
        if operation.follow_up is None:
            return await self._once(operation, route, request, exchange)
        outcome: Message | GatewayError
        try:
            outcome = await self._once(operation, route, request, exchange)
        except GatewayError as error:
            outcome = error

        async def read(row: Operation, wanted: Message) -> Message:
            only = next(iter(row.routes.values()))
            further = exchange.another()
            if further.until(self._timeout) <= asyncio.get_running_loop().time():
                raise failures.no_answer(row, "there was no time left to ask", sent=False)
            return await self._once(row, only, wanted, further)

        return await follow_up.complete(operation, request, outcome, read)

    async def _once(self, operation: Operation, route: Route, request: Message, exchange: Exchange) -> Message:
        body = None if operation.encode is None else json.encode(operation.encode(request, self._settings))
        route = route.of(request)
        path = route.path(request)
        attempt = exchange.attempt
        seen = exchange.observation.request(route.method, route.template, self._base_url, path)
        try:
            async with asyncio.timeout_at(exchange.until(self._timeout)):
                answer = await self._exchange(route.method, path, body, attempt, seen)
        except NoAnswerError as error:
            raise failures.no_answer(operation, str(error), sent=attempt.sent) from error
        except TimeoutError as error:
            seen.failed("timeout")
            how = f"there was no answer within {self._timeout:g} seconds"
            raise failures.no_answer(operation, how, sent=attempt.sent) from error
        except asyncio.CancelledError:
            seen.failed("cancelled")
            raise
        except Exception as error:
            seen.failed(type(error).__name__)
            raise
        return reply.read(operation, request, answer)

    async def _exchange(
        self, method: str, path: str, body: bytes | None, attempt: Attempt, seen: RequestObservation
    ) -> Answer:
        try:
            answer = await self._engine.exchange(method, path, body=body, headers=seen.headers(), attempt=attempt)
        except NoAnswerError as error:
            seen.failed(type(error.__cause__).__name__)
            raise
        seen.answered(answer.status)
        return self._redacted(answer)

    def _redacted(self, answer: Answer) -> Answer:
        """Takes the key out of an answer that quotes it: parts of answers reach callers and logs."""
        key = self._key.reveal().encode()
        if len(key) < _SHORTEST_REDACTED or key not in answer.body:
            return answer
        return answer._replace(body=answer.body.replace(key, _REDACTED))

    async def probe(self) -> Answer:
        """Reads something that does not exist, outside of any operation.

        Raises:
            NoAnswerError: There was no answer.
            TimeoutError: There was none in time.
        """
        async with asyncio.timeout(self._timeout):
            path = failures.DIALECTS[self.api].probe
            answer = await self._engine.exchange("GET", path, body=None, headers=[], attempt=Attempt())
            return self._redacted(answer)

    async def close(self) -> None:
        """Closes all connections."""
        await self._engine.close()

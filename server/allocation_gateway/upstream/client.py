"""Calls an operation upstream: from a valid request to a typed response, or to a GatewayError."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from allocation_gateway.codecs import json
from allocation_gateway.upstream import failures, reply
from allocation_gateway.upstream.http import HttpEngine, NoAnswerError
from allocation_gateway.version import __version__

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from allocation_gateway.operations.model import Operation, Route
    from allocation_gateway.settings import Secret, Settings
    from allocation_gateway.telemetry.observation import CallObservation, RequestObservation
    from allocation_gateway.upstream.http import Answer, Attempt

_REDACTED: Final = b"********"
# A shorter key could be part of an innocent word.
_SHORTEST_REDACTED: Final = 8


class Upstream:
    """One REST API with its address, its key and its limits."""

    def __init__(self, settings: Settings, key: Secret) -> None:
        self._settings = settings
        self._base_url = settings.ship_base_url.rstrip("/")
        self._timeout = settings.ship_timeout
        self._key = key
        self._engine = HttpEngine(
            self._base_url,
            headers=[
                ("x-api-key", key.reveal()),
                ("x-api-version", settings.ship_api_version),
                ("accept", "application/json"),
                # The OpenAPI document requires it of every request, also of those that have no body.
                ("content-type", "application/json"),
                ("accept-encoding", "gzip"),
                ("user-agent", f"allocation-gateway/{__version__}"),
            ],
            connect_timeout=settings.ship_connect_timeout,
            max_connections=settings.ship_max_connections,
            max_answer_bytes=settings.ship_max_answer_bytes,
        )

    async def call(
        self,
        operation: Operation,
        route: Route,
        request: Message,
        attempt: Attempt,
        observation: CallObservation,
    ) -> Message:
        """Carries out an operation once.

        Raises:
            GatewayError: Upstream refused, failed, did not answer in time, or answered something undocumented.
        """
        body = None if operation.encode is None else json.encode(operation.encode(request, self._settings))
        path = route.path(request)
        seen = observation.request(route.method, route.template, self._base_url, path)
        try:
            async with asyncio.timeout(self._timeout):
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

    async def get(self, path: str, attempt: Attempt) -> Answer:
        """Reads a path below the base URL, outside of any operation.

        Raises:
            NoAnswerError: There was no answer.
            TimeoutError: There was none in time.
        """
        async with asyncio.timeout(self._timeout):
            return self._redacted(await self._engine.exchange("GET", path, body=None, headers=[], attempt=attempt))

    async def close(self) -> None:
        """Closes all connections."""
        await self._engine.close()

"""Calls an operation upstream: from a valid request to a typed response, or to a GatewayError in its place."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import msgspec
from allocation.v1.error_reason_pb2 import ErrorReason

from allocation_gateway.codecs import json
from allocation_gateway.errors import GatewayError, WriteEffect
from allocation_gateway.tasks import TimeLimit
from allocation_gateway.telemetry.conventions import (
    ACCOUNT,
    CALLER_TIMED_OUT,
    CANCELLED,
    CONNECTION_STATE,
    NOT_SENT,
    account_attributes,
    server_attributes,
)
from allocation_gateway.upstream import failures, follow_up
from allocation_gateway.upstream.call import CallOutcome, UpstreamResult, is_stale
from allocation_gateway.upstream.engines import open_engine
from allocation_gateway.upstream.http import Attempt, CalledOffError, NoAnswerError, Target, TooLateError
from allocation_gateway.upstream.reading import Reading
from allocation_gateway.upstream.redaction import Redactor
from allocation_gateway.version import __version__

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterable

    from google.protobuf.message import Message

    from allocation_gateway.operations.model import Api, Operation, Route
    from allocation_gateway.settings import ApiSettings, Secret, Settings
    from allocation_gateway.telemetry.conventions import Attributes
    from allocation_gateway.upstream.call import UpstreamCall
    from allocation_gateway.upstream.http import Answer, HttpEngine

_THROTTLED: Final = frozenset({429, 503})
# Failures of upstream itself, or of what stands in front of it.
_FAILURES: Final = frozenset({ErrorReason.ERROR_REASON_UPSTREAM_UNAVAILABLE, ErrorReason.ERROR_REASON_UPSTREAM_FAILED})
_KEY_REFUSED: Final = ErrorReason.ERROR_REASON_UPSTREAM_CREDENTIALS_REJECTED

# Seconds by which a timer of the event loop may be early.
_TIMER: Final = 0.002

# Looked up once: in Python 3.11, each access to a member of an enum is a function call.
_SUCCESS: Final = CallOutcome.SUCCESS


class Upstream:
    """One REST API of one account, with its address, its key and its limits.

    Attributes:
        api: Which one it is.
        account: The name of the account.
        on_refused_key: Looks whether there is a new key by now, since upstream refuses that in use; None if it cannot
            change.
    """

    def __init__(self, settings: Settings, api: Api, key: Secret, engine: HttpEngine | None = None) -> None:
        """Opens no connection yet.

        Args:
            settings: The configuration, of the account.
            api: Which API it is.
            key: Its key.
            engine: What makes the HTTP requests; by default the one that is configured.
        """
        configured = settings.api(api.value)
        self.api = api
        self.account = settings.account
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
            # What became of a write is read: a cache on the way would tell what was so before it.
            ("cache-control", "no-cache"),
            ("user-agent", f"allocation-gateway/{__version__}"),
        ]

    def where(self, field: str) -> str:
        """Returns what errors call one of its settings."""
        return self._settings.where(self.api.value, field)

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
        self, operation: Operation, route: Route, request: Message, call: UpstreamCall
    ) -> Coroutine[Any, Any, UpstreamResult]:
        """Carries out an operation once, and reads what its row says has to be read after it.

        Returns:
            The response; or an error if upstream refused, failed, did not answer in time, or answered something
            undocumented.
        """
        carry_out = self._once if operation.follow_up is None else self._followed_up
        return carry_out(operation, route, request, call)

    async def _followed_up(
        self, operation: Operation, route: Route, request: Message, call: UpstreamCall
    ) -> UpstreamResult:
        result = await self._once(operation, route, request, call)
        response = await follow_up.complete(operation, request, result.response, self._reader(call))
        return result if response is result.response else msgspec.structs.replace(result, response=response)

    async def restored(self, operation: Operation, request: Any, response: Message, call: UpstreamCall) -> Message:
        """Returns a response that was remembered or read, with what its row has to read again for that."""
        return await follow_up.restore(operation, request, response, self._reader(call))

    def _reader(self, call: UpstreamCall) -> follow_up.Read:
        async def read(row: Operation, wanted: Message) -> Message | GatewayError:
            further = call.further()
            if further.times_out_at(self._timeout) <= asyncio.get_running_loop().time():
                return failures.no_answer(row, "there was no time left to ask", sent=False)
            return (await self._once(row, row.default_route, wanted, further)).response

        return read

    async def _once(self, operation: Operation, route: Route, request: Message, call: UpstreamCall) -> UpstreamResult:
        """Sends a request, and once more if upstream itself refuses its key, and there is a new one by now."""
        key = self._key
        result = await self._sent(operation, route, request, call)
        error = result.response
        if not isinstance(error, GatewayError) or error.reason != _KEY_REFUSED:
            return result
        if self._key is key and self.on_refused_key is not None:
            await self.on_refused_key()
        if self._key is key or error.effect not in (None, WriteEffect.NONE):
            return result
        call.attempt.begin_again()
        return await self._sent(operation, route, request, call.repeated(call.attempt))

    async def _sent(self, operation: Operation, route: Route, request: Message, call: UpstreamCall) -> UpstreamResult:
        body = None if operation.encode is None else json.encode(operation.encode(request, self._settings))
        route = route.of(request)
        path = route.path(request)
        attempt = call.attempt
        seen = call.observation.request(
            route.method, route.template, self._base_url, path, call.kind, call.resends, self.account
        )
        try:
            with TimeLimit(call.times_out_at(self._timeout)):
                answer = await self._engine.exchange(
                    route.method, path, body=body, headers=seen.headers(), attempt=attempt
                )
        except TooLateError as error:
            seen.failed(NOT_SENT)
            return UpstreamResult(failures.no_answer(operation, str(error), sent=attempt.sent), CallOutcome.IGNORED)
        except CalledOffError:
            seen.failed(NOT_SENT)
            raise
        except NoAnswerError as error:
            seen.failed(type(error.__cause__ or error).__name__)
            return UpstreamResult(failures.no_answer(operation, str(error), sent=attempt.sent), CallOutcome.FAILURE)
        except TimeoutError:
            seen.failed("timeout")
            how = f"there was no answer within {self._timeout:g} seconds"
            return UpstreamResult(failures.no_answer(operation, how, sent=attempt.sent), CallOutcome.FAILURE)
        except asyncio.CancelledError:
            # A call is given up at its deadline, too: then it was upstream that took too long.
            is_late = asyncio.get_running_loop().time() >= call.deadline - _TIMER
            seen.failed(CALLER_TIMED_OUT if is_late else CANCELLED)
            raise
        except Exception as error:
            seen.failed(type(error).__name__)
            raise
        seen.answered(answer.status)
        date = answer.headers.get("date", "")
        is_old = is_stale(answer.headers)
        wait = 0.0
        if answer.status in _THROTTLED and "retry-after" in answer.headers:
            wait = failures.retry_seconds(answer.headers)
        try:
            response = await self._reading.read(operation, request, answer, seen.undocumented, seen.log_fields)
        except GatewayError as error:
            outcome = CallOutcome.FAILURE if error.reason in _FAILURES else _SUCCESS
            # The frames that it came through hold on to it, and it to them: the garbage collector would have to look.
            told = error.with_traceback(None)
            return UpstreamResult(told, outcome, date, answer.head_at, wait or error.retry_after, is_old)
        return UpstreamResult(response, _SUCCESS, date, answer.head_at, wait, is_old)

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

    def connections(self) -> Iterable[tuple[int, Attributes]]:
        """Returns how many connections there are, with the attributes that metrics have. Any thread may call it."""
        server = self._server()
        return [(count, {**server, CONNECTION_STATE: state}) for state, count in self._engine.connections().items()]

    def connection_limit(self) -> tuple[int, Attributes]:
        """Returns how many connections there may be, with the attributes that metrics have."""
        return self._settings.api(self.api.value).max_connections, self._server()

    def _server(self) -> Attributes:
        # By API: both may be at one address, each with connections and a limit of its own.
        of = {"api": self.api.value, **account_attributes(self.account, ACCOUNT)}
        return {**server_attributes(self._base_url), **of}

    async def close(self) -> None:
        """Closes all connections."""
        await self._engine.close()
        self._reading.close()

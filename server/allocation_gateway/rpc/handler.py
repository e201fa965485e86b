"""One rpc of the operation table, from the bytes of a request to the bytes of its response or to a status."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeAlias

import structlog
from allocation.v1.error_reason_pb2 import ErrorReason
from google.protobuf.message import DecodeError
from grpc import StatusCode

from allocation_gateway import errors
from allocation_gateway.errors import DETAILS_KEY, GatewayError
from allocation_gateway.operations.model import Effect
from allocation_gateway.operations.validation import is_uuid, rules_of, violations
from allocation_gateway.policy import patience
from allocation_gateway.telemetry.observation import is_server_error
from allocation_gateway.upstream.client import Exchange
from allocation_gateway.upstream.http import Attempt

if TYPE_CHECKING:
    from collections.abc import Mapping

    import grpc
    from google.protobuf.message import Message

    from allocation_gateway.groups import ServiceGroups
    from allocation_gateway.operations.model import Api, Operation, Route
    from allocation_gateway.policy.admission import Admission
    from allocation_gateway.policy.patience import Writes
    from allocation_gateway.settings import Settings
    from allocation_gateway.telemetry.observation import CallObservation
    from allocation_gateway.telemetry.telemetry import Telemetry
    from allocation_gateway.upstream.client import Upstream

    Context: TypeAlias = grpc.aio.ServicerContext[bytes, bytes]

_REFERENCES: Final = ("shipment_reference", "consignment_reference")
REQUEST_ID_KEY: Final = "allocation-request-id"
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Gateway:
    """Everything that the rpcs share."""

    settings: Settings
    telemetry: Telemetry
    groups: ServiceGroups
    admission: Admission
    writes: Writes
    upstreams: Mapping[Api, Upstream]


class Handler:
    """Answers one rpc. Its policies stand in the order in which they are asked."""

    def __init__(self, gateway: Gateway, operation: Operation, route: Route, *, enabled: bool) -> None:
        self._gateway = gateway
        self._operation = operation
        self._route = route
        self._enabled = enabled
        self._rules = rules_of(operation.request)
        fields = operation.request.DESCRIPTOR.fields_by_name
        self._names_group = "service_group" in fields
        self._reference = next((name for name in _REFERENCES if name in fields), None)
        self._upstream = gateway.upstreams.get(operation.api)

    async def handle(self, data: bytes, context: Context) -> bytes:
        """Answers a call.

        Raises:
            grpc.aio.AbortError: The call failed; its status is set.
        """
        observation = self._gateway.telemetry.call(self._operation.full_name, context.invocation_metadata() or ())
        fields: dict[str, Any] = {"rpc": self._operation.name, **observation.log_fields()}
        code = StatusCode.CANCELLED
        try:
            with self._gateway.admission.admitted():
                response = await self._answer(data, context, observation, fields)
            code = StatusCode.OK
            return response.SerializeToString()
        except GatewayError as error:
            code = error.code
            fields.update(reason=error.reason_name, message=error.message, **error.metadata)
            await _abort(context, error)
        except asyncio.CancelledError:
            raise
        except Exception:  # noqa: BLE001 - no text of an exception may reach a caller, whatever it is
            code = StatusCode.INTERNAL
            _log.exception("defect", **fields)
            await _abort(context, _DEFECT)
        finally:
            observation.finish(code.name)
            _log_call(code.name, observation, fields)

    async def _answer(
        self, data: bytes, context: Context, observation: CallObservation, fields: dict[str, Any]
    ) -> Message:
        request: Any = self._parse(data)
        if self._operation.effect.writes:
            await self._name(request, context, fields)
        self._check(request)
        if self._reference is not None:
            fields["reference"] = getattr(request, self._reference)
        upstream = self._configured()
        if self._names_group and request.service_group:
            request.service_group = self._gateway.groups.resolve(self._operation.api, request.service_group)
        settings = self._gateway.settings
        seconds = patience.seconds_to_wait(
            context.time_remaining(), settings.default_deadline, settings.deadline_margin
        )
        attempt = Attempt()
        deadline = asyncio.get_running_loop().time() + seconds
        work = self._work(upstream, request, Exchange(attempt, observation, deadline))
        if not self._operation.effect.writes:
            return await patience.read(work, seconds)
        return await self._gateway.writes.carry_out(work, attempt, seconds, lambda task: self._detach(task, fields))

    def _parse(self, data: bytes) -> Message:
        try:
            return self._operation.request.FromString(data)
        except DecodeError:
            raise _invalid("The request is not a message of the type that the rpc takes.", []) from None

    async def _name(self, request: Any, context: Context, fields: dict[str, Any]) -> None:
        """Tells the caller the id of the request before anything is sent, so that it knows it whatever comes."""
        if not request.request_id:
            request.request_id = str(uuid.uuid4())
        elif not is_uuid(request.request_id):
            return  # the check that follows refuses it, and it need not even be text that metadata can hold
        fields["request_id"] = request.request_id
        await context.send_initial_metadata(((REQUEST_ID_KEY, fields["request_id"]),))

    def _check(self, request: Message) -> None:
        if not self._enabled:
            raise GatewayError(
                StatusCode.UNIMPLEMENTED,
                ErrorReason.ERROR_REASON_OPERATION_DISABLED,
                "The operation is switched off in this gateway.",
                metadata=self._no_effect(),
            )
        if found := violations(request, self._rules, self._gateway.settings):
            raise _invalid("The request is not valid.", found, self._no_effect())

    def _no_effect(self) -> dict[str, str]:
        return {"effect": "none"} if self._operation.effect.writes else {}

    def _configured(self) -> Upstream:
        if self._upstream is None:
            raise GatewayError(
                StatusCode.FAILED_PRECONDITION,
                ErrorReason.ERROR_REASON_API_NOT_CONFIGURED,
                f"The API that this rpc needs, {self._operation.api.value}, is not configured in this gateway.",
                metadata=self._no_effect(),
            )
        return self._upstream

    async def _work(self, upstream: Upstream, request: Any, exchange: Exchange) -> Message:
        """Calls upstream, and learns from what worked. It goes on to its end even if its caller has gone."""
        response = await upstream.call(self._operation, self._route, request, exchange)
        # What a bulk call says of a group proves nothing: Ship may yet find, when it allocates, that it does not exist.
        if self._names_group and self._operation.effect is Effect.ALLOCATE and request.service_group:
            self._gateway.groups.observe(self._operation.api, request.service_group)
        return response

    def _detach(self, task: asyncio.Task[Message], fields: dict[str, Any]) -> None:
        """Sees to it that the end of a write which nobody waits for is logged and counted."""
        self._gateway.telemetry.write_detached(self._operation.full_name)
        _log.warning("write_detached", **fields)

        def log(done: asyncio.Task[Message]) -> None:
            if done.cancelled():
                _log.error("detached_write_given_up", **fields)
            elif (error := done.exception()) is None:
                _log.info("detached_write_done", **fields)
            else:
                reason = error.reason_name if isinstance(error, GatewayError) else type(error).__name__
                _log.warning("detached_write_failed", **{**fields, "reason": reason})

        task.add_done_callback(log)


_DEFECT: Final = GatewayError(
    StatusCode.INTERNAL,
    ErrorReason.ERROR_REASON_GATEWAY_DEFECT,
    "The gateway has a defect. Its log has the cause.",
)


def _invalid(message: str, found: list[Any], metadata: dict[str, str] | None = None) -> GatewayError:
    return GatewayError(
        StatusCode.INVALID_ARGUMENT,
        ErrorReason.ERROR_REASON_INVALID_REQUEST,
        message,
        metadata=metadata,
        details=[errors.bad_request(found)] if found else (),
    )


async def _abort(context: Context, error: GatewayError) -> NoReturn:
    status = error.status()
    await context.abort(error.code, status.message, ((DETAILS_KEY, status.SerializeToString()),))


def _log_call(code: str, observation: CallObservation, fields: dict[str, Any]) -> None:
    level = "error" if is_server_error(code) else "info"
    milliseconds = round(observation.seconds() * 1000, 3)
    getattr(_log, level)("call", code=code, duration_ms=milliseconds, **fields)

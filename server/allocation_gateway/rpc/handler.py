"""One rpc of the operation table: a call of the REST API."""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING, Any, Final

import structlog
from allocation.v1.error_reason_pb2 import ErrorReason
from grpc import StatusCode

from allocation_gateway.errors import GatewayError
from allocation_gateway.groups.evidence import is_evidence
from allocation_gateway.operations.validation import is_uuid
from allocation_gateway.policy import patience
from allocation_gateway.rpc.answering import Answering
from allocation_gateway.upstream.client import Exchange
from allocation_gateway.upstream.http import Attempt

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from allocation_gateway.operations.model import Operation, Route
    from allocation_gateway.rpc.answering import Context, Gateway
    from allocation_gateway.telemetry.observation import CallObservation
    from allocation_gateway.upstream.client import Upstream

_REFERENCES: Final = ("shipment_reference", "consignment_reference")
REQUEST_ID_KEY: Final = "allocation-request-id"
_log = structlog.get_logger()


class Handler(Answering):
    """Answers one rpc. Its policies stand in the order in which they are asked."""

    def __init__(self, gateway: Gateway, operation: Operation, route: Route, *, enabled: bool) -> None:
        super().__init__(gateway, operation.full_name, operation.request)
        self._operation = operation
        self._route = route
        self._enabled = enabled
        fields = operation.request.DESCRIPTOR.fields_by_name
        self._names_group = "service_group" in fields
        self._reference = next((name for name in _REFERENCES if name in fields), None)
        self._upstream = gateway.upstreams.get(operation.api)
        # The metadata of an error before anything is sent.
        self._no_effect = {"effect": "none"} if operation.effect.writes else {}

    async def _answer(
        self, data: bytes, context: Context, observation: CallObservation, fields: dict[str, Any]
    ) -> Message:
        request: Any = self._parse(data)
        if self._operation.effect.writes:
            await self._name_request(request, context, fields)
        self._check_enabled()
        self._check(request, self._no_effect)
        if self._reference is not None:
            fields["reference"] = getattr(request, self._reference)
        upstream = self._configured()
        seconds = self._seconds(context)
        deadline = asyncio.get_running_loop().time() + seconds
        if self._names_group and request.service_group:
            request.service_group = await self._code(request.service_group, seconds)
            seconds = deadline - asyncio.get_running_loop().time()
        attempt = Attempt()
        work = self._work(upstream, request, Exchange(attempt, observation, deadline))
        if not self._operation.effect.writes:
            return await patience.read(work, seconds)
        return await self._gateway.writes.carry_out(work, attempt, seconds, lambda task: self._detach(task, fields))

    async def _name_request(self, request: Any, context: Context, fields: dict[str, Any]) -> None:
        """Tells the caller the id of the request before anything is sent, so that it knows it whatever comes."""
        if not request.request_id:
            request.request_id = str(uuid.uuid4())
        elif not is_uuid(request.request_id):
            return  # the check that follows refuses it, and it need not even be text that metadata can hold
        fields["request_id"] = request.request_id
        await context.send_initial_metadata(((REQUEST_ID_KEY, fields["request_id"]),))

    def _check_enabled(self) -> None:
        if not self._enabled:
            raise GatewayError(
                StatusCode.UNIMPLEMENTED,
                ErrorReason.ERROR_REASON_OPERATION_DISABLED,
                "The operation is switched off in this gateway.",
                metadata=self._no_effect,
            )

    def _configured(self) -> Upstream:
        if self._upstream is None:
            raise GatewayError(
                StatusCode.FAILED_PRECONDITION,
                ErrorReason.ERROR_REASON_API_NOT_CONFIGURED,
                f"The API that this rpc needs, {self._operation.api.value}, is not configured in this gateway.",
                metadata=self._no_effect,
            )
        return self._upstream

    async def _code(self, text: str, seconds: float) -> str:
        """Returns the code of the service group that the caller means: nearly always at once, from memory."""
        groups, api = self._gateway.groups, self._operation.api
        code = groups.lookup(api, text, self._no_effect)
        return await groups.resolve(api, text, self._no_effect, seconds) if code is None else code

    async def _work(self, upstream: Upstream, request: Any, exchange: Exchange) -> Message:
        """Calls upstream, and learns from what worked. It goes on to its end even if its caller has gone."""
        response = await upstream.call(self._operation, self._route, request, exchange)
        if self._names_group and request.service_group and is_evidence(self._operation, response):
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

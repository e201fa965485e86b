"""One rpc of the operation table: a call of the REST API."""

from __future__ import annotations

import uuid
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from allocation.v1.error_reason_pb2 import ErrorReason
from google.protobuf.message import DecodeError
from grpc import StatusCode

from allocation_gateway.callers.errors import not_allowed
from allocation_gateway.errors import GatewayError, WriteEffect
from allocation_gateway.groups.evidence import is_evidence
from allocation_gateway.operations.model import references_field
from allocation_gateway.operations.validation import Violation, is_uuid
from allocation_gateway.rpc import deadlines
from allocation_gateway.rpc.base import BaseHandler, invalid
from allocation_gateway.upstream.call import UpstreamCall
from allocation_gateway.upstream.http import Attempt
from allocation_gateway.writes.fingerprint import fingerprint
from allocation_gateway.writes.request import WriteRequest

if TYPE_CHECKING:
    from collections.abc import Collection

    from google.protobuf.message import Message

    from allocation_gateway.account_api import AccountApi
    from allocation_gateway.accounts.model import Account
    from allocation_gateway.callers.policy import Grant
    from allocation_gateway.groups.service_groups import ServiceGroups
    from allocation_gateway.operations.model import Operation
    from allocation_gateway.rpc.base import Context, Gateway
    from allocation_gateway.telemetry.observation import CallObservation
    from allocation_gateway.writes.request import Prepare

REQUEST_ID_KEY: Final = "allocation-request-id"


class Handler(BaseHandler):
    """Answers one rpc. Its policies stand in the order in which they are asked."""

    def __init__(self, gateway: Gateway, operation: Operation) -> None:
        super().__init__(gateway, operation.full_name, operation.request, writes=operation.action.writes)
        self._operation = operation
        fields = operation.request.DESCRIPTOR.fields_by_name
        self._names_group = "service_group" in fields
        self._reference = "" if operation.action.is_bulk else references_field(operation.request)
        self._names_quote = "quote_reference" in fields
        self._gives_quotes = "quotes" in operation.response.DESCRIPTOR.fields_by_name
        # That of an error before anything is sent.
        self._no_effect = WriteEffect.NONE if self._writes else None

    async def _answer(
        self,
        data: bytes,
        context: Context,
        observation: CallObservation,
        fields: dict[str, Any],
        account: Account,
        grant: Grant | None,
    ) -> Message:
        request: Any = self._parse(data)
        is_named = True
        if self._writes:
            is_named = await self._name_request(request, context, fields)
        operation = self._operation
        # An earlier call with an id of the caller's own may have been carried out, which is not looked up here.
        no_effect = None if is_named else self._no_effect
        if self._full_name in account.disabled:
            raise self._disabled(no_effect)
        self._check(request, account.settings, self._no_effect)
        if self._reference:
            fields["reference"] = getattr(request, self._reference)
        api = account.apis.get(operation.api)
        if api is None:
            raise self._not_configured(no_effect)
        deadline = api.clock() + self._seconds(context)
        if not self._writes:
            return await self._read(account, api, request, observation, deadline)
        allowed = None
        if grant is not None and grant.service_groups is not None and operation.action.allocates:
            allowed = await self._allowed_group(account, request, grant.service_groups, deadline - api.clock())
        write = self._write_request(account, request, allowed, is_named=is_named)
        result = await self._gateway.writes.carry_out(write, api, observation, deadline, fields)
        # Of what was answered before its group was looked up, nobody knows which code it stands for.
        code = result.message.service_group if self._names_group and result.message is not None else ""
        if code and is_evidence(operation, result.response):
            account.groups.directory.observe(operation.api, code)
        return result.response

    async def _name_request(self, request: Any, context: Context, fields: dict[str, Any]) -> bool:
        """Tells the caller the id of the request.

        One that the gateway makes is told before anything is sent, so that the caller knows it whatever comes. One of
        the caller's own comes back with the status: a message of its own would cost an eighth of the whole call.

        Returns:
            Whether the id is the caller's own.

        Raises:
            GatewayError: INVALID_ARGUMENT, the caller has to give one, and has not.
        """
        name = request.request_id
        if name:
            if not is_uuid(name):
                return True  # the check that follows refuses it, and it need not even be text that metadata can hold
            fields["request_id"] = name
            context.set_trailing_metadata(((REQUEST_ID_KEY, name),))
            # It is the same UUID however it is written.
            if not name.islower():
                request.request_id = name.lower()
            return True
        if self._gateway.settings.request_id_required:
            raise invalid("The request is not valid.", [_ID_REQUIRED], self._no_effect)
        request.request_id = fields["request_id"] = name = str(uuid.uuid4())
        await context.send_initial_metadata(((REQUEST_ID_KEY, name),))
        return False

    def _disabled(self, effect: WriteEffect | None) -> GatewayError:
        return GatewayError(
            StatusCode.UNIMPLEMENTED,
            ErrorReason.ERROR_REASON_OPERATION_DISABLED,
            "The operation is switched off in this gateway.",
            effect=effect,
        )

    def _not_configured(self, effect: WriteEffect | None) -> GatewayError:
        return GatewayError(
            StatusCode.FAILED_PRECONDITION,
            ErrorReason.ERROR_REASON_API_NOT_CONFIGURED,
            f"The API that this rpc needs, {self._operation.api.value}, is not configured in this gateway.",
            effect=effect,
        )

    async def _read(
        self, account: Account, api: AccountApi, request: Any, observation: CallObservation, deadline: float
    ) -> Message:
        call = UpstreamCall(Attempt(), observation, deadline)
        route = account.routes[self._full_name]
        response = await deadlines.limited(api.read(self._operation, route, request, call), deadline)
        if isinstance(response, GatewayError):
            raise response
        if self._gives_quotes:
            account.quotes.remember(self._operation, response)
        return response

    async def _allowed_group(self, account: Account, request: Any, allowed: Collection[str], seconds: float) -> str:
        """Returns the code of the service group that an allocation is made with, if its caller may use that one.

        Raises:
            GatewayError: PERMISSION_DENIED, it may not; or there is no telling which group is meant.
        """
        text = request.service_group if self._names_group else ""
        if not text:
            raise not_allowed("an allocation that names no service group")
        resolver, api = account.groups.resolver, self._operation.api
        # Without an effect: an earlier call with the same id may have been carried out, which is not looked up here.
        code = resolver.lookup(api, text, None)
        if code is None:
            code = await resolver.resolve(api, text, None, seconds)
        if code not in allowed:
            raise not_allowed(f"the service group {code}")
        return code

    def _write_request(self, account: Account, request: Any, code: str | None, *, is_named: bool) -> WriteRequest:
        """Makes what the writes take of a request, and of the code of its service group if that is known by now."""
        # Of what the caller wrote: what a group's name stands for may change between two calls.
        written = fingerprint(self._full_name, request)
        if code is not None:
            request.service_group = code
        return WriteRequest(
            operation=self._operation,
            route=account.routes[self._full_name],
            message=request,
            is_named=is_named,
            fingerprint=written,
            terms=account.quotes.of(request) if self._names_quote else None,
            prepare=(
                self._name_group(account.groups, request)
                if code is None and self._names_group and request.service_group
                else None
            ),
        )

    def _references(self, data: bytes) -> tuple[str, ...]:
        try:
            return self._operation.references(self._request.FromString(data))
        except DecodeError:
            return ()

    def _name_group(self, groups: ServiceGroups, request: Any) -> Prepare | None:
        """Puts the code of the service group that the caller means into a request: nearly always at once, from memory.

        Returns:
            What remains to be done if that is not possible, or fails: None if nothing does.
        """
        text, failed = request.service_group, None
        try:
            code = groups.resolver.lookup(self._operation.api, text, self._no_effect)
        except GatewayError as error:
            code, failed = None, error
        if code is None:
            return partial(self._with_group, groups, request, failed)
        if code != text:
            request.service_group = code
        return None

    async def _with_group(
        self, groups: ServiceGroups, request: Any, failed: GatewayError | None, seconds: float
    ) -> Message:
        """Returns a request with the code of the service group that the caller means."""
        if failed is not None:
            raise failed
        code = await groups.resolver.resolve(self._operation.api, request.service_group, self._no_effect, seconds)
        named = self._operation.request()
        named.MergeFrom(request)
        named.service_group = code  # type: ignore[attr-defined] # it has one: this is about it
        return named


_ID_REQUIRED: Final = Violation("request_id", "must not be empty: this gateway asks for one")

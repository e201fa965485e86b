"""The rpcs that the gateway answers from what it knows itself: they have no row in the operation table."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from allocation.v1.error_reason_pb2 import ErrorReason
from grpc import StatusCode

from allocation_gateway.errors import GatewayError
from allocation_gateway.rpc import service_groups
from allocation_gateway.rpc.base import BaseHandler

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from google.protobuf.message import Message

    from allocation_gateway.accounts.model import Account
    from allocation_gateway.callers.policy import Grant
    from allocation_gateway.rpc.base import Context, Gateway
    from allocation_gateway.telemetry.observation import CallObservation

    Answer: TypeAlias = Callable[[Account, Any, float], Awaitable[Message]]


@dataclass(frozen=True, slots=True)
class LocalRpc:
    """An rpc without a row.

    Attributes:
        service: The service's full name.
        request: The request message's class.
        answer: Makes the response for an account, within so many seconds.
    """

    service: str
    request: type[Message]
    answer: Answer

    @property
    def name(self) -> str:
        """The rpc's name within its service."""
        return str(self.request.DESCRIPTOR.name).removesuffix("Request")

    @property
    def full_name(self) -> str:
        """The rpc's name as telemetry and gRPC know it, without a leading slash."""
        return f"{self.service}/{self.name}"


LOCAL_RPCS: Final = tuple(
    LocalRpc(service_groups.SERVICE, request, answer) for request, answer in service_groups.ANSWERS.items()
)


class LocalHandler(BaseHandler):
    """Answers an rpc without a row."""

    def __init__(self, gateway: Gateway, rpc: LocalRpc) -> None:
        super().__init__(gateway, rpc.full_name, rpc.request)
        self._make = rpc.answer

    async def _answer(
        self,
        data: bytes,
        context: Context,
        observation: CallObservation,
        fields: dict[str, Any],
        account: Account,
        grant: Grant | None,
    ) -> Message:
        del observation, fields, grant
        request = self._parse(data)
        self._check(request, account.settings, None)
        seconds = self._seconds(context)
        try:
            async with asyncio.timeout(seconds):
                return await self._make(account, request, seconds)
        except TimeoutError:
            raise GatewayError(
                StatusCode.DEADLINE_EXCEEDED,
                ErrorReason.ERROR_REASON_DEADLINE_EXCEEDED,
                "The deadline passed before the answer was there.",
            ) from None

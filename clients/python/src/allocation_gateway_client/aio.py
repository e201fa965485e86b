"""The client that awaits."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import grpc

from allocation_gateway_client.aio_lasting import AsyncStreams
from allocation_gateway_client.base import failed, named
from allocation_gateway_client.errors import error_of
from allocation_gateway_client.methods import AsyncMethods, R

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

    from google.protobuf.message import Message
    from typing_extensions import Self


class AsyncClient(AsyncStreams, AsyncMethods):
    """Calls the gateway and awaits its answer. Make it where an event loop runs, and close it there.

    A task that is cancelled leaves its call to itself: a write may be carried out. Give it a `request_id` of your own
    to be able to ask for what became of it.
    """

    def _open(
        self,
        address: str,
        credentials: grpc.ChannelCredentials | None,
        options: Sequence[tuple[str, Any]],
        interceptors: Sequence[Any],
    ) -> None:
        if credentials is None:
            self._channel = grpc.aio.insecure_channel(address, options, interceptors=interceptors)
        else:
            self._channel = grpc.aio.secure_channel(address, credentials, options, interceptors=interceptors)
        self._callables: dict[str, Any] = {
            path: self._channel.unary_unary(path, rpc.request.SerializeToString, rpc.response.FromString)
            for path, rpc in self._rpcs.items()
        }

    @property
    def channel(self) -> grpc.aio.Channel:
        """The channel, for stubs. It is closed with the client."""
        return self._channel

    async def close(self) -> None:
        """Closes the connections. Calls under way are cancelled."""
        await self._channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def call(
        self,
        request: Message,
        *,
        timeout: float | None = None,
        metadata: Mapping[str, str] | None = None,
        account: str | None = None,
    ) -> Message:
        """Makes the call whose request this is, such as the one of an UnknownOutcome.

        Raises:
            AllocationError: It failed.
            TypeError: This is not the request of an rpc.
        """
        rpc = self._rpc_of(request)
        return await self._invoke(rpc.path, request, rpc.response, timeout, metadata, account)

    async def _invoke(
        self,
        path: str,
        request: Message,
        response: type[R],  # noqa: ARG002 # it says of which type the answer is
        timeout: float | None,
        metadata: Mapping[str, str] | None,
        account: str | None,
    ) -> R:
        rpc, call = self._rpcs[path], self._callables[path]
        chosen = self._account_of(metadata, account)
        answer: R
        if not rpc.is_write:
            limit = min(rpc.timeout, self._timeout) if timeout is None else timeout
            try:
                answer = await call(request, timeout=limit, metadata=self._sent(metadata, chosen))
            except grpc.RpcError as error:
                raise error_of(failed(error), request, is_in_doubt=False, account=chosen) from error
            return answer
        request = named(request)
        attempts = self._attempts(rpc, request, timeout, chosen)
        while True:
            try:
                answer = await call(request, timeout=attempts.timeout(), metadata=self._sent(metadata, chosen))
            except grpc.RpcError as error:
                failure = failed(error)
                pause = attempts.pause_after(failure)
                if pause is None:
                    raise attempts.error(failure) from error
            else:
                self._budget.earn()
                return answer
            await asyncio.sleep(pause)

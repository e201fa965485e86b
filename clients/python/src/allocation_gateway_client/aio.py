"""The client that awaits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc

from allocation_gateway_client.aio_lasting import AsyncStreams
from allocation_gateway_client.base import failed, named
from allocation_gateway_client.closing import CUT_OFF, AsyncClosed, CutOffError, closed_client
from allocation_gateway_client.connecting import headers
from allocation_gateway_client.errors import error_of
from allocation_gateway_client.methods import AsyncMethods, R

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

    from google.protobuf.message import Message
    from typing_extensions import Self

    from allocation_gateway_client.base import Rpc
    from allocation_gateway_client.failure import Failure


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
        self._closed = AsyncClosed()
        self._callables: dict[str, Any] = {
            path: self._channel.unary_unary(path, rpc.request.SerializeToString, rpc.response.FromString)
            for path, rpc in self._rpcs.items()
        }

    @property
    def channel(self) -> grpc.aio.Channel:
        """The channel, for stubs. It is closed with the client."""
        return self._channel

    async def close(self) -> None:
        """Closes the connections, and ends what is under way.

        A write that may have been carried out raises its UnknownOutcome, and a job its UnfinishedJob. All else raises
        a RuntimeError, as does what a closed client is asked for. No task is cancelled.
        """
        self._closed.set()
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
            RuntimeError: The client is closed.
            TypeError: This is not the request of an rpc.
            ValueError: A time that is none was given, or what cannot be sent as metadata.
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
        rpc = self._rpcs[path]
        own = headers(metadata)
        chosen = self._account_of(own, account)
        if self._closed.is_set:
            raise closed_client()
        answer: R
        if rpc.is_write:
            answer = await self._written(rpc, named(request), timeout, own, chosen)
        else:
            answer = await self._read(rpc, request, timeout, own, chosen)
        return answer

    async def _read(
        self, rpc: Rpc, request: Message, timeout: float | None, own: Mapping[str, str], account: str
    ) -> Any:
        limit = self._time_of_read(rpc, timeout)
        try:
            call = self._callables[rpc.path](request, timeout=limit, metadata=self._sent(own, account))
            return await self._closed.awaited(call)
        except grpc.RpcError as error:
            raise error_of(failed(error), request, is_in_doubt=False, account=account) from error
        except CutOffError:
            raise closed_client() from None

    async def _written(
        self, rpc: Rpc, request: Message, timeout: float | None, own: Mapping[str, str], account: str
    ) -> Any:
        call = self._callables[rpc.path]
        attempts = self._attempts(rpc, request, timeout, account)
        while True:
            failure: Failure = CUT_OFF
            cause: grpc.RpcError | None = None
            try:
                attempt = call(request, timeout=attempts.timeout(), metadata=self._sent(own, account))
                answer = await self._closed.awaited(attempt)
            except grpc.RpcError as error:
                failure, cause = failed(error), error
            except CutOffError:
                pass
            else:
                self._budget.earn()
                return answer
            pause = attempts.pause_after(failure)
            if pause is None:
                raise attempts.error(failure) from cause
            if await self._closed.pause(pause):
                raise attempts.closed(failure) from cause

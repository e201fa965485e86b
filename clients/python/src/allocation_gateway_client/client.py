"""The client that blocks."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import grpc

from allocation_gateway_client.base import failed, named
from allocation_gateway_client.closing import Closing, closed_client, is_cut_off
from allocation_gateway_client.connecting import headers
from allocation_gateway_client.errors import error_of
from allocation_gateway_client.lasting import Streams
from allocation_gateway_client.methods import Methods, R

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from google.protobuf.message import Message

    from allocation_gateway_client.base import Rpc
    from allocation_gateway_client.failure import Failure


class Client(Streams, Methods, Closing):
    """Calls the gateway and waits for its answer. Use it as a context manager, or close it."""

    def _open(
        self,
        address: str,
        credentials: grpc.ChannelCredentials | None,
        options: Sequence[tuple[str, Any]],
        interceptors: Sequence[Any],
    ) -> None:
        if credentials is None:
            channel = grpc.insecure_channel(address, options)
        else:
            channel = grpc.secure_channel(address, credentials, options)
        self._channel: grpc.Channel = grpc.intercept_channel(channel, *interceptors)
        self._closed = threading.Event()
        self._callables: dict[str, Any] = {
            path: self._channel.unary_unary(path, rpc.request.SerializeToString, rpc.response.FromString)
            for path, rpc in self._rpcs.items()
        }

    @property
    def channel(self) -> grpc.Channel:
        """The channel, for stubs. It is closed with the client."""
        return self._channel

    def close(self) -> None:
        """Closes the connections, and ends what is under way.

        A write that may have been carried out raises its UnknownOutcome, and a job its UnfinishedJob. All else raises
        a RuntimeError, as does what a closed client is asked for.
        """
        self._closed.set()
        self._channel.close()

    def call(
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
        return self._invoke(rpc.path, request, rpc.response, timeout, metadata, account)

    def _invoke(
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
        answer: R
        if rpc.is_write:
            answer = self._written(rpc, named(request), timeout, own, chosen)
        else:
            answer = self._read(rpc, request, timeout, own, chosen)
        return answer

    def _read(self, rpc: Rpc, request: Message, timeout: float | None, own: Mapping[str, str], account: str) -> Any:
        limit = self._time_of_read(rpc, timeout)
        try:
            return self._callables[rpc.path](request, timeout=limit, metadata=self._sent(own, account))
        except grpc.RpcError as error:
            failure = failed(error)
            if self._closed.is_set() and is_cut_off(failure):
                raise closed_client() from error
            raise error_of(failure, request, is_in_doubt=False, account=account) from error
        except ValueError:
            # So says gRPC that the channel is closed.
            if not self._closed.is_set():
                raise
            raise closed_client() from None

    def _written(self, rpc: Rpc, request: Message, timeout: float | None, own: Mapping[str, str], account: str) -> Any:
        call = self._callables[rpc.path]
        attempts = self._attempts(rpc, request, timeout, account)
        failure: Failure | None = None
        while True:
            try:
                answer = call(request, timeout=attempts.timeout(), metadata=self._sent(own, account))
            except grpc.RpcError as error:
                failure, cause = failed(error), error
            except ValueError:
                if not self._closed.is_set():
                    raise
                raise attempts.closed(failure) from None
            else:
                self._budget.earn()
                return answer
            pause = attempts.pause_after(failure)
            if pause is None:
                raise attempts.error(failure) from cause
            if self._closed.wait(pause):
                raise attempts.closed(failure) from cause

"""The rpcs that last, for the listener: their handlers, and their end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc

from allocation_gateway.operations import table
from allocation_gateway.operations.streams import STREAMS, WATCHES
from allocation_gateway.rpc.streams.handler import StreamHandler, WatchHandler
from allocation_gateway.rpc.streams.readings import AllReadings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from allocation_gateway.accounts.model import Tenant
    from allocation_gateway.rpc.base import Gateway


class Streams:
    """The handlers of all rpcs that last, and the readings that they share."""

    def __init__(self, gateway: Gateway) -> None:
        self._readings = AllReadings(table.READERS, gateway.telemetry.background)
        gateway.accounts.on_end(self._forget)
        self._streams = [(row, StreamHandler(gateway, row, self._readings)) for row in STREAMS]
        self._watches = [(row, WatchHandler(gateway, row, self._readings)) for row in WATCHES]

    def _forget(self, account: Tenant) -> None:
        for api in account.apis.values():
            self._readings.forget(api)

    def methods(self) -> Iterator[tuple[str, str, grpc.RpcMethodHandler[Any, Any]]]:
        """Yields the service, the name and the handler of each rpc."""
        # Bytes in and out, as of all rpcs: bytes that do not parse get an answer with details.
        for stream, handler in self._streams:
            yield stream.service, stream.name, grpc.stream_stream_rpc_method_handler(handler.handle)
        for watch, watcher in self._watches:
            yield watch.service, watch.name, grpc.unary_stream_rpc_method_handler(watcher.handle)

    def end(self) -> None:
        """Has all calls end soon."""
        for _, handler in self._streams:
            handler.end()
        for _, watcher in self._watches:
            watcher.end()

    async def close(self) -> None:
        """Ends what is read for them."""
        await self._readings.close()

"""The rpcs that last, for the listener: their handlers, and their end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc

from allocation_gateway.operations import table
from allocation_gateway.operations.streams import STREAMS, WATCHES
from allocation_gateway.rpc.streams.handler import ItemRoom, StreamHandler, WatchHandler
from allocation_gateway.rpc.streams.readings import AllReadings
from allocation_gateway.telemetry.conventions import RPC_METHOD
from allocation_gateway.wire.message import unparsed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from allocation_gateway.accounts.model import Account
    from allocation_gateway.rpc.base import Gateway
    from allocation_gateway.telemetry.conventions import Attributes


class StreamRpcs:
    """The handlers of all rpcs that last, and the readings that they share."""

    def __init__(self, gateway: Gateway) -> None:
        self._readings = AllReadings(table.READERS, gateway.telemetry.background)
        gateway.accounts.on_end(self._forget)
        room = ItemRoom()
        self._streams = [(row, StreamHandler(gateway, row, self._readings, room)) for row in STREAMS]
        self._watches = [(row, WatchHandler(gateway, row, self._readings)) for row in WATCHES]

    def _forget(self, account: Account) -> None:
        for api in account.apis.values():
            self._readings.forget(api)

    def methods(self) -> Iterator[tuple[str, str, grpc.RpcMethodHandler[Any, Any]]]:
        """Yields the service, the name and the handler of each rpc."""
        # Bytes in and out, as of all rpcs: bytes that do not parse get an answer with details.
        for stream, handler in self._streams:
            yield (
                stream.service,
                stream.name,
                grpc.stream_stream_rpc_method_handler(handler.handle, request_deserializer=unparsed),
            )
        for watch, watcher in self._watches:
            yield watch.service, watch.name, grpc.unary_stream_rpc_method_handler(watcher.handle)

    def open_calls(self) -> list[tuple[int, Attributes]]:
        """Returns how many calls last, by rpc. Any thread may call it."""
        return [
            *((len(handler.runs), {RPC_METHOD: row.full_name}) for row, handler in self._streams),
            *((len(watcher.runs), {RPC_METHOD: row.full_name}) for row, watcher in self._watches),
        ]

    def items(self) -> list[tuple[int, Attributes]]:
        """Returns how many items are in hand, by API and state. Any thread may call it."""
        return [
            (count, {"api": row.api.value, "state": state})
            for row, handler in self._streams
            for state, count in handler.items().items()
        ]

    def lags(self) -> list[tuple[float, Attributes]]:
        """Returns for how many seconds the oldest item has been in hand, by API. Any thread may call it."""
        return [(handler.lag(), {"api": row.api.value}) for row, handler in self._streams]

    def end(self) -> None:
        """Asks all calls to end soon."""
        for _, handler in self._streams:
            handler.end()
        for _, watcher in self._watches:
            watcher.end()

    async def close(self) -> None:
        """Ends what is read for them."""
        await self._readings.close()

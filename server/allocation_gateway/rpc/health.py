"""The standard health service, grpc.health.v1."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Iterable

    Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]

SERVING: Final = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING: Final = health_pb2.HealthCheckResponse.NOT_SERVING
_UNKNOWN: Final = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
# Its stubs are older than it is.
_messages: Final[Any] = health_pb2


class Health(health_pb2_grpc.HealthServicer):
    """The health of services, and those who watch it.

    grpcio has one of these, which waits for each who watches before it tells the next, or even takes note of a change:
    one who does not read would hold up the end of the gateway.
    """

    def __init__(self, services: Iterable[str]) -> None:
        """Starts with services that do not serve yet."""
        self._health: dict[str, int] = dict.fromkeys(services, NOT_SERVING)
        self._is_final = False
        self._is_over = False
        self._changed = asyncio.Event()

    def set(self, service: str, health: int) -> None:
        """Sets the health of a service, unless that is final."""
        if not self._is_final:
            self._health[service] = health
            self._tell()

    @property
    def is_serving(self) -> bool:
        """Whether the gateway as a whole serves. Any thread may ask."""
        return self._health.get("") == SERVING

    def stop_serving(self) -> None:
        """Sets the health of all services to NOT_SERVING, for good."""
        self._health = dict.fromkeys(self._health, NOT_SERVING)
        self._is_final = True
        self._tell()

    def end(self) -> None:
        """Sends everybody who watches away, instead of having them hold up the end."""
        self._is_over = True
        self._tell()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def Check(self, request: health_pb2.HealthCheckRequest, context: Context) -> Any:  # noqa: N802 - the service's name for it
        """Tells the health of a service now."""
        if request.service not in self._health:
            await context.abort(grpc.StatusCode.NOT_FOUND, "There is no such service.")
        return _told(self._health[request.service])

    async def List(self, request: Any, context: Context) -> Any:  # noqa: N802 - the service's name for it
        """Tells the health of all services now."""
        del request, context
        return _messages.HealthListResponse(
            statuses={service: _told(health) for service, health in self._health.items()}
        )

    async def Watch(self, request: health_pb2.HealthCheckRequest, context: Context) -> None:  # noqa: N802 - the service's name for it
        """Tells the health now and whenever it changes, until the caller or the gateway ends."""
        told: int | None = None
        while not self._is_over:
            changed = self._changed
            health = self._health.get(request.service, _UNKNOWN)
            if health != told:
                told = health
                await context.write(_told(health))
            await changed.wait()
        await context.abort(grpc.StatusCode.UNAVAILABLE, "The gateway is stopping.")


def _told(health: int) -> Any:
    return _messages.HealthCheckResponse(status=health)

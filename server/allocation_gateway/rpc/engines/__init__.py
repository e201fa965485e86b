"""The engines that serve gRPC, and the choice between them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    import grpc

    from allocation_gateway.rpc.certificates import CertificateFiles
    from allocation_gateway.settings import Settings

GRPCIO: Final = "grpcio"


class GrpcEngine(Protocol):
    """A server. Handlers are added to it as generated code does it."""

    def add_generic_rpc_handlers(self, handlers: tuple[grpc.GenericRpcHandler, ...]) -> None:
        """See grpc.aio.Server."""

    def add_registered_method_handlers(
        self, service: str, handlers: Mapping[str, grpc.RpcMethodHandler[Any, Any]]
    ) -> None:
        """See grpc.aio.Server."""

    def bind(self, name: str, port: int, files: CertificateFiles | None) -> int:
        """Takes a port.

        Args:
            name: The setting that holds the port.
            port: The port; 0 lets the system choose one.
            files: The certificates; None for plain text.

        Returns:
            The port.

        Raises:
            ConfigurationError: It cannot be had.
        """

    async def start(self) -> None:
        """Begins to answer."""

    async def stop(self, grace: float | None) -> None:
        """Takes no more calls, and gives those in hand a bound in seconds to end; None is none at all."""


def open_engine(settings: Settings) -> GrpcEngine:
    """Returns the engine that is configured. Must be called where an event loop runs."""
    # On demand: the engine that is not used costs neither memory nor start-up time.
    if settings.grpc_engine == GRPCIO:
        from allocation_gateway.rpc.engines.grpcio import GrpcioEngine

        return GrpcioEngine(settings)
    from allocation_gateway.rpc.engines.direct import DirectGrpcEngine

    return DirectGrpcEngine(settings)

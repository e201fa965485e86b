"""The gRPC server: its services, its health, its ports."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import grpc
from grpc_health.v1 import health, health_pb2_grpc

from allocation_gateway import ports, tasks
from allocation_gateway.operations import table
from allocation_gateway.rpc.certificates import CertificateFiles
from allocation_gateway.rpc.engines import open_engine
from allocation_gateway.rpc.handler import Handler
from allocation_gateway.rpc.health import NOT_SERVING, SERVING, Health
from allocation_gateway.rpc.local import LOCAL_RPCS, LocalHandler
from allocation_gateway.rpc.reflection import add_reflection
from allocation_gateway.rpc.service_groups import SERVICE as GROUPS_SERVICE
from allocation_gateway.rpc.streams.serving import StreamRpcs

if TYPE_CHECKING:
    from allocation_gateway.rpc.base import BaseHandler, Gateway
    from allocation_gateway.rpc.engines import GrpcEngine
    from allocation_gateway.settings import Settings


# The files that are followed have a health of their own, by the names of their settings.
_FILES: Final = "allocation_gateway.files"


class Listener:
    """A server that is bound but does not answer yet.

    Attributes:
        address: Where it listens, as host:port.
        health_address: Where it serves nothing but health; empty if nowhere.
    """

    def __init__(self, settings: Settings, gateway: Gateway) -> None:
        self._settings = settings
        self._groups = gateway.accounts.default.groups
        self._followed = gateway.followed
        self._server = open_engine(settings)
        self._streams = StreamRpcs(gateway)
        self._services = _add_operations(self._server, gateway, self._streams)
        self._health = Health(("", *self._services))
        _add_health(self._health, self._server)
        if settings.reflection:
            add_reflection((*self._services, health.SERVICE_NAME), self._server, gateway.guard)
        self._probes: GrpcEngine | None = None
        self.health_address = ""
        self._files: CertificateFiles | None = None
        self._following: asyncio.Task[None] | None = None
        self.address = self._bind()

    def _bind(self) -> str:
        settings = self._settings
        host = ports.bracketed(settings.host)
        if settings.tls_cert_file is not None:
            self._files = CertificateFiles(settings, settings.tls_cert_file, self._followed.add("tls_cert_file"))
        address = f"{host}:{self._server.bind('port', settings.port, self._files)}"
        if settings.health_port is not None:
            self._probes = open_engine(settings)
            _add_health(self._health, self._probes)
            self.health_address = f"{host}:{self._probes.bind('health_port', settings.health_port, None)}"
        return address

    async def start(self) -> None:
        """Begins to answer. Health is NOT_SERVING until start_serving()."""
        await self._server.start()
        if self._probes is not None:
            await self._probes.start()
        if self._files is not None:
            self._following = asyncio.create_task(self._files.run())

    async def reread(self) -> None:
        """Reads the certificates now, if there are any and they were written anew."""
        if self._files is not None:
            await self._files.check()

    def start_serving(self) -> None:
        """Turns health to SERVING."""
        for service in ("", *self._services):
            self._health.set(service, SERVING)
        self._groups.on_usable_change(partial(self._report, GROUPS_SERVICE))
        loop = asyncio.get_running_loop()

        def report_file(name: str, usable: bool) -> None:
            # With grpcio, certificates are read in the thread that makes a connection, and health is the loop's.
            loop.call_soon_threadsafe(partial(self._report, _FILES, name, usable))

        self._followed.on_usable_change(report_file)

    def _report(self, whole: str, part: str, usable: bool) -> None:
        """Tells the health of a part as that of a service of its own: the gateway itself serves without it."""
        self._health.set(f"{whole}/{part}", SERVING if usable else NOT_SERVING)

    @property
    def streams(self) -> StreamRpcs:
        """The calls that last."""
        return self._streams

    @property
    def is_serving(self) -> bool:
        """Whether health is SERVING. Any thread may ask."""
        return self._health.is_serving

    def stop_serving(self) -> None:
        """Turns health to NOT_SERVING for good. Calls are still accepted."""
        self._health.stop_serving()

    async def stop(self, grace: float) -> None:
        """Accepts no more calls, and gives those in hand a bound in seconds to finish."""
        self._health.end()
        self._streams.end()
        await self._server.stop(grace)
        await self._streams.close()
        if self._following is not None:
            await tasks.end([self._following])
        if self._probes is not None:
            await self._probes.stop(None)


def _add_health(servicer: Health, server: Any) -> None:
    # The generated code asks for grpc's own server by type, and uses no more of it than an engine has.
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)


def _add_operations(server: GrpcEngine, gateway: Gateway, streams: StreamRpcs) -> tuple[str, ...]:
    """Registers a handler for each row of the operation table, and for the rest. Returns the services' full names."""
    services: dict[str, dict[str, Any]] = {}
    for operation in table.OPERATIONS:
        services.setdefault(operation.service, {})[operation.name] = _method(Handler(gateway, operation))
    for rpc in LOCAL_RPCS:
        services.setdefault(rpc.service, {})[rpc.name] = _method(LocalHandler(gateway, rpc))
    for service, name, method in streams.methods():
        services.setdefault(service, {})[name] = method
    for service, methods in services.items():
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, methods),))
        server.add_registered_method_handlers(service, methods)
    return tuple(services)


def _method(handler: BaseHandler) -> grpc.RpcMethodHandler[bytes, bytes]:
    # Bytes in and out: the handler parses for itself, so that bytes that do not parse get an answer with details.
    return grpc.unary_unary_rpc_method_handler(handler.handle)

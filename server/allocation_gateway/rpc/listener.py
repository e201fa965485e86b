"""The gRPC server: its services, its limits, its certificates, its ports."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health_aio
from grpc_reflection.v1alpha import reflection

from allocation_gateway.operations import table
from allocation_gateway.rpc.handler import Handler
from allocation_gateway.settings import ConfigurationError, variable

if TYPE_CHECKING:
    from pathlib import Path

    from allocation_gateway.rpc.handler import Gateway
    from allocation_gateway.settings import Settings

_SERVING: Final = health_pb2.HealthCheckResponse.SERVING
_NO_PING_LIMIT: Final = 0


class Listener:
    """A server that is bound but does not answer yet."""

    def __init__(self, settings: Settings, gateway: Gateway) -> None:
        self._settings = settings
        self._health = health_aio.HealthServicer()
        self._server = grpc.aio.server(options=_options(settings))
        self._services = _add_operations(self._server, gateway)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        if settings.reflection:
            names = (*self._services, health.SERVICE_NAME, reflection.SERVICE_NAME)
            reflection.enable_server_reflection(names, self._server)
        self._probes: grpc.aio.Server | None = None
        self.address = self._bind()

    def _bind(self) -> str:
        settings = self._settings
        if settings.tls_cert_file is None:
            address = _bind(self._server, "port", settings.host, settings.port, None)
        else:
            address = _bind(self._server, "port", settings.host, settings.port, _credentials(settings))
        if settings.health_port is not None:
            self._probes = grpc.aio.server(options=_options(settings))
            health_pb2_grpc.add_HealthServicer_to_server(self._health, self._probes)
            _bind(self._probes, "health_port", settings.host, settings.health_port, None)
        return address

    async def start(self) -> None:
        """Begins to answer, and says so."""
        await self._server.start()
        if self._probes is not None:
            await self._probes.start()
        for service in ("", *self._services):
            await self._health.set(service, _SERVING)

    async def stop_serving(self) -> None:
        """Turns health to NOT_SERVING for good. Calls are still accepted."""
        await self._health.enter_graceful_shutdown()

    async def stop(self, grace: float) -> None:
        """Accepts no more calls, and gives those in hand a bound in seconds to finish."""
        await self._server.stop(grace)
        if self._probes is not None:
            await self._probes.stop(None)


def _add_operations(server: grpc.aio.Server, gateway: Gateway) -> tuple[str, ...]:
    """Registers a handler for each row of the operation table. Returns the full names of the services."""
    routes, disabled = table.routes(gateway.settings), table.disabled(gateway.settings)
    services: dict[str, dict[str, Any]] = {}
    for operation in table.OPERATIONS:
        handler = Handler(gateway, operation, routes[operation.full_name], enabled=operation.name not in disabled)
        # Bytes in and out: the handler parses for itself, so that bytes that do not parse get an answer with details.
        services.setdefault(operation.service, {})[operation.name] = grpc.unary_unary_rpc_method_handler(handler.handle)
    server.add_generic_rpc_handlers(
        tuple(grpc.method_handlers_generic_handler(service, methods) for service, methods in services.items())
    )
    return tuple(services)


def _options(settings: Settings) -> list[tuple[str, int]]:
    def milliseconds(seconds: float) -> int:
        return int(seconds * 1000)

    return [
        # Two gateways on one port would each get a part of the calls, and neither would say so.
        ("grpc.so_reuseport", 0),
        ("grpc.max_receive_message_length", settings.max_request_bytes),
        ("grpc.max_metadata_size", settings.max_metadata_bytes),
        ("grpc.absolute_max_metadata_size", settings.max_metadata_bytes),
        ("grpc.keepalive_time_ms", milliseconds(settings.keepalive_time)),
        ("grpc.keepalive_timeout_ms", milliseconds(settings.keepalive_timeout)),
        ("grpc.http2.max_ping_strikes", _NO_PING_LIMIT),
        ("grpc.max_connection_age_ms", milliseconds(settings.max_connection_age)),
        ("grpc.max_connection_age_grace_ms", milliseconds(settings.max_connection_age_grace)),
    ]


def _bind(server: grpc.aio.Server, name: str, host: str, port: int, credentials: grpc.ServerCredentials | None) -> str:
    target = f"{host}:{port}"
    try:
        bound = server.add_insecure_port(target) if credentials is None else server.add_secure_port(target, credentials)
    except RuntimeError:
        bound = 0
    if not bound:
        raise ConfigurationError(f"{variable(name)}: cannot listen on {target}: is the port taken?")
    return f"{host}:{bound}"


def _credentials(settings: Settings) -> grpc.ServerCredentials:
    """Makes credentials that follow their files: a certificate that is renewed counts for the next connection."""
    current = _certificates(settings)

    def fetch() -> grpc.ServerCertificateConfiguration | None:
        nonlocal current
        try:
            latest = _certificates(settings)
        except ConfigurationError:
            return None  # half-written files: the last good ones go on
        if latest == current:
            return None
        current = latest
        return _configuration(latest)

    return grpc.dynamic_ssl_server_credentials(
        _configuration(current),
        fetch,  # type: ignore[arg-type] # None means no change, which the stubs do not know
        require_client_authentication=settings.tls_client_ca_file is not None,
    )


def _certificates(settings: Settings) -> tuple[bytes, bytes, bytes | None]:
    authority = settings.tls_client_ca_file
    return (
        _read("tls_key_file", settings.tls_key_file),
        _read("tls_cert_file", settings.tls_cert_file),
        None if authority is None else _read("tls_client_ca_file", authority),
    )


def _read(name: str, path: Path | None) -> bytes:
    try:
        content = b"" if path is None else path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{variable(name)}: cannot be read: {error}") from error
    if b"-----BEGIN " not in content:
        raise ConfigurationError(f"{variable(name)}: {path} is not PEM")
    return content


def _configuration(certificates: tuple[bytes, bytes, bytes | None]) -> grpc.ServerCertificateConfiguration:
    key, certificate, authority = certificates
    return grpc.ssl_server_certificate_configuration([(key, certificate)], authority)

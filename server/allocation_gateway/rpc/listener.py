"""The gRPC server: its services, its limits, its certificates, its ports."""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING, Any, Final

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health_aio
from grpc_reflection.v1alpha import reflection

from allocation_gateway import ports
from allocation_gateway.operations import table
from allocation_gateway.rpc.handler import Handler
from allocation_gateway.rpc.local import LOCAL_RPCS, LocalHandler
from allocation_gateway.rpc.service_groups import SERVICE as GROUPS_SERVICE
from allocation_gateway.settings import ConfigurationError, variable

if TYPE_CHECKING:
    from pathlib import Path

    from allocation_gateway.rpc.answering import Answering, Gateway
    from allocation_gateway.settings import Settings

_SERVING: Final = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING: Final = health_pb2.HealthCheckResponse.NOT_SERVING
_NO_PING_LIMIT: Final = 0
# So many times the calls in hand may wait to be taken up, which takes no longer than a burst of them to arrive.
_BACKLOG: Final = 10


class _Health(health_aio.HealthServicer):
    """The standard health service. Those who watch it are sent away at the end, instead of holding it up."""

    def __init__(self) -> None:
        super().__init__()
        self._end = asyncio.Event()

    async def Watch(self, request: health_pb2.HealthCheckRequest, context: grpc.aio.ServicerContext[Any, Any]) -> None:  # noqa: N802 - the service's name for it
        """Tells the health now and whenever it changes, until the caller or the server ends."""
        tasks = [asyncio.create_task(super().Watch(request, context)), asyncio.create_task(self._end.wait())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await context.abort(grpc.StatusCode.UNAVAILABLE, "The gateway is stopping.")

    def end(self) -> None:
        """Sends everybody who watches away."""
        self._end.set()


class Listener:
    """A server that is bound but does not answer yet.

    Attributes:
        address: Where it listens, as host:port.
        health_address: Where it serves nothing but health; empty if nowhere.
    """

    def __init__(self, settings: Settings, gateway: Gateway) -> None:
        self._settings = settings
        self._groups = gateway.groups
        self._reports: set[asyncio.Task[None]] = set()
        self._health = _Health()
        self._server = grpc.aio.server(options=_options(settings))
        self._services = _add_operations(self._server, gateway)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        if settings.reflection:
            names = (*self._services, health.SERVICE_NAME, reflection.SERVICE_NAME)
            reflection.enable_server_reflection(names, self._server)
        self._probes: grpc.aio.Server | None = None
        self.health_address = ""
        self.address = self._bind()

    def _bind(self) -> str:
        settings = self._settings
        credentials = None if settings.tls_cert_file is None else _credentials(settings, settings.tls_cert_file)
        address = _bind(self._server, settings, "port", credentials)
        if settings.health_port is not None:
            self._probes = grpc.aio.server(options=_options(settings))
            health_pb2_grpc.add_HealthServicer_to_server(self._health, self._probes)
            self.health_address = _bind(self._probes, settings, "health_port", None)
        return address

    async def start(self) -> None:
        """Begins to answer. Health is NOT_SERVING until start_serving()."""
        for service in ("", *self._services):
            await self._health.set(service, _NOT_SERVING)
        await self._server.start()
        if self._probes is not None:
            await self._probes.start()

    async def start_serving(self) -> None:
        """Turns health to SERVING."""
        for service in ("", *self._services):
            await self._health.set(service, _SERVING)
        self._groups.on_state(self._report)

    def _report(self, part: str, usable: bool) -> None:
        """Tells the health of a part as that of a service of its own: the gateway itself serves without it."""
        health = self._health.set(f"{GROUPS_SERVICE}/{part}", _SERVING if usable else _NOT_SERVING)
        task = asyncio.create_task(health)
        self._reports.add(task)
        task.add_done_callback(self._reports.discard)

    async def stop_serving(self) -> None:
        """Turns health to NOT_SERVING for good. Calls are still accepted."""
        await self._health.enter_graceful_shutdown()

    async def stop(self, grace: float) -> None:
        """Accepts no more calls, and gives those in hand a bound in seconds to finish."""
        self._health.end()
        await self._server.stop(grace)
        if self._probes is not None:
            await self._probes.stop(None)


def _add_operations(server: grpc.aio.Server, gateway: Gateway) -> tuple[str, ...]:
    """Registers a handler for each row of the operation table, and for the rest. Returns the services' full names."""
    routes, disabled = table.routes(gateway.settings), table.disabled(gateway.settings)
    services: dict[str, dict[str, Any]] = {}
    for operation in table.OPERATIONS:
        handler = Handler(gateway, operation, routes[operation.full_name], enabled=operation.full_name not in disabled)
        services.setdefault(operation.service, {})[operation.name] = _method(handler)
    for rpc in LOCAL_RPCS:
        services.setdefault(rpc.service, {})[rpc.name] = _method(LocalHandler(gateway, rpc))
    server.add_generic_rpc_handlers(
        tuple(grpc.method_handlers_generic_handler(service, methods) for service, methods in services.items())
    )
    return tuple(services)


def _method(handler: Answering) -> grpc.RpcMethodHandler[bytes, bytes]:
    # Bytes in and out: the handler parses for itself, so that bytes that do not parse get an answer with details.
    return grpc.unary_unary_rpc_method_handler(handler.handle)


def _options(settings: Settings) -> list[tuple[str, int]]:
    def milliseconds(seconds: float) -> int:
        return int(seconds * 1000)

    return [
        # Two gateways on one port would each get a part of the calls, and neither would say so.
        # Workers get theirs from a supervisor that holds the port for them.
        ("grpc.so_reuseport", int(settings.workers > 1)),
        ("grpc.max_receive_message_length", settings.max_request_bytes),
        ("grpc.max_metadata_size", settings.max_metadata_bytes),
        ("grpc.absolute_max_metadata_size", settings.max_metadata_bytes),
        ("grpc.keepalive_time_ms", milliseconds(settings.keepalive_time)),
        ("grpc.keepalive_timeout_ms", milliseconds(settings.keepalive_timeout)),
        ("grpc.http2.max_ping_strikes", _NO_PING_LIMIT),
        # gRPC itself would refuse what waits to be taken up beyond a thousand, with a status that says nothing: the
        # limit of calls in hand is ours to keep, and to tell.
        ("grpc.server.max_pending_requests", _BACKLOG * settings.max_concurrent_calls),
        ("grpc.server.max_pending_requests_hard_limit", _BACKLOG * settings.max_concurrent_calls),
        ("grpc.max_connection_age_ms", milliseconds(settings.max_connection_age)),
        ("grpc.max_connection_age_grace_ms", milliseconds(settings.max_connection_age_grace)),
    ]


def _bind(server: grpc.aio.Server, settings: Settings, name: str, credentials: grpc.ServerCredentials | None) -> str:
    host, port = ports.bracketed(settings.host), getattr(settings, name)
    target = f"{host}:{port}"
    if settings.workers == 1:
        ports.probe(name, host, port)
    try:
        bound = server.add_insecure_port(target) if credentials is None else server.add_secure_port(target, credentials)
    except RuntimeError:
        bound = 0
    if not bound:
        raise ConfigurationError(f"{variable(name)}: cannot listen on {target}: is the port taken?")
    return f"{host}:{bound}"


def _credentials(settings: Settings, certificate: Path) -> grpc.ServerCredentials:
    """Makes credentials that follow their files: a certificate that is renewed counts for the next connection."""
    current = _certificates(settings, certificate)

    def fetch() -> grpc.ServerCertificateConfiguration | None:
        nonlocal current
        try:
            latest = _certificates(settings, certificate)
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


def check_files(settings: Settings) -> None:
    """Checks the files of the listener without listening.

    Raises:
        ConfigurationError: One of them cannot be used.
    """
    if settings.tls_cert_file is not None:
        _certificates(settings, settings.tls_cert_file)


def _certificates(settings: Settings, certificate: Path) -> tuple[bytes, bytes, bytes | None]:
    authority = settings.tls_client_ca_file
    found = (
        _read("tls_key_file", settings.tls_key_file),
        _read("tls_cert_file", certificate),
        None if authority is None else _read("tls_client_ca_file", authority),
    )
    _check_usable(certificate, settings.tls_key_file, authority)
    return found


def _read(name: str, path: Path | None) -> bytes:
    try:
        content = b"" if path is None else path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{variable(name)}: cannot be read: {error}") from error
    if b"-----BEGIN " not in content:
        raise ConfigurationError(f"{variable(name)}: {path} is not PEM")
    return content


def _check_usable(certificate: Path, key: Path | None, authority: Path | None) -> None:
    """Checks that the certificate and the key belong together: gRPC would only refuse each connection."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        # Without the empty password, an encrypted key would make OpenSSL ask for one on the terminal.
        context.load_cert_chain(certificate, key, password="")
    except (ssl.SSLError, OSError) as error:
        raise ConfigurationError(
            f"{variable('tls_key_file')}: cannot be used with {variable('tls_cert_file')}: {_reason(error)}"
        ) from error
    if authority is None:
        return
    try:
        context.load_verify_locations(authority)
    except (ssl.SSLError, OSError) as error:
        raise ConfigurationError(f"{variable('tls_client_ca_file')}: cannot be used: {_reason(error)}") from error


def _reason(error: OSError) -> str:
    reason = error.reason if isinstance(error, ssl.SSLError) else error.strerror
    return reason or "the file is malformed"


def _configuration(certificates: tuple[bytes, bytes, bytes | None]) -> grpc.ServerCertificateConfiguration:
    key, certificate, authority = certificates
    return grpc.ssl_server_certificate_configuration([(key, certificate)], authority)

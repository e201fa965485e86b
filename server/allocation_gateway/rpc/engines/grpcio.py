"""The engine that grpc.aio is: the one that everybody knows, for who rather has that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import grpc

from allocation_gateway import ports
from allocation_gateway.settings import ConfigurationError, variable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from allocation_gateway.rpc.certificates import CertificateFiles
    from allocation_gateway.settings import Settings
    from allocation_gateway.settings.certificates import Certificates

_NO_PING_LIMIT: Final = 0
# So many times the calls in hand may wait to be taken up, which takes no longer than a burst of them to arrive.
_BACKLOG: Final = 10
# An option is a C int. A setting may be higher, which is as good as no limit.
_MOST: Final = 2**31 - 1


class GrpcioEngine:
    """See GrpcEngine."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._server = grpc.aio.server(options=_options(settings))
        self.add_generic_rpc_handlers = self._server.add_generic_rpc_handlers
        self.start = self._server.start
        self.stop = self._server.stop

    def add_registered_method_handlers(
        self, service: str, handlers: Mapping[str, grpc.RpcMethodHandler[Any, Any]]
    ) -> None:
        """See GrpcEngine. They are added by add_generic_rpc_handlers()."""

    def bind(self, name: str, port: int, files: CertificateFiles | None) -> int:
        """See GrpcEngine."""
        host = ports.bracketed(self._settings.host)
        target = f"{host}:{port}"
        if self._settings.workers == 1:
            ports.probe(name, host, port)
        try:
            if files is None:
                bound = self._server.add_insecure_port(target)
            else:
                bound = self._server.add_secure_port(target, _credentials(files))
        except RuntimeError:
            bound = 0
        if not bound:
            raise ConfigurationError(f"{variable(name)}: cannot listen on {target}: is the port taken?")
        return bound


def _options(settings: Settings) -> list[tuple[str, int]]:
    def milliseconds(seconds: float) -> int:
        return int(seconds * 1000)

    options = [
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
    return [(name, min(value, _MOST)) for name, value in options]


def _credentials(files: CertificateFiles) -> grpc.ServerCredentials:
    """Makes credentials that follow their files: a certificate that is renewed counts for the next connection."""
    latest = files.current

    def fetch() -> grpc.ServerCertificateConfiguration | None:
        nonlocal latest
        files.read()
        if files.current is latest:
            return None
        latest = files.current
        return _configuration(latest)

    return grpc.dynamic_ssl_server_credentials(
        _configuration(latest),
        fetch,  # type: ignore[arg-type] # None means no change, which the stubs do not know
        require_client_authentication=files.current.authorities is not None,
    )


def _configuration(certificates: Certificates) -> grpc.ServerCertificateConfiguration:
    pair = (certificates.key, certificates.chain)
    return grpc.ssl_server_certificate_configuration([pair], certificates.authorities)

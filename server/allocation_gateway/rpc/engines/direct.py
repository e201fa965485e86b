"""The engine that the gateway has of its own. docs/decisions/0003-grpc-engine.md tells what was compared."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Final

from allocation_gateway import ports
from allocation_gateway.settings import ConfigurationError, variable
from allocation_gateway.wire.limits import Limits
from allocation_gateway.wire.memory import calls_within
from allocation_gateway.wire.server import Server

if TYPE_CHECKING:
    from allocation_gateway.rpc.certificates import CertificateFiles
    from allocation_gateway.settings import Settings

# So many times the calls in hand may be open on one connection, if their bytes may: one more than are in hand gets an
# answer that says so, and not just a stream refused.
_OPEN_CALLS: Final = 10
# HTTP/2 forbids the others.
_CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"


def limits(settings: Settings) -> Limits:
    """Returns what the settings say of a server's limits."""
    return Limits(
        message=settings.max_request_bytes,
        metadata=settings.max_metadata_bytes,
        calls=min(_OPEN_CALLS * settings.max_concurrent_calls, calls_within(settings.max_held_bytes)),
        connections=settings.max_connections,
        connections_per_address=settings.max_connections_per_address,
        held=settings.max_held_bytes,
        keepalive_time=settings.keepalive_time,
        keepalive_timeout=settings.keepalive_timeout,
        age=settings.max_connection_age,
        age_grace=settings.max_connection_age_grace,
    )


class DirectGrpcEngine(Server):
    """See GrpcEngine."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(limits(settings))
        self._host = settings.host
        # Two gateways on one port would each get a part of the calls, and neither would say so.
        # Workers get theirs from a supervisor that holds the port for them.
        self._is_shared = settings.workers > 1

    def bind(self, name: str, port: int, files: CertificateFiles | None) -> int:
        """See GrpcEngine."""
        tls = None if files is None else _following(files)
        for bound in ports.bind(name, self._host, port, shared=self._is_shared):
            self.listen(bound, tls)
            port = bound.getsockname()[1]
        return port

    async def start(self) -> None:
        """See GrpcEngine.

        Raises:
            ConfigurationError: Another process was quicker to listen.
        """
        try:
            await super().start()
        except OSError as error:
            raise ConfigurationError(f"{variable('port')}: cannot listen: {error.strerror}") from error


def _following(files: CertificateFiles) -> ssl.SSLContext:
    """Makes a context that follows its files: a certificate that is renewed counts for the next connection."""
    first = latest = _limited(files.context)

    def choose(connection: ssl.SSLObject, _: str | None, __: ssl.SSLContext) -> None:
        nonlocal latest
        files.read()
        if files.context is not latest:
            latest = _limited(files.context)
        connection.context = latest

    first.sni_callback = choose
    return first


def _limited(context: ssl.SSLContext) -> ssl.SSLContext:
    # A session that is resumed is not asked for its certificate again, whose authority may be trusted no longer: there
    # is none without tickets, if TLS is 1.3. Below that OpenSSL remembers sessions by itself.
    context.num_tickets = 0
    # HTTP/2 forbids it, and with TLS 1.2 a client could ask for handshakes without an end.
    context.options |= ssl.OP_NO_RENEGOTIATION
    is_mutual = context.verify_mode is ssl.CERT_REQUIRED
    context.minimum_version = ssl.TLSVersion.TLSv1_3 if is_mutual else ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS)
    context.set_alpn_protocols(["h2"])
    return context

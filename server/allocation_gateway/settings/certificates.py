"""Reads the files of the listener's TLS, and proves that they fit together."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, NamedTuple

from allocation_gateway.settings.names import variable
from allocation_gateway.settings.types import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

    from allocation_gateway.settings.schema import Settings


class Certificates(NamedTuple):
    """What the files of the listener hold, as PEM.

    Attributes:
        key: The private key.
        chain: The certificate, and those that lead to its authority.
        authorities: Whose client certificates are accepted; None if none is asked for.
    """

    key: bytes
    chain: bytes
    authorities: bytes | None


def read_certificates(settings: Settings, chain: Path) -> tuple[Certificates, ssl.SSLContext]:
    """Returns what the files hold, and what makes TLS with it.

    Args:
        settings: The configuration.
        chain: Its file of the certificate chain.

    Raises:
        ConfigurationError: One of them cannot be used.
    """
    # With the context, since a server would only refuse each connection if they did not fit together.
    authorities = settings.tls_client_ca_file
    found = Certificates(
        _read("tls_key_file", settings.tls_key_file),
        _read("tls_cert_file", chain),
        None if authorities is None else _read("tls_client_ca_file", authorities),
    )
    return found, _context(chain, settings.tls_key_file, authorities)


def _read(name: str, path: Path | None) -> bytes:
    try:
        content = b"" if path is None else path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{variable(name)}: cannot be read: {error}") from error
    if b"-----BEGIN " not in content:
        raise ConfigurationError(f"{variable(name)}: {path} is not PEM")
    return content


def _context(chain: Path, key: Path | None, authorities: Path | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        # Without the empty password, an encrypted key would make OpenSSL ask for one on the terminal.
        context.load_cert_chain(chain, key, password="")
    except (ssl.SSLError, OSError) as error:
        raise ConfigurationError(
            f"{variable('tls_key_file')}: cannot be used with {variable('tls_cert_file')}: {_reason(error)}"
        ) from error
    if authorities is None:
        return context
    try:
        context.load_verify_locations(authorities)
    except (ssl.SSLError, OSError) as error:
        raise ConfigurationError(f"{variable('tls_client_ca_file')}: cannot be used: {_reason(error)}") from error
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def _reason(error: OSError) -> str:
    reason = error.reason if isinstance(error, ssl.SSLError) else error.strerror
    return reason or "the file is malformed"

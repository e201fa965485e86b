"""The certificates of the listener: checked before anything listens, and read anew for each connection."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, NamedTuple

from allocation_gateway.settings import ConfigurationError, variable

if TYPE_CHECKING:
    from pathlib import Path

    from allocation_gateway.settings import Settings


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


class Files:
    """The files, which may be replaced while the gateway runs.

    Attributes:
        current: What they hold.
        context: What makes TLS with that.
    """

    def __init__(self, settings: Settings, chain: Path) -> None:
        """Reads them.

        Raises:
            ConfigurationError: One of them cannot be used.
        """
        self._settings = settings
        self._chain = chain
        self._stamps = _stamps(settings)
        self.current, self.context = _read_all(settings, chain)

    def have_changed(self) -> bool:
        """Reads them again if they were written anew, and tells whether they hold something else.

        What cannot be used is no change: files that are half written leave the last good ones in use.
        """
        stamps = _stamps(self._settings)
        if stamps == self._stamps:
            return False
        try:
            latest, context = _read_all(self._settings, self._chain)
        except ConfigurationError:
            return False
        self._stamps = stamps
        if latest == self.current:
            return False
        self.current, self.context = latest, context
        return True


def check_files(settings: Settings) -> None:
    """Checks the files of the listener without listening.

    Raises:
        ConfigurationError: One of them cannot be used.
    """
    if settings.tls_cert_file is not None:
        _read_all(settings, settings.tls_cert_file)


def _stamps(settings: Settings) -> list[tuple[int, int, int]]:
    """Returns what tells a file from what it was before; nothing for one that cannot be looked at."""
    stamps = []
    for path in (settings.tls_cert_file, settings.tls_key_file, settings.tls_client_ca_file):
        if path is None:
            continue
        try:
            found = path.stat()
        except OSError:
            continue
        stamps.append((found.st_ino, found.st_mtime_ns, found.st_size))
    return stamps


def _read_all(settings: Settings, chain: Path) -> tuple[Certificates, ssl.SSLContext]:
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

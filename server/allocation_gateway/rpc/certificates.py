"""The certificates of the listener, which are read anew for each connection."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from allocation_gateway.settings import ConfigurationError
from allocation_gateway.settings.certificates import read_certificates

if TYPE_CHECKING:
    from pathlib import Path

    from allocation_gateway.following import FileState
    from allocation_gateway.settings import Settings

_log = structlog.get_logger()


class CertificateFiles:
    """The files, which may be replaced while the gateway runs.

    Attributes:
        current: What they hold.
        context: What makes TLS with that.
    """

    def __init__(self, settings: Settings, chain: Path, state: FileState) -> None:
        """Reads them.

        Raises:
            ConfigurationError: One of them cannot be used.
        """
        self._settings = settings
        self._chain = chain
        self._stamps = _stamps(settings)
        # Those that a log line was written about: files that are half written are read at each connection.
        self._rejected: list[tuple[int, int, int]] = []
        self.current, self.context = read_certificates(settings, chain)
        self._state = state
        state.in_use(_latest(self._stamps))

    def have_changed(self) -> bool:
        """Reads them again if they were written anew, and tells whether they hold something else.

        What cannot be used is no change: files that are half written leave the last good ones in use.
        """
        stamps = _stamps(self._settings)
        if stamps == self._stamps:
            if not self._state.is_usable:
                # What could not be used was taken back.
                self._state.in_use(_latest(stamps))
            return False
        try:
            latest, context = read_certificates(self._settings, self._chain)
        except ConfigurationError as error:
            if stamps != self._rejected:
                self._rejected = stamps
                _log.error("certificates_rejected", file=str(self._chain), problem=str(error))
            self._state.refused()
            return False
        self._stamps = stamps
        self._state.in_use(_latest(stamps))
        if latest == self.current:
            return False
        self.current, self.context = latest, context
        return True


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


def _latest(stamps: list[tuple[int, int, int]]) -> int:
    """Returns when the last of some files was written."""
    return max((written for _, written, _ in stamps), default=0)

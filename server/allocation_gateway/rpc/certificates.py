"""The certificates of the listener, which are followed, and looked at for each connection besides."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Final

import structlog

from allocation_gateway.following import SETTLE
from allocation_gateway.settings import ConfigurationError
from allocation_gateway.settings.certificates import read_certificates

if TYPE_CHECKING:
    from pathlib import Path

    from allocation_gateway.following import FileState
    from allocation_gateway.settings import Settings

_INTERVAL: Final = 1.0
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
        self._reading = threading.Lock()
        self._stamps = _stamps(settings)
        # Those that a log line was written about: files that are half written are read at each connection.
        self._rejected: list[tuple[int, int, int]] = []
        self.current, self.context = read_certificates(settings, chain)
        self._state = state
        state.in_use(_latest(self._stamps))

    async def run(self) -> None:
        """Follows the files until it is cancelled: whoever replaces them learns of it before the next connection."""
        while True:
            await asyncio.sleep(_INTERVAL)
            try:
                await self.check()
            except Exception:  # noqa: BLE001 - whatever is in a file must not end the following of it
                _log.exception("defect", file=str(self._chain))

    async def check(self) -> None:
        """Reads the files now if they were written anew, and have stayed the same for a moment."""
        # In a thread: a file system that hangs must not hold up calls.
        found = await asyncio.to_thread(_stamps, self._settings)
        if found == self._stamps and self._state.is_usable:
            return
        while found != self._rejected:
            await asyncio.sleep(SETTLE)
            again = await asyncio.to_thread(_stamps, self._settings)
            if again == found:
                break
            found = again
        self.read()

    def read(self) -> None:
        """Reads the files again if they were written anew.

        What cannot be used changes nothing: files that are half written leave the last good ones in use. Any thread may
        call it: that in which an engine makes its connections does.
        """
        with self._reading:
            self._read()

    def _read(self) -> None:
        stamps = _stamps(self._settings)
        if stamps == self._stamps:
            if not self._state.is_usable:
                # What could not be used was taken back.
                self._state.in_use(_latest(stamps))
            return
        try:
            latest, context = read_certificates(self._settings, self._chain)
        except ConfigurationError as error:
            if stamps != self._rejected:
                self._rejected = stamps
                _log.error("certificates_rejected", file=str(self._chain), problem=str(error))
            self._state.refused()
            return
        self._stamps = stamps
        self._state.in_use(_latest(stamps))
        if latest != self.current:
            self.current, self.context = latest, context
            _log.info("certificates_loaded", file=str(self._chain))


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

"""Follows the catalogue file while the gateway runs.

The content is read and compared rather than the file's times: an edit in place, a file moved over it and a ConfigMap's
symbolic link that changes its target look the same, on every file system.
"""

from __future__ import annotations

import asyncio
import os
import time
from typing import TYPE_CHECKING, Final, NamedTuple

import structlog

from allocation_gateway.groups import catalogue
from allocation_gateway.groups.catalogue import Catalogue, CatalogueError
from allocation_gateway.groups.documents import Problem

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

INTERVAL: Final = 0.5
# A file that is being written is read half: what has changed counts once it has stayed the same for so long.
SETTLE: Final = 0.25
_log = structlog.get_logger()


def read(file: Path, now: float) -> tuple[bytes, Catalogue]:
    """Reads a catalogue. Returns its bytes too.

    Raises:
        CatalogueError: It cannot be read or used.
    """
    content = _look(file).content
    if isinstance(content, str):
        raise CatalogueError([Problem(0, "", f"cannot be read: {content}")])
    return content, catalogue.parse(file, content, now=now)


class _Look(NamedTuple):
    """A look at a file.

    Attributes:
        content: What is in it, up to one byte more than it may hold; as text why it cannot be read.
        changed_at: When it was last written to, by the file system's clock.
    """

    content: bytes | str
    changed_at: int = 0


def _look(file: Path) -> _Look:
    try:
        with file.open("rb") as opened:
            return _Look(opened.read(catalogue.MAX_BYTES + 1), os.fstat(opened.fileno()).st_mtime_ns)
    except OSError as error:
        return _Look(error.strerror or type(error).__name__)


class Watcher:
    """Reads a catalogue whenever its file changes. A bad edit leaves the last good one in use.

    Attributes:
        good: Whether the file as it is now is in use.
    """

    def __init__(
        self,
        file: Path,
        content: bytes,
        *,
        on_change: Callable[[Catalogue], None],
        on_state: Callable[[bool], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Starts from a content that is in use already.

        Args:
            file: The file.
            content: What was in it.
            on_change: Is given every good catalogue.
            on_state: Is told of every new content whether it is good.
            clock: Tells the time in seconds of the epoch.
        """
        self._file = file
        self._latest: bytes | str = content
        self._on_change = on_change
        self._on_state = on_state
        self._clock = clock
        self._reading = asyncio.Lock()
        self.good = True

    async def run(self) -> None:
        """Follows the file until it is cancelled."""
        while True:
            await asyncio.sleep(INTERVAL)
            try:
                await self.check()
            except Exception:  # noqa: BLE001 - whatever is in a file must not end the following of it
                _log.exception("defect", file=str(self._file))

    async def check(self) -> None:
        """Reads the file now, and again until it stays the same."""
        async with self._reading:
            found = await self._look()
            if found.content == self._latest:
                return
            while True:
                await asyncio.sleep(SETTLE)
                again = await self._look()
                if again == found:
                    break
                found = again
            if found.content != self._latest:
                self._latest = found.content
                await self._take(found.content)

    async def _look(self) -> _Look:
        # In a thread: a file system that hangs must not hold up calls.
        return await asyncio.to_thread(_look, self._file)

    async def _take(self, content: bytes | str) -> None:
        try:
            if isinstance(content, str):
                raise CatalogueError([Problem(0, "", f"cannot be read: {content}")])
            found = await asyncio.to_thread(catalogue.parse, self._file, content, now=self._clock())
        except CatalogueError as error:
            self.good = False
            first = error.problems[0]
            _log.error(
                "service_group_catalogue_rejected",
                file=str(self._file),
                line=first.line,
                key=first.key,
                problems=str(error),
            )
        else:
            self.good = True
            _log.info("service_group_catalogue_loaded", file=str(self._file), groups=len(found.groups))
            self._on_change(found)
        self._on_state(self.good)

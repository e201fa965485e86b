"""Watches the catalogue file while the gateway runs."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

import structlog

from allocation_gateway.following import Follower, look
from allocation_gateway.groups import catalogue
from allocation_gateway.groups.catalogue import Catalogue, CatalogueError
from allocation_gateway.groups.documents import CatalogueProblem

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from allocation_gateway.following import FileState

INTERVAL: Final = 1.0
_log = structlog.get_logger()


def read(file: Path, now: float) -> tuple[bytes, Catalogue]:
    """Reads a catalogue. Returns its bytes too.

    Raises:
        CatalogueError: It cannot be read or used.
    """
    content = look(file, catalogue.MAX_BYTES).content
    if isinstance(content, str):
        raise CatalogueError([CatalogueProblem(0, "", f"cannot be read: {content}")])
    return content, catalogue.parse(file, content, now=now)


class Watcher:
    """Reads a catalogue whenever its file changes. After a bad edit the last good one stays in use."""

    def __init__(
        self,
        file: Path,
        content: bytes,
        *,
        on_change: Callable[[Catalogue], None],
        on_usable_change: Callable[[bool], None],
        state: FileState | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Starts with the content that is in use.

        Args:
            file: The file.
            content: Its content.
            on_change: Takes every good catalogue.
            on_usable_change: Takes for every new content whether it is a good catalogue.
            state: What takes note of which content is in use; None if nobody asks.
            clock: Tells the time in seconds of the epoch.
        """
        self._file = file
        self._follower = Follower(
            file, content, most=catalogue.MAX_BYTES, interval=INTERVAL, on_content=self._read, state=state
        )
        self._on_change = on_change
        self._on_usable_change = on_usable_change
        self._clock = clock

    async def run(self) -> None:
        """Watches the file until it is cancelled."""
        await self._follower.run()

    async def check(self) -> None:
        """Reads the file now, and again until it stays the same."""
        await self._follower.check()

    async def _read(self, content: bytes | str) -> bool:
        try:
            if isinstance(content, str):
                raise CatalogueError([CatalogueProblem(0, "", f"cannot be read: {content}")])
            found = await asyncio.to_thread(catalogue.parse, self._file, content, now=self._clock())
        except CatalogueError as error:
            first = error.problems[0]
            _log.error(
                "service_group_catalogue_rejected",
                file=str(self._file),
                line=first.line,
                key=first.key,
                problems=str(error),
            )
            self._on_usable_change(False)
            return False
        _log.info("service_group_catalogue_loaded", file=str(self._file), groups=len(found.groups))
        self._on_change(found)
        self._on_usable_change(True)
        return True

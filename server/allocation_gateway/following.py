"""Follows a file while the gateway runs.

The content is read and compared rather than the file's times: an edit in place, a file moved over it and the symbolic
link of a Kubernetes mount that changes its target look the same, on every file system.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Final, NamedTuple

import structlog

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

# A file that is being written is read half: what has changed counts once it has stayed the same for so long.
SETTLE: Final = 0.25
_log = structlog.get_logger()


class Look(NamedTuple):
    """A look at a file.

    Attributes:
        content: What is in it, up to one byte more than it may hold; as text why it cannot be read.
        changed_at: When it was last written to, by the file system's clock.
    """

    content: bytes | str
    changed_at: int = 0


def look(file: Path, most: int) -> Look:
    """Looks at a file that may hold so many bytes."""
    try:
        with file.open("rb") as opened:
            return Look(opened.read(most + 1), os.fstat(opened.fileno()).st_mtime_ns)
    except OSError as error:
        return Look(error.strerror or type(error).__name__)


class Follower:
    """Reads a file again and again, and tells of every new content."""

    def __init__(
        self,
        file: Path,
        content: bytes | None,
        *,
        most: int,
        interval: float,
        on_content: Callable[[bytes | str], Awaitable[None]],
    ) -> None:
        """Starts from a content that is known already.

        Args:
            file: The file.
            content: What was in it; None if that is not known.
            most: How many bytes it may hold. One more is read of a larger one.
            interval: Seconds between two looks.
            on_content: Is given every new content; as text why it cannot be read.
        """
        self._file = file
        self._latest: bytes | str | None = content
        self._most = most
        self._interval = interval
        self._on_content = on_content
        self._reading = asyncio.Lock()

    async def run(self) -> None:
        """Follows the file until it is cancelled."""
        while True:
            await asyncio.sleep(self._interval)
            try:
                await self.check()
            except Exception:  # noqa: BLE001 - whatever is in a file must not end the following of it
                _log.exception("defect", file=str(self._file))

    async def check(self, *, at_once: bool = False) -> None:
        """Reads the file now, and again until it stays the same, unless what is in it now is wanted at once."""
        async with self._reading:
            found = await self._look()
            if found.content == self._latest:
                return
            while not at_once:
                await asyncio.sleep(SETTLE)
                again = await self._look()
                if again == found:
                    break
                found = again
            if found.content != self._latest:
                self._latest = found.content
                await self._on_content(found.content)

    async def _look(self) -> Look:
        # In a thread: a file system that hangs must not hold up calls.
        return await asyncio.to_thread(look, self._file, self._most)

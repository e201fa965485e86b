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


class FileState:
    """Which content of a file is in use.

    Attributes:
        written_at: When that content was written, in seconds of the epoch; 0 as long as that is not known.
        is_usable: Whether the newest content is the one that is in use.
    """

    def __init__(self, report: Callable[[bool], None] = lambda _: None) -> None:
        """Starts with a content that is in use.

        Args:
            report: Is told whenever the newest content becomes one that can be used, or one that cannot.
        """
        self._report = report
        self.written_at = 0.0
        self.is_usable = True

    def in_use(self, changed_at: int) -> None:
        """Records that the newest content is in use, and when it was written, in nanoseconds of the epoch."""
        self.written_at = changed_at / 1e9
        self._set_usable(True)

    def refused(self) -> None:
        """Records that the newest content cannot be used, so that the one before still is."""
        self._set_usable(False)

    def _set_usable(self, is_usable: bool) -> None:
        if self.is_usable is not is_usable:
            self.is_usable = is_usable
            self._report(is_usable)


class FollowedFiles:
    """The states of all files that are followed, by the names of the settings that name them."""

    def __init__(self) -> None:
        self._states: dict[str, FileState] = {}
        self._report: Callable[[str, bool], None] = lambda _name, _usable: None

    def add(self, name: str) -> FileState:
        """Returns the state of one more file."""
        state = self._states[name] = FileState(lambda usable: self._report(name, usable))
        self._report(name, True)
        return state

    def remove(self, name: str, state: FileState) -> None:
        """Is called when a file is followed no more: it is reported as usable, unless another one has its name."""
        if self._states.get(name) is state:
            del self._states[name]
            self._report(name, True)

    def on_usable_change(self, report: Callable[[str, bool], None]) -> None:
        """Reports for each file whether its newest content is in use, now and whenever that changes."""
        self._report = report
        for name, state in self._states.items():
            report(name, state.is_usable)

    def written_at(self) -> list[tuple[float, dict[str, str]]]:
        """Returns when the contents in use were written, in seconds of the epoch, of the files of which it is known."""
        return [(state.written_at, {"file": name}) for name, state in list(self._states.items()) if state.written_at]

    def usable(self) -> list[tuple[float, dict[str, str]]]:
        """Returns 1 for each file whose newest content is in use, and 0 for the others."""
        return [(float(state.is_usable), {"file": name}) for name, state in list(self._states.items())]


class Follower:
    """Reads a file again and again, and tells of every new content."""

    def __init__(
        self,
        file: Path,
        content: bytes | None,
        *,
        most: int,
        interval: float,
        on_content: Callable[[bytes | str], Awaitable[bool]],
        state: FileState | None = None,
        tries_again: bool = False,
    ) -> None:
        """Starts from a content that is known already.

        Args:
            file: The file.
            content: What was in it; None if that is not known.
            most: How many bytes it may hold. One more is read of a larger one.
            interval: Seconds between two looks.
            on_content: Is given every new content; as text why it cannot be read. It returns whether that is used.
            state: What takes note of which content is in use; None if nobody asks.
            tries_again: Whether a content that could not be used is given again at each look: since it names other
                files, say, which may be there by then.
        """
        self._file = file
        self._tries_again = tries_again
        self._latest: bytes | str | None = content
        self._most = most
        self._interval = interval
        self._on_content = on_content
        self._state = state or FileState()
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
                if self._state.is_usable:
                    self._state.in_use(found.changed_at)
                elif self._tries_again:
                    await self._give(found)
                return
            while not at_once:
                await asyncio.sleep(SETTLE)
                again = await self._look()
                if again == found:
                    break
                found = again
            if found.content != self._latest:
                self._latest = found.content
                await self._give(found)

    async def _give(self, found: Look) -> None:
        if await self._on_content(found.content):
            self._state.in_use(found.changed_at)
        else:
            self._state.refused()

    async def _look(self) -> Look:
        # In a thread: a file system that hangs must not hold up calls.
        return await asyncio.to_thread(look, self._file, self._most)

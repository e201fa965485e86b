"""Follows the file of an API's key while the gateway runs, so that a key is replaced without a restart."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import structlog

from allocation_gateway.following import Follower
from allocation_gateway.settings.key_files import key_of
from allocation_gateway.telemetry.conventions import account_attributes

if TYPE_CHECKING:
    from pathlib import Path

    from allocation_gateway.following import FileState
    from allocation_gateway.upstream.client import Upstream

INTERVAL: Final = 1.0
_MOST_BYTES: Final = 65_536
_log = structlog.get_logger()


class KeyFile:
    """Gives an API the key that its file holds. A file that cannot be used leaves the last good key in use."""

    def __init__(self, upstream: Upstream, file: Path, state: FileState) -> None:
        """Takes the API, which has been given what the file held before."""
        self._upstream = upstream
        self._file = file
        self._follower = Follower(file, None, most=_MOST_BYTES, interval=INTERVAL, on_content=self._take, state=state)
        self._asked: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Follows the file until it is cancelled."""
        await self._follower.run()

    async def check(self) -> None:
        """Reads the file now, and again until it stays the same."""
        await self._follower.check()

    async def ask(self) -> None:
        """Reads the file at once, since upstream refuses the key. Whoever asks meanwhile waits for the same reading."""
        if self._asked is None or self._asked.done():
            self._asked = asyncio.create_task(self._follower.check(at_once=True))
        await asyncio.shield(self._asked)

    async def _take(self, content: bytes | str) -> bool:
        told = {"api": self._upstream.api.value, **account_attributes(self._upstream.account)}
        try:
            if isinstance(content, str):
                raise ValueError(f"cannot be read: {content}")
            key = key_of(content)
        except ValueError as error:
            _log.error("api_key_rejected", file=str(self._file), problem=str(error), **told)
            return False
        if await self._upstream.use_key(key):
            _log.info("api_key_loaded", file=str(self._file), **told)
        return True

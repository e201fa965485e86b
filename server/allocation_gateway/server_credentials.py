"""Follows the files that the URL of a Valkey or Redis server names: passwords, certificates, keys and authorities.

A new content counts when the server has let somebody in with it. Then the connections that there are are replaced, so
that what it replaces can be revoked.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Final

import structlog
from redis.exceptions import RedisError

from allocation_gateway.following import Follower, look
from allocation_gateway.pooling import try_connection
from allocation_gateway.server_diagnosis import diagnose
from allocation_gateway.settings import server_url

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from allocation_gateway.following import FollowedFiles
    from allocation_gateway.settings import Secret

_INTERVAL: Final = 1.0
_MOST_BYTES: Final = 1_048_576
_FAILURES: Final = (RedisError, OSError, TimeoutError)
_log = structlog.get_logger()


class ServerCredentials:
    """The files of one URL, which may be replaced while the gateway runs."""

    def __init__(
        self,
        setting: str,
        url: Secret,
        followed: FollowedFiles,
        *,
        renew: Callable[[], Awaitable[None]],
    ) -> None:
        """Takes what the files hold now, which the connections that there are were made with.

        Args:
            setting: The name of the setting that holds the URL.
            url: The URL.
            followed: Takes note of which contents are in use, by the names of the setting and the URL's option.
            renew: Replaces the connections that there are.
        """
        self._setting = setting
        self._url = url
        self._renew = renew
        # What was told of each file that could not be used, which is tried again and again.
        self._told: dict[str, str] = {}
        self._followers = [
            self._follower(option, Path(file), followed)
            for option, file in server_url.files(server_url.parse(url.reveal())).items()
        ]

    def _follower(self, option: str, file: Path, followed: FollowedFiles) -> Follower:
        async def take(content: bytes | str) -> bool:
            return await self._take(option, str(file), content)

        content = look(file, _MOST_BYTES).content
        return Follower(
            file,
            content if isinstance(content, bytes) else None,
            most=_MOST_BYTES,
            interval=_INTERVAL,
            on_content=take,
            state=followed.add(f"{self._setting}.{option}"),
            # The server may learn of a password after the file, and a key may be written after its certificate.
            tries_again=True,
        )

    async def run(self) -> None:
        """Follows the files until it is cancelled."""
        await asyncio.gather(*(follower.run() for follower in self._followers))

    async def reread(self) -> None:
        """Reads the files now, and again until they stay the same."""
        await asyncio.gather(*(follower.check() for follower in self._followers))

    async def _take(self, option: str, file: str, content: bytes | str) -> bool:
        problem = f"cannot be read: {content}" if isinstance(content, str) else await self._problem()
        told = {"setting": self._setting, "option": option, "file": file}
        if problem:
            if self._told.get(option) != problem:
                self._told[option] = problem
                _log.error("server_credentials_rejected", problem=problem, **told)
            return False
        self._told.pop(option, None)
        await self._renew()
        _log.info("server_credentials_loaded", **told)
        return True

    async def _problem(self) -> str:
        """Returns why a new connection cannot be made; nothing if it can."""
        try:
            await try_connection(self._url)
        except _FAILURES as error:
            return diagnose(error, self._url).text
        return ""

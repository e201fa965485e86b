"""Follows the policy file while the gateway runs. After a bad edit the last good policy stays in use."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import structlog

from allocation_gateway.callers import policy, rpcs
from allocation_gateway.callers.policy import PolicyError
from allocation_gateway.following import Follower

if TYPE_CHECKING:
    from pathlib import Path

    from allocation_gateway.following import FileState

_INTERVAL: Final = 1.0
_log = structlog.get_logger()


class PolicyFile:
    """The policy of a file.

    Attributes:
        current: The policy that is in use.
    """

    def __init__(self, file: Path, content: bytes, state: FileState | None = None) -> None:
        """Starts with a content that can be used."""
        self._file = file
        self._groups = rpcs.groups()
        self.current = policy.parse(content, self._groups)
        self._follower = Follower(
            file, content, most=policy.MOST_BYTES, interval=_INTERVAL, on_content=self._take, state=state
        )

    async def run(self) -> None:
        """Follows the file until it is cancelled."""
        await self._follower.run()

    async def reread(self) -> None:
        """Reads the file now, and again until it stays the same."""
        await self._follower.check()

    async def _take(self, content: bytes | str) -> bool:
        try:
            if isinstance(content, str):
                raise PolicyError(f"cannot be read: {content}")
            found = await asyncio.to_thread(policy.parse, content, self._groups, self.current)
        except PolicyError as error:
            _log.error("policy_rejected", file=str(self._file), problem=str(error))
            return False
        self.current = found
        _log.info("policy_loaded", file=str(self._file), rules=len(found))
        return True

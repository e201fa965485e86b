"""Where the keys of tokens come from: a file that is followed, or a URL that is asked again and again."""

from __future__ import annotations

import asyncio
import re
import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import structlog

from allocation_gateway.callers import keys
from allocation_gateway.callers.keys import NO_KEYS, KeyRing
from allocation_gateway.following import Follower
from allocation_gateway.upstream.engines import AUTO, open_engine
from allocation_gateway.upstream.http import Attempt, NoAnswerError, Target
from allocation_gateway.version import __version__

if TYPE_CHECKING:
    from pathlib import Path

    from allocation_gateway.following import FileState
    from allocation_gateway.upstream.http import Answer

# A token that names a key which is not known has the keys read at once, but not more often than so, in seconds.
_FILE_ASKED_EVERY: Final = 1.0
_URL_ASKED_EVERY: Final = 10.0
# So many calls wait for that at a time. Further ones are refused at once: whoever makes up keys must not hold calls.
_MOST_WAITING: Final = 64
_FILE_INTERVAL: Final = 1.0
# Seconds for which keys from a URL are fresh, unless the answer says otherwise, and within which bounds it may.
_FRESH: Final = 300.0
_SHORTEST_FRESH: Final = 60.0
_LONGEST_FRESH: Final = 3600.0
# They are asked for anew when so much of that has passed, and so many seconds after that failed.
_AHEAD: Final = 0.8
_AGAIN: Final = 10.0
# Seconds after which keys that cannot be read anew count no more.
_STALE: Final = 86_400.0
_TIMEOUT: Final = 5.0
_OK: Final = 200
_MAX_AGE: Final = re.compile(r"(?:^|[\s,])max-age=(\d{1,9})\b", re.IGNORECASE)
_log = structlog.get_logger()


class KeySource(ABC):
    """Keys that change while the gateway runs.

    Attributes:
        ring: The keys now.
    """

    def __init__(self, ring: KeyRing, asked_every: float) -> None:
        self.ring = ring
        self._asked_every = asked_every
        self._next = 0.0
        self._asked: asyncio.Task[None] | None = None
        self._waiting = 0

    async def ask(self) -> None:
        """Reads the keys anew, since a token names one that is not known, unless that was done just now."""
        if self._asked is None or self._asked.done():
            now = time.monotonic()
            if now < self._next:
                return
            self._next = now + self._asked_every
            self._asked = asyncio.create_task(self.reread())
        if self._waiting < _MOST_WAITING:
            self._waiting += 1
            try:
                await asyncio.shield(self._asked)
            finally:
                self._waiting -= 1

    @abstractmethod
    async def run(self) -> None:
        """Keeps the keys up to date until it is cancelled."""

    @abstractmethod
    async def reread(self) -> None:
        """Reads the keys anew. What cannot be used leaves the last good ones in use."""

    async def close(self) -> None:
        """Ends what is under way."""
        if self._asked is not None:
            self._asked.cancel()

    def _use(self, content: bytes, source: str) -> bool:
        try:
            ring = keys.parse(content)
        except ValueError as error:
            self._rejected(source, str(error))
            return False
        _log.info("token_keys_loaded", source=source, keys=len(ring))
        self.ring = ring
        return True

    @staticmethod
    def _rejected(source: str, problem: str) -> None:
        _log.error("token_keys_rejected", source=source, problem=problem)


class KeysFromFile(KeySource):
    """Keys in a file that is followed."""

    def __init__(self, file: Path, content: bytes, state: FileState | None = None) -> None:
        """Starts with a content that can be used."""
        super().__init__(keys.parse(content), _FILE_ASKED_EVERY)
        self._file = file
        self._follower = Follower(
            file, content, most=keys.MOST_BYTES, interval=_FILE_INTERVAL, on_content=self._take, state=state
        )

    async def run(self) -> None:
        """See KeySource."""
        await self._follower.run()

    async def reread(self) -> None:
        """See KeySource."""
        await self._follower.check(at_once=True)

    async def _take(self, content: bytes | str) -> bool:
        if isinstance(content, str):
            self._rejected(str(self._file), f"cannot be read: {content}")
            return False
        return self._use(content, str(self._file))


class KeysFromUrl(KeySource):
    """Keys that an issuer publishes."""

    def __init__(self, url: str) -> None:
        """Opens no connection yet, and has no keys."""
        super().__init__(NO_KEYS, _URL_ASKED_EVERY)
        parts = urlsplit(url)
        # Without what may be a secret, for the log.
        self._source = url.partition("?")[0]
        self._path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._engine = open_engine(
            AUTO,
            Target(
                base_url=f"{parts.scheme}://{parts.netloc}",
                headers=[("accept", "application/json"), ("user-agent", f"allocation-gateway/{__version__}")],
                connect_timeout=_TIMEOUT,
                max_connections=1,
                max_answer_bytes=keys.MOST_BYTES,
            ),
        )
        self._content = b""
        self._read_at = time.monotonic()
        self._pause = 0.0

    async def run(self) -> None:
        """See KeySource."""
        while True:
            await asyncio.sleep(self._pause)
            try:
                await self.reread()
            except Exception:  # noqa: BLE001 - whatever is answered must not end the asking for good
                _log.exception("defect", part="token keys")

    async def reread(self) -> None:
        """See KeySource."""
        self._pause = _AGAIN
        try:
            async with asyncio.timeout(_TIMEOUT):
                answer = await self._engine.exchange("GET", self._path, body=None, headers=[], attempt=Attempt())
        except (NoAnswerError, TimeoutError) as error:
            self._failed(str(error) or "there was no answer in time")
            return
        if answer.status != _OK or answer.problem or answer.packed is not None:
            self._failed(answer.problem or f"HTTP status {answer.status}")
        elif answer.body == self._content or self._use(answer.body, self._source):
            self._content = answer.body
            self._read_at = time.monotonic()
            self._pause = _AHEAD * _fresh(answer)

    def _failed(self, problem: str) -> None:
        self._rejected(self._source, problem)
        if len(self.ring) and time.monotonic() - self._read_at > _STALE:
            self._content, self.ring = b"", NO_KEYS

    async def close(self) -> None:
        """See KeySource."""
        await super().close()
        await self._engine.close()


def _fresh(answer: Answer) -> float:
    """Returns for how many seconds an answer says that it is fresh."""
    told = _MAX_AGE.search(answer.headers.get("cache-control", ""))
    return _FRESH if told is None else min(max(float(told[1]), _SHORTEST_FRESH), _LONGEST_FRESH)

"""The body of an answer: decompressed, bounded in size, and with what is wrong with it."""

from __future__ import annotations

import zlib
from typing import Final

# What the documentation calls it, and what the standard does.
_GZIP: Final = frozenset({"gzip", "x-gzip", "gzipped"})
_GZIP_WINDOW: Final = 31
# So much is decompressed as it comes. What follows is left for later, since it keeps the event loop from turning.
_AT_ONCE: Final = 1_048_576
# Parts are put together when there are so many: a server may send bytes one by one.
_MANY_PARTS: Final = 1_024


class Body:
    """Takes a body part by part.

    Attributes:
        problem: Why it cannot be read; empty as long as it can.
    """

    __slots__ = ("_joined", "_limit", "_parts", "_rest", "_size", "_unzip", "problem")

    def __init__(self, limit: int, encoding: str = "identity") -> None:
        self._limit = limit
        self._parts: list[bytes] = []
        self._joined: bytearray | None = None
        self._size = 0
        self._unzip = None
        self._rest: Rest | None = None
        self.problem = ""
        encoding = encoding.strip().lower()
        if encoding in _GZIP:
            self._unzip = zlib.decompressobj(_GZIP_WINDOW)
        elif encoding != "identity":
            self.problem = "the body has an encoding that was not asked for"

    def add(self, part: bytes) -> bool:
        """Takes the next part. Returns False if no further one is of any use."""
        if self._rest is not None:
            if not self._rest.add(part):
                self.problem = _too_large(self._limit)
            return not self.problem
        if self._unzip is not None:
            part = self._unzipped(self._unzip, part)
        self._size += len(part)
        if self._size > self._limit:
            self.problem = _too_large(self._limit)
        if self.problem:
            return False
        self._parts.append(part)
        if len(self._parts) >= _MANY_PARTS:
            self._join()
        return True

    def _join(self) -> None:
        if self._joined is None:
            self._joined = bytearray()
        self._joined += b"".join(self._parts)
        self._parts.clear()

    def _unzipped(self, unzip: zlib._Decompress, part: bytes) -> bytes:
        """Decompresses a part, but never further than just beyond the limit, whatever it would become."""
        room = self._limit + 1 - self._size
        try:
            unzipped = unzip.decompress(part, min(room, _AT_ONCE))
        except zlib.error:
            self.problem = _NOT_GZIP
            return b""
        if unzip.unused_data:
            self.problem = _NOT_GZIP
        elif len(unzipped) < room and self._size + len(unzipped) >= _AT_ONCE:
            self._rest = Rest(self._limit, self._size + len(unzipped), unzip)
        return unzipped

    def cut_short(self) -> None:
        """Notes that the rest of it will not come."""
        self.problem = self.problem or _ENDED_EARLY

    def whole(self) -> tuple[bytes, str, Rest | None]:
        """Returns the body and what is wrong with it, of which one is empty, and what is still to be decompressed."""
        if self.problem:
            return b"", self.problem, None
        if self._rest is not None:
            self._rest.before = self._content()
            return b"", "", self._rest
        if self._unzip is not None and not self._unzip.eof and self._parts:
            return b"", _ENDED_EARLY, None
        return self._content(), "", None

    def _content(self) -> bytes:
        if self._joined is None:
            return b"".join(self._parts)
        self._join()
        return bytes(self._joined)


class Rest:
    """What of a body is still to be decompressed: as much as would take long.

    Attributes:
        before: What was decompressed.
    """

    __slots__ = ("_limit", "_packed", "_size", "_unzip", "before")

    def __init__(self, limit: int, size: int, unzip: zlib._Decompress) -> None:
        self.before = b""
        self._limit = limit
        self._size = size
        self._unzip = unzip
        self._packed = bytearray(unzip.unconsumed_tail)

    def add(self, part: bytes) -> bool:
        """Takes the next compressed part. Returns False if no further one is of any use."""
        self._packed += part
        # It is not even smaller than what it would become.
        return len(self._packed) <= self._limit

    def unpacked(self) -> tuple[bytes, str]:
        """Returns the whole body, and what is wrong with it: one of them is empty. Any thread may call it, once."""
        parts, unzip, pending = [self.before], self._unzip, bytes(self._packed)
        while not unzip.eof:
            try:
                part = unzip.decompress(pending, _AT_ONCE)
            except zlib.error:
                return b"", _NOT_GZIP
            pending = unzip.unconsumed_tail
            self._size += len(part)
            if self._size > self._limit:
                return b"", _too_large(self._limit)
            if not part and not pending:
                return b"", _ENDED_EARLY
            parts.append(part)
        if unzip.unused_data or pending:
            return b"", _NOT_GZIP
        return b"".join(parts), ""


_NOT_GZIP: Final = "the body is not valid gzip"
_ENDED_EARLY: Final = "the body ended early"


def _too_large(limit: int) -> str:
    return f"the body is larger than {limit} bytes"

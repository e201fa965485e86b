"""The body of an answer: decompressed, bounded in size, and with what is wrong with it."""

from __future__ import annotations

import zlib
from typing import Final

# What the documentation calls it, and what the standard does.
_GZIP: Final = frozenset({"gzip", "x-gzip", "gzipped"})
_GZIP_WINDOW: Final = 31


class Body:
    """Takes a body part by part.

    Attributes:
        problem: Why it cannot be read; empty as long as it can.
    """

    __slots__ = ("_limit", "_parts", "_size", "_unzip", "problem")

    def __init__(self, limit: int, encoding: str = "identity") -> None:
        self._limit = limit
        self._parts: list[bytes] = []
        self._size = 0
        self._unzip = None
        self.problem = ""
        encoding = encoding.strip().lower()
        if encoding in _GZIP:
            self._unzip = zlib.decompressobj(_GZIP_WINDOW)
        elif encoding != "identity":
            self.problem = "the body has an encoding that was not asked for"

    def add(self, part: bytes) -> bool:
        """Takes the next part. Returns False if no further one is of any use."""
        if self._unzip is not None:
            part = self._unzipped(self._unzip, part)
        self._size += len(part)
        if self._size > self._limit:
            self.problem = f"the body is larger than {self._limit} bytes"
        if self.problem:
            return False
        self._parts.append(part)
        return True

    def _unzipped(self, unzip: zlib._Decompress, part: bytes) -> bytes:
        """Decompresses a part, but never further than just beyond the limit, whatever it would become."""
        try:
            unzipped = unzip.decompress(part, self._limit + 1 - self._size)
        except zlib.error:
            self.problem = "the body is not valid gzip"
            return b""
        if unzip.unused_data:
            self.problem = "the body is not valid gzip"
        return unzipped

    def cut_short(self) -> None:
        """Notes that the rest of it will not come."""
        self.problem = self.problem or "the body ended early"

    def whole(self) -> tuple[bytes, str]:
        """Returns the body, and what is wrong with it: one of them is empty."""
        if self._unzip is not None and not self._unzip.eof and self._parts:
            self.cut_short()
        if self.problem:
            return b"", self.problem
        return b"".join(self._parts), ""

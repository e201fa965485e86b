"""Tells when a ClientHello, with which a client of TLS begins, is there as a whole.

It may be spread over several records. The server computes its part of the handshake in the moment in which the last of
them has come, so that the first one says nothing about when that is.
"""

from __future__ import annotations

import struct
from typing import Final

# A record of TLS begins with its kind, its version and its length.
_RECORD: Final = struct.Struct(">BHH")
_HANDSHAKE: Final = 22
# A message of a handshake begins with its kind, and its length in three bytes.
_MESSAGE_HEADER_SIZE: Final = 4
_CLIENT_HELLO: Final = 1

FIRST_BYTES: Final = _RECORD.size
"""Bytes without which nothing can be told."""
MOST_BYTES: Final = _RECORD.size + 16_384
"""Bytes that a ClientHello may take with its records: as many as one record has, which is several times what those with
keys for post-quantum cryptography and a ticket take."""


class UnexpectedBytesError(Exception):
    """They begin no ClientHello that is served.

    What OpenSSL would pass over while it waits for the rest is among them: empty records, warnings, and greetings of
    SSL 2. Who sent such would choose the moment in which the handshake is computed.
    """


class ClientHello:
    """What is known of one, of which ever more is seen."""

    __slots__ = ("_begin", "_next_record", "_received", "_size")

    def __init__(self) -> None:
        # Where the record begins that is not complete, and the size of the message in those before it.
        self._next_record = 0
        self._received = 0
        # The first bytes of the message, and its size: at least, before they are there.
        self._begin = b""
        self._size = _MESSAGE_HEADER_SIZE

    def missing(self, seen: bytes) -> int:
        """Returns how many bytes have to come at least before it can be complete: none if it is.

        Args:
            seen: What has come, from the beginning. It is no shorter than the time before.

        Raises:
            UnexpectedBytesError: It is none.
        """
        while self._received < self._size:
            begin = self._next_record
            body = begin + _RECORD.size
            if len(seen) > begin and seen[begin] != _HANDSHAKE:
                raise UnexpectedBytesError
            if len(seen) < body:
                return self._within(body - len(seen) + self._size - self._received, seen)
            _, _, length = _RECORD.unpack_from(seen, begin)
            end = body + length
            if not length or end > MOST_BYTES:
                raise UnexpectedBytesError
            if len(seen) < end:
                after = self._size - self._received - length
                return self._within(end - len(seen) + (_RECORD.size + after if after > 0 else 0), seen)
            self._take(seen[body : min(end, body + _MESSAGE_HEADER_SIZE)], length)
            self._next_record = end
        return 0

    def _take(self, first: bytes, length: int) -> None:
        """Takes a record that is complete."""
        self._received += length
        if len(self._begin) == _MESSAGE_HEADER_SIZE:
            return
        self._begin = (self._begin + first)[:_MESSAGE_HEADER_SIZE]
        if self._begin[0] != _CLIENT_HELLO:
            raise UnexpectedBytesError
        if len(self._begin) == _MESSAGE_HEADER_SIZE:
            self._size = _MESSAGE_HEADER_SIZE + int.from_bytes(self._begin[1:])

    @staticmethod
    def _within(count: int, seen: bytes) -> int:
        if len(seen) + count > MOST_BYTES:
            raise UnexpectedBytesError
        return count

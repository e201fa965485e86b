"""TLS of one connection, without its socket: bytes come in, and others are to be sent.

OpenSSL works through all that it is given until it finds data, or has an answer. What it finds on its way costs time
that nobody sees: a record that changes the keys takes twenty microseconds, and is 27 bytes long. So it is given one
record at a time, and those that brought no data are counted.
"""

from __future__ import annotations

import ssl
from contextlib import suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

LARGEST_PLAINTEXT: Final = 16_384
"""Bytes that one record is for."""
_HEADER_SIZE: Final = 5
# With what a record begins: its kind, and the version of all that there are.
_KINDS: Final = range(20, 24)
_MAJOR_VERSION: Final = 3
# Bytes that follow the header of a record: as many as any version of TLS allows. OpenSSL refuses more by the header.
_LARGEST_BODY: Final = LARGEST_PLAINTEXT + 2_048
# What is worked through at once, in records with data, and what one without counts for: such a one ends its turn.
_RECORDS_AT_ONCE: Final = 32
_EMPTY_RECORD_COST: Final = 32
# Records without data that may come beyond one for so many bytes of data. Clients change their keys once in many
# gigabytes.
_MOST_EMPTY_RECORDS: Final = 32
_BYTES_PER_EMPTY_RECORD: Final = 1_024
# Records until a handshake ends. Clients need seven at most, or some more if they spread a message over several: each
# one may take a step of its own, for which others wait.
_MOST_HANDSHAKE_RECORDS: Final = 64


class TlsFloodError(Exception):
    """The peer has sent too much that is no data."""


class TlsSession:
    """The server's side of TLS.

    Attributes:
        ssl_object: What OpenSSL knows of the peer.
        is_ended: Whether the peer has said that it sends nothing more.
        has_record: Whether a record waits for another turn.
        encrypted: Returns what is to be sent, once.
    """

    __slots__ = (
        "_data_bytes",
        "_decrypt",
        "_empty",
        "_encrypt",
        "_feed",
        "_handshake_records",
        "_outgoing",
        "_position",
        "_waiting",
        "encrypted",
        "has_record",
        "is_ended",
        "ssl_object",
    )

    def __init__(self, context: ssl.SSLContext) -> None:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.ssl_object = context.wrap_bio(incoming, outgoing, server_side=True)
        self.is_ended = False
        self.has_record = False
        self._outgoing = outgoing
        self._feed = incoming.write
        self._decrypt: Callable[[int], bytes] = self.ssl_object.read
        self._encrypt = self.ssl_object.write
        self.encrypted: Callable[[], bytes] = outgoing.read
        # What has come, and up to where OpenSSL was given it.
        self._waiting = b""
        self._position = 0
        # Records without data that data has not made up for, bytes of data that have made up for none yet, and records
        # of the handshake.
        self._empty = 0
        self._data_bytes = 0
        self._handshake_records = 0

    def take(self, data: memoryview) -> None:
        """Takes what has come, for another turn."""
        self._waiting = b"".join((self._waiting[self._position :], data))
        self._position = 0
        self.has_record = self._record_end(0) > 0

    def shake_hands(self) -> bool:
        """Goes on with the handshake by what waits, until the server has something to say.

        Returns:
            Whether the handshake has ended. Else it needs another turn, and more that has come if has_record is false.

        Raises:
            ssl.SSLError: It has failed. What the peer is to be told of that is to be sent.
            TlsFloodError: It takes too many records.
        """
        left, is_done = _RECORDS_AT_ONCE, False
        while left and not is_done and self._feed_next():
            self._handshake_records += 1
            if self._handshake_records > _MOST_HANDSHAKE_RECORDS:
                raise TlsFloodError
            left -= 1
            try:
                self.ssl_object.do_handshake()
            except ssl.SSLWantReadError:
                if self._outgoing.pending:
                    left = 0
            else:
                is_done = True
        self._tidy_up()
        return is_done

    def receive(self, data: memoryview) -> bytes:
        """Takes what has come, and returns the data in it: as much as a turn is for.

        Raises:
            ssl.SSLError: It is not what TLS allows. What the peer is to be told of that is to be sent.
            TlsFloodError: Too many records had no data.
        """
        size = len(data) - _HEADER_SIZE
        if self._waiting or size <= 0 or data[3] << 8 | data[4] != size or size > _LARGEST_BODY:
            self.take(data)
            return self.read()
        # One record as a whole, as nearly always.
        self._feed(data)
        try:
            found = self._decrypt(size)
        except ssl.SSLWantReadError:
            self._count_empty_record()
            return b""
        if not found:
            self.is_ended = True
        elif self._empty:
            self._make_up(len(found))
        return found

    def read(self) -> bytes:
        """Returns the data of what waits: as much as a turn is for.

        Raises:
            ssl.SSLError: See receive().
            TlsFloodError: See receive().
        """
        left, parts = _RECORDS_AT_ONCE, []
        while left > 0 and (size := self._feed_next()):
            try:
                found = self._decrypt(size)
            except ssl.SSLWantReadError:
                self._count_empty_record()
                left -= _EMPTY_RECORD_COST
                continue
            if not found:
                self.is_ended = True
                break
            parts.append(found)
            left -= 1
            if self._empty:
                self._make_up(len(found))
        self._tidy_up()
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def encrypt(self, data: bytes | bytearray | memoryview) -> bytes:
        """Returns what is to be sent for data, of which there are no more than LARGEST_PLAINTEXT bytes.

        Raises:
            ssl.SSLError: Nothing can be sent any more.
        """
        self._encrypt(data)
        return self.encrypted()

    def end(self) -> bytes:
        """Returns what tells the peer that nothing more is sent, after which nothing is."""
        # It nearly always is an error: the peer has not said the same yet, or the session had failed already.
        with suppress(ssl.SSLError):
            self.ssl_object.unwrap()
        return self.encrypted()

    def _feed_next(self) -> int:
        """Gives OpenSSL the next record. Returns its size, or 0 if not all of it has come."""
        begin = self._position
        end = self._record_end(begin)
        if not end:
            return 0
        self._feed(memoryview(self._waiting)[begin:end])
        self._position = end
        return end - begin

    def _make_up(self, size: int) -> None:
        """Counts data that makes up for records without any."""
        made_up, self._data_bytes = divmod(self._data_bytes + size, _BYTES_PER_EMPTY_RECORD)
        self._empty = max(self._empty - made_up, 0)

    def _count_empty_record(self) -> None:
        self._empty += 1
        if self._empty > _MOST_EMPTY_RECORDS:
            raise TlsFloodError

    def _record_end(self, begin: int) -> int:
        """Returns where the record ends that begins at a position of what waits, or 0 if not all of it has come."""
        data = self._waiting
        body = begin + _HEADER_SIZE
        if len(data) < body:
            return 0
        length = data[begin + 3] << 8 | data[begin + 4]
        if length > _LARGEST_BODY or data[begin] not in _KINDS or data[begin + 1] != _MAJOR_VERSION:
            return len(data)  # OpenSSL refuses it for its header, and what it says it has may never come
        end = body + length
        return end if end <= len(data) else 0

    def _tidy_up(self) -> None:
        self.has_record = self._record_end(self._position) > 0
        if not self.has_record and self._position:
            self._waiting, self._position = self._waiting[self._position :], 0

"""Messages as gRPC puts them into the body of a request: each with a flag and its length before it."""

from __future__ import annotations

import struct
import zlib
from typing import Final

from grpc import StatusCode

PREFIX_SIZE: Final = 5
ENCODINGS: Final = ("identity", "deflate", "gzip")

_PREFIX: Final = struct.Struct(">BI")
_WINDOWS: Final = {"deflate": zlib.MAX_WBITS, "gzip": zlib.MAX_WBITS | 16}
# What is compressed by gzip may have several members (RFC 1952, section 2.2), each of which costs, even if it is empty.
_MOST_MEMBERS: Final = {"deflate": 1, "gzip": 16}


class UnreadableError(Exception):
    """There is no message, or none that may be read.

    Attributes:
        code: The status that says so.
    """

    def __init__(self, code: StatusCode, why: str) -> None:
        super().__init__(why)
        self.code = code


class Oversized(bytes):
    """What a handler gets in the place of a message that was larger than allowed, and was not kept."""

    __slots__ = ()


def unparsed(message: bytes) -> bytes:
    """Returns a message of a stream as it is: what is larger than allowed is passed over, and the call goes on.

    It is for handlers that take bytes, as the deserialiser of their requests. They get an Oversized for such a message,
    if the engine can tell them.
    """
    return message


def prefixed(message: bytes) -> bytes:
    """Returns a message as it is sent, not compressed."""
    return _PREFIX.pack(0, len(message)) + message


def size_of_first(body: bytes | bytearray) -> int | None:
    """Returns how many bytes the first message takes, as it says itself; None if not even that has come."""
    if len(body) < PREFIX_SIZE:
        return None
    size: int = _PREFIX.unpack_from(body)[1]
    return PREFIX_SIZE + size


def is_packed(body: bytes | bytearray) -> bool:
    """Tells whether the first message says that it is compressed."""
    return body[0] != 0


def read_only(body: bytes, encoding: str, limit: int) -> bytes:
    """Returns the one message that a body holds.

    Args:
        body: The whole body.
        encoding: How its messages are compressed, if they say that they are.
        limit: How many bytes a message may have.

    Raises:
        UnreadableError: There is not exactly one; or it is too large, or not compressed as it says.
    """
    size = size_of_first(body)
    if size is None or size > len(body):
        check_size(size or 0, limit)
        raise UnreadableError(StatusCode.INTERNAL, "The request ended in the middle of a message.")
    if size < len(body):
        raise UnreadableError(StatusCode.INTERNAL, "The request has more than one message.")
    return read(body, encoding, limit)


def read(framed: bytes, encoding: str, limit: int) -> bytes:
    """Returns a message without what stands before it, as `read_only` does."""
    check_size(len(framed), limit)
    flag = framed[0]
    if not flag:
        return framed[PREFIX_SIZE:]
    window = _WINDOWS.get(encoding)
    if flag != 1 or window is None:
        raise UnreadableError(
            StatusCode.INTERNAL,
            "The message is compressed, but grpc-encoding does not name a compression that the server has.",
        )
    message, rest = b"", framed[PREFIX_SIZE:]
    for _ in range(_MOST_MEMBERS[encoding]):
        unzip = zlib.decompressobj(window)
        try:
            member = unzip.decompress(rest, limit + 1 - len(message))
        except zlib.error:
            break
        message = message + member if message else member
        check_size(PREFIX_SIZE + len(message), limit)
        if not unzip.eof:
            break
        rest = unzip.unused_data
        if not rest:
            return message
    raise UnreadableError(StatusCode.INTERNAL, f"The message is not valid {encoding}.")


def check_size(size: int, limit: int) -> None:
    """Refuses a message that is larger, with what stands before it, than it may be without."""
    if is_oversized(size, limit):
        raise UnreadableError(StatusCode.RESOURCE_EXHAUSTED, f"The message is larger than {limit} bytes.")


def is_oversized(size: int, limit: int) -> bool:
    """Tells whether a message is larger, with what stands before it, than it may be without."""
    return size > PREFIX_SIZE + limit

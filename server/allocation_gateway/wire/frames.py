"""The frames of HTTP/2 (RFC 9113), as a server writes them."""

from __future__ import annotations

import struct
from typing import Final

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEAD_SIZE: Final = 9
# What both sides begin with, and what this one stays with: larger frames only make others wait.
MAX_FRAME_SIZE: Final = 16_384
LARGEST_FRAME_SIZE: Final = 2**24 - 1
DEFAULT_WINDOW: Final = 65_535
LARGEST_WINDOW: Final = 2**31 - 1
LARGEST_STREAM: Final = 2**31 - 1

DATA: Final = 0x0
HEADERS: Final = 0x1
PRIORITY: Final = 0x2
RST_STREAM: Final = 0x3
SETTINGS: Final = 0x4
PUSH_PROMISE: Final = 0x5
PING: Final = 0x6
GOAWAY: Final = 0x7
WINDOW_UPDATE: Final = 0x8
CONTINUATION: Final = 0x9

END_STREAM: Final = 0x1
ACK: Final = 0x1
END_HEADERS: Final = 0x4
PADDED: Final = 0x8
WITH_PRIORITY: Final = 0x20

NO_ERROR: Final = 0x0
PROTOCOL_ERROR: Final = 0x1
FLOW_CONTROL_ERROR: Final = 0x3
STREAM_CLOSED: Final = 0x5
FRAME_SIZE_ERROR: Final = 0x6
REFUSED_STREAM: Final = 0x7
CANCEL: Final = 0x8
COMPRESSION_ERROR: Final = 0x9
ENHANCE_YOUR_CALM: Final = 0xB

ENABLE_PUSH: Final = 0x2
MAX_CONCURRENT_STREAMS: Final = 0x3
INITIAL_WINDOW_SIZE: Final = 0x4
MAX_FRAME_SIZE_SETTING: Final = 0x5
MAX_HEADER_LIST_SIZE: Final = 0x6

# The length as 16 and 8 bits, since there is no format for 24: then the type, the flags and the stream.
_HEAD: Final = struct.Struct(">HBBBI")
_WORD: Final = struct.Struct(">I")
_SETTING: Final = struct.Struct(">HI")
_GOAWAY: Final = struct.Struct(">II")
read_head = _HEAD.unpack_from


def head(length: int, kind: int, flags: int, stream: int) -> bytes:
    """Returns the head of a frame."""
    return _HEAD.pack(length >> 8, length & 0xFF, kind, flags, stream)


def headers(stream: int, block: bytes, *, ends: bool) -> bytes:
    """Returns a block of headers, in as many frames as it takes."""
    flags = END_STREAM if ends else 0
    if len(block) <= MAX_FRAME_SIZE:
        return head(len(block), HEADERS, flags | END_HEADERS, stream) + block
    parts = [block[start : start + MAX_FRAME_SIZE] for start in range(0, len(block), MAX_FRAME_SIZE)]
    frames = [head(MAX_FRAME_SIZE, HEADERS, flags, stream), parts[0]]
    for part in parts[1:-1]:
        frames += (head(len(part), CONTINUATION, 0, stream), part)
    frames += (head(len(parts[-1]), CONTINUATION, END_HEADERS, stream), parts[-1])
    return b"".join(frames)


def reset(stream: int, code: int) -> bytes:
    """Returns the frame that ends a stream at once."""
    return head(4, RST_STREAM, 0, stream) + _WORD.pack(code)


def settings(values: dict[int, int]) -> bytes:
    """Returns the frame with this side's settings."""
    return head(6 * len(values), SETTINGS, 0, 0) + b"".join(_SETTING.pack(*setting) for setting in values.items())


def read_settings(payload: bytes) -> list[tuple[int, int]]:
    """Returns the settings in the payload of a frame, whose length is a multiple of six, in their order."""
    return list(_SETTING.iter_unpack(payload))


def window_update(stream: int, increment: int) -> bytes:
    """Returns the frame that lets the other side send more: on a stream, or in all if that is 0."""
    return head(4, WINDOW_UPDATE, 0, stream) + _WORD.pack(increment)


def ping(data: bytes, *, ack: bool) -> bytes:
    """Returns a ping of eight bytes, or the answer to one."""
    return head(8, PING, ACK if ack else 0, 0) + data


def goaway(last_stream: int, code: int, why: bytes = b"") -> bytes:
    """Returns the frame that says up to which stream calls are still answered, and why no others are."""
    return head(8 + len(why), GOAWAY, 0, 0) + _GOAWAY.pack(last_stream, code) + why


def word(payload: bytes) -> int:
    """Returns the first 31 bits of a payload as a number."""
    number: int = _WORD.unpack_from(payload)[0]
    return number & LARGEST_STREAM

"""The frames of HTTP/2 (RFC 9113): reading their payloads, and writing them. It knows no connection and no socket."""

from __future__ import annotations

import struct
from typing import Final

from allocation_gateway.wire.errors import Http2ConnectionError

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEADER_SIZE: Final = 9
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

_PING_SIZE: Final = 8
_WORD_SIZE: Final = 4
_PRIORITY_SIZE: Final = 5
_SETTING_SIZE: Final = 6
_MIN_GOAWAY_SIZE: Final = 8
# The length as 16 and 8 bits, since there is no format for 24: then the type, the flags and the stream.
_HEADER: Final = struct.Struct(">HBBBI")
_WORD: Final = struct.Struct(">I")
_SETTING: Final = struct.Struct(">HI")
_GOAWAY: Final = struct.Struct(">II")
read_header = _HEADER.unpack_from


def header(length: int, kind: int, flags: int, stream: int) -> bytes:
    """Returns the header of a frame."""
    return _HEADER.pack(length >> 8, length & 0xFF, kind, flags, stream)


def headers(stream: int, block: bytes, *, ends: bool) -> bytes:
    """Returns a block of headers, in as many frames as it takes."""
    flags = END_STREAM if ends else 0
    if len(block) <= MAX_FRAME_SIZE:
        return header(len(block), HEADERS, flags | END_HEADERS, stream) + block
    parts = [block[start : start + MAX_FRAME_SIZE] for start in range(0, len(block), MAX_FRAME_SIZE)]
    frames = [header(MAX_FRAME_SIZE, HEADERS, flags, stream), parts[0]]
    for part in parts[1:-1]:
        frames += (header(len(part), CONTINUATION, 0, stream), part)
    frames += (header(len(parts[-1]), CONTINUATION, END_HEADERS, stream), parts[-1])
    return b"".join(frames)


def reset(stream: int, code: int) -> bytes:
    """Returns the frame that ends a stream at once."""
    return header(4, RST_STREAM, 0, stream) + _WORD.pack(code)


def settings(values: dict[int, int]) -> bytes:
    """Returns the frame with this side's settings."""
    return header(6 * len(values), SETTINGS, 0, 0) + b"".join(_SETTING.pack(*setting) for setting in values.items())


def read_settings(flags: int, payload: bytes) -> list[tuple[int, int]]:
    """Returns the settings of a SETTINGS frame, in their order. An acknowledgement has none.

    Raises:
        Http2ConnectionError: The frame breaks the rules.
    """
    if flags & ACK and payload:
        raise Http2ConnectionError(FRAME_SIZE_ERROR, "A SETTINGS acknowledgement must be empty.")
    if len(payload) % _SETTING_SIZE:
        raise Http2ConnectionError(FRAME_SIZE_ERROR, "The length of SETTINGS must be a multiple of 6.")
    found = list(_SETTING.iter_unpack(payload))
    for key, value in found:
        if key == INITIAL_WINDOW_SIZE and value > LARGEST_WINDOW:
            raise Http2ConnectionError(FLOW_CONTROL_ERROR, "SETTINGS_INITIAL_WINDOW_SIZE must be below 2^31.")
        if key == ENABLE_PUSH and value > 1:
            raise Http2ConnectionError(PROTOCOL_ERROR, "SETTINGS_ENABLE_PUSH must be 0 or 1.")
        if key == MAX_FRAME_SIZE_SETTING and not MAX_FRAME_SIZE <= value <= LARGEST_FRAME_SIZE:
            raise Http2ConnectionError(PROTOCOL_ERROR, "SETTINGS_MAX_FRAME_SIZE must be from 2^14 to 2^24-1.")
    return found


def unpadded(flags: int, payload: bytes) -> bytes:
    """Returns the payload of DATA or HEADERS without its padding.

    Raises:
        Http2ConnectionError: The padding is longer than the frame.
    """
    if not flags & PADDED:
        return payload
    if not payload or payload[0] >= len(payload):
        raise Http2ConnectionError(PROTOCOL_ERROR, "The padding must be shorter than the frame.")
    return payload[1 : len(payload) - payload[0]]


def header_fragment(flags: int, stream: int, payload: bytes) -> bytes:
    """Returns the part of a field block that a HEADERS frame has.

    Raises:
        Http2ConnectionError: The frame breaks the rules.
    """
    payload = unpadded(flags, payload)
    if flags & WITH_PRIORITY:
        if len(payload) < _PRIORITY_SIZE:
            raise Http2ConnectionError(FRAME_SIZE_ERROR, "HEADERS is too short for its priority.")
        if word(payload) == stream:
            raise Http2ConnectionError(PROTOCOL_ERROR, "A stream must not depend on itself.")
        payload = payload[_PRIORITY_SIZE:]
    return payload


def priority_error(stream: int, payload: bytes) -> int:
    """Returns the error code for a PRIORITY frame, which RFC 9113 has done away with; NO_ERROR if it is right."""
    if len(payload) != _PRIORITY_SIZE:
        return FRAME_SIZE_ERROR
    return PROTOCOL_ERROR if word(payload) == stream else NO_ERROR


def read_increment(payload: bytes) -> int:
    """Returns the increment of a WINDOW_UPDATE frame.

    Raises:
        Http2ConnectionError: The frame has another size than it must have.
    """
    if len(payload) != _WORD_SIZE:
        raise Http2ConnectionError(FRAME_SIZE_ERROR, "The length of WINDOW_UPDATE must be 4.")
    return word(payload)


def check_reset(payload: bytes) -> None:
    """Checks a RST_STREAM frame.

    Raises:
        Http2ConnectionError: The frame has another size than it must have.
    """
    if len(payload) != _WORD_SIZE:
        raise Http2ConnectionError(FRAME_SIZE_ERROR, "The length of RST_STREAM must be 4.")


def check_ping(payload: bytes) -> None:
    """Checks a PING frame.

    Raises:
        Http2ConnectionError: The frame has another size than it must have.
    """
    if len(payload) != _PING_SIZE:
        raise Http2ConnectionError(FRAME_SIZE_ERROR, "The length of PING must be 8.")


def check_goaway(payload: bytes) -> None:
    """Checks a GOAWAY frame.

    Raises:
        Http2ConnectionError: The frame is shorter than it must be.
    """
    if len(payload) < _MIN_GOAWAY_SIZE:
        raise Http2ConnectionError(FRAME_SIZE_ERROR, "The length of GOAWAY must be at least 8.")


def window_update(stream: int, increment: int) -> bytes:
    """Returns the frame that lets the other side send more: on a stream, or in all if that is 0."""
    return header(4, WINDOW_UPDATE, 0, stream) + _WORD.pack(increment)


def ping(data: bytes, *, ack: bool) -> bytes:
    """Returns a ping of eight bytes, or the answer to one."""
    return header(8, PING, ACK if ack else 0, 0) + data


def goaway(last_stream: int, code: int, debug: bytes = b"") -> bytes:
    """Returns the frame that says up to which stream calls are still answered, and in a sentence why no others are."""
    return header(8 + len(debug), GOAWAY, 0, 0) + _GOAWAY.pack(last_stream, code) + debug


def word(payload: bytes) -> int:
    """Returns the first 31 bits of a payload as a number."""
    number: int = _WORD.unpack_from(payload)[0]
    return number & LARGEST_STREAM

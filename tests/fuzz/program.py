"""Inputs of the fuzzer, read as what a client does: each step is some bytes, and every input means something."""

from __future__ import annotations

import gzip
import struct
import zlib
from typing import TYPE_CHECKING, Final

from support.http2 import (
    ACK,
    END_HEADERS,
    END_STREAM,
    PADDED,
    PRIORITISED,
    Kind,
    frame,
    integer,
    literal,
    message,
    reset,
    window_update,
)

from fuzz.echo import BEHAVIOURS, PATHS

if TYPE_CHECKING:
    from collections.abc import Callable

    from fuzz.peer import Peer

# Seconds by which time may pass at once: around each of the server's limits.
TIMES: Final = (0.0, 0.001, 0.3, 1.1, 2.1, 4.0, 6.0, 11.0, 21.0, 71.0)
_NUMBERS: Final = (0, 1, 2, 5, 100, 4_096, 16_384, 65_535, 2**24 - 1, 2**31 - 1, 2**31, 2**32 - 1)
ENCODINGS: Final = ("identity", "gzip", "deflate")
# What headers may have besides, or instead.
_EXTRAS: Final = (
    (b"grpc-timeout", b"1S"),
    (b"grpc-timeout", b"0n"),
    (b"grpc-timeout", b"99999999H"),
    (b"grpc-timeout", b"123456789S"),
    (b"grpc-timeout", b"\xb2S"),
    (b"grpc-encoding", b"gzip"),
    (b"grpc-encoding", b"deflate"),
    (b"grpc-encoding", b"snappy"),
    (b"grpc-accept-encoding", b"gzip"),
    (b"content-length", b"7"),
    (b"content-length", b"-1"),
    (b"content-type", b"application/grpc+proto"),
    (b"content-type", b"text/html"),
    (b"te", b"gzip"),
    (b"connection", b"close"),
    (b"x-some-bin", b"AP8,AA=="),
    (b"x-some-bin", b"?"),
    (b"x-text", b" a\xff "),
    (b"X-Upper", b"1"),
    (b"x-control", b"a\nb"),
    (b":path", b"/again"),
    (b":unknown", b"1"),
    (b"x-long", b"v" * 900),
    (b"cookie", b"a=b"),
)


class Input:
    """Bytes that are read one after the other. Beyond their end there are zeros."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def is_over(self) -> bool:
        """Whether all was read."""
        return self._at >= len(self._data)

    def byte(self) -> int:
        """Returns the next byte."""
        self._at += 1
        return self._data[self._at - 1] if self._at <= len(self._data) else 0

    def take(self, size: int) -> bytes:
        """Returns up to so many bytes."""
        found = self._data[self._at : self._at + size]
        self._at += size
        return found

    def rest(self) -> bytes:
        """Returns all that was not read."""
        return self.take(len(self._data))

    def number(self) -> int:
        """Returns a number: one at which something may happen, or a small one."""
        first = self.byte()
        return _NUMBERS[first] if first < len(_NUMBERS) else first * 8 + self.byte()

    def choice(self, length: int) -> int:
        """Returns an index below a length."""
        return self.byte() % length


def stream_of(given: Input, peer: Peer) -> int:
    """Returns a stream: mostly one of the latest, or the next one."""
    first = given.byte()
    if first < 200:
        return max(peer.last - 2 * (first % 8), 0)
    if first < 240:
        return peer.last + 2 if peer.last else 1
    return (0, 2, peer.last + 1, peer.last + 100, 2**31 - 1)[first % 5]


def _alter(fields: list[tuple[bytes, bytes]], given: Input) -> None:
    """Makes headers wrong, every now and then."""
    change = given.byte()
    if change < 200:
        return
    at = change % len(fields)
    match given.byte() // 64:
        case 0:
            del fields[at]
        case 1:
            fields[at] = (fields[at][0], given.take(given.byte() % 8))
        case 2:
            fields.append(fields[at])
        case _:
            fields.insert(0, fields.pop())


def _headers(given: Input, peer: Peer) -> bytes:
    """The headers of a call, of any kind, with any of the extras and in any form that headers may have."""
    stream = (peer.last + 2 if peer.last else 1) if given.byte() < 230 else stream_of(given, peer)
    flags = given.byte()
    fields: list[tuple[bytes, bytes]] = [
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", PATHS[given.choice(len(PATHS))].encode()),
        (b":authority", b"a"),
        (b"te", b"trailers"),
        (b"content-type", b"application/grpc"),
    ]
    fields += [_EXTRAS[given.choice(len(_EXTRAS))] for _ in range(given.byte() % 4)]
    _alter(fields, given)
    how = given.byte()
    parts = []
    if how >= 224:
        parts.append(integer(given.number() & 0xFFFF, 5, 0x20))
    if how & 1:
        # By the tables, as far as they may have it.
        parts += [bytes([0x80 | given.byte() % 127]) for _ in range(given.byte() % 4)]
    for name, value in fields:
        if how & 2:
            parts.append(b"\x40" + integer(len(name), 7) + name + integer(len(value), 7) + value)
        else:
            parts.append(literal(name, value))
    block = b"".join(parts)
    wire_flags = END_STREAM if flags & 1 and flags & 2 else 0
    if flags & 4 and flags & 8:
        block = struct.pack(">LB", given.number() & 0xFFFFFFFF, 1) + block
        wire_flags |= PRIORITISED
    if flags & 16 and flags & 32:
        pad = given.byte()
        block = bytes([pad]) + block + bytes(pad if flags & 64 else given.byte())
        wire_flags |= PADDED
    if how & 12 == 12:
        at = given.byte() % (len(block) + 1)
        rest = frame(Kind.CONTINUATION, END_HEADERS if how & 16 else 0, stream, block[at:])
        return frame(Kind.HEADERS, wire_flags, stream, block[:at]) + rest
    return frame(Kind.HEADERS, wire_flags | END_HEADERS, stream, block)


def a_message(given: Input) -> bytes:
    """Returns a message: one that says what to do, or a large one, or one that is not what it says."""
    kind = given.byte()
    behaviour = BEHAVIOURS[kind % len(BEHAVIOURS)]
    body = bytes([behaviour]) + given.take(kind >> 5)
    size = given.byte()
    if size >= 200:
        body += bytes([size]) * (given.byte() * 16)
    how = given.byte()
    if how < 128:
        return message(body)
    if how < 160:
        return message(gzip.compress(body, mtime=0), flag=1)
    if how < 176:
        return message(zlib.compress(body), flag=1)
    if how < 192:
        return message(gzip.compress(body, mtime=0)[: given.byte()], flag=1)
    if how < 208:
        return message(body, length=given.number() & 0xFFFFFFFF)
    if how < 224:
        return message(body, flag=given.byte())
    return message(body) * (how % 8)


def _data(given: Input, peer: Peer) -> bytes:
    stream = stream_of(given, peer)
    flags = given.byte()
    payload = a_message(given) if flags & 2 else given.take(given.byte())
    if flags & 4 and flags & 8:
        at = given.byte() % (len(payload) + 1)
        return frame(Kind.DATA, 0, stream, payload[:at]) + frame(Kind.DATA, flags & END_STREAM, stream, payload[at:])
    if flags & 16 and flags & 32:
        pad = given.byte()
        return frame(Kind.DATA, flags & END_STREAM | PADDED, stream, bytes([pad]) + payload + bytes(pad))
    return frame(Kind.DATA, flags & END_STREAM, stream, payload)


def call_headers(path: str, encoding: str = "identity") -> bytes:
    """Returns the headers of a call that is right."""
    fields = (
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", path.encode()),
        (b":authority", b"a"),
        (b"te", b"trailers"),
        (b"content-type", b"application/grpc"),
        (b"grpc-encoding", encoding.encode()),
    )
    return b"".join(literal(name, value) for name, value in fields)


def _call(given: Input, peer: Peer) -> bytes:
    """A call that is right, whatever its message is."""
    stream = peer.last + 2 if peer.last else 1
    headers = call_headers(PATHS[given.choice(len(PATHS))], ENCODINGS[given.choice(len(ENCODINGS))])
    ends = END_STREAM if given.byte() & 3 else 0
    return frame(Kind.HEADERS, END_HEADERS, stream, headers) + frame(Kind.DATA, ends, stream, a_message(given))


def _reset(given: Input, peer: Peer) -> bytes:
    return reset(stream_of(given, peer), given.byte())


def _window_update(given: Input, peer: Peer) -> bytes:
    stream = 0 if given.byte() & 1 else stream_of(given, peer)
    return window_update(stream, given.number())


def _settings(given: Input, peer: Peer) -> bytes:
    flags = ACK if given.byte() >= 240 else 0
    pairs = [struct.pack(">HL", given.byte() % 8, given.number()) for _ in range(given.byte() % 4)]
    return frame(Kind.SETTINGS, flags, 0, b"".join(pairs))


def _ping(given: Input, peer: Peer) -> bytes:
    first = given.byte()
    if first < 128 and peer.pings:
        return frame(Kind.PING, ACK, 0, peer.pings.pop(0))
    return frame(Kind.PING, ACK if first >= 240 else 0, 0, (given.take(8) + bytes(8))[: 8 - (first >= 250)])


def _priority(given: Input, peer: Peer) -> bytes:
    payload = struct.pack(">LB", stream_of(given, peer), given.byte())
    return frame(Kind.PRIORITY, 0, stream_of(given, peer), payload[: 5 - (given.byte() >= 240)])


def _any_frame(given: Input, peer: Peer) -> bytes:
    kind, flags, stream = given.byte() % 12, given.byte(), stream_of(given, peer)
    return frame(kind, flags, stream, given.take(given.byte()))


def _many(given: Input, peer: Peer) -> bytes:
    """The same again and again: what is charged for runs out."""
    one = (
        reset(max(peer.last, 1)),
        window_update(0, 1),
        window_update(max(peer.last, 1), 1),
        frame(Kind.PING, 0, 0, bytes(8)),
        frame(Kind.SETTINGS),
        frame(Kind.DATA, 0, max(peer.last, 1)),
        frame(Kind.PRIORITY, 0, 99, bytes(5)),
        frame(Kind.DATA, 0, max(peer.last, 1), message(b"")),
        frame(0xEE, 0, 0, b""),
    )
    return one[given.choice(len(one))] * (given.byte() * 8)


def _goaway(given: Input, peer: Peer) -> bytes:
    return frame(Kind.GOAWAY, 0, 0, struct.pack(">LL", given.number(), given.byte()))


def _any_bytes(given: Input, peer: Peer) -> bytes:
    return given.take(given.byte())


SENDING: Final[tuple[Callable[[Input, Peer], bytes], ...]] = (
    _call,
    _call,
    _call,
    _headers,
    _headers,
    _data,
    _data,
    _reset,
    _window_update,
    _settings,
    _ping,
    _priority,
    _any_frame,
    _many,
    _goaway,
    _any_bytes,
)

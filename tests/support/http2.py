"""HTTP/2 by hand over a real socket: frames that are right, nearly right or hostile, and what comes back."""

from __future__ import annotations

import socket
import struct
import time
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Final

import hpack

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import TypeAlias

    Fields: TypeAlias = Iterable[tuple[str | bytes, str | bytes]]

TIMEOUT: Final = 20.0
PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
WINDOW: Final = 65_535
"""The window that every connection and every stream begins with."""
END_STREAM: Final = 0x1
ACK: Final = 0x1
END_HEADERS: Final = 0x4
PADDED: Final = 0x8
PRIORITISED: Final = 0x20
SERVICE: Final = "/allocation.v1.ShipmentAllocationService"
READ_PATH: Final = f"{SERVICE}/GetShipmentAllocation"
HEALTH_PATH: Final = "/grpc.health.v1.Health/Check"


class Kind(IntEnum):
    """The types of frames."""

    DATA = 0
    HEADERS = 1
    PRIORITY = 2
    RST_STREAM = 3
    SETTINGS = 4
    PUSH_PROMISE = 5
    PING = 6
    GOAWAY = 7
    WINDOW_UPDATE = 8
    CONTINUATION = 9


class Code(IntEnum):
    """The error codes of streams and connections."""

    NO_ERROR = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2
    FLOW_CONTROL_ERROR = 3
    SETTINGS_TIMEOUT = 4
    STREAM_CLOSED = 5
    FRAME_SIZE_ERROR = 6
    REFUSED_STREAM = 7
    CANCEL = 8
    COMPRESSION_ERROR = 9
    CONNECT_ERROR = 10
    ENHANCE_YOUR_CALM = 11
    INADEQUATE_SECURITY = 12
    HTTP_1_1_REQUIRED = 13


class Setting(IntEnum):
    """The settings that an endpoint tells."""

    HEADER_TABLE_SIZE = 1
    ENABLE_PUSH = 2
    MAX_CONCURRENT_STREAMS = 3
    INITIAL_WINDOW_SIZE = 4
    MAX_FRAME_SIZE = 5
    MAX_HEADER_LIST_SIZE = 6


def frame(kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"", *, length: int | None = None) -> bytes:
    """Returns a frame, of another length than it says if that is given."""
    size = len(payload) if length is None else length
    return struct.pack(">BHBBL", size >> 16, size & 0xFFFF, kind, flags, stream) + payload


def settings(values: Mapping[int, int] | None = None) -> bytes:
    """Returns a SETTINGS frame."""
    return frame(Kind.SETTINGS, payload=b"".join(struct.pack(">HL", *item) for item in (values or {}).items()))


def window_update(stream: int, increment: int) -> bytes:
    """Returns a WINDOW_UPDATE frame."""
    return frame(Kind.WINDOW_UPDATE, 0, stream, struct.pack(">L", increment))


def reset(stream: int, code: int = Code.CANCEL) -> bytes:
    """Returns a RST_STREAM frame."""
    return frame(Kind.RST_STREAM, 0, stream, struct.pack(">L", code))


def literal(name: bytes, value: bytes) -> bytes:
    """Returns a header field that no table has to do with."""
    return b"\x00" + integer(len(name), 7) + name + integer(len(value), 7) + value


def integer(value: int, bits: int, first: int = 0) -> bytes:
    """Returns an integer of HPACK, with a prefix of so many bits in a first byte that has others set."""
    limit = (1 << bits) - 1
    if value < limit:
        return bytes([first | value])
    found = bytearray([first | limit])
    value -= limit
    while value >= 0x80:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])


def block(fields: Fields) -> bytes:
    """Returns a header block that depends on nothing before it."""
    return b"".join(literal(_bytes(name), _bytes(value)) for name, value in fields)


def _bytes(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else text


def message(data: bytes, *, flag: int = 0, length: int | None = None) -> bytes:
    """Returns a message as gRPC frames it, of another length than it says if that is given."""
    return struct.pack(">BL", flag, len(data) if length is None else length) + data


def request_fields(path: str = READ_PATH, /, **changed: str | None) -> list[tuple[str | bytes, str | bytes]]:
    """Returns the headers of a call.

    Args:
        path: The rpc.
        changed: Headers that differ, or None for one that is left out. A `_` stands for
            a `-`, an initial one for a `:`.
    """
    fields: dict[str, str | None] = {
        ":method": "POST",
        ":scheme": "http",
        ":path": path,
        ":authority": "localhost",
        "te": "trailers",
        "content-type": "application/grpc",
    }
    for name, value in changed.items():
        fields[":" + name[1:] if name.startswith("_") else name.replace("_", "-")] = value
    return [(name, value) for name, value in fields.items() if value is not None]


@dataclass
class Answer:
    """What came back on a stream.

    Attributes:
        blocks: The headers, and then the trailers.
        data: What the DATA frames had.
        ended: Whether the server ended the stream.
        resets: The codes with which the server reset it. More than one is one too many.
    """

    blocks: list[dict[str, str]] = field(default_factory=list)
    data: bytes = b""
    ended: bool = False
    resets: list[int] = field(default_factory=list)

    @property
    def reset(self) -> int | None:
        """The code with which the server reset it, if it did."""
        return self.resets[0] if self.resets else None

    @property
    def over(self) -> bool:
        """Whether nothing more can come."""
        return self.ended or self.reset is not None

    @property
    def headers(self) -> dict[str, str]:
        """The headers."""
        return self.blocks[0] if self.blocks else {}

    @property
    def trailers(self) -> dict[str, str]:
        """The trailers, which are the headers where there is nothing else."""
        return self.blocks[-1] if self.blocks else {}

    @property
    def status(self) -> int | None:
        """The status of the call, if it was told."""
        told = self.trailers.get("grpc-status")
        return None if told is None else int(told)


@dataclass
class Frame:
    """A frame that was received."""

    kind: int
    flags: int
    stream: int
    payload: bytes


class Connection:
    """A connection of which a test dictates every byte, and which keeps account of what comes back.

    Attributes:
        frames: All frames that came, in order, without the payload of DATA.
        answers: What came, by stream.
        told: The server's settings.
        goaways: Last stream, code and debug data of each GOAWAY.
        pongs: The payloads of the pings that were answered.
        acknowledged: How many of our settings were acknowledged.
        largest: The payload of the largest frame, in bytes.
        closed: Whether the server has closed the connection, or the connection is lost.
        answers_pings: Whether pings are answered.
        widens: Whether windows are widened by what came.
        acts: Whether anything at all is sent that the test has not said.
    """

    def __init__(
        self,
        address: str,
        *,
        greeting: bytes | None = None,
        tls: ssl.SSLContext | None = None,
        buffer: int | None = None,
    ) -> None:
        host, _, port = address.rpartition(":")
        family = socket.AF_INET6 if "[" in host else socket.AF_INET
        self.socket: socket.socket = socket.socket(family)
        if buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        self.socket.settimeout(TIMEOUT)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            self.socket.connect((host.strip("[]"), int(port)))
            if tls is not None:
                self.socket = tls.wrap_socket(self.socket, server_hostname="localhost")
        except OSError:
            self.socket.close()
            raise
        self.frames: list[Frame] = []
        self.answers: dict[int, Answer] = {}
        self.told: dict[int, int] = {}
        self.goaways: list[tuple[int, int, bytes]] = []
        self.pongs: list[bytes] = []
        self.acknowledged = 0
        self.closed = False
        self.largest = 0
        self.answers_pings = True
        self.widens = True
        self.acts = True
        self._decoder = hpack.Decoder(max_header_list_size=1 << 20)
        self._buffer = bytearray()
        self._block = b""
        self._next = 1
        self._sent: dict[int, int] = {}
        self._widened: dict[int, int] = {}
        self.send(PREFACE + settings() if greeting is None else greeting)

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    # What is sent.

    def send(self, *parts: bytes) -> None:
        """Sends bytes. That the server has closed the connection is for the test to find out where it matters."""
        try:
            self.socket.sendall(b"".join(parts))
        except TimeoutError:
            raise
        except OSError:
            self._lost()

    def begin(
        self, data: bytes | None = b"", fields: Fields | None = None, *, end: bool = True, stream: int | None = None
    ) -> int:
        """Sends the headers of a call, and what is given of its body. Returns the stream."""
        stream, self._next = (self._next, self._next + 2) if stream is None else (stream, max(self._next, stream + 2))
        headers = block(request_fields() if fields is None else fields)
        ends = END_STREAM if end and data is None else 0
        parts = [frame(Kind.HEADERS, END_HEADERS | ends, stream, headers)]
        if data is not None:
            parts.append(frame(Kind.DATA, END_STREAM if end else 0, stream, data))
        self.send(*parts)
        return stream

    def finish_sending(self) -> None:
        """Closes the half of the connection that this side sends on."""
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError:
            self._lost()

    def cut(self) -> None:
        """Breaks the connection off, without a farewell."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def room(self, stream: int) -> int:
        """Returns how many bytes of DATA the server takes on a stream at the moment."""
        of_stream = self.told.get(Setting.INITIAL_WINDOW_SIZE, WINDOW) + self._widened.get(stream, 0)
        return min(of_stream - self._sent.get(stream, 0), WINDOW + self._widened.get(0, 0) - self._sent.get(0, 0))

    def send_data(self, stream: int, data: bytes, *, end: bool = False, flags: int = 0) -> None:
        """Sends DATA, and takes it off the room that there is."""
        self.send(frame(Kind.DATA, flags | (END_STREAM if end else 0), stream, data))
        for number in (0, stream):
            self._sent[number] = self._sent.get(number, 0) + len(data)

    # What comes back.

    def until(self, condition: Callable[[], object], timeout: float = TIMEOUT) -> None:
        """Reads until a condition holds. That the connection is closed meanwhile, or nothing comes, is a failure."""
        end = time.monotonic() + timeout
        while not condition():
            assert not self.closed, f"closed by the server: {self.goaways}, {self.frames[-5:]}"
            assert self._read(end - time.monotonic()), f"nothing more came: {self.frames[-5:]}, {self.answers}"

    def drain(self, timeout: float = TIMEOUT) -> None:
        """Reads until the server has closed the connection."""
        self.until_closed_or(lambda: False, timeout)

    def until_closed_or(self, condition: Callable[[], object], timeout: float = TIMEOUT) -> None:
        """Reads until a condition holds or the server has closed the connection. That nothing comes is a failure."""
        end = time.monotonic() + timeout
        while not condition() and not self.closed:
            assert self._read(end - time.monotonic()), f"nothing more came: {self.frames[-5:]}, {self.goaways}"

    def quiet(self, seconds: float) -> None:
        """Reads until nothing has come for so long."""
        while not self.closed and self._read(seconds):
            pass

    def answer(self, stream: int, timeout: float = TIMEOUT) -> Answer:
        """Waits for the end of a stream, and returns what came on it."""
        self.until(lambda: self.on(stream).over, timeout)
        return self.on(stream)

    def until_over(self, stream: int) -> Answer:
        """Waits for the end of a stream or of the whole connection, and returns what came on it."""
        self.until_closed_or(lambda: self.on(stream).over)
        return self.on(stream)

    def until_data(self, stream: int, size: int) -> None:
        """Reads until so many bytes have come on a stream, or its end."""
        self.until(lambda: len(self.on(stream).data) >= size or self.on(stream).over)

    def until_room(self, stream: int, size: int = 1) -> None:
        """Reads until the server takes so many bytes on a stream, or the stream has ended."""
        self.until(lambda: self.room(stream) >= size or self.on(stream).over)

    def on(self, stream: int) -> Answer:
        """Returns what has come on a stream so far."""
        return self.answers.setdefault(stream, Answer())

    def ping(self, payload: bytes = b"are you?") -> None:
        """Waits until the server has answered a ping, and with that has taken in everything before it."""
        self.send(frame(Kind.PING, 0, 0, payload))
        count = self.pongs.count(payload)
        self.until(lambda: self.pongs.count(payload) > count)

    def _read(self, seconds: float) -> bool:
        """Takes in what comes next. Returns whether anything did within the time."""
        self.socket.settimeout(max(seconds, 0.001))
        try:
            data = self.socket.recv(1 << 18)
        except TimeoutError:
            return False
        except OSError:
            self._lost()
            return True
        finally:
            if self.socket.fileno() >= 0:
                self.socket.settimeout(TIMEOUT)
        if not data:
            self._lost()
            return True
        self._buffer += data
        while len(self._buffer) >= 9:
            size = int.from_bytes(self._buffer[:3], "big")
            if len(self._buffer) < 9 + size:
                break
            kind, flags, stream = struct.unpack(">BBL", self._buffer[3:9])
            payload = bytes(self._buffer[9 : 9 + size])
            del self._buffer[: 9 + size]
            self._take(Frame(kind, flags, stream & 0x7FFFFFFF, payload))
        return True

    def _lost(self) -> None:
        self.closed = True

    def _take(self, got: Frame) -> None:
        self.largest = max(self.largest, len(got.payload))
        self.frames.append(Frame(got.kind, got.flags, got.stream, b"" if got.kind == Kind.DATA else got.payload))
        match got.kind:
            case Kind.DATA:
                self._take_data(got)
            case Kind.HEADERS | Kind.CONTINUATION:
                self._take_headers(got)
            case Kind.RST_STREAM:
                answer = self.on(got.stream)
                answer.resets.append(int.from_bytes(got.payload, "big"))
            case Kind.SETTINGS if got.flags & ACK:
                self.acknowledged += 1
            case Kind.SETTINGS:
                for at in range(0, len(got.payload), 6):
                    number, value = struct.unpack(">HL", got.payload[at : at + 6])
                    self.told[number] = value
                self._act(frame(Kind.SETTINGS, ACK))
            case Kind.PING if got.flags & ACK:
                self.pongs.append(got.payload)
            case Kind.PING if self.answers_pings:
                self._act(frame(Kind.PING, ACK, 0, got.payload))
            case Kind.WINDOW_UPDATE:
                self._widened[got.stream] = self._widened.get(got.stream, 0) + int.from_bytes(got.payload, "big")
            case Kind.GOAWAY:
                last, code = struct.unpack(">LL", got.payload[:8])
                self.goaways.append((last, code, got.payload[8:]))
            case _:
                pass

    def _take_data(self, got: Frame) -> None:
        answer = self.on(got.stream)
        answer.data += got.payload
        answer.ended |= bool(got.flags & END_STREAM)
        if self.widens and got.payload:
            self._act(window_update(0, len(got.payload)))
            if not answer.over:
                self._act(window_update(got.stream, len(got.payload)))

    def _act(self, data: bytes) -> None:
        if self.acts:
            self.send(data)

    def _take_headers(self, got: Frame) -> None:
        answer = self.on(got.stream)
        if got.kind == Kind.HEADERS:
            self._block = b""
            self._ends = bool(got.flags & END_STREAM)
            assert not got.flags & (PADDED | PRIORITISED), "the server pads or prioritises"
        self._block += got.payload
        if got.flags & END_HEADERS:
            fields = self._decoder.decode(self._block, raw=True)
            answer.blocks.append({_text(name): _text(value) for name, value in fields})
            answer.ended |= self._ends


def _text(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def kinds(frames: Sequence[Frame], stream: int) -> list[int]:
    """Returns the types of the frames on a stream, in order."""
    return [got.kind for got in frames if got.stream == stream]

"""A client that knows the rules: it notes what was sent to the server, and checks every frame that comes back."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Final

import hpack
from support.http2 import ACK, END_HEADERS, END_STREAM, PADDED, PREFACE, PRIORITISED, WINDOW, Code, Kind, Setting

_HEAD: Final = 9
_read_head: Final = struct.Struct(">HBBBL").unpack_from
_LARGEST_FRAME: Final = 16_384
_LARGEST_WINDOW: Final = 2**31 - 1


class BrokenRuleError(AssertionError):
    """The server has done what it must not."""


@dataclass
class Stream:
    """What is known of a stream.

    Attributes:
        room: How many bytes of DATA the server may send, beyond the window that all streams begin with.
        blocks: The headers that came, and the trailers.
        data: The DATA that came.
        has_ended: Whether the server has ended it.
        resets: With which codes the server has reset it.
    """

    room: int = 0
    blocks: list[list[tuple[str, str]]] = field(default_factory=list)
    data: bytearray = field(default_factory=bytearray)
    has_ended: bool = False
    resets: list[int] = field(default_factory=list)

    @property
    def status(self) -> int | None:
        """The status of the call; None if it has none yet."""
        told = dict(self.blocks[-1]).get("grpc-status") if self.blocks and self.has_ended else None
        return None if told is None else int(told)


class Peer:
    """The account of a connection. Bytes that were sent are read up to where they stop being frames.

    Attributes:
        streams: What is known of the streams that this client has mentioned in headers.
        last: The highest of them.
        goaways: Last stream and code of each GOAWAY.
        pings: The pings of the server that are not answered.
        is_in_step: Whether all that was sent is whole frames, and no block of headers is open.
        window: How many bytes of DATA the server may still send in all.
        tried: How many bytes of DATA were sent in all.
    """

    def __init__(self) -> None:
        self.streams: dict[int, Stream] = {}
        self.last = 0
        self.goaways: list[tuple[int, int]] = []
        self.pings: list[bytes] = []
        self.tried = 0
        self._sent = b""
        self._open_block = 0
        self.window = WINDOW
        self._initial = WINDOW
        self._settings = 0
        self._asked: list[bytes] = []
        self._granted = WINDOW
        self._came = b""
        self._seen = 0
        self._block: tuple[int, int, bytes] | None = None
        self._decoder = hpack.Decoder(max_header_list_size=1 << 20)

    @property
    def is_in_step(self) -> bool:
        return not self._sent and not self._open_block

    # What is sent.

    def sends(self, data: bytes) -> None:
        """Takes what is about to be sent, after the preface."""
        self._sent, found = split(self._sent + data)
        for kind, flags, stream, payload in found:
            self._send(kind, flags, stream & _LARGEST_WINDOW, payload)

    def _send(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind in {Kind.HEADERS, Kind.CONTINUATION}:
            self._open_block = 0 if flags & END_HEADERS else stream
            self.streams.setdefault(stream, Stream())
            self.last = max(self.last, stream)
        elif kind == Kind.DATA:
            self.tried += len(payload)
        elif kind == Kind.WINDOW_UPDATE and len(payload) == 4:
            increment = int.from_bytes(payload, "big") & _LARGEST_WINDOW
            if stream:
                self.streams.setdefault(stream, Stream()).room += increment
            else:
                self.window += increment
        elif kind == Kind.SETTINGS and not flags & ACK:
            self._settings += 1
            for number, value in struct.iter_unpack(">HL", payload[: len(payload) // 6 * 6]):
                if number == Setting.INITIAL_WINDOW_SIZE:
                    # A smaller one binds as soon as it was acknowledged. Until then the larger one may be used.
                    self._initial = max(self._initial, value)
        elif kind == Kind.PING and not flags & ACK:
            self._asked.append(payload)

    # What comes.

    def takes(self, data: bytes) -> None:
        """Checks what has come.

        Raises:
            BrokenRuleError: It must not have.
        """
        self._came, found = split(self._came + data)
        for kind, flags, stream, payload in found:
            _check(len(payload) <= _LARGEST_FRAME, f"a frame of {len(payload)} bytes")
            self._take(kind, flags, stream, payload)
            self._seen += 1

    def ends(self) -> None:
        """Checks that what came can be all that comes."""
        _check(not self._came, "the last frame is cut short")

    def _take(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        _check(self._seen > 0 or (kind == Kind.SETTINGS and not flags & ACK), "it does not begin with its settings")
        _check(not any(code for _, code in self.goaways), "something comes after the end of the connection")
        _check(
            self._block is None or (kind == Kind.CONTINUATION and stream == self._block[0]), "headers are interrupted"
        )
        if kind == Kind.HEADERS:
            _check(not flags & (PADDED | PRIORITISED), "headers have padding or a priority")
            self._block = (stream, flags, b"")
        match kind:
            case Kind.HEADERS | Kind.CONTINUATION:
                self._take_block(flags, payload)
            case Kind.DATA:
                self._take_data(flags, stream, payload)
            case Kind.RST_STREAM:
                # Of a stream that was skipped, too: it is closed, and something came on it.
                _check(bool(stream & 1) and stream <= self.last, f"a reset of stream {stream}, which is idle")
                self.streams.setdefault(stream, Stream()).resets.append(int.from_bytes(payload, "big"))
            case Kind.SETTINGS if flags & ACK:
                self._settings -= 1
                _check(self._settings >= 0, "settings are acknowledged that were not sent")
            case Kind.SETTINGS:
                _check(self._seen == 0 and not stream and not len(payload) % 6, "settings come once, at the beginning")
            case Kind.PING if flags & ACK:
                _check(bool(self._asked) and self._asked.pop(0) == payload, "an answer to no ping")
            case Kind.PING:
                _check(len(payload) == 8, "a ping that is none")
                self.pings.append(payload)
            case Kind.WINDOW_UPDATE:
                self._take_window_update(stream, payload)
            case Kind.GOAWAY:
                last, code = struct.unpack_from(">LL", payload)
                _check(not self.goaways or last <= self.goaways[-1][0], "it goes back on what it does not serve")
                self.goaways.append((last, code))
            case _:
                _check(False, f"a frame of type {kind}")

    def _known(self, stream: int) -> Stream:
        found = self.streams.get(stream)
        if found is None or not stream & 1:
            raise BrokenRuleError(f"stream {stream} was never begun")
        return found

    def _take_block(self, flags: int, payload: bytes) -> None:
        _check(self._block is not None, "a continuation of nothing")
        stream, first, before = self._block or (0, 0, b"")
        if not flags & END_HEADERS:
            self._block = (stream, first, before + payload)
            return
        self._block = None
        found = self._known(stream)
        _check(not found.has_ended, "headers after the end of their stream")
        fields = [(str(name), str(value)) for name, value in self._decoder.decode(before + payload)]
        status = dict(fields).get(":status")
        if found.blocks:
            _check(status is None and bool(first & END_STREAM), "trailers that are none")
        else:
            _check(fields[0][0] == ":status", "no status of HTTP")
        found.has_ended = bool(first & END_STREAM)
        if found.has_ended and status in {None, "200"}:
            _check("grpc-status" in dict(fields), "an end without a status")
        found.blocks.append(fields)

    def _take_data(self, flags: int, stream: int, payload: bytes) -> None:
        found = self._known(stream)
        _check(bool(found.blocks), "DATA before headers")
        _check(not found.has_ended, "DATA after the end of its stream")
        _check(not flags & (PADDED | END_STREAM), "DATA with padding, or that ends a stream without a status")
        found.data += payload
        self.window -= len(payload)
        found.room -= len(payload)
        _check(self.window >= 0, "more DATA than the connection has room for")
        _check(self._initial + found.room >= 0, "more DATA than the stream has room for")

    def _take_window_update(self, stream: int, payload: bytes) -> None:
        increment = int.from_bytes(payload, "big")
        _check(0 < increment <= _LARGEST_WINDOW, "a window that grows by nothing")
        if stream:
            self._known(stream)
            return
        self._granted += increment
        _check(self._granted - self.tried <= _LARGEST_WINDOW, "a window that is too large")


def split(data: bytes) -> tuple[bytes, list[tuple[int, int, int, bytes]]]:
    """Splits bytes into frames. Returns what is left in the end, and of each its type, flags, stream and payload."""
    at, found = 0, []
    while len(data) - at >= _HEAD:
        high, low, kind, flags, stream = _read_head(data, at)
        end = at + _HEAD + (high << 8 | low)
        if end > len(data):
            break
        found.append((kind, flags, stream, data[at + _HEAD : end]))
        at = end
    return data[at:], found


def _check(is_right: bool, otherwise: str) -> None:
    if not is_right:
        raise BrokenRuleError(otherwise)


def is_broken_off(peer: Peer) -> bool:
    """Returns whether the server has ended the connection because of an error."""
    return any(code != Code.NO_ERROR for _, code in peer.goaways)


GREETING: Final = PREFACE

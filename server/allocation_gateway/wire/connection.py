"""One connection: from its bytes to calls, and from their answers to its bytes."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from grpc import StatusCode

from allocation_gateway.wire import frames, message, request
from allocation_gateway.wire.call import StreamingCall, UnaryCall, refusal, trailers_only
from allocation_gateway.wire.hpack import NO_TABLE, CompressionError, Decoder
from allocation_gateway.wire.outbox import Outbox

if TYPE_CHECKING:
    from collections.abc import Mapping

    import grpc

    from allocation_gateway.wire.call import Call
    from allocation_gateway.wire.request import Request

# What callers may send beyond what was taken, over all calls of a connection.
_WINDOW: Final = 2**22
# Bytes of requests that are not whole yet, over all calls of a connection.
_MAX_UNFINISHED: Final = 2**25
# How much larger than metadata may be the block that it comes in is, before nobody reads it.
_BLOCKS: Final = 4
# What is charged as one frame that gets nobody anywhere: decoding headers that are too large, looking through calls.
_BYTES_PER_WORK: Final = 256
_CALLS_PER_WORK: Final = 100
# Frames of one block of headers. Nobody needs more than a few.
_MAX_CONTINUATIONS: Final = 16
# Frames that cost us work and get nobody anywhere, and calls that are begun and given up: so many at once, and so many
# each second. A call that is answered makes up for some: clients measure bandwidth by pings.
_ALLOWANCE: Final = 10_000
_ALLOWANCE_PER_SECOND: Final = 100
_REFUND: Final = 10
# How many bytes clients read at least before they widen the window of a call by as many: also after its end.
_SMALLEST_UPDATE: Final = 4096
# How many streams that were reset are remembered, of which something may be on its way.
_MAX_RESETS: Final = 100
# Seconds until a new connection has to speak HTTP/2.
GREETING_TIME: Final = 20.0
# Seconds for what a caller may have sent before it learnt that no more calls are taken.
_LAST_CALLS_TIME: Final = 1.0
# Seconds for a client to read what is left, and to close its side.
_LINGER: Final = 2.0
# All connections of a process would otherwise age at the same time.
_AGE_SPREAD: Final = 0.1
_PROBE: Final = b"probe..."
_LAST_CALLS: Final = b"last...."
_PING_SIZE: Final = 8
_WORD_SIZE: Final = 4
_PRIORITY_SIZE: Final = 5
_SETTING_SIZE: Final = 6
_GOAWAY_SIZE: Final = 8
# What follows is the message's format, of which there is one, or a parameter.
_CONTENT_TYPES: Final = ("application/grpc+", "application/grpc;")
_METHOD_NOT_ALLOWED: Final = 405
_UNSUPPORTED_TYPE: Final = 415


@dataclass(frozen=True, slots=True)
class Limits:
    """What a server puts up with, and how its connections age. Times are in seconds.

    Attributes:
        message: The largest request message, in bytes.
        metadata: The largest request metadata, in bytes as HTTP/2 counts them.
        calls: How many calls may be open on a connection.
        keepalive_time: After how much silence a connection is probed.
        keepalive_timeout: How long such a probe may stay unanswered.
        age: After how long a client is asked to connect anew.
        age_grace: How long calls have to finish then.
    """

    message: int
    metadata: int
    calls: int
    keepalive_time: float
    keepalive_timeout: float
    age: float
    age_grace: float


class Home(Protocol):
    """The server, as its connections see it."""

    limits: Limits
    connections: set[Connection]
    is_stopping: bool

    @property
    def methods(self) -> Mapping[str, grpc.RpcMethodHandler[Any, Any]]:
        """Its handlers, by the paths of their methods."""


class _BrokenError(Exception):
    """The other side does not speak HTTP/2, or not peacefully."""

    def __init__(self, code: int, why: str) -> None:
        super().__init__(why)
        self.code = code


class _StreamError(Exception):
    """A stream does what it must not, and goes. The rest of the connection is unharmed."""

    def __init__(self, stream: int, code: int) -> None:
        super().__init__(stream, code)
        self.stream = stream
        self.code = code


class Connection(asyncio.Protocol):
    """A connection that a client has made.

    Attributes:
        max_message: The largest request message, in bytes.
        lost: Done when nothing is left of it.
    """

    def __init__(self, home: Home) -> None:
        self._home = home
        self._limits = home.limits
        self.max_message = home.limits.message
        self._stream_window = max(home.limits.message + message.PREFIX_SIZE, frames.DEFAULT_WINDOW)
        self._loop = asyncio.get_running_loop()
        self.lost: asyncio.Future[None] = self._loop.create_future()
        self._decoder = Decoder(home.limits.metadata)
        self._max_block = max(_BLOCKS * home.limits.metadata, frames.MAX_FRAME_SIZE)
        self._calls: dict[int, Call] = {}
        self._last_stream = 0
        # Those that were ended before the other side had.
        self._resets: deque[int] = deque(maxlen=_MAX_RESETS)
        # What came of a frame that is not whole yet.
        self._rest = b""
        self._is_greeted = False
        self._has_settings = False
        # A block of headers that is not whole yet, and the stream and flags that it has.
        self._block: list[bytes] = []
        self._block_stream = 0
        self._block_flags = 0
        # What came and was not made up for yet, and what is held of requests that are not whole.
        self._untold = 0
        self._held = 0
        self._allowance = _ALLOWANCE
        self._is_closing = False
        self._is_paused = False
        # What the transport had not sent at the last tick.
        self._unsent = 0
        # Up to which stream calls are answered; None as long as more are taken.
        self._final_stream: int | None = None
        self._outbox = Outbox(self._loop, self._finish)
        self.send = self._outbox.send
        self._write = self._outbox.write
        self._prelude = NO_TABLE
        now = self._loop.time()
        self._heard_at = self._ticked_at = now
        self._probed_at: float | None = None
        self._closing_at: float | None = None
        self._last_calls_at: float | None = None
        self._opened_at = now
        self._ages_at = now + home.limits.age * random.uniform(1 - _AGE_SPREAD, 1 + _AGE_SPREAD)  # noqa: S311 - spread, not secrecy

    # The transport.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self._transport = cast("asyncio.Transport", transport)
        self._home.connections.add(self)
        tls = transport.get_extra_info("ssl_object")
        if self._home.is_stopping or (tls is not None and tls.selected_alpn_protocol() != "h2"):
            self._is_closing = True
            self._transport.abort()
            return
        self._outbox.open(self._transport)
        self._write(
            frames.settings(
                {
                    frames.MAX_CONCURRENT_STREAMS: self._limits.calls,
                    frames.INITIAL_WINDOW_SIZE: self._stream_window,
                    frames.MAX_HEADER_LIST_SIZE: self._limits.metadata,
                }
            )
            + frames.window_update(0, _WINDOW - frames.DEFAULT_WINDOW)
        )

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        del exc
        self._is_closing = True
        self._outbox.close()
        self._end_calls()
        self._home.connections.discard(self)
        self.lost.set_result(None)

    def eof_received(self) -> None:
        """See asyncio.Protocol. Who sends nothing more cannot take part in HTTP/2: the transport closes itself."""

    def pause_writing(self) -> None:
        """See asyncio.Protocol. Who does not read is not listened to: else its answers would pile up here."""
        self._is_paused = True
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        """See asyncio.Protocol."""
        self._is_paused = False
        if not self._transport.is_closing():
            self._transport.resume_reading()

    # What comes in.

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        if self._is_closing:
            return
        self._heard_at = self._loop.time()
        if self._rest:
            data = self._rest + data
        try:
            self._rest = data[self._read(data) :]
        except _BrokenError as error:
            self._break_off(error.code, str(error))

    def _read(self, data: bytes) -> int:
        """Reads all frames that are whole. Returns up to where."""
        position, end = 0, len(data)
        if not self._is_greeted:
            position = self._greeted(data)
            if not position:
                return 0
        read_head = frames.read_head
        while end - position >= frames.HEAD_SIZE:
            high, low, kind, flags, stream = read_head(data, position)
            length = high << 8 | low
            if length > frames.MAX_FRAME_SIZE:
                raise _BrokenError(frames.FRAME_SIZE_ERROR, "the frame is too large")
            start = position + frames.HEAD_SIZE
            following = start + length
            if following > end:
                break
            stream &= frames.LARGEST_STREAM
            if self._block_stream and (kind != frames.CONTINUATION or stream != self._block_stream):
                raise _BrokenError(frames.PROTOCOL_ERROR, "headers are not continued")
            payload = data[start:following]
            try:
                if kind == frames.DATA:
                    self._on_data(flags, stream, payload)
                elif kind == frames.HEADERS:
                    self._on_headers(flags, stream, payload)
                else:
                    self._on_other(kind, flags, stream, payload)
            except _StreamError as error:
                self._spend()
                self._reset(error.stream, error.code)
            position = following
        return position

    def _greeted(self, data: bytes) -> int:
        size = len(frames.PREFACE)
        if not frames.PREFACE.startswith(data[:size]):
            raise _BrokenError(frames.PROTOCOL_ERROR, "this is not HTTP/2")
        if len(data) < size + frames.HEAD_SIZE:
            return 0
        _, _, kind, flags, _ = frames.read_head(data, size)
        if kind != frames.SETTINGS or flags & frames.ACK:
            raise _BrokenError(frames.PROTOCOL_ERROR, "it does not begin with settings")
        self._is_greeted = True
        return size

    def _spend(self, work: int = 1) -> None:
        self._allowance -= work
        if self._allowance < 0:
            raise _BrokenError(frames.ENHANCE_YOUR_CALM, "too much that leads nowhere")

    def _on_data(self, flags: int, stream: int, payload: bytes) -> None:
        size = len(payload)
        self._untold += size
        if self._untold > _WINDOW:
            raise _BrokenError(frames.FLOW_CONTROL_ERROR, "more was sent than may be")
        if self._untold > _WINDOW // 2:
            self._write(frames.window_update(0, self._untold))
            self._untold = 0
        is_last = bool(flags & frames.END_STREAM)
        if not size and not is_last:
            self._spend()
        call = self._calls.get(stream)
        if call is None or call.is_received:
            self._check_begun(stream)
            if call is None and self._final_stream is not None:
                return  # its caller learns that it was never begun
            if stream in self._resets:
                self._spend()
                return  # it was on its way
            raise _StreamError(stream, frames.STREAM_CLOSED)
        if flags & frames.PADDED:
            payload = _unpadded(payload)
            self._write(frames.window_update(stream, size - len(payload)))
            if not payload:
                self._spend()
        call.held += len(payload)
        self._held += len(payload)
        if call.held > self._stream_window:
            raise _StreamError(stream, frames.FLOW_CONTROL_ERROR)
        if self._held > _MAX_UNFINISHED:
            call.fail(StatusCode.RESOURCE_EXHAUSTED, "The connection has too many requests that are not whole.")
            return
        self._take(call, payload, is_last=is_last)

    def _take(self, call: Call, payload: bytes, *, is_last: bool) -> None:
        call.received += len(payload)
        if is_last:
            call.is_received = True
            if call.request.content_length not in {None, call.received}:
                raise _StreamError(call.stream, frames.PROTOCOL_ERROR)
        call.receive(payload, is_last=is_last)

    def _check_begun(self, stream: int) -> None:
        """Checks that a stream is one that the client has begun."""
        if not stream & 1 or stream > self._last_stream:
            raise _BrokenError(frames.PROTOCOL_ERROR, "there is no such stream")

    def _on_headers(self, flags: int, stream: int, payload: bytes) -> None:
        if flags & frames.PADDED:
            payload = _unpadded(payload)
        if flags & frames.WITH_PRIORITY:
            if len(payload) < _PRIORITY_SIZE:
                raise _BrokenError(frames.FRAME_SIZE_ERROR, "the priority is cut short")
            if frames.word(payload) == stream:
                raise _BrokenError(frames.PROTOCOL_ERROR, "a stream depends on itself")
            payload = payload[_PRIORITY_SIZE:]
        if not stream & 1:
            raise _BrokenError(frames.PROTOCOL_ERROR, "clients begin no such streams")
        if flags & frames.END_HEADERS:
            self._on_block(flags, stream, payload)
        else:
            self._block, self._block_stream, self._block_flags = [payload], stream, flags

    def _on_continuation(self, flags: int, stream: int, payload: bytes) -> None:
        if not self._block_stream:
            raise _BrokenError(frames.PROTOCOL_ERROR, "there is nothing to continue")
        self._block.append(payload)
        if len(self._block) > _MAX_CONTINUATIONS or sum(map(len, self._block)) > self._max_block:
            raise _BrokenError(frames.ENHANCE_YOUR_CALM, "the headers do not end")
        if flags & frames.END_HEADERS:
            block = b"".join(self._block)
            self._block, self._block_stream = [], 0
            self._on_block(self._block_flags, stream, block)

    def _on_block(self, flags: int, stream: int, block: bytes) -> None:
        try:
            fields = self._decoder.decode(block)
        except CompressionError as error:
            raise _BrokenError(frames.COMPRESSION_ERROR, str(error)) from error
        is_last = bool(flags & frames.END_STREAM)
        if stream > self._last_stream:
            self._last_stream = stream
            if fields is None:
                self._spend(len(block) // _BYTES_PER_WORK)
            if self._final_stream is None:
                self._open(stream, fields, is_last=is_last)
            return
        call = self._calls.get(stream)
        if call is None and (stream in self._resets or self._final_stream is not None):
            self._spend()
            return
        if call is None:
            raise _BrokenError(frames.STREAM_CLOSED, "the stream has ended")
        if call.is_received:
            raise _StreamError(stream, frames.STREAM_CLOSED)
        # Trailers, which no caller of gRPC has.
        if not is_last or (fields and any(not name or name.startswith(":") for name, _ in fields)):
            raise _StreamError(stream, frames.PROTOCOL_ERROR)
        self._take(call, b"", is_last=True)

    def _open(self, stream: int, fields: list[tuple[str, str]] | None, *, is_last: bool) -> None:
        """Begins a call, or refuses it."""
        if fields is None:
            text = f"The metadata is larger than {self._limits.metadata} bytes."
            self._refuse(stream, trailers_only(StatusCode.RESOURCE_EXHAUSTED, text), is_last=is_last)
            return
        try:
            asked = request.parse(fields)
        except request.MalformedError as error:
            raise _StreamError(stream, frames.PROTOCOL_ERROR) from error
        if len(self._calls) >= self._limits.calls:
            raise _StreamError(stream, frames.REFUSED_STREAM)
        method = self._home.methods.get(asked.path)
        timeout = request.seconds(asked.timeout) if asked.timeout else None
        refused = _refused(asked, timeout, is_known=method is not None)
        if method is None or refused:
            self._refuse(stream, refused, is_last=is_last)
            return
        kind = StreamingCall if method.request_streaming or method.response_streaming else UnaryCall
        call = self._calls[stream] = kind(self, stream, asked, method, self._loop)
        if timeout is not None:
            call.bound(timeout)
        if is_last:
            self._take(call, b"", is_last=True)

    def _refuse(self, stream: int, block: bytes, *, is_last: bool) -> None:
        self._write(frames.headers(stream, self.prelude() + block, ends=True))
        if not is_last:
            self._write_reset(stream, frames.NO_ERROR)

    def _on_other(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == frames.WINDOW_UPDATE:
            self._on_window_update(stream, payload)
        elif kind == frames.CONTINUATION:
            self._on_continuation(flags, stream, payload)
        elif kind == frames.RST_STREAM:
            self._on_reset(stream, payload)
        elif kind == frames.PRIORITY:
            self._on_priority(stream, payload)
        elif kind == frames.PUSH_PROMISE:
            raise _BrokenError(frames.PROTOCOL_ERROR, "a client has nothing to push")
        elif kind in _OF_THE_CONNECTION and stream:
            raise _BrokenError(frames.PROTOCOL_ERROR, "the frame is about no stream")
        elif kind == frames.SETTINGS:
            self._on_settings(flags, payload)
        elif kind == frames.PING:
            self._on_ping(flags, payload)
        elif kind == frames.GOAWAY:
            if len(payload) < _GOAWAY_SIZE:
                raise _BrokenError(frames.FRAME_SIZE_ERROR, "the farewell is cut short")
        else:
            self._spend()  # an extension, which this side does not know

    def _on_window_update(self, stream: int, payload: bytes) -> None:
        if len(payload) != _WORD_SIZE:
            raise _BrokenError(frames.FRAME_SIZE_ERROR, "the increment is not one")
        increment = frames.word(payload)
        if not stream:
            if not increment:
                raise _BrokenError(frames.PROTOCOL_ERROR, "the increment is nothing")
            if self._outbox.window + increment > frames.LARGEST_WINDOW:
                raise _BrokenError(frames.FLOW_CONTROL_ERROR, "the window is too large")
            self._outbox.widen(increment)
            return
        call = self._calls.get(stream)
        if call is None:
            self._check_begun(stream)
            self._spend()
            return
        if not increment:
            raise _StreamError(stream, frames.PROTOCOL_ERROR)
        call.window += increment
        if self._outbox.call_window + call.window > frames.LARGEST_WINDOW:
            raise _StreamError(stream, frames.FLOW_CONTROL_ERROR)
        if call.pending:
            self._outbox.send_pending(call)
        else:
            self._spend()

    def _on_reset(self, stream: int, payload: bytes) -> None:
        if len(payload) != _WORD_SIZE:
            raise _BrokenError(frames.FRAME_SIZE_ERROR, "the code is not one")
        self._check_begun(stream)
        self._spend()
        call = self._calls.get(stream)
        if call is not None:
            self._forget(call)

    def _on_priority(self, stream: int, payload: bytes) -> None:
        """Checks what RFC 9113 has done away with."""
        self._spend()
        if not stream:
            raise _BrokenError(frames.PROTOCOL_ERROR, "the frame is about a stream")
        wrong = 0
        if len(payload) != _PRIORITY_SIZE:
            wrong = frames.FRAME_SIZE_ERROR
        elif frames.word(payload) == stream:
            wrong = frames.PROTOCOL_ERROR
        if wrong and stream in self._calls:
            raise _StreamError(stream, wrong)
        if wrong:
            raise _BrokenError(wrong, "the priority is none")

    def _on_settings(self, flags: int, payload: bytes) -> None:
        self._spend()
        if flags & frames.ACK:
            if payload:
                raise _BrokenError(frames.FRAME_SIZE_ERROR, "an acknowledgement says more")
            return
        if len(payload) % _SETTING_SIZE:
            raise _BrokenError(frames.FRAME_SIZE_ERROR, "a setting is cut short")
        window = self._outbox.call_window
        for key, value in frames.read_settings(payload):
            if key == frames.INITIAL_WINDOW_SIZE:
                window = value
            elif key == frames.ENABLE_PUSH and value > 1:
                raise _BrokenError(frames.PROTOCOL_ERROR, "a switch is neither on nor off")
            elif key == frames.MAX_FRAME_SIZE_SETTING and not (
                frames.MAX_FRAME_SIZE <= value <= frames.LARGEST_FRAME_SIZE
            ):
                raise _BrokenError(frames.PROTOCOL_ERROR, "frames cannot be of such a size")
        self._write(frames.head(0, frames.SETTINGS, frames.ACK, 0))
        self._has_settings = True
        if window != self._outbox.call_window:
            self._resize(window)

    def _resize(self, window: int) -> None:
        calls = list(self._calls.values())
        self._spend(len(calls) // _CALLS_PER_WORK)
        if window > frames.LARGEST_WINDOW or any(call.window > frames.LARGEST_WINDOW - window for call in calls):
            raise _BrokenError(frames.FLOW_CONTROL_ERROR, "a window is too large")
        self._outbox.resize(window, calls)

    def _on_ping(self, flags: int, payload: bytes) -> None:
        self._spend()
        if len(payload) != _PING_SIZE:
            raise _BrokenError(frames.FRAME_SIZE_ERROR, "the ping is not one")
        if not flags & frames.ACK:
            self._write(frames.ping(payload, ack=True))
        elif payload == _PROBE:
            self._probed_at = None  # the clock may not have moved on since
        elif payload == _LAST_CALLS:
            self._take_no_more()

    # What calls need. See Line.

    def prelude(self) -> bytes:
        """See Line."""
        prelude, self._prelude = self._prelude, b""
        return prelude

    def _finish(self, call: Call) -> None:
        """Ends a call whose status was given."""
        refund = _REFUND + max(-call.window, 0) // _SMALLEST_UPDATE
        self._allowance = min(self._allowance + refund, _ALLOWANCE)
        if not call.is_received:
            self._write_reset(call.stream, frames.NO_ERROR)
        self._forget(call)

    def grant(self, call: Call, size: int) -> None:
        """See Line."""
        if call.is_over:
            return
        call.held -= size
        self._held -= size
        if not call.is_received:
            self._write(frames.window_update(call.stream, size))

    def release(self, call: Call) -> None:
        """See Line."""
        self._held -= call.held
        call.held = 0

    def reset(self, call: Call, code: int) -> None:
        """See Line."""
        self._reset(call.stream, code)

    def _write_reset(self, stream: int, code: int) -> None:
        self._resets.append(stream)
        self._write(frames.reset(stream, code))

    def _reset(self, stream: int, code: int) -> None:
        self._write_reset(stream, code)
        call = self._calls.get(stream)
        if call is not None:
            self._forget(call)

    def _forget(self, call: Call) -> None:
        """Ends a call of which nothing is left to be said."""
        del self._calls[call.stream]
        self._outbox.forget(call)
        self.release(call)
        if self._final_stream is not None and not self._calls:
            self._close()
        call.end()

    # How it ends.

    def drain(self) -> None:
        """Has the client make no more calls here, and closes the connection when those that it made have ended."""
        if self._is_closing or self._last_calls_at is not None:
            return
        self._last_calls_at = self._loop.time()
        self._write(frames.goaway(frames.LARGEST_STREAM, frames.NO_ERROR) + frames.ping(_LAST_CALLS, ack=False))

    def _take_no_more(self) -> None:
        if self._final_stream is not None or self._last_calls_at is None:
            return
        self._final_stream = self._last_stream
        self._write(frames.goaway(self._final_stream, frames.NO_ERROR))
        if not self._calls:
            self._close()

    def _break_off(self, code: int, why: str) -> None:
        last = self._last_stream if self._final_stream is None else self._final_stream
        self._write(frames.goaway(last, code, why.encode()))
        self._end_calls()
        self._close()

    def give_up(self) -> list[asyncio.Task[None]]:
        """Ends all calls, and closes the connection. Returns the work that was cancelled."""
        self.drain()
        self._take_no_more()
        calls = list(self._calls.values())
        tasks = [call.task for call in calls if call.task is not None]
        for call in calls:
            call.fail(StatusCode.UNAVAILABLE, "The server ends.")
        self._end_calls()
        self._close()
        return tasks

    def abort(self) -> None:
        """Closes the connection without sending what is left."""
        self._transport.abort()

    def _end_calls(self) -> None:
        calls = list(self._calls.values())
        self._calls.clear()
        for call in calls:
            call.end()

    def _close(self) -> None:
        if self._is_closing:
            return
        self._outbox.close()
        self._is_closing = True
        self._closing_at = self._loop.time()
        if self._transport.can_write_eof():
            # What the client goes on to send is read, and thrown away: the system would answer it with a reset, which
            # has the client throw away what it has not read yet.
            self._transport.write_eof()
            if self._is_paused:
                self._transport.resume_reading()
        else:
            self._transport.close()

    def tick(self, now: float) -> None:
        """Does what is due: it is called now and then, at least each second."""
        limits = self._limits
        for call in list(self._calls.values()):
            call.tick(now)
        passed, self._ticked_at = now - self._ticked_at, now
        self._allowance = min(self._allowance + int(passed * _ALLOWANCE_PER_SECOND) + 1, _ALLOWANCE)
        self._see_progress(now)
        if self._closing_at is not None:
            if now - self._closing_at > limits.keepalive_timeout:
                self.abort()
            elif now - self._closing_at > _LINGER and not self._unsent:
                self._transport.close()
        elif self._probed_at is not None and self._heard_at <= self._probed_at:
            if now - self._probed_at > limits.keepalive_timeout:
                self.abort()
        elif not self._has_settings and now - self._opened_at > GREETING_TIME:
            self.abort()
        elif now - self._heard_at >= limits.keepalive_time:
            self._probed_at = now
            self._write(frames.ping(_PROBE, ack=False))
        else:
            self._age(now)

    def _age(self, now: float) -> None:
        if self._last_calls_at is None:
            if now >= self._ages_at:
                self.drain()
        elif now - self._last_calls_at > self._limits.age_grace and self._ages_at <= self._last_calls_at:
            self.give_up()
        elif now - self._last_calls_at > _LAST_CALLS_TIME:
            self._take_no_more()

    def _see_progress(self, now: float) -> None:
        """Takes that whoever reads is there, although nothing is heard of it as long as it reads slowly."""
        unsent = self._transport.get_write_buffer_size()
        if unsent < self._unsent:
            self._heard_at, self._probed_at = now, None
        self._unsent = unsent


_OF_THE_CONNECTION: Final = frozenset({frames.SETTINGS, frames.PING, frames.GOAWAY})


def _unpadded(payload: bytes) -> bytes:
    if not payload or payload[0] >= len(payload):
        raise _BrokenError(frames.PROTOCOL_ERROR, "the padding is longer than its frame")
    return payload[1 : len(payload) - payload[0]]


def _refused(asked: Request, timeout: float | None, *, is_known: bool) -> bytes:
    """Returns the headers that answer a request that no handler gets to see; nothing if one does."""
    if asked.method != "POST":
        return refusal(_METHOD_NOT_ALLOWED)
    if asked.content_type != "application/grpc" and not asked.content_type.startswith(_CONTENT_TYPES):
        return refusal(_UNSUPPORTED_TYPE)
    if not is_known:
        return trailers_only(StatusCode.UNIMPLEMENTED, "There is no such method.")
    if asked.timeout and timeout is None:
        return trailers_only(StatusCode.INTERNAL, "grpc-timeout is not one.")
    if timeout == 0.0:
        return trailers_only(StatusCode.DEADLINE_EXCEEDED, "The deadline has passed.")
    if asked.encoding not in message.ENCODINGS:
        accepted = (("grpc-accept-encoding", ",".join(message.ENCODINGS)),)
        return trailers_only(StatusCode.UNIMPLEMENTED, "The encoding is not supported.", accepted)
    return b""

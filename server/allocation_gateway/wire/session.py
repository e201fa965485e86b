"""The HTTP/2 session of a connection: which frame goes where, and which call it is about. It knows no socket.

It is longer than the other modules since it is the one place that knows what each type of frame is about. What the
frames change is the state of others: field blocks, streams, windows, accounts, calls.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol

from grpc import StatusCode

from allocation_gateway.wire import frames, message, request, response_headers
from allocation_gateway.wire.errors import Http2ConnectionError, Http2StreamError
from allocation_gateway.wire.flood_budget import (
    CALLS_PER_CHARGE,
    CREDIT_PER_CALL,
    CREDIT_PER_MESSAGE,
    FAIR_DATA_SIZE,
    FIELD_BYTES_PER_CHARGE,
    OVERFULL_COST,
    RESET_COST,
    SETTINGS_BYTES_PER_CHARGE,
    VIOLATION_COST,
    FloodBudget,
)
from allocation_gateway.wire.flow_control import CONNECTION_WINDOW, ReceiveControl
from allocation_gateway.wire.headers import HeaderReceiver
from allocation_gateway.wire.hpack import NO_TABLE
from allocation_gateway.wire.lifetime import Lifetime
from allocation_gateway.wire.memory import Buffer, ConnectionMemory, call_cost
from allocation_gateway.wire.sender import FrameSender
from allocation_gateway.wire.streaming import RequestStreamCall
from allocation_gateway.wire.streams import StreamTable
from allocation_gateway.wire.turns import (
    CALLS_PER_UNIT,
    FIELD_BYTES_PER_UNIT,
    HANDLER_UNITS,
    UNPACKED_BYTES_PER_UNIT,
    USUAL_LIST_SIZE,
    TurnQueue,
    message_units,
    units_of_fields,
)
from allocation_gateway.wire.unary import ResponseStreamCall, UnaryCall

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    import grpc

    from allocation_gateway.wire.call import Call
    from allocation_gateway.wire.headers import FieldBlock
    from allocation_gateway.wire.hpack import HeaderField
    from allocation_gateway.wire.limits import Limits
    from allocation_gateway.wire.memory import MemoryPool
    from allocation_gateway.wire.turns import Turns

# A call that is reset so soon, in seconds, was opened for nothing. Later, its client may just have waited for too long.
_RAPID: Final = 1.0
_PROBE: Final = b"probe..."
_LAST_CALLS: Final = b"last...."
_CONNECTION_FRAMES: Final = frozenset({frames.SETTINGS, frames.PING, frames.GOAWAY})


class SessionServer(Protocol):
    """The server, as the sessions of its connections see it."""

    limits: Limits
    memory: MemoryPool
    turns: Turns

    @property
    def methods(self) -> Mapping[str, grpc.RpcMethodHandler[Any, Any]]:
        """Its handlers, by the paths of their methods."""


class Session:
    """The calls of one connection, and what HTTP/2 needs around them.

    Attributes:
        max_message: The largest request message, in bytes.
        auth_context: What TLS knows of the peer.
        lifetime: The times of the connection.
        sender: What is sent.
        extra_work: Units of work that were done beside the frames themselves, and nobody has taken note of yet.
    """

    def __init__(
        self,
        server: SessionServer,
        loop: asyncio.AbstractEventLoop,
        close: Callable[[], None],
        evict: Callable[[], None],
    ) -> None:
        """Starts without calls.

        Args:
            server: The server.
            loop: The loop that it works in.
            close: Closes the connection when the last call has ended and no more are taken.
            evict: Ends the connection, since it holds more than all others while that is too much.
        """
        limits = server.limits
        self._server = server
        self._limits = limits
        self.max_message = limits.message
        self.auth_context: Mapping[str, Sequence[bytes]] = {}
        self._loop = loop
        self._close = close
        self._turns = server.turns
        self._readers = TurnQueue(server.turns, loop)
        self._memory = ConnectionMemory(server.memory, loop, evict)
        self.charge = self._memory.charge
        self.extra_work = 0
        now = loop.time()
        self.lifetime = Lifetime(limits, now)
        self._budget = FloodBudget(now)
        self._headers = HeaderReceiver(limits.metadata, self._memory)
        self._receiver = ReceiveControl(max(limits.message + message.PREFIX_SIZE, frames.DEFAULT_WINDOW), self._memory)
        self._streams = StreamTable()
        self._calls = self._streams.calls
        self.sender = FrameSender(loop, server.turns, self._memory, self._finish)
        self.send = self.sender.send
        self._write = self.sender.write
        self._first_block_prefix = NO_TABLE
        # No call takes more than this beyond what any new call does, in bytes.
        self._widest_call = 0
        self._has_called = False
        self._is_giving_up = False

    def buffer(self, little: int) -> Buffer:
        """Returns what has the account know of a buffer of the connection. See Buffer."""
        return Buffer(self._memory, little)

    def start(self) -> None:
        """Sends what a connection begins with."""
        self._server.memory.join(self._memory)
        self._write(
            frames.settings(
                {
                    frames.MAX_CONCURRENT_STREAMS: self._limits.calls,
                    frames.INITIAL_WINDOW_SIZE: self._receiver.stream_window,
                    frames.MAX_HEADER_LIST_SIZE: self._limits.metadata,
                }
            )
            + frames.window_update(0, CONNECTION_WINDOW - frames.DEFAULT_WINDOW)
        )

    def receive(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        """Takes a frame.

        Raises:
            Http2ConnectionError: It breaks the rules, and ends the connection.
        """
        headers = self._headers
        if headers.open_stream:
            headers.check(kind, stream)
        try:
            if kind == frames.DATA:
                self._on_data(flags, stream, payload)
            elif kind == frames.HEADERS:
                self._on_field_block(headers.on_headers(flags, stream, payload))
            else:
                self._on_other(kind, flags, stream, payload)
        except Http2StreamError as error:
            # A call too many breaks no rule: the peer may not have read the limit yet.
            self._budget.charge(RESET_COST if error.code == frames.REFUSED_STREAM else VIOLATION_COST)
            self._reset(error.stream, error.code, in_turns=True)

    def _on_data(self, flags: int, stream: int, payload: bytes) -> None:
        size = len(payload)
        if increment := self._receiver.receive(size):
            self._write(frames.window_update(0, increment))
        is_last = bool(flags & frames.END_STREAM)
        call = self._calls.get(stream)
        if call is None or call.is_received:
            self._on_late_data(stream, call)
            return
        if flags & frames.PADDED:
            payload = frames.unpadded(flags, payload)
            self._respond(frames.window_update(stream, size - len(payload)))
        if len(payload) < FAIR_DATA_SIZE and not is_last:
            self._budget.charge()
        if not self._receiver.hold(call, len(payload)):
            self._budget.charge(OVERFULL_COST)
            call.fail(StatusCode.RESOURCE_EXHAUSTED, "The connection has too many requests that are not answered yet.")
            return
        self._take(call, payload, is_last=is_last)

    def _on_late_data(self, stream: int, call: Call | None) -> None:
        """Takes DATA for a stream on which nothing more may come: it is passed over if it can have been on its way."""
        self._streams.check_opened(stream)
        is_after_goaway = call is None and self._streams.final is not None  # its caller learns that it was never begun
        if not is_after_goaway and not self._streams.was_reset(stream):
            raise Http2StreamError(stream, frames.STREAM_CLOSED)
        self._budget.charge()

    def _take(self, call: Call, payload: bytes, *, is_last: bool) -> None:
        call.received += len(payload)
        if is_last:
            call.is_received = True
            if call.request.content_length not in {None, call.received}:
                raise Http2StreamError(call.stream, frames.PROTOCOL_ERROR)
        call.receive(payload, is_last=is_last)

    def _on_field_block(self, block: FieldBlock | None) -> None:
        """Takes the fields that begin a call or end it; None as long as they are not complete."""
        if block is None:
            return
        stream, is_last, size, fields = block
        if size > USUAL_LIST_SIZE:
            self.worked(units_of_fields(size))
        if stream > self._streams.last:
            self._streams.last = stream
            if fields is None:
                self._budget.charge(size // FIELD_BYTES_PER_CHARGE)
            if self._streams.final is None:
                self._open(stream, fields, size, is_last=is_last)
            else:
                self._budget.charge()
            return
        call = self._calls.get(stream)
        if call is None and (self._streams.was_reset(stream) or self._streams.final is not None):
            self._budget.charge()
            return
        if call is None:
            raise Http2ConnectionError(frames.STREAM_CLOSED, "HEADERS must not follow the end of their stream.")
        if call.is_received:
            raise Http2StreamError(stream, frames.STREAM_CLOSED)
        if not is_last:
            raise Http2StreamError(stream, frames.PROTOCOL_ERROR)
        if fields is None:
            self._budget.charge(size // FIELD_BYTES_PER_CHARGE)
            call.is_received = True
            call.fail(StatusCode.RESOURCE_EXHAUSTED, f"The trailers are larger than {self._limits.metadata} bytes.")
            return
        # Trailers, which no caller of gRPC has.
        if any(not name or name.startswith(":") for name, _ in fields):
            raise Http2StreamError(stream, frames.PROTOCOL_ERROR)
        self._take(call, b"", is_last=True)

    def _open(self, stream: int, fields: list[HeaderField] | None, size: int, *, is_last: bool) -> None:
        """Begins a call, or refuses it."""
        if fields is None:
            text = f"The metadata is larger than {self._limits.metadata} bytes."
            self._refuse(stream, response_headers.trailers_only(StatusCode.RESOURCE_EXHAUSTED, text), is_last=is_last)
            return
        try:
            asked = request.parse(fields)
        except request.MalformedError as error:
            raise Http2StreamError(stream, frames.PROTOCOL_ERROR) from error
        if len(self._calls) >= self._limits.calls or self._memory.is_full:
            raise Http2StreamError(stream, frames.REFUSED_STREAM)
        method = self._server.methods.get(asked.path)
        timeout = request.seconds(asked.timeout) if asked.timeout else None
        refused = response_headers.refusal(asked, timeout, is_known=method is not None)
        if method is None or refused:
            self._refuse(stream, refused, is_last=is_last)
            return
        call = self._calls[stream] = _kind(method)(self, stream, asked, method, self._loop)
        self.charge(call, call_cost(len(asked.fields), size))
        pool = self._server.memory
        if pool.held > pool.crowded:
            pool.opened_in_crowd()
        if timeout is not None:
            call.set_deadline(timeout)
        if is_last:
            self._take(call, b"", is_last=True)

    def _refuse(self, stream: int, block: bytes, *, is_last: bool) -> None:
        self._write(frames.headers(stream, self.first_block_prefix() + block, ends=True))
        if not is_last:
            self._write_reset(stream, frames.NO_ERROR)

    def _on_other(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == frames.WINDOW_UPDATE:
            self._on_window_update(stream, payload)
        elif kind == frames.CONTINUATION:
            self._on_field_block(self._headers.on_continuation(flags, stream, payload))
        elif kind == frames.RST_STREAM:
            self._on_reset(stream, payload)
        elif kind == frames.PRIORITY:
            self._on_priority(stream, payload)
        elif kind == frames.PUSH_PROMISE:
            raise Http2ConnectionError(frames.PROTOCOL_ERROR, "A client must not send PUSH_PROMISE.")
        elif kind in _CONNECTION_FRAMES and stream:
            raise Http2ConnectionError(frames.PROTOCOL_ERROR, "SETTINGS, PING and GOAWAY must be on stream 0.")
        elif kind == frames.SETTINGS:
            self._on_settings(flags, payload)
        elif kind == frames.PING:
            self._on_ping(flags, payload)
        elif kind == frames.GOAWAY:
            self._budget.charge()
            frames.check_goaway(payload)
        else:
            self._budget.charge()  # an extension, which this side does not know

    def _on_window_update(self, stream: int, payload: bytes) -> None:
        self._budget.charge()
        increment = frames.read_increment(payload)
        sender = self.sender
        if not stream:
            if not increment:
                raise Http2ConnectionError(frames.PROTOCOL_ERROR, "The increment of WINDOW_UPDATE must not be 0.")
            if sender.window + increment > frames.LARGEST_WINDOW:
                raise Http2ConnectionError(frames.FLOW_CONTROL_ERROR, "The connection's window must be below 2^31.")
            sender.widen(increment)
            return
        call = self._calls.get(stream)
        if call is None:
            self._streams.check_opened(stream)
            return
        if not increment:
            raise Http2StreamError(stream, frames.PROTOCOL_ERROR)
        call.window += increment
        if sender.stream_window + call.window > frames.LARGEST_WINDOW:
            raise Http2StreamError(stream, frames.FLOW_CONTROL_ERROR)
        self._widest_call = max(self._widest_call, call.window)
        if call.unsent:
            sender.send_unsent(call)

    def _on_reset(self, stream: int, payload: bytes) -> None:
        frames.check_reset(payload)
        self._streams.check_opened(stream)
        call = self._calls.get(stream)
        if call is None:
            self._budget.charge()
            return
        if self._loop.time() - call.opened_at < _RAPID:
            self._budget.charge(RESET_COST)
        self._forget(call, in_turns=True)

    def _on_priority(self, stream: int, payload: bytes) -> None:
        self._budget.charge()
        if not stream:
            raise Http2ConnectionError(frames.PROTOCOL_ERROR, "PRIORITY must not be on stream 0.")
        code = frames.priority_error(stream, payload)
        if code and stream in self._calls:
            raise Http2StreamError(stream, code)
        if code:
            raise Http2ConnectionError(code, "PRIORITY must have 5 bytes and depend on another stream.")

    def _on_settings(self, flags: int, payload: bytes) -> None:
        self._budget.charge(1 + len(payload) // SETTINGS_BYTES_PER_CHARGE)
        settings = frames.read_settings(flags, payload)
        if flags & frames.ACK:
            return
        self._respond(frames.header(0, frames.SETTINGS, frames.ACK, 0))
        self.lifetime.settings_received()
        window = dict(settings).get(frames.INITIAL_WINDOW_SIZE, self.sender.stream_window)
        if window != self.sender.stream_window:
            self._resize(window)

    def _resize(self, window: int) -> None:
        if self._widest_call > frames.LARGEST_WINDOW - window:
            # It is that of a call that may be over: only then are all of them looked at.
            self._looked_through(len(self._calls))
            self._widest_call = max((call.window for call in self._calls.values()), default=0)
            if self._widest_call > frames.LARGEST_WINDOW - window:
                raise Http2ConnectionError(
                    frames.FLOW_CONTROL_ERROR, "SETTINGS_INITIAL_WINDOW_SIZE must leave each window below 2^31."
                )
        self._looked_through(self.sender.resize(window))

    def _looked_through(self, calls: int) -> None:
        self._budget.charge(calls // CALLS_PER_CHARGE)
        self.worked(calls // CALLS_PER_UNIT)

    def _on_ping(self, flags: int, payload: bytes) -> None:
        self._budget.charge()
        frames.check_ping(payload)
        if not flags & frames.ACK:
            self._respond(frames.ping(payload, ack=True))
        elif payload == _PROBE:
            self.lifetime.probe_answered()
        elif payload == _LAST_CALLS:
            self.refuse_new_calls()

    def _respond(self, frame: bytes) -> None:
        """Sends what a frame asks for at once, and charges it as another frame."""
        self._write(frame)
        self.worked(1)

    # What calls need. See CallConnection.

    @property
    def calls_end_at(self) -> float:
        """See CallConnection."""
        return self.lifetime.calls_end_at

    def first_block_prefix(self) -> bytes:
        """See CallConnection."""
        prefix, self._first_block_prefix = self._first_block_prefix, b""
        return prefix

    def _finish(self, call: Call) -> None:
        """Ends a call whose status was given."""
        if call.is_received:
            self._has_called = True
            self._budget.credit(CREDIT_PER_CALL, call.written)
        else:
            # Whatever it was answered: a request that never became whole makes up for nothing.
            self._write_reset(call.stream, frames.NO_ERROR)
        self._forget(call)

    def grant(self, call: Call, size: int) -> None:
        """See CallConnection."""
        if call.is_over:
            return
        self._receiver.release(call, size)
        if not call.is_received:
            self._write(frames.window_update(call.stream, size))

    def unpacked(self, size: int) -> None:
        """See CallConnection."""
        self.worked(size // UNPACKED_BYTES_PER_UNIT)

    def worked(self, units: int) -> None:
        """See CallConnection."""
        self.extra_work += units

    def written(self, size: int) -> None:
        """See CallConnection."""
        self._has_called = True
        self._budget.credit(CREDIT_PER_MESSAGE, size)

    def message_turn(self, most: int) -> Awaitable[None]:
        """See CallConnection."""
        return self._readers.turn(message_units(most))

    def message_read(self, size: int, most: int) -> None:
        """See CallConnection."""
        if refund := message_units(most) - message_units(size):
            self._readers.refund(refund)

    def field_block_units(self) -> int:
        """Returns what it costs to decode the field block that is open, and to begin the call that it may be."""
        return HANDLER_UNITS + self._headers.open_size // FIELD_BYTES_PER_UNIT

    def reset(self, call: Call, code: int) -> None:
        """See CallConnection."""
        self._reset(call.stream, code)

    def _write_reset(self, stream: int, code: int) -> None:
        self._streams.note_reset(stream)
        self._write(frames.reset(stream, code))

    def _reset(self, stream: int, code: int, *, in_turns: bool = False) -> None:
        self._write_reset(stream, code)
        call = self._calls.get(stream)
        if call is not None:
            self._forget(call, in_turns=in_turns)

    def _forget(self, call: Call, *, in_turns: bool = False) -> None:
        """Ends a call of which nothing is left to be said.

        Args:
            call: The call.
            in_turns: Whether its handler is cancelled in a turn to come, as its peer may have caused that for many.
        """
        if self._calls.pop(call.stream, None) is None:
            return  # its connection has ended meanwhile
        self.sender.forget(call)
        self._memory.release(call)
        if self._streams.final is not None and not self._calls:
            self._close()
        if in_turns and call.task is not None:
            call.is_over = True
            self._turns.end([call.end])
        else:
            call.end()

    # How it ends.

    def drain(self, *, is_stopping: bool = False) -> None:
        """Tells the client to make no more calls here. The connection is closed when those that it made have ended.

        Args:
            is_stopping: Whether that is since the server stops, and says itself how long they have.
        """
        if self.lifetime.is_draining:
            return
        self.lifetime.drained(self._loop.time(), is_stopping=is_stopping)
        self._write(frames.goaway(frames.LARGEST_STREAM, frames.NO_ERROR) + frames.ping(_LAST_CALLS, ack=False))

    def refuse_new_calls(self) -> None:
        """Takes no more calls, if the client was asked to make none."""
        if self._streams.final is not None or not self.lifetime.is_draining:
            return
        self._streams.final = self._streams.last
        self._write(frames.goaway(self._streams.final, frames.NO_ERROR))
        if not self._calls:
            self._close()

    def probe(self) -> None:
        """Asks whether the peer is there."""
        self._write(frames.ping(_PROBE, ack=False))

    def fail(self, error: Http2ConnectionError) -> None:
        """Ends all calls, and says why."""
        self._write(frames.goaway(self._streams.last_answered, error.code, str(error).encode()))
        self.end_calls()

    def give_up(self) -> list[asyncio.Task[None]]:
        """Answers all calls that the server is shutting down, in turns to come, of which the last one closes.

        Returns:
            The work that is cancelled by that.
        """
        self.drain()
        self.refuse_new_calls()
        if self._is_giving_up:
            return []
        self._is_giving_up = True
        calls = list(self._calls.values())
        self._turns.end([partial(self._give_up_call, call) for call in calls])
        return [call.task for call in calls if call.task is not None]

    def _give_up_call(self, call: Call) -> None:
        call.fail(StatusCode.UNAVAILABLE, "The server is shutting down.")
        if not call.is_over:
            self._forget(call)  # what it was answered is not taken

    def end_calls(self) -> None:
        """Ends all calls without an answer, and holds nothing for them any more."""
        calls = list(self._calls.values())
        self._calls.clear()
        for call in calls:
            call.is_over = True
            self._memory.release(call)
        self._turns.end([call.end for call in calls])

    def let_go(self) -> None:
        """Holds on to its connection no longer, which is over: else both would wait for the garbage collector."""
        self._server.memory.leave(self._memory)
        self._close = self._memory.evict = _nothing
        self.sender.let_go()

    def tick(self, now: float) -> None:
        """Does what is due for its calls, and lets a peer that was slowed down send more."""
        # Many may be due, or none may have been for long.
        self._turns.end([call.end_in_time for call in self._calls.values() if call.is_due(now)])
        self._budget.refill(now)
        self.sender.take_account()
        if increment := self._receiver.increment():
            self._write(frames.window_update(0, increment))

    @property
    def has_called(self) -> bool:
        """Whether the client has made a call, and not only begun one: it was answered, or a handler has some of it."""
        return self._has_called or any(call.task is not None and call.received for call in self._calls.values())


def _nothing() -> None:
    """Does nothing."""


def _kind(method: grpc.RpcMethodHandler[Any, Any]) -> type[Call]:
    if method.request_streaming:
        return RequestStreamCall
    return ResponseStreamCall if method.response_streaming else UnaryCall

"""A gRPC server that answers any call as it is told to, and remembers what it was asked."""

from __future__ import annotations

import threading
import time
from collections import deque
from concurrent import futures
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import grpc
from allocation_gateway import errors
from allocation_gateway.errors import DETAILS_KEY, PUSHBACK_KEY, GatewayError
from google.protobuf.message import Message

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_THREADS: Final = 8
# How long calls in hand may take when their connection goes away.
_GRACE: Final = 30.0
# A window of a fixed size: by default it grows to megabytes with what it takes, read or not.
_WINDOW: Final = (("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 65_536))
# An answer that does not come.
SILENCE: Final = "silence"
# A message, a failure of the gateway's, a status without details as of a proxy, a status as it is, or SILENCE; of a
# call that lasts, messages and how they end; or one of these while the connection goes away.
Answer: TypeAlias = "Message | GatewayError | grpc.StatusCode | Raw | Told | Away | str"


@dataclass(frozen=True)
class Raw:
    """A status as it is sent.

    Attributes:
        code: Its code.
        message: Its text.
        details: A google.rpc.Status, serialized; None for a status without details.
        pushback: What it says of when to repeat the call; None for nothing.
    """

    code: grpc.StatusCode
    message: str = ""
    details: bytes | None = None
    pushback: str | None = None

    def trailers(self) -> tuple[tuple[str, str | bytes], ...]:
        """Returns its trailing metadata."""
        sent = ((DETAILS_KEY, self.details), (PUSHBACK_KEY, self.pushback))
        return tuple((name, value) for name, value in sent if value is not None)


@dataclass(frozen=True)
class Told:
    """What a call that lasts is told when all of its requests were read.

    Attributes:
        messages: What comes first.
        end: How it ends then; None for OK.
        after: How many of its requests are read instead of all.
    """

    messages: Sequence[Message]
    end: GatewayError | grpc.StatusCode | Raw | str | None = None
    after: int | None = None


@dataclass(frozen=True)
class Away:
    """An answer before which the connection goes away: GOAWAY, and no new calls.

    Attributes:
        answer: The answer.
    """

    answer: Answer


@dataclass(frozen=True)
class Call:
    """A call that was made.

    Attributes:
        path: The path of its rpc.
        request: Its request, serialized; those of a stream are one, as protobuf merges them.
        metadata: Its metadata.
        seconds: How long its caller would wait.
        at: When it was made, by a clock that never goes back.
    """

    path: str
    request: bytes
    metadata: dict[str, str]
    seconds: float
    at: float


@dataclass
class Scripted:
    """The server.

    Attributes:
        address: Where it listens.
        answers: What is answered next.
        default: What is answered when nothing is left.
        calls: What it was asked.
        begun: Has the path of each call that lasts, from when it has begun.
        asked: Has the path of each call, from when its requests were read.
        leave: Has all connections go away.
    """

    address: str = ""
    answers: deque[Answer] = field(default_factory=deque)
    default: Answer | None = None
    calls: list[Call] = field(default_factory=list)
    begun: SimpleQueue[str | None] = field(default_factory=SimpleQueue)
    asked: SimpleQueue[str | None] = field(default_factory=SimpleQueue)
    leave: Callable[[], object] = lambda: None

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any]:
        """Returns what answers a call."""
        known: dict[str, str] = {}
        for key, value in details.invocation_metadata or ():
            # What is there twice is told as HTTP has it.
            name, text = str(key), str(value)
            known[name] = f"{known[name]}, {text}" if name in known else text

        def took(request: bytes, begun: float, context: grpc.ServicerContext) -> Answer | None:
            self.calls.append(Call(details.method, request, known, context.time_remaining() or 0.0, begun))
            self.asked.put(details.method)
            chosen = self.answers.popleft() if self.answers else self.default
            if isinstance(chosen, Away):
                self.leave()
                return chosen.answer
            return chosen

        def answer(request: bytes, context: grpc.ServicerContext) -> bytes:
            told = took(request, time.monotonic(), context)
            _end(told, context)
            assert isinstance(told, Message)
            return told.SerializeToString()

        def answer_stream(requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
            begun = time.monotonic()
            self.begun.put(details.method)
            following = self.answers[0] if self.answers else self.default
            following = following.answer if isinstance(following, Away) else following
            most = following.after if isinstance(following, Told) else None
            told = took(b"".join(islice(requests, most)), begun, context)
            if isinstance(told, Told):
                yield from (message.SerializeToString() for message in told.messages)
                if told.end is None:
                    return
                told = told.end
            _end(told, context)

        if _is_stream(details.method):
            return grpc.stream_stream_rpc_method_handler(answer_stream)
        return grpc.unary_unary_rpc_method_handler(answer)


def _is_stream(path: str) -> bool:
    name = path.rpartition("/")[2]
    return name.endswith("Stream") or name.startswith("Watch")


def _end(told: Answer | None, context: grpc.ServicerContext) -> None:
    """Ends a call with a status, unless a message is told."""
    if isinstance(told, GatewayError):
        told = Raw(told.code, told.message, told.status().SerializeToString(), str(told.pushback_ms()))
    if isinstance(told, grpc.StatusCode):
        told = Raw(told, "Not the gateway's.")
    if isinstance(told, Raw):
        context.set_trailing_metadata(told.trailers())
        context.abort(told.code, told.message)
    if told == SILENCE:
        gone = threading.Event()
        if context.add_callback(gone.set):
            gone.wait()
        context.abort(grpc.StatusCode.CANCELLED, "Nobody waits any more.")
    if isinstance(told, str | None):
        context.abort(grpc.StatusCode.UNIMPLEMENTED, "Nothing is left to answer.")


class _Any(grpc.GenericRpcHandler):
    def __init__(self, scripted: Scripted) -> None:
        self._scripted = scripted

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any]:
        return self._scripted.service(handler_call_details)


@contextmanager
def scripted_server(credentials: grpc.ServerCredentials | None = None, at: str = "127.0.0.1:0") -> Iterator[Scripted]:
    """Runs such a server, by default on a free port."""
    server = grpc.server(futures.ThreadPoolExecutor(_THREADS), options=_WINDOW)
    scripted = Scripted()
    server.add_generic_rpc_handlers((_Any(scripted),))
    port = server.add_insecure_port(at) if credentials is None else server.add_secure_port(at, credentials)
    scripted.address = f"{at.rpartition(':')[0]}:{port}"
    scripted.leave = lambda: server.stop(_GRACE)
    server.start()
    try:
        yield scripted
    finally:
        server.stop(None).wait()


def told(code: grpc.StatusCode, reason: Any, *, after: float | None = None, **more: Any) -> GatewayError:
    """Returns a failure as the gateway tells it; `after` so many seconds it may be repeated."""
    details = [*more.pop("details", ()), *([] if after is None else [errors.retry_after(after)])]
    return GatewayError(code, reason, "As the test has it.", details=details, **more)

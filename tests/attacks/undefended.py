"""A gateway without some of its defences: what attacks would do to it shows that they are any.

Usage: PYTHONPATH=tests python -m attacks.undefended DEFENCES serve

Args:
    DEFENCES: The names of the defences to take out, separated by commas.
"""

from __future__ import annotations

import os
import resource
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from allocation_gateway import cli
from allocation_gateway.operations import validation
from allocation_gateway.rpc.engines import direct
from allocation_gateway.wire import (
    connection,
    headers,
    hpack,
    message,
    request,
    sender,
    session,
    tls_session,
    turns,
)
from allocation_gateway.wire.connection import Connection
from allocation_gateway.wire.flood_budget import FloodBudget
from allocation_gateway.wire.flow_control import ReceiveControl
from allocation_gateway.wire.memory import ConnectionMemory, MemoryPool
from allocation_gateway.wire.streaming import RequestStreamCall
from allocation_gateway.wire.turns import TurnQueue, Turns
from allocation_gateway.wire.unary import SingleRequestCall
from support.removal import replace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

# More than any attack takes.
BOUNDLESS: Final = 1 << 40
_MOST_STREAMS: Final = (1 << 31) - 1
# Who needs more has failed: others use the machine too.
_MOST_MEMORY: Final = 2 << 30


def flood_budget() -> None:
    """Frames that serve no request may come without an end."""
    replace(FloodBudget, "charge", lambda *_: None)


def turns_of_the_loop() -> None:
    """Whatever has come is worked on at once, however much it is."""

    async def message_turn(*_: object) -> None: ...

    replace(Turns, "share", lambda _: BOUNDLESS)
    replace(TurnQueue, "turn", message_turn)
    for name in ("_WAITING_UNITS", "_QUANTUM", "_ENDED_CALLS"):
        replace(turns, name, BOUNDLESS)
    replace(connection, "_MUCH", BOUNDLESS)


def account_of_bytes() -> None:
    """Whatever a peer makes the server hold is held."""
    for name in ("is_full", "is_tight"):
        replace(ConnectionMemory, name, property(lambda _: False))
    for name in ("relieve_soon", "opened_in_crowd"):
        replace(MemoryPool, name, lambda *_: None)


def windows() -> None:
    """What is received is not held against the windows that the peer was given, and these are as wide as can be."""

    def hold(control: Any, call: Any, size: int) -> bool:
        call.held += size
        control._memory.charge(call, size)
        return True

    replace(ReceiveControl, "receive", lambda _, size: size)
    replace(ReceiveControl, "hold", hold)


def limit_of_calls() -> None:
    """A connection may have as many open calls as it can have streams."""
    replace(direct, "calls_within", lambda _: _MOST_STREAMS)
    replace(direct, "_OPEN_CALLS", BOUNDLESS)


def late_unpacking() -> None:
    """The messages of a stream are unpacked when they arrive, and not when they are read."""
    receive = RequestStreamCall.receive
    pending: dict[RequestStreamCall, bytearray] = {}

    def unpacked(call: RequestStreamCall, data: bytes, *, is_last: bool) -> None:
        inbox = pending.setdefault(call, bytearray())
        inbox += data
        whole = b""
        while (size := message.size_of_first(inbox)) is not None and size <= len(inbox):
            one = message.read(bytes(inbox[:size]), call.request.encoding, call._connection.max_message)
            whole += message.prefixed(one)
            del inbox[:size]
        receive(call, whole, is_last=is_last)

    replace(RequestStreamCall, "receive", unpacked)


def single_messages() -> None:
    """A call of one message takes any number of them, and each is unpacked when it arrives."""
    pending: dict[SingleRequestCall, tuple[bytearray, list[bytes]]] = {}

    def receive(call: SingleRequestCall, data: bytes, *, is_last: bool) -> None:
        inbox, kept = pending.setdefault(call, (bytearray(), []))
        inbox += data
        while (size := message.size_of_first(inbox)) is not None and size <= len(inbox):
            kept.append(message.read(bytes(inbox[:size]), call.request.encoding, call._connection.max_message))
            del inbox[:size]
        if is_last:
            call._only = pending.pop(call)[1][-1]
            call._start()

    replace(SingleRequestCall, "receive", receive)


def size_of_field_blocks() -> None:
    """Headers may have any number of frames, and any size."""
    initialise = headers.HeaderReceiver.__init__

    def boundless(receiver: Any, max_metadata: int, memory: ConnectionMemory) -> None:
        initialise(receiver, max_metadata, memory)
        replace(receiver, "_max_size", BOUNDLESS)

    replace(headers.HeaderReceiver, "__init__", boundless)
    replace(headers, "_MAX_FRAMES", BOUNDLESS)


def size_of_metadata() -> None:
    """Headers may stand for anything, however large that is once it is unpacked, and whatever it costs."""
    initialise = hpack.Decoder.__init__
    replace(hpack.Decoder, "__init__", lambda decoder, _: initialise(decoder, BOUNDLESS))
    replace(session, "USUAL_LIST_SIZE", BOUNDLESS)
    replace(session, "call_cost", lambda *_: 0)


def field_blocks_as_wholes() -> None:
    """A field block costs no more than its last frame, and may begin with any number of updates."""
    replace(session.Session, "field_block_units", lambda _: 0)
    replace(hpack, "_MOST_UPDATES", BOUNDLESS)


def joined_values() -> None:
    """A binary value has as many parts as it has commas, even if nothing is between them."""

    def every_part(value: str) -> list[bytes]:
        return [b"" for _ in value.split(",")]

    replace(request, "_MOST_PARTS", BOUNDLESS)
    replace(request, "_binary", every_part)
    replace(session, "USUAL_LIST_SIZE", BOUNDLESS)


def count_of_references() -> None:
    """Of too many references, each is looked at."""

    def each(field: str, values: Any, _: int, settings: Any) -> Iterator[validation.Violation]:
        for index, value in enumerate(values):
            yield from validation._reference(f"{field}[{index}]", value, settings)

    replace(validation, "_each_once", each)


def pause() -> None:
    """Who does not read is answered on and on, and the answers pile up."""
    replace(Connection, "pause_writing", lambda _: None)
    replace(sender, "_MOST_IN_A_TURN", BOUNDLESS)
    replace(sender, "_LITTLE", BOUNDLESS)


def credit_for_bytes() -> None:
    """A call that is answered makes up for any number of frames."""
    replace(session, "CREDIT_PER_CALL", BOUNDLESS)
    replace(session, "CREDIT_PER_MESSAGE", BOUNDLESS)


def count_of_empty_records() -> None:
    """Records of TLS without data may come without an end, and are worked through at once."""
    for name in ("_MOST_EMPTY_RECORDS", "_RECORDS_AT_ONCE"):
        replace(tls_session, name, BOUNDLESS)
    replace(tls_session, "_EMPTY_RECORD_COST", 1)


DEFENCES: Final[Mapping[str, Callable[[], None]]] = {
    one.__name__: one
    for one in (
        flood_budget,
        turns_of_the_loop,
        account_of_bytes,
        windows,
        limit_of_calls,
        late_unpacking,
        single_messages,
        size_of_field_blocks,
        size_of_metadata,
        field_blocks_as_wholes,
        joined_values,
        count_of_references,
        pause,
        credit_for_bytes,
        count_of_empty_records,
    )
}

_FRAMES: Final = ("flood_budget", "turns_of_the_loop")
_CALLS: Final = ("account_of_bytes", "limit_of_calls", "turns_of_the_loop", "flood_budget")
_ANSWERS: Final = ("account_of_bytes", "limit_of_calls", "pause", "turns_of_the_loop", "flood_budget")
# What each attack meets: without all of it, the gateway does not stand it.
RESTS_ON: Final[Mapping[str, tuple[str, ...]]] = {
    "compressed messages that nobody reads": ("single_messages", "windows", "account_of_bytes", *_FRAMES),
    "compressed questions whose answers are not taken": ("late_unpacking", "windows", *_ANSWERS),
    "zip bombs": _FRAMES,
    "bombs of references": ("count_of_references", *_FRAMES),
    "watches of long names": _CALLS,
    "empty messages that nobody reads": ("single_messages", "windows", "account_of_bytes", *_FRAMES),
    "empty questions whose answers are not taken": _ANSWERS,
    "window updates of the connection": _FRAMES,
    "window updates of a call": _FRAMES,
    "DATA of one byte": ("windows", *_FRAMES),
    "empty DATA": _FRAMES,
    "padded DATA": _FRAMES,
    "rapid reset": _FRAMES,
    "rapid reset of probes": _FRAMES,
    "MadeYouReset by an increment of 0": _FRAMES,
    "MadeYouReset by DATA after the end": _FRAMES,
    "MadeYouReset by a window that overflows": _FRAMES,
    "MadeYouReset by a dependency on itself": _FRAMES,
    "CONTINUATION without an end": ("size_of_field_blocks", "account_of_bytes", *_FRAMES),
    "empty CONTINUATION": ("size_of_field_blocks", *_FRAMES),
    "PING": _FRAMES,
    "PING, answers not read": ("pause", "account_of_bytes", *_FRAMES),
    "PING over TLS": _FRAMES,
    "SETTINGS": _FRAMES,
    "large SETTINGS": _FRAMES,
    "SETTINGS that resize many windows": _FRAMES,
    "PRIORITY": _FRAMES,
    "GOAWAY": _FRAMES,
    "unknown frames": _FRAMES,
    "RST_STREAM of a call that is over": _FRAMES,
    "header table bomb": ("size_of_metadata", "account_of_bytes", *_FRAMES),
    "header table thrash": ("size_of_metadata", "account_of_bytes", *_FRAMES),
    "metadata of many commas": ("joined_values", *_FRAMES),
    "calls with many small fields": ("size_of_metadata", *_CALLS),
    "size updates of the header table": ("field_blocks_as_wholes", *_FRAMES),
    "long texts in many frames": ("field_blocks_as_wholes", *_FRAMES),
    "large trailers": _FRAMES,
    "calls of no method": _FRAMES,
    "calls without an end": _CALLS,
    "watches without an end": _CALLS,
    "requests without their last byte": _CALLS,
    "requests that become whole together": _FRAMES,
    "deadlines that pass together": _CALLS,
    "watches that end together": _CALLS,
    "answers that are not taken": _ANSWERS,
    "answers let out a byte at a time": ("credit_for_bytes", *_ANSWERS),
    "answers that are not read": _ANSWERS,
    "large answers to an open window that are not read": _ANSWERS,
    "answers let out together that are not read": _ANSWERS,
    "large answers that are not read over TLS": _ANSWERS,
    "KeyUpdate": ("count_of_empty_records", *_FRAMES),
    "KeyUpdate with a PING each": ("count_of_empty_records", *_FRAMES),
}
# Those without a defence of their own that so few connections in so few seconds would meet, and why.
REST_ON_NOTHING: Final[Mapping[str, str]] = {
    "connections that say nothing": "far fewer than there may be, and for less time than they have",
    "connections opened and closed": "each costs what a connection costs, and the system's queue is their bound",
    "TLS that is not finished": "far fewer than there may be, and for less time than they have",
    "TLS that is closed after half a greeting": "each costs what a connection costs, and is noticed at once",
    "TLS greetings in two records": "each costs what a handshake costs, as those below",
    "TLS greetings that are asked for again": "each costs what a handshake costs, and the first step of another",
    "TLS handshakes": "each costs what a handshake costs, and they are refused where there are too many at a time",
}


def command(defences: Iterable[str]) -> list[str]:
    """Returns the gateway's command without some of its defences."""
    return [sys.executable, "-m", "attacks.undefended", ",".join(defences)]


def environment() -> dict[str, str]:
    """Returns the variables that it needs beside those of this process."""
    return {"PYTHONPATH": os.pathsep.join([str(Path(__file__).resolve().parents[1]), *sys.path])}


def main() -> int:
    """Takes the defences out and runs the gateway's own command, within the memory of this machine."""
    resource.setrlimit(resource.RLIMIT_AS, (_MOST_MEMORY, _MOST_MEMORY))
    for name in sys.argv[1].split(","):
        DEFENCES[name]()
    return cli.main(sys.argv[2:])


if __name__ == "__main__":
    sys.exit(main())

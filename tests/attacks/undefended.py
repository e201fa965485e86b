"""A gateway without some of its defences: what the attacks have to get through, so that it is known that they are any.

Usage: PYTHONPATH=tests python -m attacks.undefended DEFENCES serve

Args:
    DEFENCES: The names of the defences to take out, separated by commas.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

from allocation_gateway import cli
from allocation_gateway.rpc.engines import direct
from allocation_gateway.wire import connection, headers, message, session, turns
from allocation_gateway.wire.connection import Connection
from allocation_gateway.wire.flood_budget import FloodBudget
from allocation_gateway.wire.flow_control import ReceiveControl
from allocation_gateway.wire.hpack import Decoder
from allocation_gateway.wire.memory import ConnectionMemory, MemoryPool
from allocation_gateway.wire.streaming import RequestStreamCall
from allocation_gateway.wire.turns import Turns

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

# More than any attack takes.
_BOUNDLESS: Final = 1 << 40


def flood_budget() -> None:
    """Frames that serve no request may come without an end."""

    def charge(*_: object) -> None: ...

    FloodBudget.charge = charge  # type: ignore[method-assign, assignment]


def turns_of_the_loop() -> None:
    """Whatever has come is worked on at once, however much it is."""

    async def message_turn(_: Turns) -> None: ...

    Turns.share = lambda _: _BOUNDLESS  # type: ignore[method-assign, assignment]
    Turns.message = message_turn  # type: ignore[method-assign, assignment]
    for name in ("_WAITING_UNITS", "_QUANTUM", "_ENDED_CALLS"):
        setattr(turns, name, _BOUNDLESS)
    connection._MUCH = _BOUNDLESS  # type: ignore[misc]


def account_of_bytes() -> None:
    """Whatever a peer makes the server hold is held."""

    def ignored(*_: object) -> None: ...

    for name in ("is_full", "is_tight"):
        setattr(ConnectionMemory, name, property(lambda _: False))
    for name in ("relieve_soon", "opened_in_crowd"):
        setattr(MemoryPool, name, ignored)


def windows() -> None:
    """What is received is not held against the windows that the peer was given, and these are as wide as can be."""

    def hold(control: ReceiveControl, call: Any, size: int) -> bool:
        call.held += size
        control._memory.charge(call, size)
        return True

    ReceiveControl.receive = lambda _, size: size  # type: ignore[method-assign, assignment]
    ReceiveControl.hold = hold  # type: ignore[method-assign, assignment]


def limit_of_calls() -> None:
    """A connection may have any number of open calls."""
    direct.calls_within = lambda _: _BOUNDLESS  # type: ignore[attr-defined, assignment]
    direct._OPEN_CALLS = _BOUNDLESS  # type: ignore[misc]


def late_unpacking() -> None:
    """The messages of a stream are unpacked when they arrive, and not when they are read."""
    receive = RequestStreamCall.receive
    pending: dict[RequestStreamCall, bytearray] = {}

    def unpacked(call: RequestStreamCall, data: bytes, *, is_last: bool) -> None:
        inbox = pending.setdefault(call, bytearray())
        inbox += data
        whole = b""
        while (size := message.size_of_first(inbox)) is not None and size <= len(inbox):
            whole += message.prefixed(
                message.read(bytes(inbox[:size]), call.request.encoding, call._connection.max_message)
            )
            del inbox[:size]
        receive(call, whole, is_last=is_last)

    RequestStreamCall.receive = unpacked  # type: ignore[method-assign, assignment]


def size_of_field_blocks() -> None:
    """Headers may have any number of frames, and any size."""
    initialise = headers.HeaderReceiver.__init__

    def boundless(receiver: headers.HeaderReceiver, max_metadata: int) -> None:
        initialise(receiver, max_metadata)
        receiver._max_size = _BOUNDLESS

    headers.HeaderReceiver.__init__ = boundless  # type: ignore[method-assign, assignment]
    headers._MAX_FRAMES = _BOUNDLESS  # type: ignore[misc]


def size_of_metadata() -> None:
    """Headers may stand for anything, however large that is once it is unpacked."""
    initialise = Decoder.__init__

    def boundless(decoder: Decoder, max_list_size: int) -> None:
        initialise(decoder, _BOUNDLESS if max_list_size else 0)

    Decoder.__init__ = boundless  # type: ignore[method-assign, assignment]


def pause() -> None:
    """Who does not read is answered on and on, and the answers pile up."""

    def go_on(_: Connection) -> None: ...

    Connection.pause_writing = go_on  # type: ignore[method-assign, assignment]


def credit_for_bytes() -> None:
    """A call that is answered makes up for any number of frames."""
    session.CREDIT_PER_CALL = _BOUNDLESS  # type: ignore[attr-defined]
    session.CREDIT_PER_MESSAGE = _BOUNDLESS  # type: ignore[attr-defined]


DEFENCES: Final[Mapping[str, Callable[[], None]]] = {
    one.__name__: one
    for one in (
        flood_budget,
        turns_of_the_loop,
        account_of_bytes,
        windows,
        limit_of_calls,
        late_unpacking,
        size_of_field_blocks,
        size_of_metadata,
        pause,
        credit_for_bytes,
    )
}


def main() -> int:
    """Takes the defences out and runs the gateway's own command."""
    for name in sys.argv[1].split(","):
        DEFENCES[name]()
    return cli.main(sys.argv[2:])


if __name__ == "__main__":
    sys.exit(main())

"""The server that is fuzzed: the direct engine with services of its own, in memory and in virtual time."""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from allocation_gateway.rpc.engines.direct import DirectGrpcEngine
from allocation_gateway.settings import load
from allocation_gateway.wire.turns import Turns, TurnTaker
from support.virtual import VirtualLoop

from fuzz.echo import SERVICE, PlannedError, Witness, methods
from fuzz.transport import Transport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

    from allocation_gateway.settings import Settings

T = TypeVar("T")

# Small, so that inputs of a few hundred bytes reach beyond them.
LIMITS: Final = {
    "MAX_REQUEST_BYTES": "2000",
    "MAX_METADATA_BYTES": "1000",
    "MAX_CONCURRENT_CALLS": "1",
    "KEEPALIVE_TIME": "10",
    "KEEPALIVE_TIMEOUT": "5",
    "MAX_CONNECTION_AGE": "60",
    "MAX_CONNECTION_AGE_GRACE": "10",
}
MAX_MESSAGE: Final = int(LIMITS["MAX_REQUEST_BYTES"])
_MOMENT: Final = 1e-6
# Seconds in which the server looks after its connections at least twice.
_TICKS: Final = 2.1
# Units of work that one frame causes at most, and by how many a turn may be longer than what all share.
_LARGEST: Final = 2_000
_MOST_OVERDRAWN: Final = 1_024 + _LARGEST


def settings(**more: str) -> Settings:
    """Returns the settings of the server that is fuzzed."""
    given = {"ALLOW_PLAINTEXT": "true", "SHIP_API_KEY": "key", **LIMITS, **more}
    return load({f"ALLOCATION_GATEWAY_{name}": value for name, value in given.items()})


class _Listening:
    """Stands for a socket that is bound."""

    def listen(self, backlog: int) -> None:
        """See socket.socket."""


class _Loop(VirtualLoop):
    """Keeps how a server makes its connections, instead of listening.

    Attributes:
        make: Makes the protocol of a new connection.
        defects: What nobody but the loop was told.
    """

    def __init__(self) -> None:
        super().__init__()
        self.make: Callable[[], asyncio.Protocol] | None = None
        self.defects: list[str] = []
        self.set_exception_handler(lambda _, context: self.defects.append(repr(context)))

    async def create_server(self, protocol_factory: Any, *_: Any, **__: Any) -> Any:
        """See asyncio.AbstractEventLoop."""
        self.make = protocol_factory
        return _Nothing()


class _Nothing:
    def close(self) -> None:
        """See asyncio.Server."""


class _Defects(logging.Handler):
    """Notes what is logged, unless a handler was told to fail."""

    def __init__(self, witness: Witness) -> None:
        super().__init__(logging.WARNING)
        self._witness = witness

    def emit(self, record: logging.LogRecord) -> None:
        """See logging.Handler."""
        error = record.exc_info[1] if record.exc_info else None
        if not isinstance(error, PlannedError):
            self._witness.defects.append(f"{record.getMessage()}: {error!r}")


class _Turns(Turns):
    """Checks that no turn has more work than it may have."""

    def worked(self, connection: TurnTaker, done: int) -> None:
        """See Turns."""
        super().worked(connection, done)
        assert self._fresh_units > -_MOST_OVERDRAWN, "a turn is too long"

    def _take_turn(self, share: int) -> int:
        done = super()._take_turn(share)
        assert done < share + _LARGEST, "a connection in line takes too much"
        return done


class World:
    """A server with one connection.

    Attributes:
        witness: What the handlers saw.
        transport: The connection, as the client has it.
        engine: The server.
        others: More connections, if there are any.
    """

    def __init__(self, witness: Witness, engine: DirectGrpcEngine, transport: Transport) -> None:
        self.witness = witness
        self.engine = engine
        self.transport = transport
        self.others: list[Transport] = []

    def connect(self) -> Transport:
        """Makes one more connection."""
        self.others.append(_connected())
        return self.others[-1]

    async def settle(self) -> None:
        """Waits until there is nothing more to do at this moment."""
        await asyncio.sleep(_MOMENT)

    async def wait(self, seconds: float) -> None:
        """Lets time pass: what is long at a leap, since nothing but clocks would tick."""
        if seconds > _TICKS:
            _loop.leap(seconds - _TICKS)
        await asyncio.sleep(min(seconds, _TICKS))


_loop: Final = _Loop()
_SETTINGS: Final = settings()


def _connected() -> Transport:
    assert _loop.make is not None
    protocol = _loop.make()
    transport = Transport(_loop, protocol)
    protocol.connection_made(transport)
    return transport


@asynccontextmanager
async def opened(chosen: Settings = _SETTINGS) -> AsyncIterator[World]:
    """Makes a world, and checks at its end that nothing is left of it."""
    witness = Witness()
    engine = DirectGrpcEngine(chosen)
    engine.turns = _Turns(_loop)
    engine.add_registered_method_handlers(SERVICE, methods(witness))
    engine.listen(cast("Any", _Listening()), None)
    await engine.start()
    world = World(witness, engine, _connected())
    noting = _Defects(witness)
    logging.getLogger().addHandler(noting)
    try:
        yield world
        for transport in (world.transport, *world.others):
            transport.cut()
        await asyncio.sleep(_MOMENT)
        assert not engine.connections, "the server keeps a connection that is lost"
        assert not engine.memory.held, "the account has bytes of a connection that is lost"
        assert not witness.running, "a handler runs on after its connection is lost"
        await engine.stop(None)
        await asyncio.sleep(_MOMENT)
        rest = [task for task in asyncio.all_tasks(_loop) if task is not asyncio.current_task(_loop)]
        assert not rest, f"tasks are left: {rest}"
    finally:
        logging.getLogger().removeHandler(noting)
        _loop.make = None
    defects, _loop.defects = _loop.defects + witness.defects, []
    assert not defects, defects


def run(work: Coroutine[Any, Any, T]) -> T:
    """Runs a coroutine in virtual time."""
    asyncio.set_event_loop(_loop)
    return _loop.run_until_complete(work)

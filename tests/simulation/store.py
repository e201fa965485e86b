"""The store that all gateways of a world share, behind a network that delays and loses what is asked and answered.

The steps are those of the real store in memory. A step may be carried out after its caller has given up, and its answer
may be lost after it was carried out.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, TypeVar

from allocation_gateway.claims.delegating import DelegatingClaims
from allocation_gateway.claims.memory import MemoryClaims
from allocation_gateway.claims.model import StoreUnavailableError
from allocation_gateway.claims.slots import SlotClaims

from simulation.dice import spread

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Coroutine, Sequence

    from allocation_gateway.claims.model import ClaimStore
    from support.slot_server import SlotServer

    from simulation.process import Power

T = TypeVar("T")

# Of the steps, so many are carried out at once: they are the rule, and cost the least to simulate.
_AT_ONCE: Final = 0.7
_SHORTEST: Final = 0.0002
_USUAL: Final = 0.02
# Seconds by which a step of a bad time is late, on its way there or back: around the time-out, and far beyond it.
_LATEST: Final = 20.0


class Weather:
    """Whether the network to the store is good at the moment.

    Attributes:
        is_bad: Whether steps are delayed and lost.
    """

    def __init__(self, dice: random.Random) -> None:
        self.is_bad = False
        self._dice = dice

    def delays(self) -> tuple[float, float] | None:
        """Returns the seconds that a step takes there and back; None if it takes none."""
        dice = self._dice
        if self.is_bad and dice.random() < 0.5:
            slow = spread(dice, 0.05, _LATEST)
            return (slow, _SHORTEST) if dice.random() < 0.5 else (_SHORTEST, slow)
        if dice.random() < _AT_ONCE:
            return None
        return dice.uniform(_SHORTEST, _USUAL), dice.uniform(_SHORTEST, _USUAL)


class _Wire:
    """The network between one process and the store."""

    def __init__(self, weather: Weather, power: Power, timeout: float) -> None:
        self._weather = weather
        self._power = power
        self._timeout = timeout

    async def _step(self, work: Coroutine[Any, Any, Any]) -> Any:
        if not self._power.is_on:
            work.close()
            raise asyncio.CancelledError
        loop = asyncio.get_running_loop()
        delays = self._weather.delays()
        if not self._weather.is_bad:
            # One connection, which stands, keeps the order in which it is asked.
            behind = max(self._power.asked_until - loop.time(), 0.0)
            if delays is None and behind:
                delays = behind, _SHORTEST
            elif delays is not None:
                delays = max(delays[0], behind), delays[1]
            self._power.asked_until = loop.time() + (0.0 if delays is None else delays[0])
        if delays is None:
            return _now(work)
        there, back = delays
        answered: asyncio.Future[Any] = loop.create_future()

        def carry_out() -> None:
            try:
                answer, error = _now(work), None
            except Exception as raised:  # noqa: BLE001 - it is the answer
                answer, error = None, raised
            loop.call_later(back, settle, answer, error)

        def settle(answer: Any, error: Exception | None) -> None:
            if answered.done():
                return
            if error is None:
                answered.set_result(answer)
            else:
                answered.set_exception(error)

        loop.call_later(there, carry_out)
        timer = loop.call_later(self._timeout, settle, None, StoreUnavailableError("timeout"))
        try:
            return await answered
        finally:
            timer.cancel()


class WiredStore(_Wire, DelegatingClaims):
    """The store as one process sees it. See ClaimStore for its steps."""

    def __init__(self, store: MemoryClaims, weather: Weather, power: Power, timeout: float) -> None:
        _Wire.__init__(self, weather, power, timeout)
        DelegatingClaims.__init__(self, store)

    def at(self, references: Sequence[str]) -> WiredStore:
        """Returns itself: all claims are in one place."""
        del references
        return self

    async def _carry_out(self, step: Callable[[], Coroutine[Any, Any, T]]) -> T:
        answer: T = await self._step(step())
        return answer

    async def close(self) -> None:
        """Does nothing."""


class WiredSteps(_Wire):
    """The nodes of a cluster as one process sees them. See Steps."""

    def __init__(self, server: SlotServer, weather: Weather, power: Power, timeout: float) -> None:
        super().__init__(weather, power, timeout)
        self._server = server

    async def run(self, step: str, keys: Sequence[str], *arguments: str | bytes | int) -> Any:
        """Carries out a step in one slot."""
        return await self._step(self._carried_out(step, keys, *arguments))

    async def _carried_out(self, step: str, keys: Sequence[str], *arguments: str | bytes | int) -> Any:
        return self._server.carry_out(step, keys, *arguments)

    async def close(self) -> None:
        """Does nothing."""


def wired(
    store: MemoryClaims | SlotServer, name: str, retention: float, weather: Weather, power: Power, timeout: float
) -> ClaimStore:
    """Returns the store of an API as one process sees it: of one server, or of a cluster."""
    if isinstance(store, MemoryClaims):
        return WiredStore(store, weather, power, timeout)
    return SlotClaims(WiredSteps(store, weather, power, timeout), namespace="claims", name=name, retention=retention)


def _now(work: Coroutine[Any, Any, Any]) -> Any:
    """Carries out a step of the store in memory, which never waits."""
    try:
        work.send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError("the store in memory waits for nothing")

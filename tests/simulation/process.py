"""A gateway as a process of a simulated world: its own memory, which ends with it."""

from __future__ import annotations

import asyncio
import contextvars
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from allocation_gateway.account_api import AccountApi
from allocation_gateway.errors import GatewayError
from allocation_gateway.operations.model import Api
from allocation_gateway.operations.table import OPERATIONS, routes
from allocation_gateway.settings import PREFIX, load
from allocation_gateway.telemetry.telemetry import Telemetry
from allocation_gateway.upstream.client import Upstream
from allocation_gateway.writes.coordinator import Coordinator
from allocation_gateway.writes.fingerprint import fingerprint
from allocation_gateway.writes.request import WriteRequest

from simulation.loop import OWNER, Owner
from simulation.store import wired
from simulation.upstream import TRACE

if TYPE_CHECKING:
    import random
    from collections.abc import Coroutine, Mapping, Sequence

    from allocation_gateway.claims.memory import MemoryClaims
    from allocation_gateway.operations.model import Operation, Route
    from allocation_gateway.settings import Settings
    from allocation_gateway.upstream.http import Answer
    from google.protobuf.message import Message
    from support.slot_server import SlotServer

    from simulation.store import Weather
    from simulation.upstream import Model

ROWS: Final[Mapping[type, Operation]] = {row.request: row for row in OPERATIONS}
# The defaults, but for what a world of some seconds could not hold: every call finds a place.
_GIVEN: Final = {
    "ALLOW_PLAINTEXT": "true",
    "SHIP_API_KEY": "key",
    "SHIP_BASE_URL": "http://127.0.0.1:1/pro",
    "CONSIGNMENTS_API_KEY": "key",
    "CONSIGNMENTS_BASE_URL": "http://127.0.0.1:1",
    "REPLICAS": "3",
    "STORE_URL": "redis://127.0.0.1:1/0",
}
# A world is small, and half of what it sends is struck: no breaker is made for that.
_GENEROUS: Final = {
    "SHIP_RETRY_BUDGET_RATIO": "1",
    "CONSIGNMENTS_RETRY_BUDGET_RATIO": "1",
    "SHIP_RETRY_BUDGET_BURST": "1000",
    "CONSIGNMENTS_RETRY_BUDGET_BURST": "1000",
    "SHIP_BREAKER_FAILURE_RATIO": "0.95",
    "CONSIGNMENTS_BREAKER_FAILURE_RATIO": "0.95",
}


@cache
def settings(more: tuple[tuple[str, str], ...] = ()) -> Settings:
    """Returns the settings of the gateways."""
    given = {**_GIVEN, **_GENEROUS, **dict(more)}
    return load({f"{PREFIX}{name}": text for name, text in given.items()})


@cache
def _routes(more: tuple[tuple[str, str], ...] = ()) -> Mapping[str, Route]:
    return routes(settings(more))


@cache
def _telemetry() -> Telemetry:
    """Returns where nothing is recorded."""
    return Telemetry()


class _OwnWay:
    """The HTTP engine of clients that all processes share, as they would all be alike: each process has its own way."""

    def use_headers(self, headers: Sequence[tuple[str, str]]) -> None:
        """Has nothing to do with headers."""

    def connections(self) -> Mapping[str, int]:
        """Has none."""
        return {}

    def exchange(self, method: str, path: str, **more: Any) -> Coroutine[Any, Any, Answer]:
        """Sends a request by the way of the process whose task this is, and reads its answer."""
        owner = OWNER.get()
        if owner is None:
            raise RuntimeError("only processes send requests")
        return owner.engine.exchange(method, path, **more)

    async def close(self) -> None:
        """Does nothing."""


@cache
def _upstream(api: Api, more: tuple[tuple[str, str], ...]) -> Upstream:
    """Returns the client of an API: what it knows beside its settings does not change in any world."""
    configured = settings(more)
    return Upstream(configured, api, configured.key(api.value), _OwnWay())


@dataclass
class Power:
    """Whether a process runs, and how far its connection to the store has come.

    Attributes:
        is_on: Whether it runs.
        asked_until: When the last step that it has asked for arrives at the store, by the loop's clock.
    """

    is_on: bool = True
    asked_until: float = 0.0


class DiedError(Exception):
    """The process ended while a call was in its hands."""


@dataclass
class Surroundings:
    """What the processes of a world share.

    Attributes:
        model: Upstream.
        claims: The store.
        weather: The network to the store.
        more: Settings of this world.
    """

    model: Model
    claims: Mapping[Api, MemoryClaims | SlotServer]
    weather: Weather
    more: tuple[tuple[str, str], ...] = ()


class Process:
    """One gateway, from its start to its end.

    Attributes:
        power: Whether it runs.
    """

    def __init__(self, name: str, replica: int, surroundings: Surroundings, dice: random.Random) -> None:
        self.power = Power()
        self._owner = Owner(surroundings.model.engine(self.power, replica))
        self._observation = _telemetry().background()
        self._more = surroundings.more
        configured = settings(surroundings.more)
        loop = asyncio.get_running_loop()
        self._clock = loop.time
        self._margin = configured.deadline_margin
        self._context = contextvars.copy_context()
        self._context.run(OWNER.set, self._owner)
        self._accounts = {
            api: AccountApi(
                configured,
                _upstream(api, surroundings.more),
                wired(
                    surroundings.claims[api],
                    api.value,
                    configured.claim_retention,
                    surroundings.weather,
                    self.power,
                    configured.store_timeout,
                ),
                None,
                _telemetry(),
                now=loop.time,
                uniform=dice.random,
            )
            for api in Api
        }
        self._coordinator = Coordinator(configured, _telemetry(), name)

    async def call(self, message: Message, deadline: float, trace: str) -> Message:
        """Carries out a write, as a handler of its does.

        Args:
            message: The request.
            deadline: Until when its caller waits, by the loop's clock.
            trace: Whose it is.

        Raises:
            GatewayError: It failed.
            DiedError: The process ended meanwhile.
        """
        if not self.power.is_on:
            raise DiedError
        row = ROWS[type(message)]
        copy = type(message)()
        copy.CopyFrom(message)
        request = WriteRequest(
            row, _routes(self._more)[row.full_name], copy, True, fingerprint(row.full_name, message), None
        )
        # What is begun now is the process's own, and for this request.
        owner, traced = OWNER.set(self._owner), TRACE.set(trace)
        try:
            result = await self._coordinator.carry_out(
                request, self._accounts[row.api], self._observation, deadline - self._margin, {}
            )
        except (asyncio.CancelledError, GatewayError):
            if self.power.is_on:
                raise
            raise DiedError from None
        finally:
            OWNER.reset(owner)
            TRACE.reset(traced)
        if not self.power.is_on:
            # Whatever it had to say, nobody hears it.
            raise DiedError
        return result.response

    def kill(self) -> None:
        """Ends it at once, without a last word to anybody."""
        self.power.is_on = False
        for task in self._owner.tasks:
            task.cancel()
        self._owner.tasks.clear()

    async def terminate(self, seconds: float) -> None:
        """Ends it in order."""
        await asyncio.get_running_loop().create_task(self._coordinator.drain(seconds), context=self._context.copy())
        self.kill()

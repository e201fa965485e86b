"""Two accounts of the same gateways, of which one is broken at a time: the other one must not notice.

Each has an upstream, a way there and a history of its own. Their callers do the same at the same moments: they ask for
the same references under the same ids. What one account knows, locks or cannot reach is nothing to the other: each
history is checked by itself, as if there were no other account. Of the time in which only the other one was broken,
every call is answered for good, and soon.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from chaos import configuration, sessions
from chaos.answers import witness_answers
from chaos.clients import Clients
from chaos.history import History, Spared
from chaos.plan import BULK_SIZE, Plan
from chaos.processes import Gateways, Witness, broken_command, gateway_command
from chaos.store import Store
from chaos.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from typing import Self

    from chaos.history import Run
    from chaos.phases import Phase

# By the names that callers give them; the first is that of the settings, which they need not name.
ACCOUNTS: Final = ("", "other")
# Seconds for which upstream is away when it is restarted, and when it has an outage.
_RESTART: Final = 0.4
_OUTAGE: Final = 4.0
_REPEATS: Final = 0.1
# A breaker that both share opens by the failures of one, though the other's calls succeed.
_SETTINGS: Final = {
    **configuration.GENEROUS,
    "SHIP_BREAKER_FAILURE_RATIO": "0.3",
    "CONSIGNMENTS_BREAKER_FAILURE_RATIO": "0.3",
    "SHIP_BREAKER_MIN_CALLS": "4",
    "CONSIGNMENTS_BREAKER_MIN_CALLS": "4",
}
_TABLE: Final = """\
[accounts.{account}.ship]
base_url = "{url}/pro"
api_key = "{key}"

[accounts.{account}.consignments]
base_url = "{url}"
api_key = "{key}"
"""


@dataclass
class _World:
    """What one account has of its own.

    Attributes:
        account: Its name.
        history: What happened in it.
        witness: Its upstream.
        wire: The way there.
        whole_since: When what was done to it was over, with all that comes of it.
    """

    account: str
    history: History
    witness: Witness
    wire: Wire
    whole_since: float = 0.0

    @classmethod
    async def entered(
        cls, account: str, history: History, plan: Plan, phase: Phase, shipments: int, stack: AsyncExitStack
    ) -> Self:
        """Starts its upstream and the way there, until a stack is left."""
        # The clock of one is fast by what that of the other is slow.
        skew = plan.skew() * (-1 if account else 1)
        witness = await stack.enter_async_context(Witness(history, shipments, skew, cls._key(account)))
        wire = await stack.enter_async_context(Wire(plan, history, witness.port, phase.longest, phase.replicas))
        wire.calm = True
        return cls(account, history, witness, wire)

    @staticmethod
    def _key(account: str) -> str:
        return f"key-of-{account}" if account else configuration.KEY

    def table(self, replica: int) -> str:
        """Returns what the file of accounts of a gateway says of it."""
        url = f"http://127.0.0.1:{self.wire.ports[replica]}"
        return _TABLE.format(account=self.account, url=url, key=self._key(self.account))


class AccountsRunner:
    """Runs a phase of two accounts.

    Attributes:
        histories: What has happened, in each of them.
    """

    def __init__(self, phase: Phase, seed: int, directory: Path) -> None:
        self._phase = phase
        self._directory = directory
        self.histories = tuple(History(self._described(account, seed)) for account in ACCOUNTS)
        # One plan for both: they ask for the same things under the same ids.
        self._plan = Plan(self.histories[0].run, phase.rates)

    def _described(self, account: str, seed: int) -> Run:
        phase = self._phase
        name = f"{phase.name}-{account}" if account else phase.name
        return configuration.described(name, seed, guard=phase.guard, replicas=phase.replicas, pace=phase.pace)

    async def run(self, scale: float, seconds: float) -> None:
        """Runs the phase, and stores the histories. See Runner.run."""
        phase, between = self._phase, sessions.numbers(self._phase, scale)
        self._directory.mkdir(parents=True)
        async with AsyncExitStack() as stack:
            shipments = between[1] * (BULK_SIZE + 1) + 1
            worlds = [
                await _World.entered(account, history, self._plan, phase, shipments, stack)
                for account, history in zip(ACCOUNTS, self.histories, strict=True)
            ]
            store = ""
            if phase.shared:
                kept = Store(self._plan, self.histories[0], self._directory / "store", 0.0)
                store = (await stack.enter_async_context(kept)).url
            addresses = await self._gateways(worlds, store, stack)
            everyone = [Clients(self._plan, one.history, addresses, one.witness, one.account) for one in worlds]
            for clients in everyone:
                stack.push_async_callback(clients.close)
            breaking = asyncio.create_task(self._break(worlds, everyone))
            await sessions.run(phase, self._plan, everyone, between, seconds, breaking)
            for world in worlds:
                await world.wire.quiet()
            await asyncio.sleep(phase.pace.settle + phase.pace.lease)
            await asyncio.gather(*(clients.settle(phase.at_once, _REPEATS) for clients in everyone))
            await asyncio.sleep(phase.pace.settle)
            for world in worlds:
                await world.witness.testify()
        for account, history in zip(ACCOUNTS, self.histories, strict=True):
            witness_answers(history, self._directory, account)
            (self._directory / (account or "default")).mkdir()
            history.store(self._directory / (account or "default"))

    async def _gateways(self, worlds: Sequence[_World], store: str, stack: AsyncExitStack) -> Sequence[str]:
        """Starts the gateways. Returns where they listen."""
        first, *others = worlds
        command = broken_command(self._phase.broken) if self._phase.broken else gateway_command()
        gateways = Gateways(first.history, self._directory, [command] * self._phase.replicas, self._phase.pace)
        stack.push_async_callback(gateways.stop)
        own = []
        for replica in range(self._phase.replicas):
            file = self._directory / f"accounts-{replica}.toml"
            file.write_text("\n".join(one.table(replica) for one in others))
            own.append({"ACCOUNTS_FILE": str(file)})
        urls = [f"http://127.0.0.1:{port}" for port in first.wire.ports]
        await gateways.start([(f"{url}/pro", url) for url in urls], store, _SETTINGS, own)
        return gateways.addresses

    async def _break(self, worlds: Sequence[_World], everyone: Sequence[Clients]) -> None:
        """Breaks the upstream of one account after the other, in all ways."""
        for broken, clients in list(zip(worlds, everyone, strict=True)) * self._phase.rounds:
            started = time.time()
            broken.wire.calm = False
            await asyncio.sleep(self._phase.pause)
            for kind in self._phase.disturbances:
                if kind == "upstream restart":
                    await broken.wire.cut(_RESTART, sum(clients.in_flight))
                else:
                    await broken.wire.fail(_OUTAGE, sum(clients.in_flight))
            broken.wire.calm = True
            ended = time.time()
            broken.whole_since = ended + broken.history.run.linger
            for other in worlds:
                if other is not broken and other.whole_since < ended:
                    other.history.add(Spared(max(started, other.whole_since), ended))

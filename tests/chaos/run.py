"""The chaos suite: runs every phase, checks what it leaves behind, and prints what was found.

Usage: PYTHONPATH=tests python -m chaos.run [--keep DIRECTORY] [PHASE ...]

CHAOS_SEED chooses the plan, CHAOS_SCALE multiplies the number of sessions, and CHAOS_SECONDS bounds the time in which
sessions begin, over all phases of a lane: lanes run at the same time, since most of it is waiting. CHAOS_ITEMS is how
many items of streams there are: more than fit into one phase come one phase after the other, each with processes of its
own. Phases are those of chaos.phases; by default all but those that have to be named. In those whose name begins with
`broken` a policy is broken, and has to be caught.
"""

from __future__ import annotations

import os

# This process starts others while gRPC's threads run: a fork that gRPC looked after would end now and then in a crash.
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"

import argparse
import asyncio
import sys
import tempfile
import time
from collections import defaultdict
from contextlib import AsyncExitStack, suppress
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Final

import uvloop
from chaos import configuration, sessions
from chaos.accounts import AccountsRunner
from chaos.answers import unwitnessed, witness_answers
from chaos.check import Checker, Violation
from chaos.clients import Clients
from chaos.cluster import ClusterStore
from chaos.history import History
from chaos.phases import BROKEN, MOST_ITEMS, NAMED, PHASES, in_parts
from chaos.plan import BULK_SIZE, Plan
from chaos.processes import Gateways, Witness, broken_command, gateway_command
from chaos.report import Report
from chaos.store import Store
from chaos.waves import Waves
from chaos.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chaos.phases import Phase

_SEED: Final = 1
# Seconds in which sessions may begin.
_SECONDS: Final = 420.0
# Seconds for all streams of a phase.
_LONGEST_WAVES: Final = 900.0
_STOPPED: Final = 1.6 * configuration.SHORT.lease
_REPEATS: Final = 0.1
# Of all writes, so few may end without its ever being known whether they were carried out.
_MOST_UNDECIDED: Final = 0.01
# Of all answers, of so few it may not be known when they left: a gateway that is killed takes its last lines with it.
_MOST_UNWITNESSED: Final = 0.01
# At most so many violations are printed again at the end. All of them are printed with their phase.
_PRINTED_AT_END: Final = 20


class Runner:
    """Runs one phase.

    Attributes:
        histories: What has happened, as the one thing that there is of it.
    """

    def __init__(self, phase: Phase, seed: int, directory: Path) -> None:
        self._phase = phase
        self._directory = directory
        run = configuration.described(phase.name, seed, guard=phase.guard, replicas=phase.replicas, pace=phase.pace)
        self._plan = Plan(run, phase.rates)
        self._history = History(run)
        self.histories = (self._history,)

    async def run(self, scale: float, seconds: float) -> None:
        """Runs the phase, and stores the history.

        Args:
            scale: What the numbers of sessions and disturbances are multiplied with.
            seconds: When to begin no more sessions, whatever their number.
        """
        between = sessions.numbers(self._phase, scale)
        rounds = max(int(self._phase.rounds * scale), 1)
        pace = self._phase.pace
        skew = self._phase.skew or (self._plan.skew() if self._phase.is_skewed else 0)
        self._directory.mkdir(parents=True)
        async with AsyncExitStack() as stack:
            items = int(self._phase.items * scale)
            shipments = items or between[1] * (BULK_SIZE + 1) + 1
            witness = await stack.enter_async_context(Witness(self._history, shipments, skew))
            wire = await stack.enter_async_context(
                Wire(self._plan, self._history, witness.port, self._phase.longest, self._phase.replicas)
            )
            store: Store | ClusterStore | None = None
            if self._phase.on_cluster:
                store = await stack.enter_async_context(ClusterStore(self._plan, self._history))
            elif self._phase.shared:
                kept = self._directory / "store"
                store = await stack.enter_async_context(Store(self._plan, self._history, kept, self._phase.store_rate))
            command = broken_command(self._phase.broken) if self._phase.broken else gateway_command()
            gateways = Gateways(self._history, self._directory, [command] * self._phase.replicas, pace)
            stack.push_async_callback(gateways.stop)
            addresses = [f"http://127.0.0.1:{port}" for port in wire.ports]
            more = {} if "outage" in self._phase.disturbances else configuration.GENEROUS
            await gateways.start([(f"{one}/pro", one) for one in addresses], store.url if store else "", more)
            clients: Clients | Waves
            if items:
                others = self._phase.others
                clients = Waves(self._plan, self._history, gateways.addresses, items, witness, others)
            else:
                clients = Clients(self._plan, self._history, gateways.addresses, witness)
            stack.push_async_callback(clients.close)
            disturber = Disturber(wire, store, gateways, clients)
            if isinstance(clients, Waves):
                working = asyncio.create_task(clients.run())
                disturbing = asyncio.create_task(self._disturb(disturber, rounds, seconds, working))
                await asyncio.wait_for(asyncio.gather(working, disturbing), _LONGEST_WAVES)
            else:
                disturbing = asyncio.create_task(self._disturb(disturber, rounds, seconds))
                await sessions.run(self._phase, self._plan, [clients], between, seconds, disturbing)
            wire.calm = True
            if isinstance(store, Store):
                store.calm = True
            await wire.quiet()
            await asyncio.sleep(pace.settle + pace.lease)
            if isinstance(clients, Waves):
                await clients.settle()
            else:
                await clients.settle(self._phase.at_once, _REPEATS)
            await asyncio.sleep(pace.settle)
            await witness.testify()
            if isinstance(clients, Waves):
                clients.take_apart()
        # All processes have ended, and have written down what they had to say: of a stream as a whole, and not of each
        # of its items.
        if not items:
            witness_answers(self._history, self._directory)
        self._history.store(self._directory)

    async def _disturb(
        self, disturber: Disturber, rounds: int, seconds: float, working: asyncio.Task[None] | None = None
    ) -> None:
        """Does what the phase says, so many rounds of it and on until some work is done."""
        end = time.monotonic() + seconds
        kinds = self._phase.disturbances
        for number in count():
            if number >= rounds * len(kinds) and (not kinds or working is None or working.done()):
                return
            dice = self._plan.generator("disturbance", number)
            await asyncio.sleep(self._phase.pause * dice.uniform(0.5, 1.5))
            if time.monotonic() > end:
                return
            await disturber.disturb(kinds[number % len(kinds)])


class Disturber:
    """What can be done to processes, whole wires and the store."""

    def __init__(
        self, wire: Wire, store: Store | ClusterStore | None, gateways: Gateways, clients: Clients | Waves
    ) -> None:
        self._wire = wire
        self._store = store
        self._gateways = gateways
        self._clients = clients

    async def disturb(self, kind: str) -> None:
        """Does it, and waits until it is over. Of the gateways it befalls the one that has most calls in hand."""
        in_flight = self._clients.in_flight
        everyone, those = sum(in_flight), max(in_flight)
        replica = in_flight.index(those)
        match kind:
            case "upstream restart":
                await self._wire.cut(0.4, everyone)
            case "outage":
                await self._wire.fail(12.0, everyone)
            case "kill":
                await self._gateways.kill(replica, those)
            case "terminate":
                await self._gateways.terminate(replica, those)
            case "stop":
                await self._gateways.pause(replica, _STOPPED, those)
            case "store restart" if isinstance(self._store, Store):
                await self._store.restart(everyone)
            case "wipe" if isinstance(self._store, Store):
                await self._store.wipe(everyone)
            case "move slots" if isinstance(self._store, ClusterStore):
                await self._store.move_slots()
            case "kill node" if isinstance(self._store, ClusterStore):
                await self._store.kill_node(everyone)
            case _:
                raise ValueError(f"no such disturbance here: {kind}")


class Suite:
    """Runs phases, and checks what each leaves behind.

    Attributes:
        report: What was found, for people.
        found: What makes the suite fail.
    """

    def __init__(self, directory: Path, seed: int, scale: float, seconds: float, *, keeps: bool) -> None:
        """Has run nothing yet.

        Args:
            directory: Where histories go.
            seed: Of the plan.
            scale: What the numbers of sessions are multiplied with.
            seconds: How long sessions begin, over all phases of a lane.
            keeps: Whether a history stays in which nothing is broken.
        """
        self._keeps = keeps
        self._directory = directory
        self._seed = seed
        self._scale = scale
        self._seconds = seconds
        self.report = Report()
        self.found: list[Violation] = []
        self._unwitnessed = [0, 0]

    async def run(self, phases: Sequence[Phase]) -> None:
        """Runs the lanes at the same time, and the phases of each one after the other."""
        lanes: dict[int, list[Phase]] = defaultdict(list)
        for phase in phases:
            lanes[phase.lane].append(phase)
        async with asyncio.TaskGroup() as group:
            for lane in lanes.values():
                group.create_task(self._lane(lane))

    async def _lane(self, phases: Sequence[Phase]) -> None:
        total = sum(phase.sessions for phase in phases if not phase.items)
        for phase in phases:
            # Streams go on until they are done.
            await self._phase(phase, self._seconds * (1.0 if phase.items else phase.sessions / total))

    async def _phase(self, phase: Phase, seconds: float) -> None:
        started = time.monotonic()
        given = (phase, self._seed, self._directory / phase.name)
        runner: Runner | AccountsRunner = AccountsRunner(*given) if phase.accounts else Runner(*given)
        await runner.run(1.0 if phase.broken else self._scale, seconds)
        violations: list[Violation] = []
        for history in runner.histories:
            if not phase.items:
                for place, number in enumerate(unwitnessed(history)):
                    self._unwitnessed[place] += number
            # Beside other phases, which must not wait for it.
            checker, found = await asyncio.to_thread(_checked, history)
            self.report.add(history, checker, found, time.monotonic() - started, is_broken=bool(phase.broken))
            self.report.print_phase(history.run.phase, self._seed)
            violations += found
        if not phase.broken:
            self.found += violations
        elif phase.caught_by.isdisjoint(one.rule for one in violations):
            text = f"{phase.broken} has broken none of: {', '.join(sorted(phase.caught_by))}"
            self.found.append(Violation("broken policy not caught", "", text))
        if not self._keeps and not violations:
            _remove(self._directory / phase.name)

    def check_whole(self, *, is_whole: bool) -> None:
        """Checks what holds over all phases.

        Args:
            is_whole: Whether nothing was left out.
        """
        undecided, operations = self.report.undecided()
        if undecided > _MOST_UNDECIDED * operations:
            text = f"{undecided} of {operations} operations"
            self.found.append(Violation("too many undecided", "", text))
        unseen, answers = self._unwitnessed
        if unseen > _MOST_UNWITNESSED * answers:
            self.found.append(Violation("too many unwitnessed", "", f"{unseen} of {answers} answers"))
        if is_whole:
            self.found += [Violation("too little of it", "", text) for text in self.report.shortfalls()]


def _checked(history: History) -> tuple[Checker, list[Violation]]:
    checker = Checker(history)
    return checker, checker.violations()


def _phases(names: list[str], items: int) -> list[Phase]:
    every = {phase.name: phase for phase in (*PHASES, *BROKEN, *NAMED)}
    unknown = [name for name in names if name not in every]
    if unknown:
        sys.exit(f"no such phase: {', '.join(unknown)}; there are {', '.join(every)}")
    chosen = [every[name] for name in names] or [*PHASES, *BROKEN]
    return [part for phase in chosen for part in in_parts(phase, items)]


def main() -> int:
    """Runs the suite; 1 if the promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", type=Path, help="where the histories go; else they are kept only if one is broken")
    parser.add_argument("phases", nargs="*")
    options = parser.parse_args()
    items = int(os.environ.get("CHAOS_ITEMS", "0"))
    phases = _phases(options.phases, items)
    seed, scale = int(os.environ.get("CHAOS_SEED", _SEED)), float(os.environ.get("CHAOS_SCALE", "1"))
    seconds = float(os.environ.get("CHAOS_SECONDS", _SECONDS))
    directory = options.keep or Path(tempfile.mkdtemp(prefix="chaos-"))
    # A million items leave more behind than anybody reads.
    suite = Suite(directory, seed, scale, seconds, keeps=options.keep is not None or items <= MOST_ITEMS)
    sys.stdout.write(f"Seed {seed}\n")
    sys.stdout.flush()
    uvloop.run(suite.run(phases))
    suite.report.print_whole()
    suite.check_whole(is_whole=not options.phases and scale >= 1)
    if suite.found:
        for one in suite.found[:_PRINTED_AT_END]:
            sys.stdout.write(f"{one}\n")
        sys.stdout.write(f"BROKEN. Check again: PYTHONPATH=tests python -m chaos.check {directory}\n")
        return 1
    if options.keep is None:
        with suppress(OSError):
            _remove(directory)
    return 0


def _remove(directory: Path) -> None:
    for path in sorted(directory.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    directory.rmdir()


if __name__ == "__main__":
    sys.exit(main())

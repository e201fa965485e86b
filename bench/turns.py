"""Lets two gateways take turns, so that whatever else the machine does meets both of them."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Final, NamedTuple

from bench.instructions import Counter, counting
from bench.measuring import Stage, load, stage
from bench.processes import FailedError, running

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bench.machine import Cores
    from bench.processes import Program, Running
    from bench.rows import Row

# Those of the start are not counted: caches fill, and memory grows.
_WARM_UP: Final = 1
_MICRO: Final = 1e6
# Cores that the rest of the machine may use in a round that is as good as any other.
_QUIET: Final = 0.1


class Side(NamedTuple):
    """One of two that take turns.

    Attributes:
        name: What it is called.
        program: How to start it.
        credentials: The options of the load by which callers say who they are, and trust the gateway.
    """

    name: str
    program: Callable[[Stage], Program]
    credentials: Sequence[str] = ()


class Round(NamedTuple):
    """What one round gave.

    Attributes:
        ours: What a call of ours cost.
        echo: What one of the other cost, which is the echo or ours in another configuration.
        others: The cores that the rest of the machine used meanwhile.
    """

    ours: float
    echo: float
    others: float


def quiet(rounds: Sequence[Round]) -> list[Round]:
    """Returns the rounds in which the rest of the machine did next to nothing: it can only make a call dearer.

    If they are not at least half of all, it is the half in which it did least.
    """
    ordered = sorted(rounds, key=lambda one: one.others)
    return ordered[: max((len(rounds) + 1) // 2, sum(one.others <= _QUIET for one in rounds))]


def take_turns(
    row: Row, cores: Cores, pair: tuple[Side, Side], rounds: int, unit: str, *, store: bool = False
) -> list[Round]:
    """Starts two gateways once, and measures them in turns.

    Args:
        row: How they are called.
        cores: Which core does what.
        pair: Ours, and the other.
        rounds: How often each of them is measured.
        unit: What to count: `instructions` or `cpu_us`.
        store: Whether one of them needs a store.

    Raises:
        FailedError: Calls failed, or hardly any ended.
    """
    found = []
    with stage(row, cores, store=store) as around, ExitStack() as stack:
        started = [stack.enter_context(running(one.name, one.program(around), [cores.gateway])) for one in pair]
        counters = [stack.enter_context(counting(one.pid)) for one in started] if unit == "instructions" else []
        for number in range(_WARM_UP + rounds):
            first, second = (
                _cost(row, one, around, pair[index].credentials, counters[index] if counters else None)
                for index, one in enumerate(started)
            )
            if first is not None and second is not None and number >= _WARM_UP:
                found.append(Round(first.each, second.each, max(first.others, second.others)))
    if len(found) < rounds / 2:
        raise FailedError("the machine is too busy to measure on: in most rounds no call ended")
    return found


class _Cost(NamedTuple):
    each: float
    others: float


def _cost(
    row: Row, gateway: Running, around: Stage, credentials: Sequence[str], counter: Counter | None
) -> _Cost | None:
    """Returns what a call costs: instructions with a counter, microseconds of CPU time without; None if none ended.

    Raises:
        FailedError: Not all calls were answered as they must, so that the cost means nothing.
    """
    before = counter.read() if counter else 0
    found = load(row, gateway, around, credentials)
    seen, ended = found["seen"], found["ended"]
    if not ended:
        return None
    if set(found["statuses"]) != {"0"}:
        raise FailedError(f"calls failed: {found['statuses']}")
    if counter:
        each = (counter.read() - before) / (found["begun"] - found["in_flight"])
    else:
        each = seen["cpu_seconds"]["gateway"] / ended * _MICRO
    return _Cost(each, seen["foreign_cpu_seconds"] / found["seconds"])

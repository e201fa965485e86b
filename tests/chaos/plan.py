"""The plan of a phase: who does what, and what is done to it. One seed decides all of it.

Every decision has a generator of its own, named after what it decides, so that it does not depend on what came before.
"""

from __future__ import annotations

import math
import random
import re
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from allocation_gateway.sandbox.consignments.seed import numbered as consignment

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from chaos.history import Run

Api = Literal["ship", "consignments"]
# What another system does, past the gateway.
Deed = Literal["allocate", "deallocate", "cancel"]
Fate = Literal["patient", "hurried", "quitter", "twin", "reuser", "repeater"]

# How long clients wait for one answer, in times of what a call may take once its last fault is over.
_PATIENCE: Final = (1.05, 1.25)
# How long those wait that are in a hurry: from so many seconds to so many time-outs.
_HURRIED: Final = (0.3, 1.5)
# Seconds within which clients and other systems have to do with the same shipment one after the other: from far below
# the tolerance for dates to what proves that an allocation is not a write's own.
_APART: Final = (0.01, 12.0)
# Seconds after which a client has to do with what another system has allocated: most of it is too old to be taken for
# the client's own, and too new to be proved somebody else's.
_AFTERWARDS: Final = (2.0, 11.0)
# Seconds by which upstream's clock is wrong, in one direction or the other.
_SKEW: Final = (60.0, 3600.0)
_FATES: Final[Mapping[Fate, float]] = {
    "patient": 0.58,
    "hurried": 0.12,
    "quitter": 0.06,
    "twin": 0.10,
    "reuser": 0.04,
    "repeater": 0.10,
}
_SINGLE: Final[Mapping[Api, Sequence[str]]] = {
    "ship": ("default", "group", "service", "quote"),
    "consignments": ("default", "group", "quote", "labels"),
}
_BULK: Final[Mapping[Api, Sequence[str]]] = {
    "ship": ("bulk default", "bulk group", "bulk service"),
    "consignments": ("bulk default", "bulk group", "bulk service", "bulk deallocate"),
}
_SESSIONS: Final[Mapping[str, float]] = {
    "single": 0.44,
    "sequence": 0.24,
    "contest": 0.12,
    "bulk": 0.15,
    "outside": 0.05,
    "afterwards": 0.03,
}
BULK_SIZE: Final = 4
REFERENCE: Final = re.compile(r"sp_\d{32}|EC-\d{3}-\d{3}-\d{3}")


@dataclass(frozen=True)
class Step:
    """One operation of a client.

    Attributes:
        id: The request id, as a UUID.
        api: The API.
        how: The kind of allocation, or `deallocate`.
        references: What it writes to.
        fate: What its client does about it.
        timeout: Seconds that its client waits for one answer.
        after: Seconds before it begins.
    """

    id: uuid.UUID
    api: Api
    how: str
    references: tuple[str, ...]
    fate: Fate
    timeout: float
    after: float = 0.0


@dataclass(frozen=True)
class Session:
    """Clients that have to do with the same shipments.

    Attributes:
        number: Its number within the phase.
        kind: What they do.
        clients: The steps of each client, who all begin at the same time.
        outside: What another system does meanwhile, in turn, by seconds before each.
        spare: A shipment that nobody else uses: for the other request of an id that is used twice.
    """

    number: int
    kind: str
    clients: tuple[tuple[Step, ...], ...]
    spare: str
    outside: tuple[tuple[float, Deed], ...] = ()


@dataclass(frozen=True)
class Rates:
    """How often which fault strikes a request, by its kind. What is missing never does."""

    writes: Mapping[str, float] = field(default_factory=dict)
    reads: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Strike:
    """A fault that strikes one request.

    Attributes:
        kind: Its kind; see chaos.wire.
        share: From 0 to 1: how strong, long or late.
        early: Whether it strikes before the effect, where it can be either.
        status: The HTTP status that stands in for upstream's own, where one does.
    """

    kind: str
    share: float
    early: bool
    status: int


class Plan:
    """What a phase does."""

    def __init__(self, run: Run, rates: Rates) -> None:
        self._name = f"{run.seed}/{run.phase}"
        self._rates = rates
        self._run = run

    def generator(self, *what: object) -> random.Random:
        """Returns the generator of one decision."""
        return random.Random("/".join(map(str, (self._name, *what))))  # noqa: S311 # it has to be predictable

    def skew(self) -> int:
        """Returns the seconds by which upstream's clock is wrong."""
        dice = self.generator("skew")
        return dice.choice((1, -1)) * round(spread(dice.random(), *_SKEW))

    def patience(self, what: str, number: object) -> float:
        """Returns for how many seconds a client waits that is in a hurry."""
        return self._hurry(self.generator(what, number))

    def _hurry(self, dice: random.Random) -> float:
        shortest, longest = _HURRIED
        return spread(dice.random(), shortest, longest * self._run.timeout)

    def sessions(self, count: int, kinds: Sequence[str] = tuple(_SESSIONS)) -> Iterator[Session]:
        """Yields the sessions of the phase. Each has shipments of its own."""
        shipments = 0
        for number in range(count):
            dice = self.generator("session", number)
            kind = dice.choices(kinds, [_SESSIONS[one] for one in kinds])[0]
            api: Api = dice.choices(("ship", "consignments"), (0.6, 0.4))[0]
            size = BULK_SIZE if kind == "bulk" else 1
            name = shipment if api == "ship" else consignment
            references = tuple(name(shipments + index + 1) for index in range(size))
            spare = name(shipments + size + 1)
            shipments += size + 1
            yield self._session(dice, number, kind, api, references, spare)

    def _session(
        self, dice: random.Random, number: int, kind: str, api: Api, references: tuple[str, ...], spare: str
    ) -> Session:
        def step(how: str, after: float = 0.0) -> Step:
            fate: Fate = dice.choices(tuple(_FATES), tuple(_FATES.values()))[0]
            hurry, patience = self._hurry(dice), dice.uniform(*_PATIENCE) * self._run.recovery
            timeout = hurry if fate == "hurried" else patience
            id_ = uuid.UUID(int=dice.getrandbits(128), version=4)
            return Step(id_, api, how, references, fate, timeout, after)

        single = _SINGLE[api]
        outside: tuple[tuple[float, Deed], ...] = ()
        match kind:
            case "bulk":
                how = dice.choice(_BULK[api])
                first = () if how != "bulk deallocate" else (step("bulk default"),)
                clients: tuple[tuple[Step, ...], ...] = ((*first, step(how)),)
            case "sequence":
                clients = ((step(dice.choice(single)), step("deallocate"), step(dice.choice(single))),)
            case "contest":
                clients = tuple(
                    (step(dice.choice(single), spread(dice.random(), *_APART)),) for _ in range(dice.randint(2, 3))
                )
            case "outside":
                clients = ((step(dice.choice(single), spread(dice.random(), *_APART)),),)
                deeds: tuple[Deed, ...] = ("allocate", "deallocate", "allocate", "deallocate")
                outside = tuple((spread(dice.random(), *_APART), what) for what in deeds)
            case "afterwards":
                clients = ((step(dice.choice(single), dice.uniform(*_AFTERWARDS)),),)
                outside = ((0.0, "allocate"),)
            case _:
                clients = ((step(dice.choice(single)),),)
        return Session(number, kind, clients, spare, outside)

    def strike(self, trace: str, *, writes: bool, nth: int) -> Strike | None:
        """Decides about the nth request of a trace that reads, or that writes."""
        dice = self.generator("strike", trace, writes, nth)
        rates = self._rates.writes if writes else self._rates.reads
        left = dice.random()
        for kind, rate in rates.items():
            if left < rate:
                return Strike(kind, dice.random(), dice.random() < 0.5, dice.choice((500, 502, 503, 504, 520)))
            left -= rate
        return None


def spread(share: float, shortest: float, longest: float) -> float:
    """Returns a duration between two: shares from 0 to 1 give of each order of magnitude alike."""
    return shortest * math.exp(share * math.log(longest / shortest))


def shipment(number: int) -> str:
    """Returns the reference of one of the shipments that the sandbox adds, counted from 1."""
    return f"sp_{number:032d}"

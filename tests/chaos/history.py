"""What a run leaves behind: everything that was asked, answered, injected and effected, as lines of JSON.

Times are seconds since the epoch, all of one machine. A request id is the trace id of every HTTP request that is made
for it, which is how the wire and the witness know whose request they see.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, Self

import msgspec

if TYPE_CHECKING:
    from pathlib import Path

HISTORY: Final = "history.jsonl"
# The trace ids of another system's requests begin so. No UUID of version 4 does in practice.
OUTSIDE: Final = "00000000"
# The effect of whoever cancels something.
CANCELLED: Final = "cancelled"
# The incident that befalls a caller, and no gateway: nothing is excused by it.
CALLER_KILLED: Final = "caller killed"
# The method of an operation that is an item of a stream.
STREAM: Final = "Stream"
# The phase of a world that is simulated.
SIMULATED: Final = "simulation"
# The code of an item that a stream left without a word although it ended with OK, and the role of a second word in one
# stream.
UNTOLD: Final = "UNTOLD"
TOLD_AGAIN: Final = "told again"

# Seconds for the gateway and this machine to get to what is to be done.
_MARGIN: Final = 1.0

Verb = Literal["allocate", "deallocate", "queue"]


class Run(msgspec.Struct, frozen=True, tag=True):
    """What was run.

    Attributes:
        phase: The phase's name.
        seed: The seed of the plan.
        guard: Whether upstream refuses to allocate what is allocated.
        timeout: Seconds that the gateway gives one upstream request.
        settle: Seconds after which a write without an answer can have no effect any more.
        lease: Seconds after which a claim of a process that has gone may be resolved by another.
        breaker: Seconds for which a breaker may stay open when upstream is back.
        tolerance: Seconds by which an adopted allocation may be older than the attempt.
        burst: Writes that the retry budget allows on top of its share.
        reads_before: Whether shipments are read before they are written.
    """

    phase: str
    seed: int
    guard: bool
    timeout: float
    settle: float
    lease: float
    breaker: float
    tolerance: float
    burst: int
    reads_before: bool = False

    @property
    def recovery(self) -> float:
        """Seconds in which a call must be answered for good once the last fault that touches it is over.

        A claim may have to be taken over, an effect be waited for, a breaker close, and then it is read and sent again.
        """
        return self.settle + self.lease + self.breaker + 2 * self.timeout + _MARGIN

    @property
    def linger(self) -> float:
        """Seconds for which a fault touches what is asked for when it is over."""
        return self.settle + self.lease + self.breaker + _MARGIN


class Operation(msgspec.Struct, frozen=True, tag=True):
    """What a client wants, under one request id.

    Attributes:
        id: The request id as 32 hexadecimal digits.
        verb: What it does; `queue` is a bulk allocation of shipments, which upstream only queues.
        method: The rpc's name.
        references: What it writes to.
        fate: What the client does about it; `quitter` is one that goes away.
        service: The carrier service that it asks for; empty if it leaves that to upstream.
    """

    id: str
    verb: Verb
    method: str
    references: tuple[str, ...]
    fate: str
    service: str = ""


class Call(msgspec.Struct, tag=True):
    """One gRPC call: an operation is asked for once or more.

    Attributes:
        number: Its number within the phase.
        id: The request id.
        references: What it would write to.
        role: `first`, `retry`, `copy` (at the same time as another), `other` (the id with another request), `settling`
            (after all faults), `repeat` (after the answer), `told again` (of an item of a stream: a second word in it).
        replica: The gateway that was asked.
        started, ended: When.
        deadline: Until when its caller waits.
        code: The gRPC status code; UNTOLD of an item that a stream has left out.
        reason: Of the ErrorInfo; empty if there is none.
        effect: Of the ErrorInfo; empty if there is none.
        retry_after: Seconds of the RetryInfo; None if there is none.
        digest: What tells one response from another; empty for an error.
        reconciled: Whether the allocation was adopted by reading.
        outcomes: What a bulk call says of each reference: `done`, `queued`, `rejected` or `unknown`.
        left: When its answer left the gateway, by the gateway's own log; None if nothing tells, as of an item of a
            stream, and as in the simulation, where an answer is there as soon as it has left.
    """

    number: int
    id: str
    references: tuple[str, ...]
    role: str
    replica: int
    started: float
    ended: float
    deadline: float
    code: str
    reason: str = ""
    effect: str = ""
    retry_after: float | None = None
    digest: str = ""
    reconciled: bool = False
    outcomes: dict[str, str] = {}
    left: float | None = None

    @property
    def said_at(self) -> float:
        """When its answer left the gateway: at the latest when it was there."""
        return self.ended if self.left is None else self.left


class Request(msgspec.Struct, frozen=True, tag=True):
    """One HTTP request that the gateway sent, as the wire saw it.

    Attributes:
        number: Its number within the phase.
        trace: Whose it is: a request id, or something else.
        method, path: Its line.
        references: What it names.
        arrived: When it was there as a whole.
        ended: When the gateway had its answer, or lost the connection.
        fault: What was done to it; empty if nothing.
        forwarded: When it was passed on to upstream; None if never.
        answered: When upstream's own answer was there; None if never.
        status: Of upstream's own answer; 0 if there is none.
        delivered: Of upstream's own answer, if the gateway received it as it was; 0 if it did not.
        replica: The gateway that sent it.
    """

    number: int
    trace: str
    method: str
    path: str
    references: tuple[str, ...]
    arrived: float
    ended: float
    fault: str
    forwarded: float | None
    answered: float | None
    status: int
    delivered: int
    replica: int = 0

    @property
    def writes(self) -> bool:
        """Whether it changes something upstream."""
        return self.method in {"PUT", "DELETE"}

    @property
    def over(self) -> float:
        """When nothing of it is under way any more."""
        return max(self.ended, self.answered or 0.0, self.forwarded or 0.0)


class Incident(msgspec.Struct, frozen=True, tag=True):
    """Something that was done to a process, to all of a wire, or to the store.

    Attributes:
        kind: What.
        started, ended: When. It has ended when everything works again.
        replica: The gateway it was done to; -1 if it was none.
        touched: How many calls were in flight.
        named: The request ids and references that it was about; empty if it was about all of them.
    """

    kind: str
    started: float
    ended: float
    replica: int = -1
    touched: int = 0
    named: tuple[str, ...] = ()


class Spared(msgspec.Struct, frozen=True, tag=True):
    """A time in which nothing was done to this account, nor had been shortly before, and much to another one.

    Attributes:
        started, ended: When.
    """

    started: float
    ended: float


class Effect(msgspec.Struct, frozen=True, tag=True):
    """What upstream's journal says.

    Attributes:
        reference: What changed.
        kind: `allocated`, `deallocated`, CANCELLED or another effect of the journal.
        time: When.
        trace: Whose request led to it; empty if that is not known.
        service: The service that was booked.
    """

    reference: str
    kind: str
    time: float
    trace: str
    service: str = ""


Record = Run | Operation | Call | Request | Incident | Spared | Effect


@dataclass
class History:
    """All records of one phase, by kind."""

    run: Run
    operations: list[Operation] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    incidents: list[Incident] = field(default_factory=list)
    spared: list[Spared] = field(default_factory=list)
    effects: list[Effect] = field(default_factory=list)

    def add(self, record: Record) -> None:
        """Takes a record."""
        lists: dict[type[Any], list[Any]] = {
            Operation: self.operations,
            Call: self.calls,
            Request: self.requests,
            Incident: self.incidents,
            Spared: self.spared,
            Effect: self.effects,
        }
        lists[type(record)].append(record)

    def records(self) -> list[Record]:
        """Returns all records."""
        return [
            self.run,
            *self.operations,
            *self.calls,
            *self.requests,
            *self.incidents,
            *self.spared,
            *self.effects,
        ]

    def store(self, directory: Path) -> None:
        """Writes the history into a directory."""
        encode = msgspec.json.Encoder().encode
        (directory / HISTORY).write_bytes(b"".join(encode(record) + b"\n" for record in self.records()))

    @classmethod
    def load(cls, directory: Path) -> Self:
        """Reads a history from a directory.

        Raises:
            ValueError: It is not one.
        """
        decode = msgspec.json.Decoder(Record).decode
        run, *others = map(decode, (directory / HISTORY).read_bytes().splitlines())
        if not isinstance(run, Run):
            raise ValueError(f"{directory / HISTORY} does not begin with what was run")
        history = cls(run)
        for record in others:
            history.add(record)
        return history

"""The same bytes for both engines: what becomes of the connection and of each call is the same, or known to differ."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from fnmatch import fnmatch
from itertools import repeat
from typing import TYPE_CHECKING, Final

from support.http2 import END_STREAM, PREFACE, Answer, Code, Connection, Kind, frame
from wire.differences import FUZZED

from fuzz.peer import split

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

ENGINES: Final = ("direct", "grpcio")
# Seconds of silence after which nothing more comes: only what a handler waits for is later. What differs is asked
# again, with so much more patience that no busy machine makes a difference.
_QUIET: Final = 0.1
_LONG_QUIET: Final = 0.8
_PING: Final = frame(Kind.PING, 0, 0, b"all read")


@dataclass
class Outcome:
    """What became of some bytes.

    Attributes:
        connection: open, or closed with the code of its GOAWAY if there was one, or crashed.
        streams: By stream, its status, that it was reset, or that it is open.
        data: By stream, the DATA that came.
    """

    connection: str
    streams: dict[int, str] = field(default_factory=dict)
    data: dict[int, bytes] = field(default_factory=dict)


@dataclass
class Compared:
    """What came of a comparison.

    Attributes:
        inputs: How many there were.
        known: How often something differed for a reason that is known, by the reason.
        unknown: What differed otherwise: the bytes, and how.
    """

    inputs: int = 0
    known: Counter[str] = field(default_factory=Counter)
    unknown: list[tuple[bytes, str, str]] = field(default_factory=list)


class Served:
    """An engine in a process of its own, which is started anew if it crashes.

    Attributes:
        name: The engine.
        crashes: How often it has crashed.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.crashes = 0
        self._process: subprocess.Popen[str] | None = None
        self._address = ""

    def __enter__(self) -> Served:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def _start(self) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "fuzz.served", self.name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert process.stdout is not None
        self._address = f"127.0.0.1:{int(process.stdout.readline())}"
        return process

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()

    def outcome(self, octets: bytes, quiet: float) -> Outcome:
        """Sends bytes over a connection of their own, and waits until it is quiet for so many seconds."""
        self._process = self._process or self._start()
        try:
            connection = Connection(self._address, greeting=b"")
        except OSError:
            # It serves nobody any more because of what came before, too late to be seen then.
            self._crashed()
            self._process = self._start()
            connection = Connection(self._address, greeting=b"")
        with connection:
            outcome = _outcome(connection, octets, quiet)
        with suppress(subprocess.TimeoutExpired):
            # What ends the connection may have ended the process, which takes a moment to be seen.
            self._process.wait(quiet if outcome.connection == "closed" else 0)
            self._crashed()
            return Outcome("crashed")
        return outcome

    def _crashed(self) -> None:
        self.crashes += 1
        self._stop()


def _outcome(connection: Connection, octets: bytes, quiet: float) -> Outcome:
    connection.widens = False  # what is taken is up to the bytes
    connection.acts = False
    try:
        connection.send(octets, _PING)
        connection.quiet(quiet)
    except TimeoutError:
        return Outcome("open")  # it takes nothing more
    # One that has only begun to be answered is as open as one that has not.
    streams = {stream: _end(answer) for stream, answer in connection.answers.items() if answer.over}
    data = {stream: answer.data for stream, answer in connection.answers.items()}
    code = next((code for _, code, _ in connection.goaways if code != Code.NO_ERROR), None)
    if code is not None:
        return Outcome(f"closed {Code(code).name}", streams, data)
    return Outcome("closed" if connection.closed else "open", streams, data)


def _end(answer: Answer) -> str:
    if answer.status is not None and answer.ended:
        return f"status {answer.status}"
    if answer.ended:
        return f"HTTP {answer.headers.get(':status')}"
    return f"reset {Code(answer.resets[0]).name}"


def whole(octets: bytes) -> set[int]:
    """Returns the streams on which a client has sent all that it sends."""
    _, frames = split(octets[len(PREFACE) :])
    return {stream for kind, flags, stream, _ in frames if kind in {Kind.DATA, Kind.HEADERS} and flags & END_STREAM}


def differences(one: Outcome, other: Outcome, ended: Collection[int]) -> set[tuple[str, str]]:
    """Returns what differs, as what the one does and what the other does.

    Args:
        one: What became of some bytes.
        other: What became of the same bytes elsewhere.
        ended: The streams on which the client has sent all that it sends: on others, an engine may wait for the rest.
    """
    if one.connection != "open" or other.connection != "open":
        # Which calls were answered before the end is chance.
        same = one.connection.split()[0] == other.connection.split()[0]
        return set() if same else {(one.connection, other.connection)}
    found = set()
    for stream in one.streams.keys() | other.streams.keys():
        nothing = "open" if stream in ended else "waiting"
        ends = one.streams.get(stream, nothing), other.streams.get(stream, nothing)
        if ends[0] != ends[1]:
            found.add(ends)
        elif ends[0] == "status 0" and one.data.get(stream) != other.data.get(stream):
            found.add(("one answer", "another answer"))
    return found


def compare(inputs: Iterable[bytes]) -> Compared:
    """Has both engines take bytes."""
    compared = Compared()
    with ExitStack() as stack:
        served = [stack.enter_context(Served(name)) for name in ENGINES]
        pool = stack.enter_context(ThreadPoolExecutor(len(served)))
        for octets in inputs:
            compared.inputs += 1
            ended = whole(octets)
            differing: set[tuple[str, str]] = set()
            for quiet in (_QUIET, _LONG_QUIET):
                one, other = pool.map(Served.outcome, served, repeat(octets), repeat(quiet))
                differing = differences(one, other, ended)
                if not differing:
                    break
            for found in sorted(differing):
                why = next((why for *known, why in FUZZED if all(map(fnmatch, found, known))), None)
                if why is None:
                    compared.unknown.append((octets, *found))
                else:
                    compared.known[why] += 1
        if served[0].crashes:
            compared.unknown.append((b"", "crashed", "whatever"))
    return compared

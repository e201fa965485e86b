"""When each answer left its gateway, by the line that the gateway itself has written of the call.

The gateway writes it as it lets the answer go. What its caller knows is later: by the network, by the caller's own
process, and on a busy machine by far more than what the checker has to tell apart.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from datetime import datetime  # noqa: TC003 - msgspec reads it from the annotations
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from pathlib import Path

    from chaos.history import Call, History

_OF_A_CALL: Final = b'"event":"call"'
# Seconds by which the two clocks that a line is dated by may differ.
_ROUNDED: Final = 0.002

_Key = tuple[int, str, str, str, str]


class _Line(msgspec.Struct):
    """A line of a gateway's log about a call. See docs/telemetry.md."""

    timestamp: datetime
    duration_ms: float
    code: str
    request_id: str = ""
    reason: str = ""
    account: str = ""

    @property
    def left(self) -> float:
        return self.timestamp.timestamp()

    @property
    def began(self) -> float:
        return self.left - self.duration_ms / 1000


def witness_answers(history: History, directory: Path, account: str = "") -> None:
    """Notes for the calls of a history when their answers left.

    Of several calls of one id at one gateway, each has the line of its own: they began in the same order.

    Args:
        history: What callers have seen.
        directory: Where the logs are, as `gateway-REPLICA-START.log`.
        account: The account that the calls named; empty if they named none.
    """
    lines = _lines(directory)
    for call in sorted(history.calls, key=lambda one: one.started):
        mine = lines[call.replica, account, call.id, call.code, call.reason]
        for line in mine:
            if call.started - _ROUNDED <= line.began <= call.ended:
                # Nobody has an answer before it has left.
                call.left = min(line.left, call.ended)
                mine.remove(line)
                break


def unwitnessed(history: History) -> tuple[int, int]:
    """Counts the answers of gateways of which no line tells when they left, and all."""
    answered = [call for call in history.calls if _is_answered(call)]
    return sum(call.left is None for call in answered), len(answered)


def _is_answered(call: Call) -> bool:
    """Tells whether an answer is the gateway's own: what the caller's side says has no reason."""
    return call.code == "OK" or bool(call.reason)


def _lines(directory: Path) -> defaultdict[_Key, list[_Line]]:
    """Returns the lines about calls, by whose they are, in the order in which the calls began."""
    decode = msgspec.json.Decoder(_Line).decode
    found: defaultdict[_Key, list[_Line]] = defaultdict(list)
    for path in sorted(directory.glob("gateway-*.log")):
        replica = int(path.name.split("-")[1])
        # What was not written to its end is the last word of one that was killed.
        whole, _, _ = path.read_bytes().rpartition(b"\n")
        for text in whole.split(b"\n"):
            if _OF_A_CALL in text:
                line = decode(text)
                id_ = uuid.UUID(line.request_id).hex if line.request_id else ""
                found[replica, line.account, id_, line.code, line.reason].append(line)
    for lines in found.values():
        lines.sort(key=lambda line: line.began)
    return found

"""The corpus: the server stands every input of it, and what breaks the server is found by it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest
from allocation_gateway.wire import frames, message
from allocation_gateway.wire.hpack import Decoder
from allocation_gateway.wire.sender import FrameSender
from allocation_gateway.wire.server import Server

from fuzz import corpus
from fuzz.targets import TARGETS

if TYPE_CHECKING:
    from collections.abc import Callable

_ping: Final = frames.ping


def unread_limits(_: int, __: int) -> None:
    """Lets messages be as large as they like."""


def another_pong(data: bytes, *, ack: bool) -> bytes:
    """Answers pings with what was not asked."""
    return _ping(data[::-1] if ack else data, ack=ack)


def never_evict(_: Decoder) -> None:
    """Keeps headers in the table that the client has dropped from its own."""


def widen_twice(self: FrameSender, increment: int) -> None:
    """Takes each window for twice as wide as it is."""
    self.window += 2 * increment


async def tick_not(_: Server) -> None:
    """Looks after no connection."""


# What is broken, and the target that finds it.
BROKEN: Final[tuple[tuple[str, Any, str, Callable[..., Any]], ...]] = (
    ("messages", message, "check_size", unread_limits),
    ("connection", frames, "ping", another_pong),
    ("headers", Decoder, "_evict", never_evict),
    ("connection", FrameSender, "widen", widen_twice),
    ("octets", Server, "_tick", tick_not),
)


def run(target: str) -> int:
    """Has the server take the corpus of a target. Returns how many inputs that are."""
    inputs = corpus.kept(target)
    for data in inputs:
        TARGETS[target](data)
    return len(inputs)


@pytest.mark.parametrize("target", TARGETS)
def test_server_stands_the_corpus(target: str) -> None:
    assert run(target)


@pytest.mark.parametrize(("target", "owner", "name", "broken"), BROKEN, ids=[case[3].__name__ for case in BROKEN])
def test_what_is_broken_is_found(
    target: str, owner: Any, name: str, broken: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owner, name, broken)
    with pytest.raises(AssertionError):
        run(target)

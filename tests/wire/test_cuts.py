"""Connections that are cut anywhere, and conversations with bytes that are wrong: nothing is left of them."""

from __future__ import annotations

import random
from contextlib import ExitStack
from itertools import islice
from typing import TYPE_CHECKING, Final

import hpack
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st
from support.front import READ
from support.http2 import (
    END_HEADERS,
    END_STREAM,
    HEALTH_PATH,
    PADDED,
    PREFACE,
    PRIORITISED,
    Connection,
    Kind,
    Setting,
    block,
    frame,
    message,
    request_fields,
    reset,
    settings,
    window_update,
)
from wire.conftest import STRICT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from support.front import Front

pytestmark = pytest.mark.wire

CALL: Final = message(READ.SerializeToString())
# Seconds of silence after which a server waits for more.
QUIET: Final = 0.01
PATIENCE: Final = 5.0
AT_ONCE: Final = 20


def conversation() -> list[bytes]:
    """Returns what a client says that makes use of everything that there is."""
    encoder = hpack.Encoder()
    fields = [*request_fields(), ("grpc-timeout", "5S"), ("x-traceparent", "00-12"), ("x-some-bin", "AAEC")]
    first, second = encoder.encode(fields), encoder.encode([*request_fields(HEALTH_PATH), ("x-next", "2")])
    return [
        PREFACE,
        settings({Setting.INITIAL_WINDOW_SIZE: 70_000, Setting.HEADER_TABLE_SIZE: 4096}),
        window_update(0, 100_000),
        frame(Kind.HEADERS, END_HEADERS | PRIORITISED, 1, bytes([0, 0, 0, 0, 9]) + first),
        frame(Kind.DATA, 0, 1, CALL[:7]),
        frame(Kind.PING, 0, 0, b"12345678"),
        frame(Kind.HEADERS, 0, 3, second[:20]),
        frame(Kind.CONTINUATION, END_HEADERS, 3, second[20:]),
        frame(Kind.DATA, END_STREAM, 1, CALL[7:]),
        window_update(1, 1000),
        frame(Kind.DATA, END_STREAM, 3, message(b"")),
        frame(Kind.HEADERS, END_HEADERS, 5, block(request_fields())),
        frame(Kind.PRIORITY, 0, 5, bytes([0, 0, 0, 3, 1])),
        frame(Kind.DATA, 0, 5, CALL),
        frame(Kind.HEADERS, END_HEADERS | END_STREAM, 5, block([("x-after", "1")])),
        frame(Kind.HEADERS, END_HEADERS, 7, block(request_fields())),
        frame(Kind.DATA, END_STREAM, 7, CALL),
        reset(7),
        settings({Setting.INITIAL_WINDOW_SIZE: 10}),
        frame(Kind.GOAWAY, 0, 0, bytes(8)),
    ]


PARTS: Final = conversation()
WHOLE: Final = b"".join(PARTS)


def test_whole_conversation_is_answered(front: Front, connect: Callable[..., Connection]) -> None:
    """So that what is left of it is nearly right."""
    connection = connect(greeting=PARTS[0] + PARTS[1])
    for part in PARTS[2:-1]:
        connection.send(part)
        connection.quiet(QUIET)
    assert [connection.answer(stream).status for stream in (1, 3, 5)] == [0, 0, 0]
    assert connection.pongs
    assert not connection.goaways


@pytest.mark.parametrize("end", ["half-closed", "cut off"])
def test_conversation_may_end_anywhere(end: str, front: Front) -> None:
    for length in range(len(WHOLE) + 1):
        with Connection(front.gateway.address, greeting=WHOLE[:length]) as connection:
            if end == "cut off":
                connection.cut()
                continue
            connection.finish_sending()
            connection.drain(PATIENCE)


@pytest.mark.parametrize("wait", [False, True], ids=["at once", "in between"])
def test_conversation_may_come_in_any_pieces(wait: bool, front: Front) -> None:
    chance = random.Random(7)  # noqa: S311 - chance, not secrets
    for _ in range(20):
        with Connection(front.gateway.address, greeting=b"") as connection:
            connection.acts = False
            rest = WHOLE[: -len(b"".join(PARTS[-2:]))]
            while rest:
                size = chance.choice((1, 2, 5, 9, 20, 60))
                connection.send(rest[:size])
                rest = rest[size:]
                if wait and chance.random() < 0.2:
                    connection.quiet(0.001)
            assert [connection.answer(stream).status for stream in (1, 3, 5)] == [0, 0, 0]


@st.composite
def spoilt(draw: st.DrawFn) -> bytes:
    """Conversations with a few bytes changed, left out, put in or said twice, or with frames in another order."""
    parts = list(PARTS)
    if draw(st.booleans()):
        parts[1:] = draw(st.permutations(parts[1:]))
    data = bytearray(b"".join(parts))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0 if draw(st.integers(0, 9)) == 0 else len(PREFACE), len(data)))
        match draw(st.integers(0, 4)):
            case 0:
                data[at : at + 1] = bytes([draw(st.integers(0, 255))])
            case 1:
                del data[at : at + draw(st.integers(1, 20))]
            case 2:
                data[at:at] = draw(st.binary(min_size=1, max_size=20))
            case 3:
                data[at:at] = data[at : at + draw(st.integers(1, 60))]
            case _:
                data[at:at] = draw(st.sampled_from(PARTS))
    return bytes(data)


def attack(front: Front, *conversations: bytes) -> None:
    """Says what is given, each on a connection, and looks whether the server ends or waits for more; then goes."""
    with ExitStack() as stack:
        connections = [stack.enter_context(Connection(front.gateway.address, greeting=data)) for data in conversations]
        for connection in connections:
            connection.quiet(0.0 if connection is not connections[0] else QUIET)
        for connection in connections:
            connection.finish_sending()
            connection.drain(PATIENCE)


def attack_by_many(front: Front, conversations: Iterable[bytes]) -> None:
    """Attacks over several connections at once: most of the time of an attack passes in waiting."""
    left = iter(conversations)
    while some := list(islice(left, AT_ONCE)):
        attack(front, *some)


# The same examples every time: what fails, fails for everybody.
@hypothesis(
    max_examples=250, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=spoilt())
def test_spoilt_conversation_harms_nobody(data: bytes, front: Front) -> None:
    attack(front, data)


@STRICT
@pytest.mark.wire
@hypothesis(max_examples=1000, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=spoilt())
def test_many_spoilt_conversations_harm_nobody(data: bytes, front: Front) -> None:
    attack(front, data)


@STRICT
@pytest.mark.wire
@pytest.mark.parametrize("seed", range(5))
def test_noise_harms_nobody(seed: int, front: Front) -> None:
    """Frames of every type with chance flags, streams and payloads."""
    attack_by_many(front, noise(random.Random(seed), 400))  # noqa: S311 - chance, not secrets


def noise(chance: random.Random, count: int) -> Iterator[bytes]:
    for _ in range(count):
        parts = [PREFACE, settings()]
        for _ in range(chance.randint(1, 12)):
            payload = chance.randbytes(chance.choice((0, 1, 4, 5, 6, 8, 9, 40)))
            flags = chance.choice((0, END_STREAM, END_HEADERS, END_HEADERS | END_STREAM, PADDED, 0x2D, 0xFF))
            parts.append(frame(chance.randint(0, 10), flags, chance.choice((0, 1, 1, 1, 2, 3, 3, 5)), payload))
        yield b"".join(parts)


@STRICT
@pytest.mark.wire
def test_every_single_byte_may_be_wrong(front: Front) -> None:
    attack_by_many(front, with_a_wrong_byte())


def with_a_wrong_byte() -> Iterator[bytes]:
    for at in range(len(PREFACE), len(WHOLE)):
        for change in (0x01, 0x80, 0xFF):
            data = bytearray(WHOLE)
            data[at] ^= change
            yield bytes(data)

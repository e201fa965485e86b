"""Whoever gives up leaves nothing behind, and what was not sent yet is never sent."""

from __future__ import annotations

import asyncio
import random
import socket
import time
from typing import TYPE_CHECKING, Final

import pytest
from allocation_gateway.upstream.http import Attempt, CalledOffError, NoAnswerError, TooLateError
from engines.test_connections import PLACES, check_that_all_places_are_left, stalled, used_once
from support.asking import ask, asking
from support.peer import OK, TIMEOUT, answering, until

if TYPE_CHECKING:
    from allocation_gateway.upstream.http import HttpEngine
    from engines.conftest import Open
    from support.peer import Peer, Visit

CROWD: Final = 300


async def cancelled(task: asyncio.Task[object]) -> None:
    """Cancels a task and waits for its end."""
    task.cancel()
    async with asyncio.timeout(TIMEOUT):
        await asyncio.wait({task})


async def occupied(engine: HttpEngine, peer: Peer) -> list[Visit]:
    """Has all places taken by requests that wait for their answers."""
    for _ in range(PLACES):
        asking(engine)
    visits = [await peer.visit() for _ in range(PLACES)]
    for visit in visits:
        await visit.request()
    return visits


@pytest.mark.asyncio
async def test_crowd_that_gives_up_waiting_leaves_all_places(engine: HttpEngine, peer: Peer) -> None:
    visits = await occupied(engine, peer)
    attempts = [Attempt() for _ in range(CROWD)]
    crowd = [asking(engine, attempt=attempt) for attempt in attempts]
    await asyncio.sleep(0)
    for task in crowd:
        task.cancel()
    await asyncio.gather(*crowd, return_exceptions=True)
    assert not any(attempt.sent for attempt in attempts)
    for visit in visits:
        await visit.send(OK)
    await check_that_all_places_are_left(engine, peer)


@pytest.mark.asyncio
async def test_crowd_that_goes_at_any_moment_leaves_all_places(engine: HttpEngine, peer: Peer) -> None:
    """In every phase: while waiting, connecting, sending, reading, and at the very moment when a place is free."""
    chance = random.Random(1)  # noqa: S311 - chance, not secrets

    async def serve(visit: Visit) -> None:
        while True:
            await visit.request()
            await asyncio.sleep(chance.uniform(0, 0.004))
            await visit.send(OK)
            if chance.random() < 0.2:
                return

    peer.serve(serve)

    async def one(number: int) -> None:
        task = asking(engine, "GET" if number % 2 else "PUT")
        await asyncio.sleep(chance.uniform(0, 0.03) if number % 3 else 0)
        task.cancel()
        await asyncio.wait({task})
        if not task.cancelled() and not task.exception():
            assert task.result().body == b"ok"

    for _ in range(4):
        await asyncio.gather(*(one(number) for number in range(CROWD)))
    await until(lambda: peer.open_connections <= PLACES)
    await check_that_all_places_are_left(engine, peer)
    assert peer.most_connections <= PLACES + 1  # upstream may learn of a new one before it learns of an old one's end


@pytest.mark.asyncio
async def test_place_that_is_given_to_someone_who_has_just_gone_is_passed_on(engine: HttpEngine, peer: Peer) -> None:
    visits = await occupied(engine, peer)
    goes, stays = asking(engine), asking(engine)
    await asyncio.sleep(0.01)
    await visits[0].send(OK)
    for _ in range(4):  # the answer is read, the place is given, and nobody has come to take it
        goes.cancel()
        await asyncio.sleep(0)
    await visits[0].request()
    await visits[0].send(OK.replace(b"ok", b"on"))
    assert (await stays).body == b"on"


@pytest.mark.asyncio
async def test_answer_to_a_cancelled_request_is_nobodys(engine: HttpEngine, peer: Peer) -> None:
    visit = await used_once(engine, peer)
    attempt = Attempt()
    asked = asking(engine, attempt=attempt)
    await visit.request()
    assert attempt.sent
    await cancelled(asked)
    await visit.gone()
    again = asking(engine)
    another = await peer.visit()
    await another.answer(OK.replace(b"ok", b"no"))
    assert (await again).body == b"no"


@pytest.mark.asyncio
async def test_attempt_called_off_while_it_waits_is_never_sent(engine: HttpEngine, peer: Peer) -> None:
    visits = await occupied(engine, peer)
    attempt = Attempt()
    waiting = asking(engine, attempt=attempt)
    await asyncio.sleep(0.01)
    assert attempt.call_off()
    for visit in visits:
        await visit.send(OK)
    with pytest.raises(CalledOffError):
        await waiting
    assert not attempt.sent
    assert len(peer.requests) == PLACES
    await check_that_all_places_are_left(engine, peer)


@pytest.mark.asyncio
async def test_attempt_that_is_sent_cannot_be_called_off(engine: HttpEngine, peer: Peer) -> None:
    attempt = Attempt()
    asked = asking(engine, attempt=attempt)
    visit = await peer.visit()
    await visit.request()
    assert not attempt.call_off()
    await visit.send(OK)
    assert (await asked).body == b"ok"


@pytest.mark.asyncio
async def test_attempt_whose_time_is_over_is_never_sent(engine: HttpEngine, peer: Peer) -> None:
    visits = await occupied(engine, peer)
    attempt = Attempt(asyncio.get_running_loop().time() + 0.05)
    waiting = asking(engine, attempt=attempt)
    await asyncio.sleep(0.1)
    for visit in visits:
        await visit.send(OK)
    with pytest.raises(TooLateError):
        await waiting
    assert not attempt.sent
    assert len(peer.requests) == PLACES
    await check_that_all_places_are_left(engine, peer)


@pytest.mark.asyncio
async def test_attempt_whose_time_passed_while_the_loop_was_busy_is_never_sent(engine: HttpEngine, peer: Peer) -> None:
    peer.serve(answering)
    await ask(engine)
    attempt = Attempt(asyncio.get_running_loop().time() + 0.05)
    stalled(0.1)
    with pytest.raises(TooLateError):
        await ask(engine, attempt=attempt)
    assert not attempt.sent
    assert len(peer.requests) == 1


@pytest.mark.asyncio
async def test_attempt_in_time_is_sent(engine: HttpEngine, peer: Peer) -> None:
    peer.serve(answering)
    attempt = Attempt(asyncio.get_running_loop().time() + 5)
    assert (await ask(engine, attempt=attempt)).body == b"ok"
    assert attempt.sent


@pytest.mark.asyncio
async def test_request_cancelled_while_its_handshake_lasts_is_never_sent(open_engine: Open) -> None:
    """Nothing but the greeting of TLS comes, whatever follows it."""
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        engine = open_engine(f"https://127.0.0.1:{server.getsockname()[1]}", max_connections=1)
        attempt = Attempt()
        asked = asking(engine, attempt=attempt)
        connection, _ = await loop.sock_accept(server)
        with connection:
            connection.setblocking(False)
            assert (await loop.sock_recv(connection, 65536))[0] == 22  # the kind of record that a handshake is
            await cancelled(asked)
            assert not attempt.sent


@pytest.mark.asyncio
async def test_connecting_that_takes_too_long_ends_and_gives_its_place_back(open_engine: Open) -> None:
    """The system takes the connection, and nothing answers in it. On a busy machine it may not even be made."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"https://127.0.0.1:{server.getsockname()[1]}"
        engine = open_engine(url, max_connections=1, connect_timeout=0.1)
        for _ in range(2):
            attempt, started = Attempt(), time.monotonic()
            with pytest.raises(NoAnswerError, match="connecting took too long"):
                await ask(engine, attempt=attempt)
            assert not attempt.sent
            assert time.monotonic() - started < TIMEOUT

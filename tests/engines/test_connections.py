"""Connections: kept alive, closed by upstream in every way, limited, and never used to send anything twice."""

from __future__ import annotations

import asyncio
import socket
import time
from typing import TYPE_CHECKING, Final

import pytest
from allocation_gateway.upstream.engines import direct
from allocation_gateway.upstream.http import Attempt, NoAnswerError
from support.asking import ask, asking
from support.peer import OK, TIMEOUT, answering, until

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from allocation_gateway.upstream.http import Answer, HttpEngine
    from engines.conftest import Open
    from support.peer import Peer, Visit

PLACES: Final = 3


async def used_once(engine: HttpEngine, peer: Peer) -> Visit:
    """Returns a connection on which one exchange went well, and which now is idle."""
    asked = asking(engine)
    visit = await peer.visit()
    await visit.answer()
    await asked
    return visit


async def check_that_all_places_are_left(engine: HttpEngine, peer: Peer) -> None:
    """As many requests as there are places are under way at once, and no more than that."""
    for visit in peer.visits:
        await visit.close()  # whoever is still there serves nobody else
    await asyncio.sleep(0.02)
    waiting = asyncio.Event()

    async def hold(visit: Visit) -> None:
        while True:
            await visit.request()
            await waiting.wait()
            await visit.send(OK)

    peer.serve(hold)
    before = len(peer.requests)
    asked = [asking(engine) for _ in range(PLACES * 2)]
    await until(lambda: len(peer.requests) == before + PLACES)
    waiting.set()
    answers = await asyncio.gather(*asked)
    assert [answer.body for answer in answers] == [b"ok"] * len(asked)
    assert peer.open_connections <= PLACES


@pytest.mark.asyncio
async def test_connection_is_used_again(engine: HttpEngine, peer: Peer) -> None:
    peer.serve(answering)
    for _ in range(20):
        await ask(engine)
    assert len(peer.visits) == 1


@pytest.mark.asyncio
async def test_never_more_connections_than_allowed(engine: HttpEngine, peer: Peer) -> None:
    peer.serve(answering)
    await asyncio.gather(*(ask(engine) for _ in range(200)))
    assert (peer.most_connections, len(peer.visits)) == (PLACES, PLACES)


@pytest.mark.asyncio
async def test_no_two_requests_share_a_connection_at_once(engine: HttpEngine, peer: Peer) -> None:
    asked = [asking(engine) for _ in range(PLACES)]
    visits = [await peer.visit() for _ in range(PLACES)]
    for number, visit in enumerate(visits):
        await visit.request()
        await visit.send(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n%d" % number)
    assert sorted([(await one).body for one in asked]) == [b"0", b"1", b"2"]


@pytest.mark.asyncio
async def test_connection_that_upstream_closed_is_not_used(engine: HttpEngine, peer: Peer) -> None:
    for end in ("close", "half_close", "reset"):
        visit = await used_once(engine, peer)
        ended = getattr(visit, end)()
        if ended is not None:
            await ended
        await asyncio.sleep(0.02)  # until the end has come over: there is nothing else to see of it from here
        attempt = Attempt()
        asked = asking(engine, attempt=attempt)
        visit = await peer.visit()
        await visit.answer()
        assert (await asked).body == b"ok"
        await visit.close()
        await asyncio.sleep(0.02)


def stalled(seconds: float) -> None:
    """Keeps the event loop from turning."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


@pytest.mark.asyncio
async def test_connection_closed_while_the_loop_was_busy_is_not_used(open_engine: Open) -> None:
    """The loop has not noticed the end of the connection, but the system has."""
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        engine = open_engine(f"http://127.0.0.1:{server.getsockname()[1]}")
        asked = asking(engine)
        first, _ = await loop.sock_accept(server)
        first.setblocking(False)
        await loop.sock_recv(first, 65536)
        await loop.sock_sendall(first, OK)
        await asked
        serving = asyncio.create_task(_answered(server))
        await asyncio.sleep(0)
        first.close()
        stalled(0.05)
        assert (await ask(engine)).body == b"ok"
        await serving


async def _answered(server: socket.socket) -> None:
    """Answers one request on a new connection."""
    loop = asyncio.get_running_loop()
    connection, _ = await loop.sock_accept(server)
    with connection:
        connection.setblocking(False)
        await loop.sock_recv(connection, 65536)
        await loop.sock_sendall(connection, OK)


async def _closing(visit: Visit) -> None:
    await visit.close()


async def _half_closing(visit: Visit) -> None:
    visit.half_close()


async def _breaking_off(visit: Visit) -> None:
    visit.reset()


async def _closing_in_the_head(visit: Visit) -> None:
    await visit.send(b"HTTP/1.1 200 OK\r\ncontent-le")
    await visit.close()


async def _closing_after_an_interim_answer(visit: Visit) -> None:
    await visit.send(b"HTTP/1.1 100 Continue\r\n\r\n")
    await visit.close()


ENDS: Final[dict[str, Callable[[Visit], Awaitable[None]]]] = {
    "closed": _closing,
    "half-closed": _half_closing,
    "broken off": _breaking_off,
    "closed in the head": _closing_in_the_head,
    "closed after an interim answer": _closing_after_an_interim_answer,
}


@pytest.mark.asyncio
@pytest.mark.parametrize("is_reused", [False, True], ids=["new", "reused"])
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "POST"])
@pytest.mark.parametrize("name", ENDS)
async def test_request_without_an_answer_is_never_sent_again(
    name: str, method: str, is_reused: bool, engine: HttpEngine, peer: Peer
) -> None:
    visit = await used_once(engine, peer) if is_reused else None
    attempt = Attempt()
    asked = asking(engine, method, attempt=attempt)
    if visit is None:
        visit = await peer.visit()
    await visit.request()
    sent = len(peer.requests)
    peer.serve(answering)
    await ENDS[name](visit)
    with pytest.raises(NoAnswerError):
        await asked
    assert attempt.sent
    assert len(peer.requests) == sent
    await check_that_all_places_are_left(engine, peer)


@pytest.mark.asyncio
async def test_nobody_listening_is_told_and_nothing_counts_as_sent(open_engine: Open) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
    engine, attempt = open_engine(url), Attempt()
    for _ in range(PLACES + 1):
        with pytest.raises(NoAnswerError):
            await ask(engine, attempt=attempt)
    assert not attempt.sent


@pytest.mark.asyncio
async def test_name_that_cannot_be_one_is_told(open_engine: Open) -> None:
    engine, attempt = open_engine(f"http://{'a' * 64}.invalid"), Attempt()
    with pytest.raises(NoAnswerError):
        await ask(engine, attempt=attempt)
    assert not attempt.sent


@pytest.mark.asyncio
async def test_slow_drip_is_read_to_its_end(engine: HttpEngine, peer: Peer) -> None:
    asked = asking(engine)
    visit = await peer.visit()
    await visit.request()
    for byte in OK:
        await visit.send(bytes([byte]))
        await asyncio.sleep(0.002)
    assert (await asked).body == b"ok"


@pytest.mark.asyncio
async def test_drip_without_an_end_gives_its_place_back_when_time_is_up(engine: HttpEngine, peer: Peer) -> None:
    async def drip(visit: Visit) -> None:
        await visit.request()
        await visit.send(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n")
        while True:
            await visit.send(b"x")
            await asyncio.sleep(0.005)

    peer.serve(drip)

    async def give_up() -> None:
        async with asyncio.timeout(0.1):
            await ask(engine)

    for ended in await asyncio.gather(*(give_up() for _ in range(PLACES * 2)), return_exceptions=True):
        assert isinstance(ended, TimeoutError)
    await until(lambda: peer.open_connections == 0)
    await check_that_all_places_are_left(engine, peer)


@pytest.mark.asyncio
async def test_close_ends_what_is_under_way_and_what_waits(engine: HttpEngine, peer: Peer) -> None:
    attempts = [Attempt() for _ in range(PLACES + 2)]
    asked = [asking(engine, attempt=attempt) for attempt in attempts]
    for _ in range(PLACES):
        await (await peer.visit()).request()
    async with asyncio.timeout(TIMEOUT):
        await engine.close()
        ends: list[Answer | BaseException] = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(end) for end in ends] == [NoAnswerError] * len(asked)
    assert [attempt.sent for attempt in attempts] == [True] * PLACES + [False] * 2
    for visit in peer.visits:
        await visit.gone()
    with pytest.raises(NoAnswerError):
        await ask(engine)


@pytest.mark.asyncio
async def test_close_leaves_no_idle_connection(engine: HttpEngine, peer: Peer) -> None:
    visit = await used_once(engine, peer)
    await engine.close()
    assert await visit.gone() == b""


@pytest.mark.asyncio
async def test_connection_that_made_upstream_wait_too_long_is_closed(
    open_engine: Open, engine_name: str, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    if engine_name != "direct":
        pytest.skip("a library closes idle connections when it pleases")
    monkeypatch.setattr(direct, "_KEEPALIVE_EXPIRY", 0.1)
    engine = open_engine(peer.url)
    asked = [asking(engine) for _ in range(2)]
    visits = [await peer.visit() for _ in range(2)]
    for visit in visits:
        await visit.answer()
    await asyncio.gather(*asked)
    for visit in visits:
        assert await visit.gone() == b""


@pytest.mark.asyncio
async def test_last_connection_is_used_first(engine: HttpEngine, engine_name: str, peer: Peer) -> None:
    if engine_name != "direct":
        pytest.skip("a library uses idle connections in an order of its own")
    asked = [asking(engine) for _ in range(2)]
    visits = [await peer.visit() for _ in range(2)]
    for visit in visits:
        await visit.answer()
        await asyncio.sleep(0.01)
    await asyncio.gather(*asked)
    for _ in range(3):
        again = asking(engine)
        await visits[1].answer()
        await again
    assert len(visits[0].requests) == 1


@pytest.mark.asyncio
@pytest.mark.parametrize("path", ["/a b", "/a\r\nx: y", "/a\n", "/\0", "/\u00e9", ""])
async def test_path_that_is_not_encoded_is_never_sent(
    path: str, engine: HttpEngine, engine_name: str, peer: Peer
) -> None:
    if engine_name != "direct":
        pytest.skip("a library encodes what it finds")
    with pytest.raises(ValueError, match="encoded"):
        await ask(engine, path=path)
    assert peer.visits == []


HEADERS: Final = {
    "line break": (b"a", b"b\r\nx: y"),
    "line feed": (b"a", b"b\n"),
    "NUL": (b"a", b"\0"),
    "space in the name": (b"a b", b""),
    "colon in the name": (b"a:", b""),
    "no name": (b"", b""),
}


@pytest.mark.asyncio
@pytest.mark.parametrize("name", HEADERS)
async def test_header_that_would_be_two_is_never_sent(name: str, engine: HttpEngine, peer: Peer) -> None:
    with pytest.raises((ValueError, NoAnswerError)):
        await ask(engine, headers=[HEADERS[name]])
    assert peer.requests == []

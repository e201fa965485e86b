"""The connection that steps share: what counts as an answer, as silence, and as being busy."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import hiredis
import pytest
import uvloop
from allocation_gateway.claims.connection import StoreConnection, read_error
from allocation_gateway.claims.model import StoreUnavailableError
from redis import exceptions
from support.cache import slow_path
from support.claims import connected, new_claim

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from support.cache import CacheServer

    Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

SILENCE: Final = 0.2
# Takes the server a hundredth of a second.
TOILING: Final = """
local function now() local at = redis.call('TIME') return at[1] * 1000000 + at[2] end
local until_then = now() + 10000
while now() < until_then do end
return false
"""
LOOPS: Final = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@asynccontextmanager
async def linked(serve: Serve, silence: float = SILENCE) -> AsyncIterator[StoreConnection]:
    """Connects to a server that is played."""
    tasks: set[asyncio.Task[Any]] = set()

    async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.current_task())  # type: ignore[arg-type] # it runs in one
        try:
            await serve(reader, writer)
        finally:
            writer.close()

    loop = asyncio.get_running_loop()
    async with await asyncio.start_server(play, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        _, connection = await loop.create_connection(lambda: StoreConnection(loop, silence=silence), "127.0.0.1", port)
        try:
            yield connection
        finally:
            connection.abort()
            await connection.lost
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def commands(reader: asyncio.StreamReader) -> AsyncIterator[list[bytes]]:
    """Yields what is asked, command by command."""
    parser = hiredis.Reader()
    while data := await reader.read(65_536):
        parser.feed(data)
        while (command := parser.gets()) is not False:
            yield command


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers each command with its last word, a byte at a time."""
    async for command in commands(reader):
        for byte in b"$%d\r\n%s\r\n" % (len(command[-1]), command[-1]):
            writer.write(bytes((byte,)))
            await writer.drain()


def run(loop: str, work: Callable[[], Any]) -> None:
    """Runs work on a kind of event loop."""
    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(work())


@pytest.mark.parametrize("loop", LOOPS)
def test_answers_go_to_whoever_asked_also_if_some_have_gone(loop: str) -> None:
    async def work() -> None:
        async with linked(echo, silence=30.0) as connection:
            asked = [connection.ask("ECHO", f"{number}", b"\xff\r\n%d" % number) for number in range(50)]
            for one in asked[::3]:
                one.cancel()
            answers = await asyncio.gather(*asked, return_exceptions=True)
            for number, answer in enumerate(answers):
                assert (
                    isinstance(answer, asyncio.CancelledError) if number % 3 == 0 else answer == b"\xff\r\n%d" % number
                )

    run(loop, work)


@pytest.mark.parametrize("loop", LOOPS)
def test_commands_of_one_turn_are_written_at_once(loop: str) -> None:
    async def work() -> None:
        chunks: list[bytes] = []

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while data := await reader.read(65_536):
                chunks.append(data)
                writer.write(b"+OK\r\n" * data.count(b"PING"))

        async with linked(serve) as connection:
            for _ in range(2):
                await asyncio.gather(*(connection.ask("PING") for _ in range(100)))
        assert [chunk.count(b"PING") for chunk in chunks] == [100, 100]

    run(loop, work)


@pytest.mark.parametrize("loop", LOOPS)
def test_server_that_owes_an_answer_and_is_silent_is_given_up(loop: str) -> None:
    async def work() -> None:
        async def serve(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
            await reader.read()

        async with linked(serve) as connection:
            started = time.monotonic()
            early = connection.ask("PING")
            await asyncio.sleep(SILENCE / 2)
            late = connection.ask("PING")
            found = await asyncio.gather(early, late, return_exceptions=True)
            assert [type(error) for error in found] == [TimeoutError] * 2
            assert time.monotonic() - started >= SILENCE
            assert connection.ended.done()
            assert not connection.is_open

    run(loop, work)


@pytest.mark.parametrize("loop", LOOPS)
def test_server_that_owes_nothing_may_be_silent(loop: str) -> None:
    async def work() -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            async for _ in commands(reader):
                await asyncio.sleep(SILENCE / 2)
                writer.write(b"+OK\r\n")

        async with linked(serve) as connection:
            for _ in range(2):
                assert await connection.ask("PING") == b"OK"
                await asyncio.sleep(2 * SILENCE)
            assert connection.is_open

    run(loop, work)


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("rounds", [1, 3])
def test_process_that_is_too_busy_to_read_does_not_blame_the_server(loop: str, rounds: int) -> None:
    async def work() -> None:
        async with linked(echo) as connection:
            for number in range(rounds):
                answer = connection.ask("ECHO", f"{number}" * 10)
                await asyncio.sleep(0)  # it is sent
                time.sleep(2 * SILENCE)  # noqa: ASYNC251 - nothing else runs meanwhile: that is the point
                assert await answer == b"%d" % number * 10
                # Neither is the server blamed for what was asked, and could not be sent yet.
                answer = connection.ask("ECHO", "x")
                time.sleep(2 * SILENCE)  # noqa: ASYNC251 - as above
                assert await answer == b"x"

    run(loop, work)


@pytest.mark.parametrize("loop", LOOPS)
def test_what_is_not_answered_fails_when_the_connection_ends(loop: str) -> None:
    async def work() -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"second\r\n")
            writer.write(b"$5\r\nfirst\r\n$6\r\nsec")
            await writer.drain()

        async with linked(serve) as connection:
            first, second = connection.ask("ECHO", "first"), connection.ask("ECHO", "second")
            assert await first == b"first"
            with pytest.raises(exceptions.ConnectionError, match="closed"):
                await second
            await connection.lost

    run(loop, work)


@pytest.mark.parametrize("loop", LOOPS)
def test_connection_that_is_retired_closes_when_all_is_answered(loop: str) -> None:
    async def work() -> None:
        async with linked(echo, silence=30.0) as connection:
            asked = [connection.ask("ECHO", f"{number}") for number in range(20)]
            connection.retire()
            assert not connection.is_open
            assert connection.ended.done()
            assert await asyncio.gather(*asked) == [b"%d" % number for number in range(20)]
            await asyncio.wait_for(connection.lost, 10.0)

    run(loop, work)


@pytest.mark.parametrize(
    ("said", "error"),
    [
        (b"-ERR max number of clients reached\r\n", exceptions.ConnectionError),
        (b"-DENIED Redis is running in protected mode\r\n", exceptions.ResponseError),
        (b"SSH-2.0-OpenSSH\r\n", exceptions.InvalidResponse),
    ],
)
@pytest.mark.parametrize("is_early", [False, True])
@pytest.mark.asyncio
async def test_what_a_server_says_unasked_is_why_it_cannot_be_used(
    said: bytes, error: type[Exception], is_early: bool
) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not is_early:
            await reader.readline()
        writer.write(said)
        await writer.drain()

    async with linked(serve) as connection:
        if is_early:
            await asyncio.wait_for(connection.lost, 10.0)
        with pytest.raises(error):
            await asyncio.wait_for(connection.ask("PING"), 10.0)
        await asyncio.wait_for(connection.lost, 10.0)


@pytest.mark.asyncio
async def test_news_that_are_pushed_are_no_answers() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async for _ in commands(reader):
            writer.write(b">2\r\n+invalidate\r\n_\r\n#f\r\n")

    async with linked(serve) as connection:
        assert await connection.ask("PING") is False


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("READONLY You can't write against a read only replica.", exceptions.ReadOnlyError),
        ("@user_script: 40: -READONLY You can't write against a read only replica.", exceptions.ReadOnlyError),
        (
            "ERR Error running script (call to f_6b1): @user_script:40: -OOM command not allowed",
            exceptions.OutOfMemoryError,
        ),
        ("MASTERDOWN Link with MASTER is down", exceptions.MasterDownError),
        ("LOADING Redis is loading the dataset in memory", exceptions.BusyLoadingError),
        ("CLUSTERDOWN The cluster is down", exceptions.ClusterDownError),
        ("NOSCRIPT No matching script.", exceptions.NoScriptError),
        ("NOPERM User x has no permissions", exceptions.NoPermissionError),
        ("NOREPLICAS Not enough good replicas to write.", exceptions.ResponseError),
        ("ERR value is not -an integer", exceptions.ResponseError),
    ],
)
def test_error_is_the_same_from_within_a_script_of_any_release(text: str, kind: type[Exception]) -> None:
    assert type(read_error(text)) is kind


# With a real server.


@pytest.mark.cache
@pytest.mark.asyncio
async def test_long_line_of_steps_is_waited_for(server: CacheServer) -> None:
    """Each takes the server a moment, and all together much longer than a step may wait for a sign."""
    async with connected(server.port, step_timeout=SILENCE, script=TOILING) as store:
        assert await store.read("first") is None
        started = time.monotonic()
        # So large that a server reads one at a time: what it has read at once it also answers at once.
        steps = (store._server.run("toil", f"{number}", bytes(20_000)) for number in range(100))
        assert await asyncio.gather(*steps) == [None] * 100
        assert time.monotonic() - started > 3 * SILENCE


@pytest.mark.cache
@pytest.mark.asyncio
async def test_step_that_was_given_up_may_be_carried_out_late(server: CacheServer) -> None:
    """Whoever asked knows that: see the interleavings."""
    with slow_path(server.port) as path:
        async with connected(path.port, step_timeout=SILENCE) as store, connected(server.port) as witness:
            await store.read("id")
            path.stop()
            with pytest.raises(StoreUnavailableError, match="timeout"):
                await store.begin(new_claim())
            assert await witness.read("id") is None
            path.go_on()
            end = time.monotonic() + 10.0
            while await witness.read("id") is None:
                assert time.monotonic() < end, "it is not carried out"

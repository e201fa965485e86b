"""How calls wait, beside what asyncio has for it: each case must end alike, whoever ends first."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import pytest
from allocation_gateway.tasks import SharedTask, TimeLimit
from support import virtual

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine
    from contextlib import AbstractAsyncContextManager

    Limit: TypeAlias = Callable[[float], AbstractAsyncContextManager[Any]]
    Wait: TypeAlias = Callable[[Coroutine[Any, Any, str]], "Waited"]

ANSWER: Final = "answer"


class Waited:
    """Work in a task, and asyncio.wait() for it."""

    def __init__(self, work: Coroutine[Any, Any, str]) -> None:
        self.task = asyncio.create_task(work)

    async def wait(self, until: float) -> bool:
        await asyncio.wait({self.task}, timeout=until - now())
        return self.task.done()


@asynccontextmanager
async def ours(until: float) -> AsyncIterator[None]:
    with TimeLimit(until):
        yield


waits = pytest.mark.parametrize("share", [Waited, SharedTask], ids=["asyncio", "ours"])
limits = pytest.mark.parametrize("limit", [asyncio.timeout_at, ours], ids=["asyncio", "ours"])


def now() -> float:
    return asyncio.get_running_loop().time()


async def work(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return ANSWER


async def ended(awaited: Coroutine[Any, Any, Any] | asyncio.Task[Any]) -> str:
    """Returns how something ended: by what, and after how many seconds."""
    started = now()
    try:
        how = str(await awaited)
    except BaseException as error:  # noqa: BLE001 - a cancellation, too, is how something ends
        how = type(error).__name__
    return f"{how} after {now() - started:g}"


def stands_still_after(act: Callable[[], Coroutine[Any, Any, None]]) -> float:
    """Returns how many seconds pass until there is nothing to wait for any more: virtual time goes to every timer."""
    clock: list[Callable[[], float]] = []

    async def case() -> None:
        clock.append(asyncio.get_running_loop().time)
        started.append(now())
        await act()
        await asyncio.get_running_loop().create_future()

    started: list[float] = []
    with pytest.raises(RuntimeError, match="everybody waits"):
        virtual.run(case())
    return clock[0]() - started[0]


# A task that several wait for.


@waits
@pytest.mark.parametrize(
    ("seconds", "until", "outcome"),
    [(1, 2, "True after 1"), (2, 1, "False after 1"), (0, 1, "True after 0"), (1, -1, "False after 0")],
)
def test_wait_ends_with_the_task_or_with_its_time(share: Wait, seconds: float, until: float, outcome: str) -> None:
    async def case() -> None:
        shared = share(work(seconds))
        assert await ended(shared.wait(now() + until)) == outcome
        assert await shared.task == ANSWER

    virtual.run(case())


@waits
def test_a_task_that_is_done_needs_no_wait(share: Wait) -> None:
    async def case() -> None:
        shared = share(work(1))
        await shared.task
        assert await ended(shared.wait(now() + 5)) == "True after 0"

    virtual.run(case())


@waits
def test_each_waits_until_a_moment_of_its_own(share: Wait) -> None:
    async def case() -> None:
        shared = share(work(3))
        moments = (now() + 1, now() + 2, now() + 4, now() + 5)
        outcomes = await asyncio.gather(*(ended(shared.wait(until)) for until in moments))
        assert outcomes == ["False after 1", "False after 2", "True after 3", "True after 3"]

    virtual.run(case())


@waits
def test_whoever_is_cancelled_leaves_the_task_and_the_others_alone(share: Wait) -> None:
    async def case() -> None:
        shared = share(work(2))
        first, second = (asyncio.create_task(ended(shared.wait(now() + 9))) for _ in range(2))
        await asyncio.sleep(1)
        first.cancel()
        assert await first == "CancelledError after 1"
        assert await second == "True after 2"
        assert shared.task.result() == ANSWER

    virtual.run(case())


@waits
def test_cancelled_as_the_task_ends_it_is_cancelled_and_the_answer_is_there(share: Wait) -> None:
    async def case() -> None:
        shared = share(work(1))
        waiting = asyncio.create_task(ended(shared.wait(now() + 9)))
        shared.task.add_done_callback(lambda _: waiting.cancel())
        assert await waiting == "CancelledError after 1"
        assert shared.task.result() == ANSWER

    virtual.run(case())


@waits
def test_cancelled_just_before_the_task_ends_it_does_not_keep_the_others(share: Wait) -> None:
    async def case() -> None:
        async def cancel_one() -> str:
            await asyncio.sleep(1)
            first.cancel()
            return ANSWER

        shared = share(cancel_one())
        first, second = (asyncio.create_task(ended(shared.wait(now() + 9))) for _ in range(2))
        assert await first == "CancelledError after 1"
        assert await second == "True after 1"

    virtual.run(case())


@pytest.mark.parametrize("task_first", [True, False])
@waits
def test_an_answer_of_the_last_moment_is_not_lost(share: Wait, task_first: bool) -> None:
    async def case() -> None:
        moment, answer = now() + 1, asyncio.get_running_loop().create_future()

        async def wait_for_it() -> str:
            await answer
            return ANSWER

        def come() -> None:
            answer.set_result(None)

        if task_first:
            asyncio.get_running_loop().call_at(moment, come)
        shared = share(wait_for_it())
        waiting = asyncio.create_task(ended(shared.wait(moment)))
        await asyncio.sleep(0)
        if not task_first:
            asyncio.get_running_loop().call_at(moment, come)
        outcome = await waiting
        # Whichever came first: whoever is told that it is done finds the answer.
        assert outcome.endswith("after 1")
        assert outcome.startswith(str(task_first))
        assert await shared.task == ANSWER

    virtual.run(case())


@waits
def test_a_task_that_never_began_ends_the_wait_too(share: Wait) -> None:
    async def case() -> None:
        shared = share(work(9))
        waiting = asyncio.create_task(ended(shared.wait(now() + 5)))
        shared.task.cancel()
        assert await waiting == "True after 0"
        assert shared.task.cancelled()

    virtual.run(case())


def test_what_the_task_raises_is_for_those_who_ask() -> None:
    complaints: list[object] = []

    async def fail() -> str:
        raise ValueError(ANSWER)

    async def case() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
        asked: SharedTask[str] = SharedTask(fail())
        assert await asked.wait(now() + 1)
        with pytest.raises(ValueError, match=ANSWER):
            asked.task.result()
        unasked: SharedTask[str] = SharedTask(fail())
        await asyncio.sleep(1)
        del unasked

    virtual.run(case())
    assert not complaints


def test_nothing_is_left_to_wake_once_the_task_is_done() -> None:
    async def wait() -> None:
        await SharedTask(work(1)).wait(now() + 1_000)

    assert stands_still_after(wait) == 1


# A limit of time.


@limits
@pytest.mark.parametrize(
    ("seconds", "until", "outcome"),
    [(1, 2, "answer after 1"), (2, 1, "TimeoutError after 1"), (1, -1, "TimeoutError after 0")],
)
def test_limit_ends_what_takes_longer(limit: Limit, seconds: float, until: float, outcome: str) -> None:
    async def limited() -> str:
        async with limit(now() + until):
            return await work(seconds)

    async def case() -> None:
        assert await ended(limited()) == outcome
        # The task may go on, and wait again.
        assert await ended(work(1)) == "answer after 1"

    virtual.run(case())


@limits
@pytest.mark.parametrize(("after", "until"), [(1, 2), (1, 1), (2, 1)])
def test_cancelled_from_outside_it_is_cancelled(limit: Limit, after: float, until: float) -> None:
    async def limited() -> str:
        async with limit(now() + until):
            try:
                await asyncio.sleep(9)
            finally:
                # Both have come by the time that it ends.
                await asyncio.sleep(3)
        return ANSWER

    async def case() -> None:
        task = asyncio.create_task(limited())
        asyncio.get_running_loop().call_later(after, task.cancel)
        assert (await ended(task)).startswith("CancelledError")

    virtual.run(case())


@limits
def test_an_error_of_the_block_is_told_as_it_is(limit: Limit) -> None:
    async def limited() -> None:
        async with limit(now() + 1):
            try:
                await asyncio.sleep(9)
            finally:
                raise ValueError

    async def case() -> None:
        assert await ended(limited()) == "ValueError after 1"
        assert await ended(work(1)) == "answer after 1"

    virtual.run(case())


@limits
def test_a_block_that_takes_no_notice_ends_as_it_does(limit: Limit) -> None:
    async def limited() -> str:
        async with limit(now() + 1):
            try:
                await asyncio.sleep(9)
            except asyncio.CancelledError:
                return ANSWER
        return ""

    async def case() -> None:
        assert await ended(limited()) == "answer after 1"
        assert await ended(work(1)) == "answer after 1"

    virtual.run(case())


@limits
@pytest.mark.parametrize(("outer", "inner"), [(1, 2), (2, 1)])
def test_of_two_limits_the_shorter_one_ends_it(limit: Limit, outer: float, inner: float) -> None:
    async def limited() -> str:
        async with asyncio.timeout(outer):
            try:
                async with limit(now() + inner):
                    return await work(9)
            except TimeoutError:
                return "inner"

    async def case() -> None:
        assert await ended(limited()) == ("TimeoutError after 1" if outer < inner else "inner after 1")

    virtual.run(case())


def test_a_limit_leaves_no_timer() -> None:
    async def limited() -> None:
        with TimeLimit(now() + 1_000):
            await work(1)

    assert stands_still_after(limited) == 1

"""The instrument of the attacks: it measures the server, and not who measures it."""

from __future__ import annotations

import signal
import threading
import time
from typing import TYPE_CHECKING, Final

import pytest
from attacks.bystander import Bystander
from attacks.measuring import Outcome, best, measured, part, uncoordinated
from support.front import running_front
from support.http2 import Answer, Connection

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.gateway import Gateway

# Seconds for which something stands still, and for which it is looked on.
STILL: Final = 0.5
WATCHED: Final = 1.5
ONE: Final = Outcome(grown=1, p50=0.001, p99=0.01, busy=0.0, lost=0, sent=0, connections=1)


def test_call_that_was_held_up_stands_for_those_that_were_not_made() -> None:
    assert list(uncoordinated([0.002, 0.005], 0.005)) == [0.002, 0.005]
    assert [round(wait, 3) for wait in uncoordinated([0.012, 0.001], 0.005)] == [0.012, 0.007, 0.002, 0.001]


def test_second_of_two_in_which_nobody_is_served_is_seen() -> None:
    quick, slow = [0.001] * 200, [1.0]
    assert part(sorted([*quick, *slow]), 0.99) == 0.001
    assert part(sorted(uncoordinated([*quick, *slow], 0.005)), 0.99) > 0.9


def test_shortest_waits_and_most_memory_count() -> None:
    other = ONE._replace(grown=3, p99=0.02, lost=1)
    assert best([other, ONE]) == best([ONE, other]) == ONE._replace(grown=3, lost=1)


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    with running_front() as front:
        yield front.gateway


@pytest.mark.attacks
def test_server_that_stands_still_is_seen(gateway: Gateway) -> None:
    def stand_still() -> None:
        gateway.process.send_signal(signal.SIGSTOP)
        time.sleep(STILL)  # what is to be seen
        gateway.process.send_signal(signal.SIGCONT)

    thread = threading.Timer(WATCHED / 3, stand_still)
    thread.start()
    with Bystander(gateway.address) as one:
        seen = one.watch(gateway.process.pid, WATCHED)
    thread.join()
    assert max(seen.waits) > STILL / 2
    assert not seen.lost


@pytest.mark.attacks
def test_bystander_that_is_held_up_is_not_taken_for_a_server_that_is(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = Connection.answer

    def held_up(self: Connection, stream: int, timeout: float) -> Answer:
        time.sleep(STILL)  # what is not to be seen
        return answer(self, stream, timeout)

    with Bystander(gateway.address) as one:
        one.get_ready()
        monkeypatch.setattr(Connection, "answer", held_up)
        assert one.call() < STILL / 2


@pytest.mark.attacks
@pytest.mark.parametrize("name", ["PING", "connections opened and closed"])
def test_attack_is_under_way_as_long_as_it_is_measured(name: str, gateway: Gateway) -> None:
    outcome = measured(gateway, name, 8, WATCHED)
    assert outcome.sent > 10_000
    assert outcome.connections >= 8
    assert 0 < outcome.p50 <= outcome.p99

"""What the suite runs: as many items of streams as are asked for, and every policy that can be broken of its own."""

from __future__ import annotations

from chaos.broken import CLUSTER_POLICIES, broken
from chaos.broken_accounts import ACCOUNT_POLICIES
from chaos.broken_streams import STREAM_POLICIES
from chaos.phases import BROKEN, MOST_ITEMS, NAMED, PHASES, in_parts


def test_a_million_items_are_as_many_phases_as_have_room_for_them() -> None:
    (streams,) = [phase for phase in PHASES if phase.items and not phase.others]
    assert in_parts(streams, 0) == [streams]
    assert [(one.name, one.items) for one in in_parts(streams, MOST_ITEMS)] == [(streams.name, MOST_ITEMS)]
    million = in_parts(streams, 1_000_000)
    assert sum(one.items for one in million) == 1_000_000
    assert len({one.name for one in million}) == len(million) == 1_000_000 // MOST_ITEMS


def test_only_streams_that_are_not_broken_or_meddled_with_have_other_numbers_of_items() -> None:
    others = [phase for phase in (*PHASES, *BROKEN, *NAMED) if phase.broken or phase.others or not phase.items]
    assert [in_parts(phase, 1_000_000) for phase in others] == [[phase] for phase in others]


def test_every_policy_of_streams_accounts_and_clusters_is_broken_in_a_phase() -> None:
    phases = {phase.broken for phase in (*BROKEN, *NAMED)}
    for policy in (*STREAM_POLICIES, *ACCOUNT_POLICIES, *CLUSTER_POLICIES):
        assert policy in phases
        with broken(policy):
            pass

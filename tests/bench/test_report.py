"""What is told of many samples is what a reader would work out from them."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest

from bench import contenders, plot, report
from bench.guard import Verdict, judge
from bench.measuring import Sample, is_right
from bench.results import Results
from bench.rows import ROWS, Outcome
from bench.targets import TARGETS
from bench.turns import Round, quiet

if TYPE_CHECKING:
    from pathlib import Path


def sample(row: str, contender: str, number: int, **changed: object) -> Sample:
    """A sample with plausible numbers, but for those that are given."""
    in_flight = changed.pop("in_flight", 1)
    seen = {"upstream_in_service_mean": 0.0, "upstream_sockets_peak": 0, "foreign_cpu_seconds": 0.0}
    fields = {
        "cpu_us": 100.0,
        "calls_per_second": 1000.0,
        "latency_ms": {"p50": 1.0, "p99": 2.0},
        "start_kb": 51_200,
        "peak_kb": 102_400,
        "wrong": 0.0,
        "load_cpu_us": 2.0,
        "upstream_cpu_us": 5.0,
        "load_busy": 0.1,
        "detail": {
            "seen": {**seen, "gateway_process_cpu_seconds": [1.0]},
            "seconds": 1.0,
            "statuses": {"0": 1000},
            "in_flight": in_flight,
        },
        **changed,
    }
    return Sample(row=row, contender=contender, round=number, **fields)  # type: ignore[arg-type]


def results(*samples: Sample) -> Results:
    return Results(samples, {}, {}, 1.0)


def test_a_ratio_is_taken_within_a_round() -> None:
    # Twice as busy a machine in the second round: the ratio of medians would be 1.5, which no round showed.
    found = results(
        *(sample("slow400", "go", number, cpu_us=cpu) for number, cpu in enumerate((100.0, 200.0, 100.0))),
        *(sample("slow400", "ours", number, cpu_us=cpu) for number, cpu in enumerate((300.0, 400.0, 150.0))),
    )
    ratio = found.ratio("slow400", "ours", "go")
    assert ratio == (2.0, 1.5, 3.0)


def test_a_round_without_a_single_answer_has_no_cost() -> None:
    found = results(sample("slow400", "ours", 1, cpu_us=None), sample("slow400", "go", 1))
    assert found.cpu("slow400", "ours") is None
    assert found.ratio("slow400", "ours", "go") is None


@pytest.mark.parametrize(
    ("outcome", "status", "right"),
    [
        (Outcome.OK, 0, True),
        (Outcome.OK, 9, False),
        (Outcome.OK, -2, False),
        (Outcome.REFUSED, 9, True),
        (Outcome.REFUSED, 0, False),
        (Outcome.REFUSED, -1, False),
    ],
)
def test_a_call_must_end_as_its_row_says(outcome: Outcome, status: int, right: bool) -> None:
    assert is_right(outcome, status) is right


def test_targets_are_judged_by_what_was_measured() -> None:
    within = results(sample("slow400", "go", 1), sample("slow400", "ours", 1, cpu_us=135.0))
    beyond = results(sample("slow400", "go", 1), sample("slow400", "ours", 1, cpu_us=136.0))
    against_go = TARGETS[0]
    values = [against_go.value(found) for found in (within, beyond, results())]
    assert values == [1.35, 1.36, None]
    assert against_go.limit == 1.35


def test_memory_per_call_in_flight_is_what_4000_of_them_add() -> None:
    found = results(sample("slow4000", "ours", 1, start_kb=50_000, peak_kb=210_000))
    (target,) = (target for target in TARGETS if target.text.startswith("memory per call"))
    assert target.value(found) == pytest.approx(40.0)


def test_failed_calls_and_a_missed_rate_are_told_beside_the_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = tmp_path / "docs" / "performance.md"
    document.parent.mkdir()
    document.write_text(f"before\n{report._BEGIN}\nwhat stood there\n{report._END}\nafter\n")
    monkeypatch.setattr(report, "ROOT", tmp_path)
    monkeypatch.setattr(report, "_DOCUMENT", document)
    found = results(
        sample("fast", "go", 1),
        sample("fast", "ours", 1, wrong=0.25),
        sample("rate", "naive", 1, in_flight=900),
    )
    report.write(found, publish=True)
    told = document.read_text()
    assert told.startswith("before\n")
    assert told.endswith("\nafter\n")
    assert "what stood there" not in told
    assert "up to 25.00% of the calls ended otherwise than they must" in told
    assert told.count("does not hold this rate") == 1
    ET.fromstring((tmp_path / "docs" / "performance.svg").read_text())  # noqa: S314 - our own


def test_the_picture_shows_every_gateway_of_a_row_with_its_ratio() -> None:
    found = results(sample("fast", "go", 1), sample("fast", "ours", 1, cpu_us=250.0))
    drawn = plot.draw(found, [("fast", "fast & cheap")])
    texts = [text.text for text in ET.fromstring(drawn).iter() if text.tag.endswith("text")]  # noqa: S314
    assert texts[0] == "fast & cheap"
    assert "250 us, 2.50 times Go" in texts


def test_every_contender_of_a_row_exists() -> None:
    assert {name for row in ROWS for name in row.contenders} <= set(contenders.CONTENDERS)


def test_a_way_to_configure_a_gateway_that_it_does_not_have_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contenders, "known_settings", lambda: frozenset({"LOG_LEVEL"}))
    missing = {
        key: contenders.CONTENDERS[key].missing() for key in ("ours", "ours-no-log", "ours-no-traces", "ours-store")
    }
    assert missing == {"ours": [], "ours-no-log": [], "ours-no-traces": [], "ours-store": ["STORE_URL"]}


def test_settings_of_ours_are_read_from_its_own_command() -> None:
    assert {"SHIP_BASE_URL", "MAX_CONCURRENT_CALLS", "LOG_LEVEL"} <= contenders.known_settings()


def test_limits_are_raised_only_where_the_gateway_has_them_and_a_row_asks_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(contenders, "known_settings", lambda: frozenset({"MAX_CONCURRENT_CALLS"}))
    around = contenders.Surroundings("http://127.0.0.1:1", None, "http://127.0.0.1:2", "", raised=True)
    raised = contenders.CONTENDERS["ours"].program(around).environment
    usual = contenders.CONTENDERS["ours"].program(dataclasses.replace(around, raised=False)).environment
    assert {name for name in raised if name not in usual} == {"ALLOCATION_GATEWAY_MAX_CONCURRENT_CALLS"}


@pytest.mark.parametrize(
    ("middle", "verdict"),
    [
        (2.0, Verdict.PASSES),
        (2.39, Verdict.PASSES),
        (2.8, Verdict.TOO_DEAR),
        (1.61, Verdict.PASSES),
        (1.5, Verdict.CHEAPER),
    ],
)
def test_the_guard_lets_noise_pass_and_a_slowdown_of_40_percent_fail(middle: float, verdict: Verdict) -> None:
    assert judge(middle, 2.0) is verdict


def test_the_guard_counts_the_rounds_in_which_the_machine_did_least_else() -> None:
    rounds = [
        Round(9.0, 1.0, 0.9),
        Round(2.0, 1.0, 0.1),
        Round(8.0, 1.0, 1.4),
        Round(2.1, 1.0, 0.2),
        Round(2.2, 1.0, 0.3),
    ]
    assert [one.ours for one in quiet(rounds)] == [2.0, 2.1, 2.2]


def test_the_guard_counts_all_rounds_beside_which_next_to_nothing_ran() -> None:
    rounds = [Round(2.0, 1.0, 0.0), Round(2.1, 1.0, 0.05), Round(2.2, 1.0, 0.1), Round(9.0, 1.0, 0.4)]
    assert [one.ours for one in quiet(rounds)] == [2.0, 2.1, 2.2]

"""What `make observe` shows: traces from the caller to upstream, panels with data, alerts; and how it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import httpx
import pytest
from observe import scenes
from observe.reading import GATEWAY, attempts, call, is_whole, of
from observe.run import ROOT, Traffic, running
from observe.scenes import Caller
from observe.traces import told
from support.prometheus import asking
from support.workers import children, is_alive, wait_until

from helm import panels

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from observe.run import Watched
    from observe.traces import Span

pytestmark = pytest.mark.observe

SECONDS: Final = 60.0


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    with running(tmp_path_factory.mktemp("observe")) as everything:
        yield everything


@pytest.fixture(scope="module")
def caller(watched: Watched) -> Iterator[Caller]:
    caller = Caller(watched.around.gateway.address, watched.endpoint, watched.around.sandbox)
    yield caller
    caller.close()


@pytest.fixture
def followed(watched: Watched, caller: Caller) -> Callable[[Callable[[Caller], str]], list[Span]]:
    """Plays a scene, and returns the spans of its trace."""
    return lambda scene: whole(watched, scene(caller))


def whole(watched: Watched, trace_id: str) -> list[Span]:
    """Returns the spans of a trace, once all that there are have come."""
    return watched.spans.of(trace_id, is_whole)


def test_plain_call_is_one_trace_from_the_caller_to_upstream(followed: Any) -> None:
    spans = followed(scenes.plain)
    assert attempts(spans) == [("first", 200)]
    assert call(spans).events == ["claimed"]
    assert call(spans).links == []


def test_retry_has_both_attempts(followed: Any) -> None:
    assert attempts(followed(scenes.retry)) == [("first", 429), ("repeat", 200)]


def test_read_back_is_told_from_the_doubt_to_its_end(followed: Any) -> None:
    spans = followed(scenes.read_back)
    made = attempts(spans)
    assert made[0] == ("first", "cut")
    assert set(made[1:]) == {("read_back", 200)}
    assert call(spans).events[:2] == ["claimed", "in_doubt"]
    assert call(spans).events[-1] == "reconciled"


@pytest.mark.parametrize(("scene", "how"), [(scenes.joined, "joined"), (scenes.remembered, "remembered")])
def test_call_that_did_not_do_the_work_leads_to_the_one_that_did(
    scene: Any, how: str, followed: Any, watched: Watched
) -> None:
    spans = followed(scene)
    assert attempts(spans) == []
    (link,) = call(spans).links
    assert link.how == how
    work = whole(watched, link.trace_id)
    assert call(work).span_id == link.span_id
    assert attempts(work) == [("first", 200)]


def test_items_of_a_stream_lead_to_their_batches_and_these_to_upstream(followed: Any) -> None:
    spans = followed(scenes.stream)
    items = [span for span in spans if span.name == "item"]
    batches = {span.span_id: span for span in spans if span.name == "batch"}
    assert len(items) == scenes.ITEMS
    sent_with = Counter(link.span_id for item in items for link in item.links)
    assert sent_with == {name: batch.attributes["allocation_gateway.batch.items"] for name, batch in batches.items()}
    requests = {span.parent_id for span in of(spans, GATEWAY) if span.name.startswith("PUT")}
    assert requests == set(batches)


def test_trace_is_told_as_text(followed: Any) -> None:
    lines = told(followed(scenes.retry)).splitlines()
    services = [line.partition(": ")[0].split()[-1] for line in lines]
    assert services == ["caller", "caller", *["allocation-gateway"] * 2, "sandbox", "allocation-gateway", "sandbox"]
    assert "repeat; resent 1" in lines[5]


def test_page_has_panels_with_data_and_traces(watched: Watched, caller: Caller) -> None:
    traffic = Traffic(watched.around.gateway.address, caller)
    with asking(watched.pages) as client:
        assert "polyline" in client.get("/").text
        drawn = {panel["question"]: panel for board in client.get("/boards").json() for panel in board["panels"]}
        assert len(drawn) == sum(len(row) for board in panels.BOARDS for _, row in board.rows)
        (query,) = drawn["Do callers get answers?"]["queries"]

        def has_data() -> bool:
            traffic.turn()
            now = time.time()
            asked = {"query": query["expression"], "start": now - 30, "end": now, "step": 5}
            return bool(client.get("/query_range", params=asked).json()["data"]["result"])

        wait_until(has_data, "the panel has no data", SECONDS)
        traffic.close()
        listed = client.get("/traces").json()
        assert listed
        assert "allocation-gateway: " in client.get(f"/trace/{listed[0]['id']}").text
        assert client.get("/no-such-page").status_code == httpx.codes.NOT_FOUND


def test_alerts_of_the_chart_are_evaluated(watched: Watched) -> None:
    with asking(watched.prometheus) as client:
        groups = client.get("/api/v1/rules").json()["data"]["groups"]
    assert sum(rule["type"] == "alerting" for group in groups for rule in group["rules"]) >= 14


@pytest.mark.parametrize(("is_interrupted", "seconds"), [(True, "900"), (False, "1")], ids=["by Ctrl-C", "by its time"])
def test_it_ends_and_everything_with_it(is_interrupted: bool, seconds: str) -> None:
    paths = [str(ROOT / "tests"), str(ROOT), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), "OBSERVE_SECONDS": seconds}
    command = [sys.executable, "-m", "observe.run"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, cwd=ROOT) as process:
        assert process.stdout is not None
        lines: list[str] = []

        def read_until(text: str) -> None:
            assert process.stdout is not None
            while not any(text in line for line in lines):
                lines.append(next(process.stdout))

        read_until("Open in a browser")
        started = children(process.pid)
        read_until("From now on")
        if is_interrupted:
            process.send_signal(signal.SIGINT)
        lines += process.stdout
        assert process.wait(SECONDS) == 0, lines
    assert len(started) >= 4, "store, sandbox, gateway and Prometheus"
    assert not [pid for pid in started if is_alive(pid)]
    assert [name for name in scenes.SCENES if not any(line.startswith(f"{name}: ") for line in lines)] == []

"""A real Prometheus and Alertmanager, from the PATH or from the packages that the Makefile has unpacked."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import httpx

from helm import rules
from support.cache import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PLACES: Final = Path(__file__).resolve().parents[2] / ".cache" / "prometheus" / "usr" / "bin"
LABELS: Final = {"cluster": "c", "namespace": "n"}
"""What the target is labelled with, since dashboards choose by it."""
_START: Final = 60.0


def program(*names: str) -> str:
    """Returns the path of one of the programs that belong to Prometheus, by any of its names."""
    found = next(filter(None, (shutil.which(name, path=path) for path in (None, str(PLACES)) for name in names)), None)
    assert found is not None, f"{names[0]} is missing"
    return found


def wait_until_ready(client: httpx.Client, path: str = "/-/ready") -> None:
    """Waits until a server says by a path that it is ready."""
    end = time.monotonic() + _START
    while True:
        try:
            if client.get(path).status_code == httpx.codes.OK:
                return
        except httpx.TransportError:
            pass
        assert time.monotonic() < end, f"{client.base_url} does not start"
        threading.Event().wait(0.1)


@contextmanager
def running_prometheus(
    target: str, folder: Path, *, job: str = "g", more: Mapping[str, Any] | None = None
) -> Iterator[httpx.Client]:
    """Runs a Prometheus that scrapes a target each half second, and yields what asks it.

    Args:
        target: What is scraped, as host:port.
        folder: Where it keeps what it has.
        job: What the target is called.
        more: What else its configuration says.
    """
    scrape = {"job_name": job, "scrape_interval": "500ms", "static_configs": [{"targets": [target], "labels": LABELS}]}
    config = folder / "prometheus.yaml"
    config.write_text(json.dumps({"scrape_configs": [scrape], **(more or {})}))
    address = f"127.0.0.1:{free_port()}"
    options = (f"--config.file={config}", f"--storage.tsdb.path={folder}/data", f"--web.listen-address={address}")
    with running([program("prometheus"), *options]), asking(f"http://{address}") as client:
        wait_until_ready(client)
        yield client


@contextmanager
def running_alertmanager(folder: Path) -> Iterator[httpx.Client]:
    """Runs an Alertmanager that keeps what it has in a folder and tells nobody, and yields what asks it."""
    config = folder / "alertmanager.yaml"
    config.write_text(json.dumps({"route": {"receiver": "nobody"}, "receivers": [{"name": "nobody"}]}))
    address = f"127.0.0.1:{free_port()}"
    options = (
        f"--config.file={config}",
        f"--storage.path={folder}/alertmanager",
        f"--web.listen-address={address}",
        "--cluster.listen-address=",  # it is alone
    )
    command = [program("prometheus-alertmanager", "alertmanager"), *options]
    with running(command), asking(f"http://{address}") as client:
        wait_until_ready(client)
        yield client


def alerting(folder: Path, pace: rules.Pace, alertmanager: httpx.Client, runbooks: str) -> dict[str, Any]:
    """Returns what Prometheus is configured with to have the alerts of the chart, and to send them.

    Args:
        folder: Where the rules are written to.
        pace: How soon they see what they are for.
        alertmanager: What they are sent to.
        runbooks: Where the runbooks are.
    """
    file = folder / "rules.yaml"
    file.write_text(rules.text(pace).replace(rules.RUNBOOKS, runbooks))
    target = f"{alertmanager.base_url.host}:{alertmanager.base_url.port}"
    return {
        "global": {"evaluation_interval": "500ms"},
        "rule_files": [str(file)],
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": [target]}]}]},
    }


def firing(alertmanager: httpx.Client) -> list[dict[str, Any]]:
    """Returns the alerts that an Alertmanager has and that are not over."""
    answer = alertmanager.get("/api/v2/alerts").raise_for_status()
    found: list[dict[str, Any]] = answer.json()
    return found


@contextmanager
def running(command: list[str], **more: Any) -> Iterator[None]:
    """Runs a program of which nobody reads what it says, and ends it with the block."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **more)
    try:
        yield
    finally:
        process.kill()
        process.wait()


def asking(url: str) -> httpx.Client:
    """Returns what asks a server of this machine."""
    return httpx.Client(base_url=url, trust_env=False, timeout=10.0)


def selected(expression: str, interval: str = "1m") -> str:
    """Returns the query of a panel with what Grafana puts in the place of its variables."""
    text = expression.replace("$__rate_interval", interval)
    for name in ("cluster", "namespace", "job"):
        text = text.replace(f"${name}", ".+")
    # Also what has none.
    return text.replace("$account", ".*")

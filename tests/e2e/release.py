"""A release of the chart, as one team has it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from support.chart import CHART, NAME

from e2e.control_plane import KEY, helm, succeed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from support.sandbox import Sandbox

    from e2e.control_plane import Kubernetes


@contextmanager
def released(kubernetes: Kubernetes, sandbox: Sandbox, store: str, *more: str) -> Iterator[Sequence[str]]:
    """Installs two pods with the Ship API, a store of claims and more values, and gives all these values."""
    kubernetes.set_data("Secret", "ship", {"api-key": KEY.encode()})
    kubernetes.set_data("Secret", "store", {"url": store.encode()})
    values = (
        # All pods are on one network interface.
        "--set-string=host=$(POD_IP)",
        f"--set-string=settings.ship_base_url={sandbox.url}/pro",
        # For upstream, also where the listener has TLS.
        "--set=settings.allow_plaintext=true",
        "--set=ship.apiKeySecret.name=ship",
        "--set=store.urlSecret.name=store",
        *more,
    )
    succeed(helm(kubernetes, "install", NAME, str(CHART), "--wait", "--timeout=60s", *values))
    yield values
    succeed(helm(kubernetes, "uninstall", NAME, "--wait", "--timeout=120s"))

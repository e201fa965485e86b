"""What goes wrong now and then while somebody looks, and the runbook that is for it."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from support.workers import pid_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.cache import CacheServer
    from support.gateway import Gateway
    from support.sandbox import Sandbox


class Surroundings(NamedTuple):
    """What something can happen to."""

    gateway: Gateway
    sandbox: Sandbox
    store: CacheServer


class Fault(NamedTuple):
    """Something that goes wrong.

    Attributes:
        name: What it is.
        runbook: The file in docs/runbooks that is for it.
        begin: Has it begin.
        end: Has it end.
    """

    name: str
    runbook: str
    begin: Callable[[Surroundings], object]
    end: Callable[[Surroundings], object]


def _upstream(name: str, runbook: str, action: dict[str, Any]) -> Fault:
    return Fault(
        name,
        runbook,
        lambda around: around.sandbox.call("POST", "faults", {"count": None, "action": action}),
        lambda around: around.sandbox.call("DELETE", "faults"),
    )


def _status(status: int, code: str) -> dict[str, Any]:
    return {"type": "status", "status": status, "body": {"code": code}}


def _kill_worker(around: Surroundings) -> None:
    os.kill(pid_of(around.gateway, 1), signal.SIGKILL)


FAULTS: Final = (
    _upstream("Sorted is slow", "upstream-slow", {"type": "latency", "seconds": 1.5}),
    _upstream("Sorted answers 500", "upstream-failing", _status(500, "internal_server_error")),
    _upstream("Sorted throttles", "upstream-failing", _status(429, "too_many_requests")),
    _upstream("connections are cut once Sorted has done its work", "write-in-doubt", {"type": "drop", "when": "after"}),
    _upstream("Sorted rejects the key", "upstream-key-rejected", _status(401, "unauthorized")),
    Fault(
        "the store is down",
        "claim-store-down",
        lambda around: around.store.kill(),
        lambda around: around.store.start(),
    ),
    Fault("a worker dies", "worker-restarting", _kill_worker, lambda _: None),
)

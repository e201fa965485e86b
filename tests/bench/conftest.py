"""The benchmark's instruments, built once, and what they are pointed at."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from bench import building
from bench.machine import CACHE, Cores
from bench.measuring import stage
from bench.processes import Program, running
from bench.rows import Row

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.measuring import Stage
    from bench.processes import Running


@pytest.fixture(scope="session")
def built() -> None:
    """The instruments as their sources are now."""
    building.build_instruments()


@pytest.fixture
def around(built: None) -> Iterator[Stage]:
    """Upstream, as a row without a delay has it."""
    allowed = os.sched_getaffinity(0)
    with stage(Row("test", "", ()), Cores(max(allowed), min(allowed)), store=False) as found:
        yield found


@pytest.fixture
def responder(built: None) -> Iterator[Running]:
    """A server that answers every call with its own request."""
    program = Program([str(CACHE / "responder"), "-listen", "127.0.0.1:{port}"], {})
    with running("responder", program, sorted(os.sched_getaffinity(0))) as found:
        yield found

"""A gateway with its sandbox, as `make run` starts them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.gateway import Gateway, running_gateway
from support.sandbox import Sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    with running_gateway({}, "--sandbox") as running:
        yield running


@pytest.fixture
def sandbox(gateway: Gateway) -> Sandbox:
    """The sandbox as it was seeded."""
    control = Sandbox(gateway.sandbox_url)
    control.call("POST", "reset")
    return control

"""What `check` calls valid starts: the smallest and the largest values that it takes, with every engine."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any, Final, Literal, get_args, get_origin

import pytest
from allocation_gateway.operations import table
from allocation_gateway.settings import FIELDS
from msgspec import Meta
from support.gateway import running_gateway

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.command import Command

# Of what has no upper bound of its own.
HUGE: Final = 10**18
TINY: Final = 5e-324
# What has to fit something else, or what this test looks at: ports, processes, engines, log lines.
BOUND: Final = {"port", "sandbox_port", "workers", "replicas", "allow_plaintext"} | {
    "grpc_engine",
    "http_engine",
    "log_level",
    "log_format",
}


def metas(hint: Any) -> Iterator[Meta]:
    """Yields what is said about a type, and about what it is made of."""
    yield from (meta for meta in getattr(hint, "__metadata__", ()) if isinstance(meta, Meta))
    if get_origin(hint) is not Literal:
        for part in get_args(hint):
            yield from metas(part)


def extreme(hint: Any, default: object, *, largest: bool) -> str | None:
    """Returns the smallest or the largest value of a setting's type as a text; None if it has none."""
    choices = get_args(get_args(hint)[0])
    if get_origin(get_args(hint)[0]) is Literal:
        return str(choices[-1 if largest else 0])
    if isinstance(default, bool):
        return str(default is not largest).lower()
    if not isinstance(default, int | float):
        return None
    bounds = list(metas(hint))
    if largest:
        return str(next((meta.le for meta in bounds if meta.le is not None), HUGE))
    return str(next((meta.ge for meta in bounds if meta.ge is not None), TINY))


def extremes(*, largest: bool) -> dict[str, str]:
    """Returns settings that are all as small, or as large, as they may be."""
    found = {
        name.upper(): value
        for name, field in FIELDS.items()
        if name not in BOUND and (value := extreme(field.hint, field.default, largest=largest)) is not None
    }
    names = ("ship", "consignments")
    # One that is as large as the connections has no place left for the rest.
    found |= {f"{api.upper()}_MAX_IN_FLIGHT": "0" for api in names}
    if largest:
        # One connection may have a part of what all may have held.
        found["MAX_HELD_BYTES"] = str(4 * int(found["MAX_REQUEST_BYTES"]))
        known = table.spellings()
        found |= {f"{api.upper()}_DISABLED_OPERATIONS": ",".join(known[api]) for api in names}
        found |= {f"{api.upper()}_SETTLE_TIMES": ",".join(f"{name}=86400" for name in known[api]) for api in names}
        found["SHIP_ROUTES"] = ",".join(f"{name}={[*spellings][-1]}" for name, spellings in known["ship"].items())
        found["HEALTH_PORT"] = "0"
    return {**found, "SHIP_API_KEY": "k", "CONSIGNMENTS_API_KEY": "k", "ALLOW_PLAINTEXT": "true"}


@pytest.mark.parametrize("http", ["direct", "httpx"])
@pytest.mark.parametrize("grpc", ["direct", "grpcio"])
@pytest.mark.parametrize("largest", [False, True], ids=["smallest", "largest"])
def test_what_is_valid_starts(largest: bool, grpc: str, http: str, command: Command) -> None:
    settings = {**extremes(largest=largest), "GRPC_ENGINE": grpc, "HTTP_ENGINE": http}
    assert len(settings) > 70
    assert command("check", **settings) == (0, "The configuration is valid.\n", "")
    with running_gateway(settings) as gateway:
        # By hand, so that it waits for nobody to learn of it.
        assert gateway.stop(signal.SIGINT) == 0
    assert [line for line in gateway.lines if line["event"] in {"text", "defect"}] == []

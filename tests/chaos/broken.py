"""A gateway with one policy broken: what the suite has to catch, so that it is known to catch anything.

Usage: PYTHONPATH=tests python -m chaos.broken POLICY serve
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from allocation_gateway import cli

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def blind_retry() -> None:
    """What is in doubt is sent again at once."""

    async def resolve(_: Any) -> None:
        return None

    _write()._resolve = resolve


def early_release() -> None:
    """What is in doubt is forgotten, so that a repeat begins anew."""

    async def resolve(write: Any) -> None:
        unknown = write._unknown()
        await write._release()
        raise unknown

    _write()._resolve = resolve


def no_read_back() -> None:
    """Nothing is read: it is taken for granted that what was not answered had no effect."""

    async def look(survey: Any, *_: Any) -> None:
        survey.absent.update(survey.open())

    import_module("allocation_gateway.writes.readback").Survey.look = look


def adopt_anything() -> None:
    """Whatever allocation is there is taken for one's own."""
    module: Any = import_module("allocation_gateway.writes.adoption")
    module._can_come_from = lambda *_: True


def _write() -> Any:
    return import_module("allocation_gateway.policy.writing").Write


POLICIES: Final[Mapping[str, Callable[[], None]]] = {
    "blind-retry": blind_retry,
    "early-release": early_release,
    "no-read-back": no_read_back,
    "adopt-anything": adopt_anything,
}


def main() -> int:
    """Breaks a policy and runs the gateway's own command."""
    POLICIES[sys.argv[1]]()
    return cli.main(sys.argv[2:])


if __name__ == "__main__":
    sys.exit(main())

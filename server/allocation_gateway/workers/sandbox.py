"""The sandbox of several gateways: `python -m allocation_gateway.workers.sandbox`, run by a supervisor."""

from __future__ import annotations

import contextlib
import sys

import uvloop

from allocation_gateway import stand_in
from allocation_gateway.settings import ConfigurationError
from allocation_gateway.workers.link import Link
from allocation_gateway.workers.messages import ConfigurationRefused, Opened, SandboxTask


async def _serve(link: Link, task: SandboxTask) -> int:
    async with contextlib.AsyncExitStack() as stack:
        try:
            places = await stack.enter_async_context(stand_in.running(task.port, task.shipments))
        except ConfigurationError as error:
            link.send(ConfigurationRefused(str(error)))
            return 2
        link.send(Opened(places.root, places.ship, places.consignments))
        with contextlib.suppress(OSError):
            await (await link.lines()).read()
    return 0


def main() -> int:
    """Serves until the supervisor closes the line. Returns the exit code."""
    link = Link()
    if not isinstance(link.task, SandboxTask):
        return 0
    return uvloop.run(_serve(link, link.task))


if __name__ == "__main__":
    sys.exit(main())

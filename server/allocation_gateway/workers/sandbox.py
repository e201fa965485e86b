"""The sandbox of several gateways: `python -m allocation_gateway.workers.sandbox`, run by a supervisor."""

from __future__ import annotations

import contextlib
import sys

import uvloop

from allocation_gateway.sandbox.server import Sandbox
from allocation_gateway.settings import variable
from allocation_gateway.workers.link import Link
from allocation_gateway.workers.messages import Opened, Refused, SandboxTask


async def _serve(link: Link, task: SandboxTask) -> int:
    sandbox = Sandbox(task.options)
    try:
        await sandbox.__aenter__()
    except OSError as error:
        link.send(Refused(f"{variable('sandbox_port')}: {error.strerror}"))
        return 2
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_exit(sandbox)
        link.send(Opened(sandbox.base_url, sandbox.ship_base_url, sandbox.consignments_base_url))
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

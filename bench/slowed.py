"""Our gateway, with every call made dearer: to see that the guard notices.

Usage: python -m bench.slowed MICROSECONDS
"""

from __future__ import annotations

import sys
import time

from allocation_gateway import cli
from allocation_gateway.rpc.base import BaseHandler, Context


def main() -> int:
    """Runs the gateway with work for nothing before each call, whatever engine serves it."""
    answer, seconds = BaseHandler.handle, float(sys.argv[1]) / 1e6

    async def slower(self: BaseHandler, data: bytes, context: Context) -> bytes:
        end = time.thread_time() + seconds
        while time.thread_time() < end:
            pass
        return await answer(self, data, context)

    BaseHandler.handle = slower  # type: ignore[method-assign] # the point of it
    return cli.main(["serve"])


if __name__ == "__main__":
    sys.exit(main())

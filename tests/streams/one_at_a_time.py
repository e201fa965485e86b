"""A gateway whose streams have one bulk call under way at a time: what the test of goodput has to notice.

Usage: PYTHONPATH=tests python -m streams.one_at_a_time serve
"""

from __future__ import annotations

import sys

from allocation_gateway import cli
from allocation_gateway.rpc.streams import run


def main() -> int:
    """Breaks the policy and runs the gateway's own command."""
    setattr(run, "_BATCHES", 1)  # noqa: B010 - it is to be broken
    return cli.main(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())

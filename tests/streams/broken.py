"""A gateway whose items have ids that do not come from their job: what the tests have to catch.

Usage: PYTHONPATH=tests python -m streams.broken serve
"""

from __future__ import annotations

import sys
import uuid

from allocation_gateway import cli
from allocation_gateway.rpc.streams.job import Job


def main() -> int:
    """Breaks the policy and runs the gateway's own command."""
    Job.request_id = lambda *_: str(uuid.uuid4())  # type: ignore[method-assign] # it is to be broken
    return cli.main(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())

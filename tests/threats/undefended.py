"""A gateway without one of its defences.

Usage: PYTHONPATH=tests python -m threats.undefended DEFENCE serve
"""

from __future__ import annotations

import sys

from allocation_gateway import cli
from threats.defences import take_out


def main() -> int:
    """Takes the defence out and runs the gateway's own command."""
    take_out(sys.argv[1])
    return cli.main(sys.argv[2:])


if __name__ == "__main__":
    sys.exit(main())

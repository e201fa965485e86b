"""The command line: `allocctl`."""

from __future__ import annotations

import sys

_USAGE_ERROR = 2
_INTERRUPTED = 130


def main() -> None:
    """Runs it, if what it needs besides the client is installed."""
    try:
        from allocation_gateway_client.cli import commands
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)
    except ModuleNotFoundError as error:
        if error.name not in ("click", "rich"):
            raise
        print(  # noqa: T201 # to whoever has typed the command
            f"allocctl needs {error.name}: install allocation-gateway-client with its extra `cli`", file=sys.stderr
        )
        sys.exit(_USAGE_ERROR)
    commands.allocctl()

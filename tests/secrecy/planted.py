"""A gateway with defects that quote every secret in their errors: `python planted.py serve`.

PLANTED=broken takes away what keeps secrets in.
"""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path
from typing import Any

from allocation_gateway import app, cli
from allocation_gateway.settings.known_secrets import KnownSecrets
from allocation_gateway.upstream.client import Upstream
from allocation_gateway.upstream.redaction import Redactor

DEFECT = "sp_defect"
FILES = ("ALLOCATION_GATEWAY_SHIP_API_KEY_FILE", "ALLOCATION_GATEWAY_ACCOUNTS_FILE")


class DefectError(Exception):
    """What somebody might write without thinking: it has everything that this process was given."""

    def __init__(self) -> None:
        super().__init__(f"{dict(os.environ)} {[Path(os.environ[name]).read_text() for name in FILES]}")


class _Forgotten:
    """Raises where nobody can catch it."""

    def __del__(self) -> None:
        raise DefectError


def _fail() -> None:
    raise DefectError


def main() -> int:
    """Runs a command of the gateway."""
    call, drain = Upstream.call, app._drain

    def planted(self: Upstream, operation: Any, route: Any, request: Any, told: Any) -> Any:
        if DEFECT not in str(request):
            return call(self, operation, route, request, told)
        thread = threading.Thread(target=_fail)
        thread.start()
        thread.join()
        _Forgotten()
        raise DefectError

    async def crash(*given: Any, **more: Any) -> None:
        await drain(*given, **more)
        raise DefectError

    Upstream.call, app._drain = planted, crash  # type: ignore[method-assign, assignment]
    if os.environ.get("PLANTED") == "broken":
        KnownSecrets.without = lambda _, text: text  # type: ignore[method-assign, assignment]
        Redactor.redacted = lambda _, answer: answer  # type: ignore[method-assign, assignment]
    return cli.main()


if __name__ == "__main__":
    sys.exit(main())

"""The sandbox's command line. The gateway's own command hands its subcommand `sandbox` over to it."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from typing import TYPE_CHECKING

from allocation_gateway.sandbox.options import SandboxOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

HIGHEST_PORT = 65_535
MOST_SHIPMENTS = 10_000_000
LONGEST_DELAY = 86_400


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options on a parser."""
    defaults = SandboxOptions()
    parser.add_argument("--host", default=defaults.host, help="address to listen on (default: %(default)s)")
    parser.add_argument(
        "--port",
        type=_number(int, HIGHEST_PORT),
        default=defaults.port,
        help="port to listen on, 0 for any (default: %(default)s)",
    )
    parser.add_argument(
        "--api-key", default=defaults.api_key, help="the API key that is accepted (default: %(default)s)"
    )
    parser.add_argument(
        "--shipments",
        type=_number(int, MOST_SHIPMENTS),
        default=defaults.shipments,
        help="how many shipments, and how many consignments, to add to the examples (default: %(default)s)",
    )
    parser.add_argument(
        "--bulk-delay",
        type=_number(float, LONGEST_DELAY),
        default=defaults.bulk_delay,
        help="seconds before what was only queued is allocated (default: %(default)s)",
    )


def options_from(namespace: argparse.Namespace) -> SandboxOptions:
    """The options that were parsed."""
    return SandboxOptions(
        host=namespace.host,
        port=namespace.port,
        api_key=namespace.api_key,
        shipments=namespace.shipments,
        bulk_delay=namespace.bulk_delay,
    )


def _run(options: SandboxOptions) -> int:
    try:
        asyncio.run(_serve(options))
    except OSError as error:
        sys.stderr.write(f"{error.strerror}\n")
        return 1
    return 0


def main(arguments: Sequence[str] | None = None, program: str = "python -m allocation_gateway.sandbox") -> int:
    """Serve until SIGINT or SIGTERM; a second signal ends the process at once. The answer is the exit status."""
    parser = argparse.ArgumentParser(prog=program, description="A faithful sandbox of both allocation APIs.")
    add_arguments(parser)
    return _run(options_from(parser.parse_args(arguments)))


async def _serve(options: SandboxOptions) -> None:
    # Not before the options are known to be right: it takes a moment.
    from allocation_gateway.sandbox import tracing
    from allocation_gateway.sandbox.server import Sandbox

    spans = tracing.from_environment(os.environ)
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, _on_first_signal, stop)
    async with Sandbox(options, spans=spans) as sandbox:
        places = f"Ship at {sandbox.ship_base_url}, Consignments at {sandbox.consignments_base_url}"
        sys.stdout.write(f"Sandbox listening on {sandbox.base_url} ({places})\n")
        sys.stdout.flush()
        await stop.wait()
    spans.close()


def _on_first_signal(stop: asyncio.Event) -> None:
    stop.set()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().remove_signal_handler(number)
        # Removing leaves Python's own handler for SIGINT, which would start a second clean-up.
        signal.signal(number, signal.SIG_DFL)


def _number(kind: type[int] | type[float], most: float) -> Callable[[str], float]:
    """A parser of numbers from 0 to `most`."""

    def parse(text: str) -> float:
        value = kind(text)
        if not 0 <= value <= most:
            raise argparse.ArgumentTypeError(f"must be from 0 to {most}")
        return value

    # argparse names the parser in its own messages.
    parse.__name__ = kind.__name__
    return parse

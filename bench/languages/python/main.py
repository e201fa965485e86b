"""Allocates shipments in one of several ways, for bench/saving.py to see what that takes.

Usage: python -m bench.languages.python.main WAY ADDRESS PREFIX GROUP IN_FLIGHT WARM_UP CALLS

References are the prefix and twelve digits. It says "ready" when it is warm, makes its calls when a line has come, and
says "done" with the carrier and the price of one of them. Then it waits until its input ends.
"""

from __future__ import annotations

import importlib
import itertools
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any


def main(way: str, address: str, prefix: str, group: str, in_flight: int, warm_up: int, calls: int) -> None:
    """Does it."""
    allocate = importlib.import_module(f"bench.languages.python.{way}").open_at(address)
    numbers = itertools.count(1)
    told: tuple[Any, ...] = ()

    def work(count: int) -> tuple[Any, ...]:
        last: tuple[Any, ...] = ()
        for _ in range(count):
            last = allocate(f"{prefix}{next(numbers):012}", group)
        return last

    with ThreadPoolExecutor(in_flight) as workers:

        def run(count: int) -> tuple[Any, ...]:
            shares = [len(range(first, count, in_flight)) for first in range(in_flight)]
            return next((last for last in workers.map(work, shares) if last), ())

        run(warm_up)
        print("ready", flush=True)
        sys.stdin.readline()
        told = run(calls)
        print("done", *told, flush=True)
        sys.stdin.readline()


if __name__ == "__main__":
    chosen, where, prefixed, grouped, *counts = sys.argv[1:]
    main(chosen, where, prefixed, grouped, *map(int, counts))

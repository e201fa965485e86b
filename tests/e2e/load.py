"""Allocates shipments by the Python client until its standard input is closed, and prints what became of them.

Usage: python -m e2e.load ADDRESS FIRST COUNT WORKERS PAUSE

FIRST is the number of the first of COUNT shipments; each of WORKERS waits for PAUSE seconds between two calls.
"""

from __future__ import annotations

import json
import sys
import threading
import time

from allocation_gateway_client import AllocationError, Client


def main() -> None:
    """Allocates until it is told to stop."""
    address, first, count, workers, pause = sys.argv[1:]
    lock, stopped = threading.Lock(), threading.Event()
    failed: dict[str, str] = {}
    calls, longest = 0, 0.0

    def work(client: Client) -> None:
        nonlocal calls, longest
        while not stopped.is_set():
            with lock:
                if calls == int(count):
                    return
                reference = f"sp_{int(first) + calls:032d}"
                calls += 1
            begin = time.monotonic()
            try:
                client.allocate_shipment(reference)
            except AllocationError as error:
                with lock:
                    failed[reference] = f"{type(error).__name__}: {error}"
            with lock:
                longest = max(longest, time.monotonic() - begin)
            stopped.wait(float(pause))

    with Client(address, plaintext=True) as client:
        threads = [threading.Thread(target=work, args=(client,)) for _ in range(int(workers))]
        for thread in threads:
            thread.start()
        sys.stdin.read()
        stopped.set()
        for thread in threads:
            thread.join()
    print(json.dumps({"calls": calls, "longest": longest, "failed": failed}))


if __name__ == "__main__":
    main()

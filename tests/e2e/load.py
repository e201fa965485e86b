"""Allocates shipments by the Python client until its standard input is closed, and prints what became of them.

Usage: python -m e2e.load ADDRESS FIRST COUNT WORKERS PAUSE

FIRST is the number of the first of COUNT shipments; each of WORKERS waits for PAUSE seconds between two calls.
"""

from __future__ import annotations

import json
import sys
import threading
import time

from allocation_gateway_client import AllocationError, Client, UnknownOutcome

# How often a call whose outcome is unknown is asked for again, each time for as long as the client repeats it itself.
_ASKS_AGAIN = 4


def allocate(client: Client, reference: str) -> tuple[int, AllocationError | None]:
    """Allocates a shipment. Returns how often the outcome was unknown, and the error that is left."""
    try:
        client.allocate_shipment(reference)
    except UnknownOutcome as error:
        last: AllocationError = error
        for doubts in range(1, _ASKS_AGAIN + 1):
            try:
                client.call(error.request)
            except UnknownOutcome as again:
                last = again
            except AllocationError as again:
                return doubts, again
            else:
                return doubts, None
        return _ASKS_AGAIN, last
    except AllocationError as error:
        return 0, error
    return 0, None


def main() -> None:
    """Allocates until it is told to stop."""
    address, first, count, workers, pause = sys.argv[1:]
    lock, stopped = threading.Lock(), threading.Event()
    failed: dict[str, str] = {}
    calls, longest, doubtful = 0, 0.0, 0

    def work(client: Client) -> None:
        nonlocal calls, longest, doubtful
        while not stopped.is_set():
            with lock:
                if calls == int(count):
                    return
                reference = f"sp_{int(first) + calls:032d}"
                calls += 1
            begin = time.monotonic()
            doubts, error = allocate(client, reference)
            with lock:
                doubtful += min(doubts, 1)
                if error is not None:
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
    print(json.dumps({"calls": calls, "longest": longest, "doubtful": doubtful, "failed": failed}))


if __name__ == "__main__":
    main()

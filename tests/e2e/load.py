"""Allocates shipments by the Python client until its standard input is closed, and prints what became of them."""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time

from allocation_gateway_client import AllocationError, Client, Tls, UnknownOutcome

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
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--address", required=True, help="the gateway")
    parser.add_argument("--first", type=int, required=True, help="the number of the first shipment")
    parser.add_argument("--count", type=int, required=True, help="how many there are")
    parser.add_argument("--workers", type=int, required=True, help="how many calls are under way at once")
    parser.add_argument("--pause", type=float, required=True, help="seconds that a worker waits between two calls")
    parser.add_argument("--ca", default="", help="the authorities to trust; none for plain text")
    parser.add_argument("--certificate", default="", help="the certificate of this client")
    parser.add_argument("--key", default="", help="its key")
    parser.add_argument("--server-name", default="", help="the name that the gateway's certificate has")
    asked = parser.parse_args()
    tls = Tls(asked.ca, asked.certificate or None, asked.key or None, asked.server_name) if asked.ca else None
    lock, stopped = threading.Lock(), threading.Event()
    failed: dict[str, str] = {}
    calls, longest, doubtful = 0, 0.0, 0

    def work(client: Client) -> None:
        nonlocal calls, longest, doubtful
        while not stopped.is_set():
            with lock:
                if calls == asked.count:
                    return
                reference = f"sp_{asked.first + calls:032d}"
                calls += 1
            begin = time.monotonic()
            doubts, error = allocate(client, reference)
            with lock:
                doubtful += min(doubts, 1)
                if error is not None:
                    failed[reference] = f"{type(error).__name__}: {error}"
            with lock:
                longest = max(longest, time.monotonic() - begin)
            stopped.wait(asked.pause)

    with Client(asked.address, tls=tls, plaintext=tls is None) as client:
        threads = [threading.Thread(target=work, args=(client,)) for _ in range(asked.workers)]
        for thread in threads:
            thread.start()
        sys.stdin.read()
        stopped.set()
        for thread in threads:
            thread.join()
    print(json.dumps({"calls": calls, "longest": longest, "doubtful": doubtful, "failed": failed}))


if __name__ == "__main__":
    main()

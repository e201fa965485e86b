"""Calls of the REST API. What is safe to repeat is repeated; where an answer was lost, the shipment is read."""

from __future__ import annotations

import json
import random
import time
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import httpx

if TYPE_CHECKING:
    from collections.abc import Callable

_WHOLE: Final = 60.0
_ATTEMPT: Final = 20.0
# What upstream may take to show that a request was carried out after its answer was lost.
_SETTLING: Final = 10.0
_HEADERS: Final = {"x-api-key": "sandbox-key", "x-api-version": "1.1"}


class UnknownError(Exception):
    """It is not known whether the shipment was allocated."""


def open_at(address: str) -> Callable[[str, str], tuple[str, Decimal]]:
    """Returns what allocates a shipment."""
    client = httpx.Client(base_url=address, headers=_HEADERS)

    def send(method: str, path: str, end: float) -> tuple[Any, int, float]:
        seconds = max(min(_ATTEMPT, end - time.monotonic()), 0.001)
        answer = client.request(method, path, timeout=seconds)
        read = json.loads(answer.content, parse_float=Decimal) if answer.status_code == httpx.codes.OK else None
        after = answer.headers.get("retry-after", "")
        return read, answer.status_code, float(after) if after.isdigit() else 0.0

    def allocate(shipment: str, group: str) -> tuple[str, Decimal]:
        end = time.monotonic() + _WHOLE
        reading = f"/shipments/{quote(shipment, safe='')}"
        is_in_doubt, sent, pause = False, 0.0, 0.1
        while True:
            if is_in_doubt:
                method, path = "GET", reading
            else:
                method, path = "PUT", f"{reading}/allocate/service_group/{quote(group, safe='')}"
                sent = time.monotonic()
            try:
                read, status, after = send(method, path, end)
            except (httpx.HTTPError, ValueError):
                read, status, after = None, 0, 0.0
            if read is not None and (not is_in_doubt or read["state"] == "allocated"):
                found = read["allocation"] if is_in_doubt else read
                return found["carrier"]["name"], found["price"]["gross"]
            if is_in_doubt:
                # Whoever has allocated it, nobody can tell; that it is not allocated is believed in the end.
                is_in_doubt = not (read is not None and time.monotonic() - sent > _SETTLING)
            elif not status or status >= httpx.codes.INTERNAL_SERVER_ERROR:
                is_in_doubt = True
            elif status != httpx.codes.TOO_MANY_REQUESTS:
                raise ValueError(f"upstream refused it with {status}")
            wait = max(pause * random.uniform(0.5, 1.5), after)  # noqa: S311 # no secret depends on it
            if time.monotonic() + wait > end:
                raise UnknownError if is_in_doubt else TimeoutError
            time.sleep(wait)
            pause = min(pause * 2, 5.0)

    return allocate

"""A Ship API with a memory, over real HTTP: it obeys its own rule, and loses answers when a test wants it to."""

from __future__ import annotations

import json
import queue
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING, Final

from support.upstream import Reply

if TYPE_CHECKING:
    from collections.abc import Mapping

    from support.upstream import Received

ANSWERED: Final = "answered"
"""The write is carried out and answered."""
LOST: Final = "lost"
"""It is carried out, and the connection is lost."""
DROPPED: Final = "dropped"
"""The connection is lost, and it never is."""
LATE: Final = "late"
"""The connection is lost, and it is carried out when `land` says so."""
OVERTAKEN: Final = "overtaken"
"""It is carried out, but not before everything that is late."""
HIDDEN: Final = "hidden"
"""The same, and from then on shipments cannot be read."""
REFUSED: Final = "refused"
"""It is refused, as in a wrong state."""
FAILED: Final = "failed"
"""It is refused, as no carrier service takes it."""
HELD: Final = "held"
"""It is carried out, and not answered before `release` is set."""
TWICE: Final = "twice"
"""A proxy sends it twice: it is carried out once, and the refusal of the second one is the answer."""
TWICE_LATE: Final = "twice late"
"""The same, but it is carried out when `land` says so."""
STUCK: Final = "stuck"
"""It is not carried out, and the connection is lost when `release` is set."""
_RESET: Final = Reply(raw=b"", close=True)


class World:
    """What is known of shipments, and what was done to them.

    Attributes:
        fates: What becomes of the next writes, in order; those after them are answered.
        written: The lines of all writes that have arrived.
        bookings: How often each shipment was allocated.
        readable: Whether shipments can be read.
        unreadable: What is answered instead if they cannot.
        read: Is set when one is read.
        unread: How often one was to be read that could not be.
        arrived: Is set when a write arrives whose answer is held up.
        release: Lets such answers go.
        clock_offset: Seconds by which its clock is ahead.
        is_dated: Whether its answers have a `Date`.
        age: Seconds for which a cache on the way says that it has had its answers; 0 if there is none.
        queues: Whether bulk calls leave shipments queued, until `land` says that it is their turn.
    """

    def __init__(self) -> None:
        self.fates: queue.Queue[str] = queue.Queue()
        self.written: list[str] = []
        self.bookings: dict[str, int] = {}
        self.readable = True
        self.unreadable = Reply(503)
        self.read = threading.Event()
        self.unread = 0
        self.arrived = threading.Event()
        self.release = threading.Event()
        # Seconds by which its clock differs from everybody else's, and whether its answers show it.
        self.clock_offset = 0.0
        self.is_dated = True
        self.age = 0
        self.queues = False
        self._queued: list[str] = []
        self._cancelled: set[str] = set()
        self._failed: set[str] = set()
        self._allocated: dict[str, dict[str, object]] = {}
        self._late: list[tuple[str, str, Mapping[str, object]]] = []

    def answer(self, received: Received) -> Reply:
        """Answers a request."""
        reply = self._answer(received)
        if reply.raw is not None:
            return reply
        headers = {"date": format_datetime(self.now(), usegmt=True) if self.is_dated else ""}
        return replace(reply, headers=headers | ({"age": str(self.age)} if self.age else {}))

    def now(self, seconds: float = 0.0) -> datetime:
        """Returns what its clock shows, or will show in some seconds."""
        return datetime.now(UTC) + timedelta(seconds=self.clock_offset + seconds)

    def _answer(self, received: Received) -> Reply:
        method, path, _ = received.line.split(" ")
        parts = path.partition("/shipments/")[2].split("/")
        if method == "GET":
            return self._show(parts[0])
        self.written.append(received.line)
        if method == "PUT" and received.body:
            return self._queue(json.loads(received.body)["shipments"])
        service = parts[3] if parts[2:3] == ["service"] else "FF_1"
        fate = ANSWERED if self.fates.empty() else self.fates.get()
        if fate == DROPPED:
            return _RESET
        if fate in {LATE, TWICE_LATE}:
            self._late.append((method, parts[0], {"service": service}))
            return _RESET if fate == LATE else _refusal()
        if fate == REFUSED:
            return _refusal()
        if fate == FAILED:
            return Reply(521, {"code": "allocation_failed", "message": "No service takes it.", "details": []})
        if fate in {OVERTAKEN, HIDDEN}:
            self.land()
            self.readable = self.readable and fate != HIDDEN
        reply = _RESET if fate == STUCK else self.carry_out(method, parts[0], service)
        if fate == TWICE:
            return self.carry_out(method, parts[0], service)
        if fate in {HELD, STUCK}:
            self.arrived.set()
            return replace(reply, wait=self.release)
        return _RESET if fate == LOST else reply

    def land(self) -> None:
        """Carries out what is late, or queued."""
        for reference in self._queued:
            self.carry_out("PUT", reference)
        self._queued.clear()
        for method, reference, more in self._late:
            self.carry_out(method, reference, str(more["service"]))
        self._late.clear()

    def cancel(self, reference: str) -> None:
        """Cancels a shipment, which frees its allocation."""
        self._allocated.pop(reference, None)
        self._cancelled.add(reference)

    def fail(self, reference: str) -> None:
        """Has a shipment be one that could not be allocated, and is not to be tried again."""
        self._failed.add(reference)

    def carry_out(self, method: str, reference: str, service: str = "FF_1", date: str = "") -> Reply:
        """Allocates or de-allocates a shipment, if its state allows that."""
        if reference in self._failed or (reference in self._allocated) == (method == "PUT"):
            return _refusal()
        if method == "DELETE":
            del self._allocated[reference]
            return Reply(200, {"reference": reference, "message": "done"})
        self.bookings[reference] = self.bookings.get(reference, 0) + 1
        self._allocated[reference] = {
            "allocation_date": date or self.now().isoformat(),
            "carrier": {"service_reference": service},
            "price": {"net": 2.0, "gross": 2.4, "currency": "GBP"},
        }
        shown = {"carrier": {"service_reference": service}}
        return Reply(200, {"shipment_reference": reference, "state": "allocated", **shown})

    def _show(self, reference: str) -> Reply:
        self.read.set()
        if not self.readable:
            self.unread += 1
            return self.unreadable
        found = self._allocated.get(reference)
        state = "unallocated" if found is None else "allocated"
        if reference in self._queued and found is None:
            state = "allocating"
        elif reference in self._cancelled:
            state = "cancelled"
        elif reference in self._failed:
            state = "allocation_failed"
        return Reply(200, {"reference": reference, "state": state, "allocation": found})

    def _queue(self, references: list[str]) -> Reply:
        fate = ANSWERED if self.fates.empty() else self.fates.get()
        done = references if fate == ANSWERED else references[:1] if fate == LOST else []
        if self.queues:
            self._queued += done
        else:
            for reference in done:
                self.carry_out("PUT", reference)
        return Reply(202, {"message": "queued", "queued": references}) if fate == ANSWERED else _RESET


def _refusal() -> Reply:
    return Reply(400, {"code": "validation_error", "details": [{"code": "invalid_shipment_state"}]})

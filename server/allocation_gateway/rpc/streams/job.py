"""A job as its caller describes it, and its items."""

from __future__ import annotations

import uuid
from hashlib import sha1
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from allocation.v1 import job_pb2

from allocation_gateway.operations.validation import RULES, Violation, selector_violations
from allocation_gateway.references import folded
from allocation_gateway.rpc.base import invalid

if TYPE_CHECKING:
    from allocation_gateway.errors import GatewayError
    from allocation_gateway.operations.streams import AllocationStream
    from allocation_gateway.settings import Settings

_DEFAULT_ITEM_SECONDS: Final = 300.0
# The hexadecimal digit of a UUID that has its variant, by the one that the hash has in its place.
_VARIANTS: Final = {f"{digit:x}": f"{0x8 | digit & 0x3:x}" for digit in range(16)}


class Job(NamedTuple):
    """What holds for a whole job.

    Attributes:
        name: Its id.
        selector: That of items without one of their own.
        waits_for_allocation: Whether an item has its outcome only when it is allocated.
        item_seconds: For how long an item is worked on.
        is_new: Whether the gateway has made its id, so that no earlier call can have sent anything for it.
        hashed: The hash of its id, from which those of its items' ids go on.
    """

    name: uuid.UUID
    selector: job_pb2.AllocationSelector
    waits_for_allocation: bool
    item_seconds: float
    is_new: bool
    hashed: Any

    def request_id(self, reference: str) -> str:
        """Returns the id of the write of an item: the same one whenever, and wherever, the job is begun again.

        It is what uuid.uuid5() gives, as a text, at a small part of its cost.
        """
        hashed = self.hashed.copy()
        hashed.update(reference.encode())
        digest = hashed.hexdigest()
        return f"{digest[:8]}-{digest[8:12]}-5{digest[13:16]}-{_VARIANTS[digest[16]]}{digest[17:20]}-{digest[20:32]}"

    def told(self) -> job_pb2.AllocationJob:
        """Returns it as the caller is told of it."""
        told = job_pb2.AllocationJob(
            job_id=str(self.name),
            wait_for=job_pb2.WAIT_FOR_ALLOCATED if self.waits_for_allocation else job_pb2.WAIT_FOR_QUEUED,
        )
        told.selector.CopyFrom(self.selector)
        told.item_deadline.FromNanoseconds(int(self.item_seconds * 1e9))
        return told


def job_of(message: job_pb2.AllocationJob) -> Job:
    """Returns the job that a message describes, which has to be valid."""
    deadline = message.item_deadline
    name = uuid.UUID(message.job_id) if message.job_id else uuid.uuid4()
    return Job(
        name=name,
        selector=message.selector,
        waits_for_allocation=message.wait_for != job_pb2.WAIT_FOR_QUEUED,
        item_seconds=deadline.ToNanoseconds() / 1e9 if message.HasField("item_deadline") else _DEFAULT_ITEM_SECONDS,
        is_new=not message.job_id,
        hashed=sha1(name.bytes, usedforsecurity=False),
    )


def capability_violations(row: AllocationStream, path: str, selector: job_pb2.AllocationSelector) -> list[Violation]:
    """Returns what is wrong with a selector that names capabilities, where there are none."""
    if selector.capabilities and not row.takes_capabilities:
        return [Violation(f"{path}.capabilities", "must be empty: it is for shipments")]
    return []


class Item:
    """One shipment or consignment of a job.

    Attributes:
        reference: Its reference, as its caller wrote it.
        name: What all spellings of its reference have in common.
        request_id: The id of its write; empty if its reference cannot be one.
        selector: Its selector.
        key: What is equal for items that may be sent together.
        until: Until when it is worked on, by the event loop's clock.
        tries: How often it was asked for, and has to be again.
        is_sent: Whether it counts as sent.
        waits_for: With what it was not carried out when it was asked for last; None if it was not yet.
        doubted_at: How often others had been let through when it was in doubt first; None if it never was.
        sendings: In how many bulk calls it was that may have left.
    """

    __slots__ = (
        "doubted_at",
        "is_sent",
        "key",
        "name",
        "reference",
        "request_id",
        "selector",
        "sendings",
        "tries",
        "until",
        "waits_for",
    )

    def __init__(self, reference: str, request_id: str, selector: Any, key: bytes, until: float) -> None:
        self.reference = reference
        self.name = folded(reference)
        self.request_id = request_id
        self.selector = selector
        self.key = key
        self.until = until
        self.tries = 0
        self.is_sent = False
        self.waits_for: GatewayError | None = None
        self.doubted_at: int | None = None
        self.sendings = 0


class Items:
    """Makes the items of a job from its messages."""

    def __init__(self, row: AllocationStream, job: Job, settings: Settings) -> None:
        self._row = row
        self._job = job
        self._settings = settings
        self._field = row.reference
        self._key = job.selector.SerializeToString(deterministic=True)

    def make(self, message: Any, index: int, now: float) -> Item | GatewayError:
        """Returns an item, or the error with which it is refused.

        Args:
            message: What the caller says of it.
            index: Its place in its message.
            now: When it was received, by the event loop's clock.
        """
        reference = getattr(message, self._field)
        path = f"items[{index}]"
        found = list(RULES[self._field](f"{path}.{self._field}", reference, self._settings))
        selector, key = self._job.selector, self._key
        if message.HasField("selector"):
            selector, key = message.selector, message.selector.SerializeToString(deterministic=True)
            found.extend(selector_violations(f"{path}.selector", selector, self._settings))
            found.extend(capability_violations(self._row, f"{path}.selector", selector))
        if found:
            return invalid("The item is not valid.", found)
        return Item(reference, self._job.request_id(reference), selector, key, now + self._job.item_seconds)

    def reference(self, message: Any) -> str:
        """Returns the reference of an item as its caller wrote it."""
        return str(getattr(message, self._field))

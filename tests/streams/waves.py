"""What a caller of a stream does, and what it was told."""

from __future__ import annotations

import uuid
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import grpc
from allocation.v1 import job_pb2
from allocation.v1 import shipment_allocation_service_pb2 as pb
from google.rpc import error_details_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

# Longer than anything takes here: whoever waits so long is stuck.
LONG: Final = 60.0
CHUNK: Final = 250
QUEUED: Final = job_pb2.WAIT_FOR_QUEUED
ALLOCATED: Final = job_pb2.WAIT_FOR_ALLOCATED


def new_job() -> str:
    """Returns an id for a job."""
    return str(uuid.uuid4())


@dataclass
class Wave:
    """What the caller of a stream was told.

    Attributes:
        job: The job, as the gateway has understood it.
        outcomes: What became of each item, by its reference: all that was told.
        repeated: The references that came twice.
        refused: The messages that were refused.
        summary: The end; None if there was none.
        error: The status with which the call failed; None if it did not.
    """

    job: Any = None
    outcomes: dict[str, list[Any]] = field(default_factory=dict)
    repeated: list[str] = field(default_factory=list)
    refused: list[Any] = field(default_factory=list)
    summary: Any = None
    error: grpc.RpcError | None = None

    def take(self, response: Any) -> None:
        """Takes a message of the gateway's."""
        assert self.summary is None, "nothing comes after the summary"
        kind = response.WhichOneof("content")
        assert (kind == "job") is (self.job is None), "the job comes first, and once"
        if kind == "job":
            self.job = response.job
        elif kind == "results":
            for one in response.results.results:
                reference = getattr(one, next(name for name in _REFERENCES if hasattr(one, name)))
                self.outcomes.setdefault(reference, []).append(one)
        elif kind == "repeated":
            self.repeated.extend(response.repeated.references)
        elif kind == "refused":
            self.refused.append(response.refused)
        elif kind == "summary":
            self.summary = response.summary

    def take_all(self, responses: Iterable[Any]) -> None:
        """Takes messages until there are no more."""
        for response in responses:
            self.take(response)

    def kinds(self) -> Counter[str]:
        """Returns how many items had which outcome, each of which was told once."""
        assert all(len(told) == 1 for told in self.outcomes.values())
        return Counter(told[0].WhichOneof("outcome") for told in self.outcomes.values())

    def status(self, reference: str) -> Any:
        """Returns the status of an item that was refused, or is unknown."""
        (told,) = self.outcomes[reference]
        return getattr(told, told.WhichOneof("outcome"))

    def reason(self, reference: str) -> str:
        """Returns why an item was refused, or is unknown."""
        info = error_details_pb2.ErrorInfo()
        assert self.status(reference).details[0].Unpack(info)
        return str(info.reason)


_REFERENCES: Final = ("shipment_reference", "consignment_reference")


def messages(
    references: Sequence[str], job: str, wait_for: Any = ALLOCATED, chunk: int = CHUNK, **more: Any
) -> Iterator[Any]:
    """Yields the messages of a job of shipments."""
    described = job_pb2.AllocationJob(job_id=job, wait_for=wait_for, **more)
    yield pb.AllocateShipmentStreamRequest(job=described)
    for start in range(0, len(references), chunk):
        items = [pb.ShipmentItem(shipment_reference=name) for name in references[start : start + chunk]]
        yield pb.AllocateShipmentStreamRequest(items=items)


def carried_out(call: Any, requests: Iterable[Any], timeout: float = LONG) -> Wave:
    """Makes a call, and takes all that it tells."""
    wave = Wave()
    try:
        wave.take_all(call(iter(requests), timeout=timeout))
    except grpc.RpcError as error:
        wave.error = error
    return wave

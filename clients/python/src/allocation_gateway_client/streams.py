"""The calls that last, jobs and watches, without their network: what is told of each item, and what is to be told.

The client that blocks and the one that awaits share it, as they do the policy.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final, Generic

from allocation.v1 import consignment_allocation_service_pb2 as consignments
from allocation.v1 import job_pb2
from allocation.v1 import shipment_allocation_service_pb2 as shipments
from grpc import StatusCode

from allocation_gateway_client.closing import closed_client
from allocation_gateway_client.errors import UnfinishedJob, error_of
from allocation_gateway_client.failure import Failure, failure_of_status
from allocation_gateway_client.outcomes import A, JobSummary, Outcome, OutcomeKind, Standing

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from google.protobuf.message import Message

    from allocation_gateway_client.errors import AllocationError

# A message may have a thousand items at most, and has to be small enough also if their references are long.
ITEMS_OF_MESSAGE: Final = 250
# How a stream ends that was lost although its status is OK.
ENDED_EARLY: Final = Failure(StatusCode.UNKNOWN, "The stream ended before everything was told.")
_UNREADABLE: Final = "unknown"


_COUNTERS: Final = {
    OutcomeKind.ALLOCATED: "allocated",
    OutcomeKind.QUEUED: "queued",
    OutcomeKind.REFUSED: "refused",
    OutcomeKind.UNKNOWN: "unknown",
}


class MessageRefusedError(Exception):
    """The gateway has refused a message of a job: there can be no outcome for what was in it on this stream.

    Attributes:
        failure: Why. It counts as if the stream had ended with it.
    """

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


@dataclass(frozen=True, slots=True)
class JobKind:
    """What jobs of shipments and of consignments do not have in common.

    Attributes:
        path: The path of the rpc.
        request: The class of the messages that it takes.
        response: The class of the messages that it gives.
        item: The class of its items.
        reference: The field that names an item.
        bulk: The field of a bulk call that names several.
        calls: The bulk call that an item is, by the scope of its selector.
    """

    path: str
    request: Any
    response: Any
    item: Any
    reference: str
    bulk: str
    calls: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class WatchKind:
    """What watches of shipments and of consignments do not have in common.

    Attributes:
        path: The path of the rpc.
        request: The class of its request.
        response: The class of the messages that it gives.
        references: The field of the request that names what is watched.
        standings: The field of a response that tells how some stand.
        reference: The field that names one.
        read: The class of the request that reads one.
    """

    path: str
    request: Any
    response: Any
    references: str
    standings: str
    reference: str
    read: Any


SHIPMENT_JOB: Final = JobKind(
    path="/allocation.v1.ShipmentAllocationService/AllocateShipmentStream",
    request=shipments.AllocateShipmentStreamRequest,
    response=shipments.AllocateShipmentStreamResponse,
    item=shipments.ShipmentItem,
    reference="shipment_reference",
    bulk="shipments",
    calls={
        "": shipments.AllocateShipmentsRequest,
        "service_group": shipments.AllocateShipmentsWithServiceGroupRequest,
        "carrier_service_reference": shipments.AllocateShipmentsWithCarrierServiceRequest,
    },
)
CONSIGNMENT_JOB: Final = JobKind(
    path="/allocation.v1.ConsignmentAllocationService/AllocateConsignmentStream",
    request=consignments.AllocateConsignmentStreamRequest,
    response=consignments.AllocateConsignmentStreamResponse,
    item=consignments.ConsignmentItem,
    reference="consignment_reference",
    bulk="consignments",
    calls={
        "": consignments.AllocateConsignmentsRequest,
        "service_group": consignments.AllocateConsignmentsWithServiceGroupRequest,
        "carrier_service_reference": consignments.AllocateConsignmentsWithCarrierServiceRequest,
    },
)
SHIPMENT_WATCH: Final = WatchKind(
    path="/allocation.v1.ShipmentAllocationService/WatchShipmentAllocations",
    request=shipments.WatchShipmentAllocationsRequest,
    response=shipments.WatchShipmentAllocationsResponse,
    references="shipment_references",
    standings="shipments",
    reference="shipment_reference",
    read=shipments.GetShipmentAllocationRequest,
)
CONSIGNMENT_WATCH: Final = WatchKind(
    path="/allocation.v1.ConsignmentAllocationService/WatchConsignmentAllocations",
    request=consignments.WatchConsignmentAllocationsRequest,
    response=consignments.WatchConsignmentAllocationsResponse,
    references="consignment_references",
    standings="consignments",
    reference="consignment_reference",
    read=consignments.GetConsignmentAllocationRequest,
)


class JobState(Generic[A]):
    """A job over all of its streams: its items that have no outcome, and counts of those that have.

    Nothing is kept of an item that has its outcome.

    Attributes:
        was_let_in: Whether the stream that was begun last has told something.
        is_all_sent: Whether the items have come to their end, and each was sent.
        is_done: Whether every item has its outcome, and no more can come.
    """

    def __init__(self, kind: JobKind, job: job_pb2.AllocationJob, account: str) -> None:
        """Takes the rpc, what holds for the whole job, and the account it is for."""
        self._kind = kind
        self._job = job
        self._account = account
        self._unanswered: dict[str, Any] = {}
        self._has_begun = False
        self._counts = dict.fromkeys((field.name for field in fields(JobSummary)), 0)
        self.was_let_in = False
        self.is_all_sent = False
        self.is_done = False

    @property
    def job_id(self) -> str:
        """The id of the job."""
        return self._job.job_id

    @property
    def summary(self) -> JobSummary:
        """How far it has come."""
        return JobSummary(**self._counts)

    def item(self, given: Any) -> Any:
        """Returns an item as a message: its caller may have given its reference alone.

        Raises:
            TypeError: It is neither.
        """
        if isinstance(given, str):
            return self._kind.item(**{self._kind.reference: given})
        if not isinstance(given, self._kind.item):
            raise TypeError(f"an item is a reference or a {self._kind.item.DESCRIPTOR.name}, not {given!r}")
        return given

    def begin(self) -> list[Message]:
        """Begins a stream. Returns the messages that it begins with: the job, and the items that have no outcome."""
        self._counts["streams"] += 1
        self.was_let_in = False
        again = list(self._unanswered.values())
        parts = (again[first : first + ITEMS_OF_MESSAGE] for first in range(0, len(again), ITEMS_OF_MESSAGE))
        return [self._kind.request(job=self._job), *(self._kind.request(items=part) for part in parts)]

    def send(self, items: Iterable[Any]) -> Message:
        """Returns the message for items that are new, without those whose reference has no outcome yet."""
        fresh = []
        for item in items:
            reference = getattr(item, self._kind.reference)
            self._counts["received"] += 1
            if reference in self._unanswered:
                self._counts["repeated"] += 1
            else:
                self._unanswered[reference] = item
                fresh.append(item)
        message: Message = self._kind.request(items=fresh)
        return message

    def take(self, response: Any) -> list[Outcome[A]]:
        """Returns the outcomes that a message of the gateway's tells.

        Raises:
            MessageRefusedError: It says that a message was refused.
        """
        self.was_let_in = True
        content = response.WhichOneof("content")
        if content == "job":
            self._has_begun = True
        elif content == "refused":
            raise MessageRefusedError(failure_of_status(response.refused.status))
        elif content == "summary":
            # One that comes while items are still to be sent speaks of those before them.
            self.is_done = self.is_all_sent and not self._unanswered
        elif content == "results":
            return [outcome for one in response.results.results for outcome in self._outcomes(one)]
        return []

    def error(self, failure: Failure, waiting: Iterable[Any], *, is_in_doubt: bool) -> AllocationError:
        """Returns the error for a job that is over with a failure, and whose items that wait were never sent."""
        request = self._kind.request(job=self._job)
        if self._has_begun or is_in_doubt:
            unsent = (getattr(item, self._kind.reference) for item in waiting)
            unanswered = tuple(dict.fromkeys((*self._unanswered, *unsent)))
            return UnfinishedJob(failure, request, self._account, self.job_id, unanswered)
        return error_of(failure, request, is_in_doubt=False, account=self._account)

    def closed(self, failure: Failure, waiting: Iterable[Any], *, is_in_doubt: bool) -> Exception:
        """Returns the error for a job whose client was closed, by how its last stream ended."""
        error = self.error(failure, waiting, is_in_doubt=is_in_doubt)
        return error if isinstance(error, UnfinishedJob) else closed_client()

    def _outcomes(self, told: Any) -> Iterable[Outcome[A]]:
        reference = getattr(told, self._kind.reference)
        item = self._unanswered.pop(reference, None)
        if item is None:
            return  # it was told before
        # A newer gateway may have one that this client cannot read.
        name = told.WhichOneof("outcome") or _UNREADABLE
        kind = OutcomeKind(name)
        self._counts[_COUNTERS[kind]] += 1
        error = None
        if kind in {OutcomeKind.REFUSED, OutcomeKind.UNKNOWN}:
            error = error_of(
                failure_of_status(getattr(told, name)),
                self._call(item, told.request_id),
                is_in_doubt=kind is OutcomeKind.UNKNOWN,
                account=self._account,
            )
        allocation = told.allocation if kind is OutcomeKind.ALLOCATED else None
        yield Outcome(reference, told.request_id, kind, allocation, error)

    def _call(self, item: Any, request_id: str) -> Message:
        """Returns the request that an item is: a bulk call of one."""
        selector = item.selector if item.HasField("selector") else self._job.selector
        scope = selector.WhichOneof("scope") or ""
        given: dict[str, Any] = {self._kind.bulk: [getattr(item, self._kind.reference)], "request_id": request_id}
        if scope:
            given[scope] = getattr(selector, scope)
        if selector.capabilities:
            given["capabilities"] = selector.capabilities
        made: Message = self._kind.calls[scope](**given)
        return made


class WatchState(Generic[A]):
    """A watch over all of its streams: what is not final yet.

    Attributes:
        was_let_in: Whether the stream that was begun last has told something.
        has_come_on: Whether the last message told more than each stream tells at first: how all stand that are not
            final.
    """

    def __init__(self, kind: WatchKind, references: Iterable[str], account: str) -> None:
        """Takes the rpc, what is watched, and the account it is for."""
        self._kind = kind
        self._account = account
        self._left = dict.fromkeys(references)
        self._told: set[str] = set()
        self.was_let_in = False
        self.has_come_on = False

    @property
    def is_done(self) -> bool:
        """Whether all are final."""
        return not self._left

    def begin(self) -> Message:
        """Begins a stream. Returns its request: those that are not final."""
        self.was_let_in = False
        self._told.clear()
        return self.request()

    def request(self) -> Message:
        """Returns the request for those that are not final."""
        made: Message = self._kind.request(**{self._kind.references: self._left})
        return made

    def take(self, response: Any) -> list[Standing[A]]:
        """Returns what a message of the gateway's tells."""
        self.was_let_in = True
        self.has_come_on = False
        return [self._standing(told) for told in getattr(response, self._kind.standings)]

    def error(self, failure: Failure) -> AllocationError:
        """Returns the error for a watch that is over with a failure."""
        return error_of(failure, self.request(), is_in_doubt=False, account=self._account)

    def _standing(self, told: Any) -> Standing[A]:
        reference = getattr(told, self._kind.reference)
        self.has_come_on |= told.final or reference in self._told
        self._told.add(reference)
        if told.final:
            self._left.pop(reference, None)
        allocation: Any = None
        error: AllocationError | None = None
        if told.HasField("allocation"):
            allocation = told.allocation
        elif told.HasField("error"):
            read = self._kind.read(**{self._kind.reference: reference})
            error = error_of(failure_of_status(told.error), read, is_in_doubt=False, account=self._account)
        return Standing(reference, allocation, error, told.final)


def new_job(
    job_id: str,
    selector: job_pb2.AllocationSelector | None,
    wait_for: job_pb2.WaitFor.ValueType,
    item_deadline: float | None,
) -> job_pb2.AllocationJob:
    """Returns what holds for a whole job; `item_deadline` is in seconds."""
    job = job_pb2.AllocationJob(job_id=job_id, selector=selector, wait_for=wait_for)
    if item_deadline is not None:
        job.item_deadline.FromNanoseconds(round(item_deadline * 1e9))
    return job

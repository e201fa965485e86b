"""How the answers of bulk calls are read, completed and refused: one class for each form that they have.

A bulk answer says of each shipment or consignment what became of it, or leaves that open. What reading finds out of
those completes it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from allocation.v1 import consignment_allocation_service_pb2 as pb
from allocation.v1.error_reason_pb2 import ErrorReason

from allocation_gateway.codecs import states
from allocation_gateway.operations.assessment import Assessment

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from google.protobuf.message import Message

    from allocation_gateway.errors import AnyAllocation, GatewayError
    from allocation_gateway.operations.assessment import Assessed

_REJECTED: Final = "shipment_invalid_state"
_ALLOCATED_BEFORE: Final = "It was allocated before."


class Rejection(NamedTuple):
    """Why a shipment or consignment was rejected.

    Attributes:
        reason: The reason, where an answer of this form gives one of ours; else None.
        code: Upstream's own code; empty if there is none.
        message: Upstream's text, for people.
        allocation: How the allocation has failed; None if that is not told.
    """

    reason: ErrorReason.ValueType | None
    code: str
    message: str
    allocation: Message | None = None


class ItemAnswer(NamedTuple):
    """What a response says of one shipment or consignment. With nothing set it does not say what became of it.

    Attributes:
        is_taken: Whether upstream has taken it in hand.
        is_allocated: Whether the response itself says that it is allocated.
        allocation: Its allocation, which may still be on its way; None if there is none.
        rejection: Why it was rejected; None if it was not.
    """

    is_taken: bool = False
    is_allocated: bool = False
    allocation: AnyAllocation | None = None
    rejection: Rejection | None = None


class BulkAnswer(Protocol):
    """One form of bulk answers. A response is a message of an rpc whose answers have that form."""

    @property
    def tells_of_each(self) -> bool:
        """Whether a response has a place for what was refused, and for what is not known."""

    def undetermined(self, response: Any) -> list[str]:
        """Returns the references of which a response does not say what became of them."""

    def done(self, response: Any) -> list[str]:
        """Returns the references of which a response says that they are allocated now, or de-allocated."""

    def taken(self, response: Any) -> list[str]:
        """Returns the references of which a response says that upstream has taken them in hand, or has done them."""

    def allocation_of(self, response: Any, reference: str) -> AnyAllocation | None:
        """Returns the allocation that a response tells of a reference; None if it tells none."""

    def item(self, response: Any, reference: str) -> ItemAnswer:
        """Returns what a response says of the only reference of its call."""

    def complete(
        self, response: Any, references: Sequence[str], known: Mapping[str, Assessed], *, allocates: bool
    ) -> Any:
        """Returns a response with what reading has told.

        Args:
            response: What upstream answered, or refuse() made.
            references: All references of the call, in their order.
            known: What reading has told of some: only DONE, NOT_OWN or UNDECIDED.
            allocates: Whether the call is an allocation.
        """

    def refuse(self, response: Any, references: Sequence[str], refusal: GatewayError) -> Any:
        """Returns an empty response with references that were refused."""

    def parts(self, response: Any, references: Sequence[str]) -> list[Any]:
        """Returns what a response says of each reference, as the response of a call for that one alone."""


class Listing:
    """Ship: lists of what was queued, what was rejected, and what it says nothing of (`unaccounted`)."""

    tells_of_each: Final = True

    def undetermined(self, response: Any) -> list[str]:
        """See BulkAnswer."""
        return list(response.unaccounted)

    def done(self, response: Any) -> list[str]:
        """See BulkAnswer. Queued is not allocated."""
        return [item.shipment_reference for item in response.allocations if states.SHIP.is_allocated(item.state)]

    def taken(self, response: Any) -> list[str]:
        """See BulkAnswer."""
        return [*response.queued, *self.done(response)]

    def allocation_of(self, response: Any, reference: str) -> AnyAllocation | None:
        """See BulkAnswer."""
        return next((item for item in response.allocations if item.shipment_reference == reference), None)

    def item(self, response: Any, reference: str) -> ItemAnswer:
        """See BulkAnswer."""
        del reference
        for rejected in response.rejected:
            return ItemAnswer(rejection=Rejection(None, rejected.code, rejected.message))
        for allocation in response.allocations:
            return ItemAnswer(is_taken=True, allocation=allocation)
        return ItemAnswer(is_taken=bool(response.queued))

    def complete(
        self, response: Any, references: Sequence[str], known: Mapping[str, Assessed], *, allocates: bool
    ) -> Any:
        """See BulkAnswer."""
        del references, allocates
        rejected = []
        unread = [reference for reference in response.unaccounted if reference not in known]
        del response.unaccounted[:]
        response.unaccounted.extend(unread)
        for reference, found in known.items():
            if found.assessment is Assessment.NOT_OWN:
                rejected.append(reference)
            elif found.assessment is Assessment.UNDECIDED:
                response.unaccounted.append(reference)
            else:
                response.queued.append(reference)
                found.allocation.reconciled = True
                response.allocations.append(found.allocation)
        if rejected:
            response.rejected.add(code=_REJECTED, message=_ALLOCATED_BEFORE, references=rejected)
        return response

    def refuse(self, response: Any, references: Sequence[str], refusal: GatewayError) -> Any:
        """See BulkAnswer."""
        response.rejected.add(code=refusal.upstream_code, message=refusal.message, references=references)
        return response

    def parts(self, response: Any, references: Sequence[str]) -> list[Any]:
        """See BulkAnswer. What upstream says of all of them in one sentence is left out."""
        queued, unaccounted = set(response.queued), set(response.unaccounted)
        allocations, links = _by(response.allocations, "shipment_reference"), _by(response.links, "reference")
        parts = {
            reference: type(response)(
                queued=[reference] if reference in queued else (),
                allocations=allocations.get(reference, ()),
                unaccounted=[reference] if reference in unaccounted else (),
                links=links.get(reference, ()),
                unreadable=response.unreadable,
            )
            for reference in references
        }
        for rejection in response.rejected:
            for reference in parts.keys() & rejection.references:
                told = parts[reference].rejected
                told.add(code=rejection.code, message=rejection.message, references=[reference])
        return [parts[reference] for reference in references]


class Links:
    """Ship, with filters: links to the shipments that were taken in hand, without a word of any other one."""

    tells_of_each: Final = False

    def undetermined(self, response: Any) -> list[str]:
        """See BulkAnswer."""
        del response
        return []

    def done(self, response: Any) -> list[str]:
        """See BulkAnswer."""
        del response
        return []

    def taken(self, response: Any) -> list[str]:
        """See BulkAnswer."""
        return [link.reference for link in response.shipments]

    def allocation_of(self, response: Any, reference: str) -> AnyAllocation | None:
        """See BulkAnswer."""
        del response, reference
        return None

    def item(self, response: Any, reference: str) -> ItemAnswer:
        """See BulkAnswer."""
        del reference
        return ItemAnswer(is_taken=bool(response.shipments))

    def complete(
        self, response: Any, references: Sequence[str], known: Mapping[str, Assessed], *, allocates: bool
    ) -> Any:
        """See BulkAnswer."""
        del references, allocates
        for reference, found in known.items():
            if found.assessment is Assessment.DONE:
                response.shipments.add(reference=reference, rel="shipment", type="shipment")
        return response

    def refuse(self, response: Any, references: Sequence[str], refusal: GatewayError) -> Any:
        """See BulkAnswer. There is no place for what was refused."""
        del references, refusal
        return response

    def parts(self, response: Any, references: Sequence[str]) -> list[Any]:
        """See BulkAnswer."""
        links = _by(response.shipments, "reference")
        return [
            type(response)(
                reference=response.reference, shipments=links.get(reference, ()), unreadable=response.unreadable
            )
            for reference in references
        ]


class ConsignmentResults:
    """Consignments: one result with an outcome for each consignment."""

    tells_of_each: Final = True

    def undetermined(self, response: Any) -> list[str]:
        """See BulkAnswer."""
        return [item.consignment_reference for item in response.results if item.outcome == pb.OUTCOME_UNKNOWN]

    def done(self, response: Any) -> list[str]:
        """See BulkAnswer."""
        return [item.consignment_reference for item in response.results if item.outcome == pb.OUTCOME_DONE]

    def taken(self, response: Any) -> list[str]:
        """See BulkAnswer."""
        return self.done(response)

    def allocation_of(self, response: Any, reference: str) -> AnyAllocation | None:
        """See BulkAnswer."""
        return next((item.allocation for item in response.results if item.consignment_reference == reference), None)

    def item(self, response: Any, reference: str) -> ItemAnswer:
        """See BulkAnswer."""
        del reference
        told = response.results[0]
        if told.outcome == pb.OUTCOME_REJECTED:
            failed = told.failed_allocation if told.HasField("failed_allocation") else None
            return ItemAnswer(rejection=Rejection(told.reason, "", told.description, failed))
        is_done = told.outcome == pb.OUTCOME_DONE
        if is_done and told.HasField("allocation"):
            return ItemAnswer(is_taken=True, is_allocated=True, allocation=told.allocation)
        return ItemAnswer(is_taken=is_done)

    def complete(
        self, response: Any, references: Sequence[str], known: Mapping[str, Assessed], *, allocates: bool
    ) -> Any:
        """See BulkAnswer. The results stand in the order of the request."""
        told = {item.consignment_reference: item for item in response.results}
        results = [
            _result(reference, known[reference], allocates=allocates) if reference in known else told[reference]
            for reference in references
            if reference in known or reference in told
        ]
        return type(response)(results=results, unreadable=response.unreadable)

    def refuse(self, response: Any, references: Sequence[str], refusal: GatewayError) -> Any:
        """See BulkAnswer."""
        for reference in references:
            response.results.add(
                consignment_reference=reference,
                outcome=pb.OUTCOME_REJECTED,
                reason=refusal.reason,
                description=refusal.message,
            )
        return response

    def parts(self, response: Any, references: Sequence[str]) -> list[Any]:
        """See BulkAnswer."""
        results = _by(response.results, "consignment_reference")
        return [
            type(response)(results=results.get(reference, ()), unreadable=response.unreadable)
            for reference in references
        ]


def _by(items: Iterable[Any], field: str) -> dict[str, list[Any]]:
    """Returns items by the reference that a field of theirs has."""
    found: dict[str, list[Any]] = {}
    for item in items:
        found.setdefault(getattr(item, field), []).append(item)
    return found


def _result(reference: str, found: Assessed, *, allocates: bool) -> pb.ConsignmentResult:
    if found.assessment is Assessment.NOT_OWN:
        return pb.ConsignmentResult(
            consignment_reference=reference,
            outcome=pb.OUTCOME_REJECTED,
            reason=ErrorReason.ERROR_REASON_INVALID_STATE,
            description=_ALLOCATED_BEFORE,
        )
    if found.assessment is Assessment.UNDECIDED:
        return pb.ConsignmentResult(
            consignment_reference=reference,
            outcome=pb.OUTCOME_UNKNOWN,
            description="It cannot be known whether this request has allocated it.",
        )
    result = pb.ConsignmentResult(consignment_reference=reference, outcome=pb.OUTCOME_DONE)
    if allocates:
        allocation: Any = found.allocation
        allocation.reconciled = True
        result.allocation.CopyFrom(allocation)
    return result


LISTING: Final = Listing()
LINKS: Final = Links()
CONSIGNMENT_RESULTS: Final = ConsignmentResults()

"""How the answers of Ship's bulk calls are read, completed and refused: one class for each form that they have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

from allocation.v1.error_reason_pb2 import ErrorReason

from allocation_gateway.codecs import states
from allocation_gateway.codecs.states import Stage
from allocation_gateway.operations.assessment import Assessment
from allocation_gateway.operations.bulk import ALLOCATED_BEFORE, ItemAnswer, Rejection, by_reference
from allocation_gateway.references import folded, is_same

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from allocation.v1 import core_pb2

    from allocation_gateway.errors import AnyAllocation, GatewayError
    from allocation_gateway.operations.assessment import Assessed

_REJECTED: Final = "shipment_invalid_state"
# The type that one sample gives to the link of a shipment that was rejected.
_REJECTED_LINK: Final = "rejected"


class Listing:
    """Ship: lists of what was queued, what was rejected, and what it says nothing of (`unaccounted`)."""

    tells_of_each: Final = True

    def undetermined(self, response: Any) -> list[str]:
        """See BulkAnswer."""
        unaccounted: list[str] = response.unaccounted[:]
        return unaccounted

    def done(self, response: Any) -> list[str]:
        """See BulkAnswer. Queued is not allocated."""
        return [item.shipment_reference for item in response.allocations[:] if states.SHIP.is_allocated(item.state)]

    def taken(self, response: Any) -> list[str]:
        """See BulkAnswer."""
        queued: list[str] = response.queued[:]
        return queued + [item.shipment_reference for item in response.allocations[:] if _is_taken(item)]

    def allocation_of(self, response: Any, reference: str) -> AnyAllocation | None:
        """See BulkAnswer."""
        return next((item for item in response.allocations[:] if is_same(item.shipment_reference, reference)), None)

    def item(self, response: Any, reference: str) -> ItemAnswer:
        """See BulkAnswer. Upstream may name other shipments, too, and none where it has contradicted itself."""
        for rejected in response.rejected[:]:
            if reference in rejected.references:
                return ItemAnswer(rejection=Rejection(None, rejected.code, rejected.message))
        allocation: Any = self.allocation_of(response, reference)
        if allocation is None:
            return ItemAnswer(is_taken=reference in response.queued[:])
        if not _is_taken(allocation):
            return ItemAnswer(rejection=_rejection(allocation))
        return ItemAnswer(is_taken=True, allocation=allocation)

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
            response.rejected.add(code=_REJECTED, message=ALLOCATED_BEFORE, references=rejected)
        return response

    def refuse(self, response: Any, references: Sequence[str], refusal: GatewayError) -> Any:
        """See BulkAnswer."""
        response.rejected.add(code=refusal.upstream_code, message=refusal.message, references=references)
        return response

    def parts(self, response: Any, references: Sequence[str]) -> list[Any]:
        """See BulkAnswer. What upstream says of all of them in one sentence is left out."""
        queued, unaccounted = set(response.queued), set(response.unaccounted)
        allocations = by_reference(response.allocations, "shipment_reference")
        links = by_reference(response.links, "reference")
        # Each field that is set costs, also if it is set to nothing.
        alike = {"unreadable": response.unreadable} if response.unreadable else {}
        parts = {}
        for reference in references:
            told: dict[str, Any] = {**alike}
            if reference in queued:
                told["queued"] = (reference,)
            if reference in allocations:
                told["allocations"] = allocations[reference]
            if reference in unaccounted:
                told["unaccounted"] = (reference,)
            if reference in links:
                told["links"] = links[reference]
            parts[reference] = type(response)(**told)
        for rejection in response.rejected:
            for reference in parts.keys() & rejection.references:
                refused = parts[reference].rejected
                refused.add(code=rejection.code, message=rejection.message, references=[reference])
        return [parts[reference] for reference in references]


def _is_taken(allocation: core_pb2.Allocation) -> bool:
    """Tells whether a result says that upstream has taken a shipment in hand.

    A bulk call is answered when shipments are queued, so that a state alone, such as that an allocation has failed, may
    be left from before. A result that is about this call says what was wrong, or which services were excluded.
    """
    match states.SHIP.stage(allocation.state):
        case Stage.GONE:
            return False
        case Stage.UNALLOCATED:
            return not (allocation.details or allocation.excluded_services)
    return True


def _rejection(allocation: core_pb2.Allocation) -> Rejection:
    """Returns why a shipment was not taken in hand: by the first code of its errors, a child before its parent."""
    children = [(part.code, part.message) for error in allocation.details for part in error.details]
    told = [*children, *((error.code, error.message) for error in allocation.details)]
    excluded = tuple(allocation.excluded_services)
    for code, message in told:
        if code:
            return Rejection(None, code, message, excluded=excluded)
    is_gone = states.SHIP.stage(allocation.state) is Stage.GONE
    reason = ErrorReason.ERROR_REASON_INVALID_STATE if is_gone else ErrorReason.ERROR_REASON_ALLOCATION_FAILED
    return Rejection(reason, "", "", excluded=excluded)


def _linked(link: core_pb2.Link) -> str:
    """Returns the shipment that a link names, or else leads to: `{base}/shipments/{reference}`."""
    return link.reference or unquote(link.href.partition("?")[0].rstrip("/").rpartition("/")[2])


def _taken_links(response: Any) -> list[core_pb2.Link]:
    """Returns the links to shipments that were taken in hand."""
    return [link for link in response.shipments if link.type != _REJECTED_LINK]


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
        return [_linked(link) for link in _taken_links(response)]

    def allocation_of(self, response: Any, reference: str) -> AnyAllocation | None:
        """See BulkAnswer."""
        del response, reference
        return None

    def item(self, response: Any, reference: str) -> ItemAnswer:
        """See BulkAnswer."""
        return ItemAnswer(is_taken=any(is_same(_linked(link), reference) for link in _taken_links(response)))

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
        links: dict[str, list[core_pb2.Link]] = {}
        for link in response.shipments:
            links.setdefault(folded(_linked(link)), []).append(link)
        return [
            type(response)(
                reference=response.reference,
                shipments=links.get(folded(reference), ()),
                unreadable=response.unreadable,
            )
            for reference in references
        ]


LISTING: Final = Listing()
LINKS: Final = Links()

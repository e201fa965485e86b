"""How the answers of the Consignments API's bulk calls are read, completed and refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from allocation.v1 import consignment_allocation_service_pb2 as pb
from allocation.v1.error_reason_pb2 import ErrorReason

from allocation_gateway.operations.assessment import Assessment
from allocation_gateway.operations.bulk import ALLOCATED_BEFORE, ItemAnswer, Rejection, by_reference
from allocation_gateway.references import is_same

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from allocation_gateway.errors import AnyAllocation, GatewayError
    from allocation_gateway.operations.assessment import Assessed


class ConsignmentResults:
    """Consignments: one result with an outcome for each consignment."""

    tells_of_each: Final = True

    def undetermined(self, response: Any) -> list[str]:
        """See BulkAnswer."""
        return [item.consignment_reference for item in response.results[:] if item.outcome == pb.OUTCOME_UNKNOWN]

    def done(self, response: Any) -> list[str]:
        """See BulkAnswer."""
        return [item.consignment_reference for item in response.results[:] if item.outcome == pb.OUTCOME_DONE]

    def taken(self, response: Any) -> list[str]:
        """See BulkAnswer."""
        return self.done(response)

    def allocation_of(self, response: Any, reference: str) -> AnyAllocation | None:
        """See BulkAnswer."""
        told = (item.allocation for item in response.results if is_same(item.consignment_reference, reference))
        return next(told, None)

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
        results = by_reference(response.results, "consignment_reference")
        return [
            type(response)(results=results.get(reference, ()), unreadable=response.unreadable)
            for reference in references
        ]


def _result(reference: str, found: Assessed, *, allocates: bool) -> pb.ConsignmentResult:
    if found.assessment is Assessment.NOT_OWN:
        return pb.ConsignmentResult(
            consignment_reference=reference,
            outcome=pb.OUTCOME_REJECTED,
            reason=ErrorReason.ERROR_REASON_INVALID_STATE,
            description=ALLOCATED_BEFORE,
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


CONSIGNMENT_RESULTS: Final = ConsignmentResults()

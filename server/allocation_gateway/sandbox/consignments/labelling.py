"""The endpoints that give labels, alone or together with an allocation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from allocation_gateway.sandbox.consignments import documents, errors, labels, reading
from allocation_gateway.sandbox.consignments.errors import ConsignmentsError
from allocation_gateway.sandbox.consignments.presenter import OK
from allocation_gateway.sandbox.consignments.selection import DefaultRules

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from allocation_gateway.sandbox.consignments.consignments import Allocation, Consignment
    from allocation_gateway.sandbox.consignments.dialect import Version
    from allocation_gateway.sandbox.consignments.documents import Document
    from allocation_gateway.sandbox.consignments.engine import Engine
    from allocation_gateway.sandbox.consignments.labels import Label
    from allocation_gateway.sandbox.consignments.presenter import Presenter
    from allocation_gateway.sandbox.consignments.selection import Selection
    from allocation_gateway.sandbox.consignments.single import Answer
    from allocation_gateway.sandbox.consignments.switches import ConsignmentsSwitches
    from allocation_gateway.sandbox.messages import Call
    from allocation_gateway.sandbox.switches import SwitchBoard


class LabelEndpoints:
    """Each endpoint answers one call with a status and a document, or raises ConsignmentsError."""

    def __init__(self, engine: Engine, presenter: Presenter, switches: SwitchBoard[ConsignmentsSwitches]) -> None:
        self._engine = engine
        self._presenter = presenter
        self._switches = switches

    def get(self, call: Call, _: Version) -> Answer:
        """GET a label."""
        kind = _checked(call.parameters.get("labelFormat", labels.DEFAULT_FORMAT))
        reference = call.parameters["consignmentReference"]
        if self._switches.current.labels == "missing":
            raise errors.no_label(reference)
        return OK, documents.label_file(self._draw(reference, kind))

    def allocate(self, select: Callable[[Mapping[str, str]], Selection]) -> Callable[[Call, Version], Answer]:
        """The endpoint that allocates with what `select` reads from the path, and gives the labels."""

        def endpoint(call: Call, _: Version) -> Answer:
            reading.no_body(call.body)
            return self._allocate(call, select(call.parameters), _checked(call.parameters["labelFormat"]))

        return endpoint

    def _allocate(self, call: Call, selection: Selection, kind: str) -> Answer:
        reference = call.parameters["consignmentReference"]
        try:
            consignment, booked = self._engine.allocate(reference, selection, call.arrival)
        except ConsignmentsError as problem:
            if problem.name != "AllocationFailed" or self._switches.current.single_failure == "error":
                raise
            return OK, {"Responses": [self._failed("Consignment", "ConsignmentAllocationFailed", reference, problem)]}
        if self._switches.current.label_failure == "error":
            raise errors.no_label(reference)
        responses = [self._result("Consignment", "ConsignmentAllocated", consignment, booked, kind)]
        if consignment.return_reference is not None:
            responses.append(self._allocate_return(call, consignment.return_reference, kind))
        return OK, {"Responses": responses}

    def _allocate_return(self, call: Call, reference: str, kind: str) -> Document:
        """The way back is booked by default rules, unless it is already."""
        returning = self._engine.find(reference)
        if returning.allocation is None:
            try:
                self._engine.allocate(reference, DefaultRules(), call.arrival)
            except ConsignmentsError as problem:
                return self._failed("Return", "ReturnConsignmentAllocationFailed", reference, problem)
        return self._result("Return", "ReturnConsignmentAllocated", returning, returning.allocation, kind)

    def _result(
        self, label_type: str, result: str, consignment: Consignment, booked: Allocation | None, kind: str
    ) -> Document:
        reference = consignment.reference
        links = self._presenter.links(reference)
        if self._switches.current.label_failure == "item":
            problem = errors.no_label(reference)
            text = self._presenter.failure_text(problem, reference)
            return documents.label_result(label_type, problem.status, None, result, booked, text, links)
        text = "" if booked is None else self._presenter.success_text(reference, booked)
        label = self._draw(reference, kind)
        return documents.label_result(label_type, OK, label, result, booked, text, links)

    def _failed(self, label_type: str, result: str, reference: str, problem: ConsignmentsError) -> Document:
        text = self._presenter.failure_text(problem, reference)
        links = [documents.link("detail", reference)]
        return documents.label_result(label_type, problem.status, None, result, None, text, links)

    def _draw(self, reference: str, kind: str) -> Label:
        booked = self._engine.label(reference)
        lines = [reference, booked.service_name, *(text for leg in booked.legs for text in leg.tracking_references)]
        return labels.draw(kind, lines)


def _checked(kind: str) -> str:
    """A label format that exists."""
    if kind.upper() not in labels.FORMATS:
        raise errors.invalid(f"'{kind}' is not a label format.", "labelFormat")
    return kind.upper()

"""The endpoints that take many shipments: they check, queue, and answer before anything is allocated."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from allocation_gateway.sandbox.ship import documents, errors, reading
from allocation_gateway.sandbox.ship.errors import ShipError
from allocation_gateway.sandbox.ship.selection import DefaultRules, WithFilters, WithGroup, WithService
from allocation_gateway.sandbox.ship.violations import Violations

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from allocation_gateway.sandbox.messages import Call
    from allocation_gateway.sandbox.ship.documents import Document
    from allocation_gateway.sandbox.ship.eligibility import ProofOfDelivery
    from allocation_gateway.sandbox.ship.engine import Engine
    from allocation_gateway.sandbox.ship.presenter import Presenter
    from allocation_gateway.sandbox.ship.selection import Selection
    from allocation_gateway.sandbox.ship.shipments import Shipment
    from allocation_gateway.sandbox.ship.single import Answer
    from allocation_gateway.sandbox.ship.switches import ShipSwitches
    from allocation_gateway.sandbox.ship.world import World
    from allocation_gateway.sandbox.switches import SwitchBoard

    Select = Callable[[Mapping[str, Any], Violations], Selection | None]

ACCEPTED = 202
INVALID_STATE_TEXT = "The shipment is not in a valid state to be allocated."


@dataclass(slots=True)
class _Sorted:
    """The shipments of a request: those that can be allocated, and the references of the others by code."""

    accepted: list[Shipment] = field(default_factory=list)
    refused: list[Shipment] = field(default_factory=list)
    rejected: dict[str, list[str]] = field(default_factory=dict)

    def reject(self, code: str, reference: str) -> None:
        self.rejected.setdefault(code, []).append(reference)

    @property
    def rejected_references(self) -> list[str]:
        return [reference for references in self.rejected.values() for reference in references]


def by_default_rules(_: Mapping[str, Any], __: Violations) -> Selection:
    """Every service."""
    return DefaultRules()


def by_service(body: Mapping[str, Any], violations: Violations) -> Selection | None:
    """The body's `carrier_service_reference`."""
    name = "carrier_service_reference"
    reference = violations.text(body, name, name, required=True)
    return None if reference is None else WithService(reference)


def by_group(body: Mapping[str, Any], violations: Violations) -> Selection | None:
    """The body's `service_group`."""
    code = violations.text(body, "service_group", "service_group", required=True)
    return None if code is None else WithGroup(code)


class BulkEndpoints:
    """Each endpoint answers one call with a status and a document, or raises ShipError."""

    def __init__(self, world: World, engine: Engine, presenter: Presenter, switches: SwitchBoard[ShipSwitches]) -> None:
        self._world = world
        self._engine = engine
        self._presenter = presenter
        self._switches = switches

    def endpoint(self, spelling: str, select: Select) -> Callable[[Call, str], Answer]:
        """The endpoint that allocates with what `select` reads from the body, on paths of one spelling."""

        def answer(call: Call, correlation_id: str) -> Answer:
            if self._switches.current.bulk_paths not in {"both", spelling}:
                raise errors.not_found("The requested path does not exist.")
            return self._allocate(call, select, correlation_id)

        return answer

    def _allocate(self, call: Call, select: Select, correlation_id: str) -> Answer:
        body = reading.json_object(call.body, self._switches.current)
        violations = Violations(self._switches.current)
        references = reading.shipment_references(body, violations)
        selection = select(body, violations)
        filtered = isinstance(selection, WithFilters)
        proof = None if filtered else reading.capabilities(body, violations)
        violations.settle()
        if selection is None:
            raise AssertionError("a selection that cannot be read is a violation")
        self._engine.scope(selection)
        sorted_ = self._sort(references)
        status = self._status(sorted_)
        if self._switches.current.bulk_body == "array_allocated" and not filtered:
            return status, self._allocate_now(call, sorted_, selection, proof, correlation_id)
        for shipment in sorted_.accepted:
            self._engine.queue(shipment, selection, proof, call.arrival)
        return status, self._document(sorted_, selection, correlation_id)

    def _sort(self, references: tuple[str, ...]) -> _Sorted:
        sorted_ = _Sorted()
        for reference in references:
            shipment = self._engine.known(reference)
            if shipment is None:
                sorted_.reject(errors.SHIPMENT_NOT_FOUND, reference)
            elif self._engine.objection(shipment) is not None:
                sorted_.reject(errors.SHIPMENT_INVALID_STATE, reference)
                sorted_.refused.append(shipment)
            else:
                sorted_.accepted.append(shipment)
        return sorted_

    def _status(self, sorted_: _Sorted) -> int:
        """The status of the answer.

        Raises:
            ShipError: all were rejected, and the switches want an error body.
        """
        switches = self._switches.current
        if not sorted_.rejected:
            return ACCEPTED
        if sorted_.accepted:
            return switches.bulk_partial_status
        status = switches.bulk_all_rejected_status
        if switches.bulk_all_rejected_body == "api_error" and status in {404, 521}:
            code = next(iter(sorted_.rejected))
            if status == errors.FAILED_ALLOCATION_STATUS:
                raise errors.failed(switches, code, _text(code))
            raise errors.not_found(_text(code), code)
        return status

    def _document(self, sorted_: _Sorted, selection: Selection, correlation_id: str) -> Document | list[Document]:
        if isinstance(selection, WithFilters):
            return self._filtered(sorted_)
        if self._switches.current.bulk_body != "object":
            queued = [self._presenter.queued(shipment, correlation_id) for shipment in sorted_.accepted]
            return [*queued, *self._refusals(sorted_, correlation_id)]
        return {
            "message": _message(sorted_, plural_in_brackets=isinstance(selection, DefaultRules)),
            "queued": [shipment.reference for shipment in sorted_.accepted],
            "rejected": [
                {"code": code, "message": _text(code), "references": references}
                for code, references in sorted_.rejected.items()
            ],
            # Only the sample for default rules links to what it rejected.
            "_links": [
                documents.shipment_link(self._presenter.base, reference, "rejected")
                for reference in sorted_.rejected_references
                if isinstance(selection, DefaultRules)
            ],
        }

    def _filtered(self, sorted_: _Sorted) -> Document:
        return {
            "reference": self._world.make_reference("af"),
            "shipments": [
                documents.shipment_link(self._presenter.base, shipment.reference) for shipment in sorted_.accepted
            ],
            "message": "Shipments queued for allocation successfully",
        }

    def _allocate_now(
        self,
        call: Call,
        sorted_: _Sorted,
        selection: Selection,
        proof: ProofOfDelivery | None,
        correlation_id: str,
    ) -> list[Document]:
        """The variant of the OpenAPI sample, where the answer holds finished allocations."""
        results = []
        for shipment in sorted_.accepted:
            try:
                booked, exclusions = self._engine.allocate(shipment, selection, call.arrival, proof)
            except ShipError as problem:
                results.append(self._presenter.failed(shipment, problem, correlation_id))
            else:
                message = f"Shipment {shipment.reference} has been allocated successfully"
                results.append(self._presenter.allocated(shipment, booked, message, correlation_id, exclusions))
        return [*results, *self._refusals(sorted_, correlation_id)]

    def _refusals(self, sorted_: _Sorted, correlation_id: str) -> list[Document]:
        """What the array variant says of rejected shipments. Of those that do not exist it has nothing to say."""
        objections = [(shipment, self._engine.objection(shipment)) for shipment in sorted_.refused]
        return [
            self._presenter.failed(shipment, objection, correlation_id)
            for shipment, objection in objections
            if objection is not None
        ]


def _text(code: str) -> str:
    return errors.SHIPMENT_NOT_FOUND_TEXT if code == errors.SHIPMENT_NOT_FOUND else INVALID_STATE_TEXT


def _message(sorted_: _Sorted, *, plural_in_brackets: bool) -> str:
    queued, rejected = len(sorted_.accepted), len(sorted_.rejected_references)
    sentences = []
    if queued:
        sentences.append(f"{_count(queued, plural_in_brackets)} queued for allocation successfully.")
    if rejected:
        sentences.append(f"{_count(rejected, plural_in_brackets)} rejected for allocation.")
    return " ".join(sentences)


def _count(number: int, plural_in_brackets: bool) -> str:
    if plural_in_brackets:
        return f"{number} shipment(s)"
    return f"{number} shipment" if number == 1 else f"{number} shipments"

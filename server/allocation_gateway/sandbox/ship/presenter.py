"""Documents by the switches of the moment: the point where engine results become what upstream would say."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from allocation_gateway.sandbox.ship import documents, errors

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from allocation_gateway.sandbox.ship.documents import Document
    from allocation_gateway.sandbox.ship.eligibility import Exclusion
    from allocation_gateway.sandbox.ship.errors import ShipError
    from allocation_gateway.sandbox.ship.quoting import Quotation
    from allocation_gateway.sandbox.ship.shipments import Allocation, Shipment
    from allocation_gateway.sandbox.ship.switches import ShipSwitches
    from allocation_gateway.sandbox.ship.world import World
    from allocation_gateway.sandbox.switches import SwitchBoard


_PAPERLESS: Mapping[str, object] = {
    "empty": [],
    "array": documents.SUPPLIED_DOCUMENTS,
    "object": documents.PAPERLESS_DOCUMENTS,
}
_SURCHARGE_BASES: Mapping[str, bool | str | None] = {"none": None, "boolean_base": True, "named_base": "net"}


def new_correlation_id() -> str:
    """A correlation id of the documented form, new for every request."""
    return f"{uuid.uuid4()}.SAPI_{uuid.uuid4()}"


class Presenter:
    """Writes Ship's documents. `base` is the URL that links begin with."""

    def __init__(self, world: World, switches: SwitchBoard[ShipSwitches], base: str) -> None:
        self._world = world
        self._switches = switches
        self.base = base

    def allocated(
        self,
        shipment: Shipment,
        booked: Allocation,
        message: str,
        correlation_id: str,
        exclusions: Iterable[Exclusion],
    ) -> Document:
        """The AllocateResult of a booking that was just made."""
        return documents.allocate_result(
            shipment,
            booked,
            message=message,
            correlation_id=correlation_id,
            links=documents.shipment_links(self.base, shipment.reference),
            details=(),
            excluded_services=self.excluded(exclusions),
            dates=self._switches.current.dates,
        )

    def queued(self, shipment: Shipment, correlation_id: str) -> Document:
        """The AllocateResult of a shipment that waits for the background worker."""
        return documents.allocate_result(
            shipment,
            None,
            message=f"Shipment {shipment.reference} has been queued for allocation",
            correlation_id=correlation_id,
            links=[documents.shipment_link(self.base, shipment.reference)],
            details=(),
            excluded_services=(),
            dates=self._switches.current.dates,
        )

    def failed(self, shipment: Shipment, problem: ShipError, correlation_id: str) -> Document:
        """The AllocateResult of a shipment that could not be allocated, with the reason among its details."""
        error = documents.api_error(correlation_id, problem.code, problem.message, problem.details)
        return documents.allocate_result(
            shipment,
            None,
            message=problem.message,
            correlation_id=correlation_id,
            links=[documents.shipment_link(self.base, shipment.reference)],
            details=[error],
            excluded_services=self.excluded(problem.exclusions),
            dates=self._switches.current.dates,
        )

    def problem(self, problem: ShipError, correlation_id: str) -> Document:
        """The body of an error answer."""
        error = documents.api_error(correlation_id, problem.code, problem.message, problem.details)
        if problem.shipment is None:
            return error
        if problem.status == errors.NO_QUOTES_STATUS:
            return self._no_quotes(problem, problem.shipment, error)
        kind = self._switches.current.failure_body
        if kind == "allocate_result":
            return self.failed(problem.shipment, problem, correlation_id)
        if kind == "api_error":
            return error
        return {**error, "excluded_services": self.excluded(problem.exclusions)}

    def excluded(self, exclusions: Iterable[Exclusion]) -> list[Document]:
        """The services that were not chosen."""
        swapped = self._switches.current.excluded_carrier == "swapped"
        return documents.excluded(exclusions, self._world.carriers, swapped=swapped)

    def resource(self, shipment: Shipment, message: str) -> Document:
        """A ResourceResult about a shipment."""
        custom = shipment.details.document.get("custom_reference")
        return documents.resource_result(shipment.reference, custom, message, self.base)

    def shipment(self, shipment: Shipment) -> Document:
        """A Shipment."""
        as_references = self._switches.current.allocation_tracking == "tracking_references"
        return documents.shipment(
            shipment,
            self.base,
            tracking_as_references=as_references,
            paperless_documents=_PAPERLESS[self._switches.current.paperless_documents],
        )

    def quotes(self, shipment: Shipment, quotation: Quotation) -> Document:
        """A QuoteResult."""
        noun = "quote" if len(quotation.quotes) == 1 else "quotes"
        return documents.quote_result(
            shipment,
            quotation.quotes,
            reference=self._world.make_reference("qc"),
            message=f"{len(quotation.quotes)} {noun} retrieved successfully for shipment {shipment.reference}",
            base=self.base,
            excluded_services=self.excluded(quotation.exclusions),
            surcharge_base=_SURCHARGE_BASES[self._switches.current.surcharges],
        )

    def _no_quotes(self, problem: ShipError, shipment: Shipment, error: Document) -> Document:
        kind = self._switches.current.no_quotes_body
        excluded = self.excluded(problem.exclusions)
        if kind == "api_error":
            return error
        if kind == "api_error_with_excluded":
            return {**error, "excluded_services": excluded}
        return documents.quote_result(
            shipment,
            (),
            reference=self._world.make_reference("qc"),
            message=problem.message,
            base=self.base,
            excluded_services=excluded,
        )

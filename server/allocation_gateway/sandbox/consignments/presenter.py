"""Documents by the switches of the moment: the point where engine results become what upstream would say."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

from allocation_gateway.sandbox.consignments import documents, errors, offers

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from allocation_gateway.sandbox.consignments.consignments import Allocation, Quotation
    from allocation_gateway.sandbox.consignments.dialect import Version
    from allocation_gateway.sandbox.consignments.documents import Document
    from allocation_gateway.sandbox.consignments.errors import ConsignmentsError
    from allocation_gateway.sandbox.consignments.switches import ConsignmentsSwitches
    from allocation_gateway.sandbox.consignments.world import World
    from allocation_gateway.sandbox.switches import SwitchBoard

OK, ACCEPTED = 200, 202
EXTERNAL = {"integer": 2, "string": "External"}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one reference of a request: booked, refused, or neither, if it waits for the worker."""

    reference: str
    booked: Allocation | None = None
    problem: ConsignmentsError | None = None


class Presenter:
    """Writes the API's documents."""

    def __init__(self, world: World, switches: SwitchBoard[ConsignmentsSwitches]) -> None:
        self._world = world
        self._switches = switches

    def outcomes(self, outcomes: Iterable[Outcome], version: Version) -> list[Document]:
        """The items of an allocation's answer."""
        omitted = self._switches.current.bulk_failures == "omitted"
        return [self._outcome(item, version) for item in outcomes if item.problem is None or not omitted]

    def changed(self, reference: str, message: str, rel: str | None) -> Document:
        """The item of a change of state that succeeded."""
        links = None if rel is None else [documents.link(rel, reference)]
        return documents.with_message(success=True, message=message, data=self._data(reference), links=links)

    def unchanged(self, reference: str, message: str | None) -> Document:
        """The item of a change of state that failed."""
        return documents.with_message(success=False, message=message, data=self._data(reference), links=None)

    def links(self, reference: str) -> list[Document]:
        """The links of an allocated consignment."""
        detail, label = documents.link("detail", reference), documents.link("label", reference, "labels")
        return [label] if self._switches.current.detail_links == "absent" else [detail, label]

    def success_text(self, reference: str, booked: Allocation) -> str:
        """The documented description of a booking."""
        what = f"successfully allocated with {booked.service_name} for shipping on {_shown(booked.shipping)}"
        if self._switches.current.description == "without_reference":
            return f"Consignment has been {what}"
        return f"Consignment {reference} has been {what}"

    def failure_text(self, problem: ConsignmentsError, reference: str) -> str:
        """What an error says, without the reference if the switches want that."""
        if self._switches.current.description == "without_reference":
            return problem.message.replace(f" {reference}", "")
        return problem.message

    def quotes(self, quotation: Quotation) -> Document:
        """A QuoteResult or ServiceGroupQuoteResult."""
        source = EXTERNAL[self._switches.current.quote_source]
        return offers.quote_result(quotation, self._world.services, source)

    def problem(self, problem: ConsignmentsError) -> Document:
        """The body of an error answer."""
        if problem.policy:
            return documents.policy_error(problem.status, problem.message)
        code = errors.code(problem.name, self._switches.current)
        return documents.api_error(code, problem.message, str(uuid.uuid4()), problem.details)

    def _outcome(self, outcome: Outcome, version: Version) -> Document:
        switches, reference, problem = self._switches.current, outcome.reference, outcome.problem
        as_message = version == "1" or switches.summary == "with_message"
        if problem is not None:
            text = self.failure_text(problem, reference)
            if as_message or switches.bulk_failures == "with_message":
                return self.unchanged(reference, text)
            links = [] if switches.detail_links == "absent" else [documents.link("detail", reference)]
            return documents.summary(problem.status, links, text, None)
        links = self.links(reference)
        if outcome.booked is None:
            shown = "Consignment" if switches.description == "without_reference" else f"Consignment {reference}"
            text = f"{shown} has been accepted for allocation"
        else:
            text = self.success_text(reference, outcome.booked)
        if as_message:
            return documents.with_message(success=True, message=text, data=self._data(reference), links=links)
        return documents.summary(ACCEPTED if outcome.booked is None else OK, links, text, outcome.booked)

    def _data(self, reference: str) -> str | None:
        return reference if self._switches.current.message_data == "reference" else None


def _shown(moment: datetime) -> str:
    """A moment as the documented description writes it; the sandbox's moments are all in UTC."""
    return f"{moment:%d/%m/%Y %H:%M:%S} +00:00"

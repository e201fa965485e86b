"""The endpoints that quote."""

from __future__ import annotations

from typing import TYPE_CHECKING

from allocation_gateway.sandbox.consignments import errors, reading
from allocation_gateway.sandbox.consignments.creation import read_consignment
from allocation_gateway.sandbox.consignments.presenter import OK

if TYPE_CHECKING:
    from allocation_gateway.sandbox.consignments.dialect import Version
    from allocation_gateway.sandbox.consignments.engine import Engine
    from allocation_gateway.sandbox.consignments.presenter import Presenter
    from allocation_gateway.sandbox.consignments.single import Answer
    from allocation_gateway.sandbox.consignments.switches import ConsignmentsSwitches
    from allocation_gateway.sandbox.consignments.world import World
    from allocation_gateway.sandbox.messages import Call
    from allocation_gateway.sandbox.switches import SwitchBoard


class QuoteEndpoints:
    """Each method answers one call with a status and a document, or raises ConsignmentsError."""

    def __init__(
        self, world: World, engine: Engine, presenter: Presenter, switches: SwitchBoard[ConsignmentsSwitches]
    ) -> None:
        self._world = world
        self._engine = engine
        self._presenter = presenter
        self._switches = switches

    def consignment(self, call: Call, _: Version) -> Answer:
        """GET new quotes of a consignment that exists. For an unknown one 400 is the only listed refusal."""
        unknown = self._switches.current.unknown_consignment
        consignment = self._engine.find(call.parameters["consignmentReference"], unknown)
        quotation = self._engine.quote(consignment.details, consignment.reference)
        return self._switches.current.quotes_status, self._presenter.quotes(quotation)

    def new(self, call: Call, _: Version) -> Answer:
        """POST a consignment to have it quoted; it is not created by this."""
        quotation = self._engine.quote(read_consignment(reading.json(call.body)), None)
        return self._switches.current.quotes_status, self._presenter.quotes(quotation)

    def groups(self, call: Call, _: Version) -> Answer:
        """POST a consignment to have it quoted by each service group."""
        quotations = self._engine.quote_groups(read_consignment(reading.json(call.body)))
        return OK, [self._presenter.quotes(quotation) for quotation in quotations]

    def earlier(self, call: Call, _: Version) -> Answer:
        """GET the result of an earlier request; only the oldest sources have this."""
        if self._switches.current.earlier_quotes == "not_offered":
            raise errors.no_operation()
        reference = call.parameters["quoteRequestReference"]
        quotation = self._world.quotations.get(reference.lower())
        if quotation is None:
            raise errors.unknown_quote(reference, 404)
        return OK, self._presenter.quotes(quotation)

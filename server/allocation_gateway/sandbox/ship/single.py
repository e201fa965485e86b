"""The endpoints that concern one shipment, and the one that creates it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from allocation_gateway.sandbox.ship import errors, reading, states
from allocation_gateway.sandbox.ship.creation import read_shipment
from allocation_gateway.sandbox.ship.errors import Detail
from allocation_gateway.sandbox.ship.selection import DefaultRules, WithGroup, WithQuote
from allocation_gateway.sandbox.ship.shipments import Shipment
from allocation_gateway.sandbox.ship.violations import Violations

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from allocation_gateway.sandbox.messages import Call
    from allocation_gateway.sandbox.ship.documents import Document
    from allocation_gateway.sandbox.ship.engine import Engine
    from allocation_gateway.sandbox.ship.presenter import Presenter
    from allocation_gateway.sandbox.ship.quoting import Quoter
    from allocation_gateway.sandbox.ship.selection import Selection
    from allocation_gateway.sandbox.ship.switches import ShipSwitches
    from allocation_gateway.sandbox.ship.world import World
    from allocation_gateway.sandbox.switches import SwitchBoard

Answer = tuple[int, "Document | list[Document] | None"]

DEFERRED = 202
SHORTEST_REASON, LONGEST_REASON = 5, 100


class SingleEndpoints:
    """Each method answers one call with a status and a document, or raises ShipError."""

    def __init__(
        self,
        world: World,
        engine: Engine,
        quoter: Quoter,
        presenter: Presenter,
        switches: SwitchBoard[ShipSwitches],
        clock: Callable[[], datetime],
    ) -> None:
        self._world = world
        self._engine = engine
        self._quoter = quoter
        self._presenter = presenter
        self._switches = switches
        self._clock = clock

    def allocate(self, select: Callable[[Mapping[str, str]], Selection]) -> Callable[[Call, str], Answer]:
        """The endpoint that allocates with what `select` reads from the path."""

        def endpoint(call: Call, correlation_id: str) -> Answer:
            return self._allocate(call, select(call.parameters), correlation_id)

        return endpoint

    def deallocate(self, call: Call, _: str) -> Answer:
        """DELETE the allocation of a shipment."""
        if self._switches.current.deallocate == "not_offered":
            raise errors.not_found("The requested path does not exist.")
        shipment = self._shipment(call)
        self._engine.deallocate(shipment, call.arrival)
        return 200, self._presenter.resource(
            shipment, f"Shipment {shipment.reference} has been deallocated successfully"
        )

    def get(self, call: Call, _: str) -> Answer:
        """GET a shipment."""
        shipment = self._shipment(call)
        busy = shipment.state == states.ALLOCATING
        if busy and self._switches.current.get_while_allocating == "processing":
            raise errors.not_found(f"Shipment {shipment.reference} is still being processed.", "processing")
        return 200, self._presenter.shipment(shipment)

    def cancel(self, call: Call, _: str) -> Answer:
        """PUT a shipment into `cancelled`."""
        shipment = self._shipment(call)
        self._engine.cancel(shipment, call.arrival)
        return 200, self._presenter.resource(shipment, f"Shipment {shipment.reference} has been cancelled")

    def change_state(self, call: Call, _: str) -> Answer:
        """PUT a shipment into a state by hand; 304 without a body if it is in it already."""
        body = reading.json_object(call.body, self._switches.current)
        violations = Violations(self._switches.current)
        reference = violations.text(body, "reference", "reference", required=True)
        violations.text(body, "reason", "reason", required=True, shortest=SHORTEST_REASON, longest=LONGEST_REASON)
        state = violations.choice(body, "state", "state", states.ALL, "invalid_shipment_state", required=True)
        violations.settle()
        shipment = self._find(reference or "", "reference")
        if not self._engine.change_state(shipment, state or "", call.arrival):
            return 304, None
        return 200, self._presenter.resource(shipment, f"Shipment {shipment.reference} has changed state to {state}")

    def create(self, call: Call, _: str) -> Answer:
        """POST a new shipment."""
        shipment = self._read(call)
        self._world.add_shipment(shipment)
        return 201, self._presenter.resource(shipment, f"Shipment {shipment.reference} created successfully")

    def quote(self, call: Call, _: str) -> Answer:
        """Quote a shipment that exists; which method it is asked with is a conflict of the sources."""
        allowed = self._switches.current.quote_method
        if allowed not in {"both", call.method.lower()}:
            raise errors.method_not_supported(call.method)
        shipment = self._shipment(call)
        services = self._engine.scope(DefaultRules()).services
        quotation = self._quoter.quote(shipment, services, keep=True)
        return 201 if call.method == "POST" else 200, self._presenter.quotes(shipment, quotation)

    def quote_new(self, call: Call, _: str) -> Answer:
        """Quote a shipment that does not exist and is not created by this either."""
        code = call.parameters.get("group_ref")
        scope = self._engine.scope(DefaultRules() if code is None else WithGroup(code))
        shipment = self._read(call)
        quotation = self._quoter.quote(shipment, scope.services, keep=False)
        return 201, self._presenter.quotes(shipment, quotation)

    def _allocate(self, call: Call, selection: Selection, correlation_id: str) -> Answer:
        shipment = self._shipment(call)
        how = self._switches.current.single_answer
        if how == "deferred":
            self._engine.admit(shipment, selection)
            self._engine.queue(shipment, selection, None, call.arrival)
            return DEFERRED, self._presenter.queued(shipment, correlation_id)
        booked, exclusions = self._engine.allocate(shipment, selection, call.arrival)
        if isinstance(selection, WithQuote):
            message = f"Shipment {shipment.reference} allocated with quote {selection.reference} successfully"
        else:
            message = f"Shipment {shipment.reference} has been allocated successfully"
        return how, self._presenter.allocated(shipment, booked, message, correlation_id, exclusions)

    def _shipment(self, call: Call) -> Shipment:
        return self._find(call.parameters["reference"], "reference")

    def _find(self, reference: str, path: str) -> Shipment:
        switches = self._switches.current
        if reading.is_malformed(reference, switches):
            message = f"'{reference}' is not a reference"
            raise errors.invalid(switches, [Detail("invalid_reference_format", message, path)])
        return self._engine.find(reference)

    def _read(self, call: Call) -> Shipment:
        violations = Violations(self._switches.current)
        details = read_shipment(reading.json_object(call.body, self._switches.current), violations)
        violations.settle()
        return Shipment(self._world.make_reference("sp"), details, self._clock())

"""The endpoints that concern one consignment, and the one that creates it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from allocation_gateway.sandbox.consignments import documents, reading
from allocation_gateway.sandbox.consignments.consignments import Consignment
from allocation_gateway.sandbox.consignments.creation import read_consignment
from allocation_gateway.sandbox.consignments.errors import ConsignmentsError
from allocation_gateway.sandbox.consignments.presenter import ACCEPTED, OK, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from allocation_gateway.sandbox.consignments.dialect import Version
    from allocation_gateway.sandbox.consignments.engine import Engine
    from allocation_gateway.sandbox.consignments.presenter import Presenter
    from allocation_gateway.sandbox.consignments.selection import Selection
    from allocation_gateway.sandbox.consignments.switches import ConsignmentsSwitches
    from allocation_gateway.sandbox.consignments.world import World
    from allocation_gateway.sandbox.messages import Call
    from allocation_gateway.sandbox.switches import SwitchBoard

# A status, and a document or None for an empty body.
Answer = tuple[int, Any]

CREATED = 201


class SingleEndpoints:
    """Each method answers one call with a status and a document, or raises ConsignmentsError."""

    def __init__(
        self,
        world: World,
        engine: Engine,
        presenter: Presenter,
        switches: SwitchBoard[ConsignmentsSwitches],
        clock: Callable[[], datetime],
    ) -> None:
        self._world = world
        self._engine = engine
        self._presenter = presenter
        self._switches = switches
        self._clock = clock

    def allocate(self, select: Callable[[Mapping[str, str]], Selection]) -> Callable[[Call, Version], Answer]:
        """The endpoint that allocates with what `select` reads from the path."""

        def endpoint(call: Call, version: Version) -> Answer:
            reading.no_body(call.body)
            return self._allocate(call, select(call.parameters), version)

        return endpoint

    def create(self, call: Call, _: Version) -> Answer:
        """POST a new consignment."""
        details = read_consignment(reading.json(call.body))
        consignment = Consignment(self._world.make_reference(), details, self._clock())
        self._world.add(consignment)
        return CREATED, [documents.link("Link", consignment.reference)]

    def get(self, call: Call, _: Version) -> Answer:
        """GET a consignment."""
        return OK, documents.consignment(self._find(call), metadata=True)

    def get_only(self, call: Call, _: Version) -> Answer:
        """GET a consignment without its metadata."""
        return OK, documents.consignment(self._find(call), metadata=False)

    def status(self, call: Call, _: Version) -> Answer:
        """GET a consignment's state."""
        return OK, documents.status(self._find(call))

    def deallocate(self, call: Call, _: Version) -> Answer:
        """PUT an end to a booking."""
        reading.no_body(call.body)
        self._engine.deallocate(call.parameters["consignmentReference"], call.arrival)
        return self._switches.current.deallocate_answer, None

    def cancel(self, call: Call, _: Version) -> Answer:
        """PUT a consignment into `Cancelled`."""
        reading.no_body(call.body)
        self._engine.cancel(call.parameters["consignmentReference"], call.arrival)
        return OK, None

    def _allocate(self, call: Call, selection: Selection, version: Version) -> Answer:
        reference, switches = call.parameters["consignmentReference"], self._switches.current
        kind = switches.allocate_answer
        if kind in {"deferred", "deferred_empty"}:
            self._engine.queue(reference, selection, call.arrival)
            outcome = Outcome(reference)
        else:
            outcome = self._attempt(call, reference, selection)
        status = OK if kind == OK else ACCEPTED
        if kind in {"accepted_empty", "deferred_empty"}:
            return status, None
        items = self._presenter.outcomes([outcome], version)
        if switches.single_answer == "array":
            return status, items
        return status, items[0] if items else None

    def _attempt(self, call: Call, reference: str, selection: Selection) -> Outcome:
        try:
            return Outcome(reference, self._engine.allocate(reference, selection, call.arrival)[1])
        except ConsignmentsError as problem:
            if problem.name != "AllocationFailed" or self._switches.current.single_failure == "error":
                raise
            return Outcome(reference, problem=problem)

    def _find(self, call: Call) -> Consignment:
        return self._engine.find(call.parameters["consignmentReference"])

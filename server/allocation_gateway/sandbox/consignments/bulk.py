"""The endpoints that take many consignments. They are done one by one, and answered when all are done."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from allocation_gateway.sandbox.consignments import reading, requests
from allocation_gateway.sandbox.consignments.errors import ConsignmentsError
from allocation_gateway.sandbox.consignments.presenter import ACCEPTED, OK, Outcome
from allocation_gateway.sandbox.consignments.selection import DefaultRules, WithFilters, WithGroup, WithService

if TYPE_CHECKING:
    from collections.abc import Callable

    from allocation_gateway.sandbox.consignments.dialect import Version
    from allocation_gateway.sandbox.consignments.engine import Engine
    from allocation_gateway.sandbox.consignments.presenter import Presenter
    from allocation_gateway.sandbox.consignments.selection import Selection
    from allocation_gateway.sandbox.consignments.single import Answer
    from allocation_gateway.sandbox.consignments.switches import ConsignmentsSwitches
    from allocation_gateway.sandbox.journal import Arrival
    from allocation_gateway.sandbox.messages import Call
    from allocation_gateway.sandbox.switches import SwitchBoard

    Change = Callable[[str, Arrival], None]
    Endpoint = Callable[[Call, Version], Answer]

R = TypeVar("R", bound=requests.AllocateConsignments)

GENERAL_FAILURE = "The operation failed."


def by_default_rules(_: requests.AllocateConsignments) -> Selection:
    """Every service."""
    return DefaultRules()


def by_service(request: requests.AllocateWithCarrierService) -> Selection:
    """The service named."""
    return WithService(request.mpd_carrier_service_reference)


def by_group(request: requests.AllocateWithServiceGroup) -> Selection:
    """The group named."""
    return WithGroup(request.mpd_carrier_service_group_reference)


def by_filters(request: requests.AllocateWithServiceFilters) -> Selection:
    """The services that pass."""
    filters = request.filters
    return WithFilters(filters.service_direction, filters.is_pickup, filters.is_drop_off)


class BulkEndpoints:
    """Each endpoint answers one call with a status and a document, or raises ConsignmentsError."""

    def __init__(self, engine: Engine, presenter: Presenter, switches: SwitchBoard[ConsignmentsSwitches]) -> None:
        self._engine = engine
        self._presenter = presenter
        self._switches = switches

    def allocate(self, kind: type[R], select: Callable[[R], Selection]) -> Endpoint:
        """The endpoint that allocates with what `select` reads from a body of that kind."""

        def endpoint(call: Call, version: Version) -> Answer:
            request = reading.typed(reading.json(call.body), kind)
            references = reading.references(request.consignment_references, self._switches.current)
            return self._allocate(call, references, select(request), version)

        return endpoint

    def change(self, change: Change, message: str, rel: str | None) -> Endpoint:
        """The endpoint that changes the consignments of a bare array, one by one."""

        def endpoint(call: Call, _: Version) -> Answer:
            references = reading.typed(reading.json(call.body), tuple[str, ...])
            return self._change(call, references, change, message, rel)

        return endpoint

    def manifest(self, call: Call, _: Version) -> Answer:
        """PUT consignments on a manifest. The references are a member here and a bare array elsewhere."""
        request = reading.typed(reading.json(call.body), requests.Manifest)
        message = "Consignment {reference} has been manifested successfully."
        return self._change(call, request.consignment_references, self._engine.manifest, message, "Link")

    def _allocate(self, call: Call, references: tuple[str, ...], selection: Selection, version: Version) -> Answer:
        switches = self._switches.current
        self._engine.scope(selection)
        if switches.bulk_bad_reference == "refuses_call":
            for reference in references:
                self._engine.admit(reference, selection)
        outcomes = [self._attempt(call, reference, selection) for reference in references]
        problems = [outcome.problem for outcome in outcomes if outcome.problem is not None]
        if problems and len(problems) == len(outcomes) and switches.bulk_all_failed == "error":
            raise problems[0]
        status = OK if switches.allocate_answer == OK else ACCEPTED
        if switches.allocate_answer in {"accepted_empty", "deferred_empty"}:
            return status, None
        items = self._presenter.outcomes(outcomes, version)
        return status, items[::-1] if switches.bulk_order == "reversed" else items

    def _attempt(self, call: Call, reference: str, selection: Selection) -> Outcome:
        switches = self._switches.current
        try:
            if switches.allocate_answer in {"deferred", "deferred_empty"}:
                self._engine.queue(reference, selection, call.arrival)
                return Outcome(reference)
            return Outcome(reference, self._engine.allocate(reference, selection, call.arrival)[1])
        except ConsignmentsError as problem:
            if switches.bulk_bad_reference == "ends_call":
                raise
            return Outcome(reference, problem=problem)

    def _change(self, call: Call, references: tuple[str, ...], change: Change, message: str, rel: str | None) -> Answer:
        items = []
        for reference in reading.references(references, self._switches.current):
            try:
                change(reference, call.arrival)
            except ConsignmentsError as problem:
                items.append(self._presenter.unchanged(reference, self._failure(problem, reference)))
            else:
                items.append(self._presenter.changed(reference, message.format(reference=reference), rel))
        return OK, items[::-1] if self._switches.current.bulk_order == "reversed" else items

    def _failure(self, problem: ConsignmentsError, reference: str) -> str | None:
        kind = self._switches.current.change_failure_text
        if kind == "null":
            return None
        return GENERAL_FAILURE if kind == "general" else self._presenter.failure_text(problem, reference)

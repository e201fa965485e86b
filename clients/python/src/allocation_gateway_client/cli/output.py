"""What allocctl prints: lines and tables for people, or one line of JSON for each answer."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from google.protobuf.json_format import MessageToDict
from rich.console import Console
from rich.table import Table

from allocation_gateway_client.cli import failures
from allocation_gateway_client.values import money, time

if TYPE_CHECKING:
    from collections.abc import Iterable

    from google.protobuf.message import Message

    from allocation_gateway_client.errors import AllocationError
    from allocation_gateway_client.outcomes import Standing


class Output:
    """Standard output for answers, and standard error for everything else.

    Attributes:
        is_json: Whether programs read it.
        errors: The console of standard error.
    """

    def __init__(self, *, is_json: bool) -> None:
        self.is_json = is_json
        self._answers = Console(highlight=False, soft_wrap=True)
        self.errors = Console(stderr=True, highlight=False, soft_wrap=True)

    def answer(self, response: Message) -> None:
        """Prints the answer of a call."""
        if self.is_json:
            self.json(_fields(response))
        else:
            for part in _described(response):
                self._answers.print(part, markup=False) if isinstance(part, str) else self._answers.print(part)

    def raw(self, response: Message) -> None:
        """Prints an answer as it is."""
        if self.is_json:
            self.json(_fields(response))
        else:
            self._answers.print(json.dumps(_fields(response), indent=2, ensure_ascii=False), markup=False)

    def standing(self, told: Standing[Any]) -> None:
        """Prints how one stands that is watched."""
        if self.is_json:
            found: dict[str, Any] = {"reference": told.reference, "final": told.is_final}
            if told.allocation is not None:
                found["allocation"] = _fields(told.allocation)
            self.json(found if told.error is None else {**found, **failures.as_json(told.error)})
        elif told.error is None:
            self.line(allocated(told.allocation))
        else:
            self.line(f"{told.reference}  {told.error}")

    def line(self, text: str) -> None:
        """Prints a line for people."""
        self._answers.print(text, markup=False)

    def json(self, fields: Any) -> None:
        """Prints a line for programs."""
        print(json.dumps(fields, ensure_ascii=False), flush=True)  # noqa: T201 # a console would wrap and colour it

    def failure(self, error: AllocationError, again: str = "") -> None:
        """Prints why a call failed, and what to do; `again` says how it is repeated if its outcome is unknown."""
        if self.is_json:
            self.json(failures.as_json(error))
        else:
            for number, line in enumerate(failures.lines(error, again)):
                self.errors.print(line, markup=False, style="" if number else "red")


def _fields(message: Message) -> dict[str, Any]:
    return MessageToDict(message, preserving_proto_field_name=True)


def _described(response: Any) -> Iterable[Any]:
    fields = response.DESCRIPTOR.fields_by_name
    if "allocation" in fields:
        yield allocated(response.allocation)
    elif "quotes" in fields:
        yield _quotes(response)
    elif "service_groups" in fields:
        yield _groups(response.service_groups)
    elif "service_group" in fields:
        yield _groups([response.service_group])
    elif "results" in fields:
        yield from (_result(one) for one in response.results)
    elif "queued" in fields:
        yield from _queued(response)
    else:
        yield json.dumps(_fields(response), ensure_ascii=False)
    yield from _labels(response)
    for path in getattr(response, "unreadable", ()):
        yield f"  could not be read: {path}"


def allocated(allocation: Any) -> str:
    """Returns an allocation of either API in one line."""
    is_shipment = "shipment_reference" in allocation.DESCRIPTOR.fields_by_name
    parts = [allocation.shipment_reference if is_shipment else allocation.consignment_reference]
    parts.append(state(allocation))
    if is_shipment:
        parts += [allocation.carrier.name, allocation.carrier.service_name or allocation.carrier.service_reference]
    else:
        parts += [allocation.carrier_name, allocation.carrier_service_name]
    parts.append(price(allocation))
    if is_shipment and allocation.tracking_details.shipment.tracking_references:
        parts.append("tracking " + ", ".join(allocation.tracking_details.shipment.tracking_references))
    if is_shipment and allocation.excluded_services:
        parts.append(f"{len(allocation.excluded_services)} excluded services")
    if allocation.reconciled:
        parts.append("(its answer was lost, and read back)")
    return "  ".join(part for part in parts if part)


def state(allocation: Any) -> str:
    """Returns how something stands, as people say it; empty if the answer does not tell."""
    if not allocation.state:
        return str(allocation.state_text)
    name = str(allocation.DESCRIPTOR.fields_by_name["state"].enum_type.values_by_number[allocation.state].name)
    return name.partition("STATE_")[2].replace("_", " ").lower()


def price(allocation: Any) -> str:
    """Returns what it costs; empty if the answer does not tell."""
    return str(money(allocation.price.gross)) if allocation.price.HasField("gross") else ""


def _queued(response: Any) -> Iterable[str]:
    yield from (f"{reference}  queued" for reference in response.queued)
    for rejection in response.rejected:
        yield from (
            f"{reference}  rejected  {rejection.message or rejection.code}" for reference in rejection.references
        )
    yield from (allocated(one) for one in response.allocations)
    yield from (f"{reference}  not mentioned: it may be queued" for reference in response.unaccounted)


def _result(result: Any) -> str:
    outcome = result.DESCRIPTOR.fields_by_name["outcome"].enum_type.values_by_number[result.outcome].name
    name = outcome.removeprefix("OUTCOME_").lower()
    return "  ".join(part for part in (result.consignment_reference, name, result.description) if part)


def _labels(response: Any) -> Iterable[str]:
    for label in getattr(response, "labels", ()):
        yield f"  label: {len(label.content)} bytes of {label.content_type}"
    if "label_error" in response.DESCRIPTOR.fields_by_name and response.HasField("label_error"):
        yield f"  no label: {response.label_error.message}. Repeat the command: it allocates nothing again."


def _quotes(response: Any) -> Table:
    table = Table("quote", "carrier", "service", "price", "expires", box=None, pad_edge=False)
    for quote in response.quotes:
        is_shipment = "carrier" in quote.DESCRIPTOR.fields_by_name
        carrier = quote.carrier.name if is_shipment else quote.carrier_reference
        service = quote.carrier.service_reference if is_shipment else quote.carrier_service_reference
        expires = time(quote.expires).strftime("%Y-%m-%d %H:%M UTC") if quote.HasField("expires") else ""
        table.add_row(quote.reference, carrier, service, price(quote), expires)
    return table


def _groups(groups: Iterable[Any]) -> Table:
    table = Table("code", "name", "aliases", "api", "known from", box=None, pad_edge=False)
    for group in groups:
        fields = group.DESCRIPTOR.fields_by_name
        api = fields["api"].enum_type.values_by_number[group.api].name.removeprefix("API_").lower()
        source = fields["source"].enum_type.values_by_number[group.source].name
        known = source.removeprefix("SERVICE_GROUP_SOURCE_").lower()
        table.add_row(group.code, group.display_name, ", ".join(group.aliases), api, known)
    return table

"""Bulk calls of the Consignments API, which answer for each consignment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from allocation.v1 import consignment_allocation_service_pb2 as pb
from allocation.v1.error_reason_pb2 import ErrorReason

from allocation_gateway.codecs.consignment_summaries import summaries

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from google.protobuf.message import Message

    from allocation_gateway.codecs.consignment_summaries import Summary
    from allocation_gateway.codecs.findings import Findings
    from allocation_gateway.codecs.json import Object


class NamesConsignments(Protocol):
    """A request for several consignments."""

    @property
    def consignments(self) -> Sequence[str]:
        """The references of the consignments."""


def allocations(response: Callable[..., Message]) -> Callable[[NamesConsignments, Any, Findings], Message]:
    """Makes the decoder of a bulk allocation."""
    return _bulk(response, with_allocation=True)


def deallocations(response: Callable[..., Message]) -> Callable[[NamesConsignments, Any, Findings], Message]:
    """Makes the decoder of a bulk de-allocation."""
    return _bulk(response, with_allocation=False)


def _bulk(
    response: Callable[..., Message], *, with_allocation: bool
) -> Callable[[NamesConsignments, Any, Findings], Message]:
    def decode(request: NamesConsignments, body: object, findings: Findings) -> Message:
        # One bad item does not cost the others: what it does not say is unknown.
        found = {} if body is None else summaries(body, request.consignments, findings.item())
        if body is not None and not isinstance(body, list) and not found:
            findings.decisive.note("body", "an array, or an object that speaks of one of the consignments", body)
            return response()
        return response(
            results=[
                _result(reference, found.get(reference), with_allocation=with_allocation)
                for reference in request.consignments
            ],
            unreadable=findings.claim(),
        )

    return decode


def _result(reference: str, summary: Summary | None, *, with_allocation: bool) -> Object:
    if summary is None:
        return {"consignment_reference": reference, "outcome": pb.OUTCOME_UNKNOWN}
    outcome = {True: pb.OUTCOME_DONE, False: pb.OUTCOME_REJECTED, None: pb.OUTCOME_UNKNOWN}[summary.done]
    fields: Object = {
        "consignment_reference": reference,
        "outcome": outcome,
        "status_code": summary.status_code,
        "description": summary.description,
    }
    if outcome == pb.OUTCOME_DONE and with_allocation:
        named = {"consignment_reference": reference, "unreadable": summary.unreadable}
        fields["allocation"] = {**(summary.allocation or {}), **named}
        return fields
    fields["unreadable"] = summary.unreadable
    if outcome == pb.OUTCOME_REJECTED:
        fields["reason"] = _reason(summary, with_allocation=with_allocation)
    return fields


def _reason(summary: Summary, *, with_allocation: bool) -> ErrorReason.ValueType:
    """Returns the reason that an item's status alone gives. Reading the consignment may give a better one."""
    if summary.status_code == 404:
        return ErrorReason.ERROR_REASON_CONSIGNMENT_NOT_FOUND
    return ErrorReason.ERROR_REASON_ALLOCATION_FAILED if with_allocation else ErrorReason.ERROR_REASON_INVALID_STATE

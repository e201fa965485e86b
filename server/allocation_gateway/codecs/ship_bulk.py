"""Bulk calls of the Ship API: AllocateShipmentsResult, its array variant, and AllocateWithFiltersResult."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from allocation.v1 import shipment_allocation_service_pb2 as pb

from allocation_gateway.codecs import json, nouns
from allocation_gateway.codecs.json import required, string
from allocation_gateway.codecs.ship_allocation import allocate_result

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from google.protobuf.message import Message

    from allocation_gateway.codecs.json import Findings, Object


class NamesShipments(Protocol):
    """A request for several shipments."""

    @property
    def shipments(self) -> Sequence[str]:
        """The references of the shipments."""


def is_bulk_result(body: object) -> bool:
    """Tells whether a body says what was queued and what was rejected, whatever the HTTP status is."""
    return isinstance(body, dict) and any(isinstance(body.get(key), list) for key in ("queued", "rejected"))


def bulk(response: Callable[..., Message]) -> Callable[[NamesShipments, Any, Findings], Message]:
    """Makes the decoder of a bulk rpc. The guides show an object, the OpenAPI documents an array: both are read."""

    def decode(request: NamesShipments, body: object, findings: Findings) -> Message:
        if isinstance(body, list):
            fields = _from_array(body, findings)
            mentioned: Iterable[str] = [item["shipment_reference"] for item in fields["allocations"]]
        elif is_bulk_result(body):
            fields = _from_object(body, findings)  # type: ignore[arg-type]
            rejected = [reference for item in fields["rejected"] for reference in item["references"]]
            mentioned = [*fields["queued"], *rejected]
        else:
            findings.note("body", "an object with `queued` or `rejected`, or an array", body)
            return response()
        # One bad item must not cost the others: what it does not say is unaccounted for.
        findings.fatal = False
        known = set(mentioned)
        fields["unaccounted"] = [reference for reference in request.shipments if reference not in known]
        return response(**fields)

    return decode


def _from_array(body: list[Any], findings: Findings) -> Object:
    return {"allocations": json.children({"body": body}, "body", "", findings, allocate_result)}


def _from_object(source: Object, findings: Findings) -> Object:
    return {
        "queued": json.strings(source, "queued", "", findings),
        "rejected": json.children(source, "rejected", "", findings, _rejection),
        "message": string(source, "message", "", findings),
        "links": nouns.links(source, "", findings),
    }


def _rejection(source: Object, path: str, findings: Findings) -> Object:
    return {
        "code": string(source, "code", path, findings),
        "message": string(source, "message", path, findings),
        "references": json.strings(source, "references", path, findings),
    }


def filtered(
    _: pb.AllocateShipmentsWithFiltersRequest, body: object, findings: Findings
) -> pb.AllocateShipmentsWithFiltersResponse:
    """Reads an AllocateWithFiltersResult."""
    source = json.whole(body, findings)
    fields: Object = {
        "reference": required(source, "reference", "", findings),
        "shipments": json.children(source, "shipments", "", findings, nouns.link),
        "message": string(source, "message", "", findings),
    }
    return pb.AllocateShipmentsWithFiltersResponse(**fields)

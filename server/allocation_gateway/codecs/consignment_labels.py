"""Labels of the Consignments API: the answer to allocate-and-get-labels, and a label on its own."""

from __future__ import annotations

import binascii
import string as characters
from typing import TYPE_CHECKING, Final

from allocation.v1 import consignment_allocation_service_pb2 as pb
from allocation.v1.error_reason_pb2 import ErrorReason

from allocation_gateway.codecs import consignment_common as common
from allocation_gateway.codecs import json
from allocation_gateway.codecs.findings import Findings
from allocation_gateway.codecs.json import string
from allocation_gateway.codecs.statuses import REFUSALS
from allocation_gateway.codecs.values import kind_of

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from allocation_gateway.codecs.json import Object

TYPES: Final = {**common.pascal(dict(pb.LabelType.items()), "LABEL_TYPE_"), "1": 1, "2": 2}
LABEL_RESULTS: Final = {
    **common.pascal(dict(pb.LabelResult.items()), "LABEL_RESULT_"),
    **{str(number): number for number in range(1, 12)},
}
_WHITE_SPACE: Final = characters.whitespace.encode()
_PART: Final = 262_144
# Of these results the consignment is not allocated.
NOT_ALLOCATED: Final = frozenset(
    {
        pb.LABEL_RESULT_CONSIGNMENT_ALLOCATION_FAILED,
        pb.LABEL_RESULT_CONSIGNMENT_CREATION_FAILED,
        pb.LABEL_RESULT_CONSIGNMENT_CREATED,
    }
)
# And these are about the consignment that goes the other way, whatever the type of the label is.
_OF_RETURN: Final = frozenset(
    number for name, number in pb.LabelResult.items() if name.startswith("LABEL_RESULT_RETURN_")
)


def with_labels(
    request: pb.AllocateConsignmentWithLabelsRequest, body: object, findings: Findings
) -> pb.AllocateConsignmentWithLabelsResponse:
    """Reads an AllocateAndGetLabelsResponse: the allocation of the way out, and every label.

    A label that cannot be read is one that is not there: it does not cost the allocation.
    """
    source = json.whole(body, findings)
    if not isinstance(source.get("Responses"), list):
        findings.decisive.note("Responses", "an array", source.get("Responses"))
        return pb.AllocateConsignmentWithLabelsResponse()
    results = json.children(source, "Responses", "", findings, _result)
    ways_out = [item for item in results if not item["is_return"]]
    allocated = next((item for item in ways_out if item["done"]), None)
    for item in results:
        # Only what decides of the result that tells of the allocation is a reason to doubt it.
        (findings if item is allocated or allocated is None else findings.item()).extend(item["found"])
    if allocated is None:
        findings.refused = bool(ways_out) and all(item["done"] is False for item in ways_out)
        if not findings.refused:
            findings.decide("Responses", "does not say what became of the consignment")
        return pb.AllocateConsignmentWithLabelsResponse()
    findings.made = True
    labels = [item["label"] for item in results if item["label"]["content"]]
    without = [path for item in results if not item["label"]["content"] for path in item["label"]["unreadable"]]
    named = {"consignment_reference": request.consignment_reference}
    fields: Object = {
        "allocation": {**allocated["allocation"], **named},
        "labels": labels,
        "unreadable": [*findings.claim(), *without],
    }
    if not any(item["label"]["content"] for item in ways_out):
        fields["label_error"] = no_label(allocated["problem"] or allocated["message"])
    return pb.AllocateConsignmentWithLabelsResponse(**fields)


def without_labels(response: pb.AllocateConsignmentWithLabelsResponse) -> pb.AllocateConsignmentWithLabelsResponse:
    """Returns a response without its labels: they can be had again, and are large."""
    return pb.AllocateConsignmentWithLabelsResponse(allocation=response.allocation)


def no_label(message: str) -> Object:
    """Returns a LabelError for a consignment that is allocated."""
    return {
        "reason": ErrorReason.ERROR_REASON_LABEL_NOT_AVAILABLE,
        "message": message or "Upstream allocated the consignment and gave no label.",
    }


def _is_allocated(result: int, status_code: int, *, names_service: bool, has_label: bool) -> bool | None:
    """Tells whether the consignment was allocated; None if that cannot be said.

    What upstream calls the result decides. Of one that says neither, the status does, together with what only an
    allocated consignment has.
    """
    if result in NOT_ALLOCATED:
        return None if has_label else False
    if result == pb.LABEL_RESULT_CONSIGNMENT_ALLOCATED or has_label:
        return True
    if 200 <= status_code < 300 or not status_code:
        return True if names_service and result != pb.LABEL_RESULT_OPERATION_FAILED else None
    return False if status_code in REFUSALS and not names_service else None


def _result(source: Object, path: str, _: Findings) -> Object:
    """Reads an AllocateAndGetLabelsResult, with findings of its own: of its label, and of all of it.

    How it ended and with which carrier decides, and which way the consignment goes if the result does not tell.
    """
    found, of_label, of_result = Findings(), Findings(), Findings()
    result = common.name_or_number(source, "Result", path, of_result.decisive)
    number = LABEL_RESULTS.get(result.lower(), 0)
    kind = common.name_or_number(source, "LabelType", path, of_label if number else found.decisive)
    # Of the way back only the label is told.
    is_return = TYPES.get(kind.lower()) == pb.LABEL_TYPE_RETURN or number in _OF_RETURN
    (of_label if is_return else found).extend(of_result, of_result.claim())
    message = string(source, "Message", path, found)
    service = string(source, "CarrierServiceReference", path, found.decisive)
    content, problem = _content(source, "LabelContent", path, of_label)
    status_code = common.integer(source, "StatusCode", path, found.decisive)
    label: Object = {
        "label_type": TYPES.get(kind.lower(), 0),
        "label_type_text": kind,
        "content": content,
        "content_type": string(source, "LabelFileType", path, of_label),
        "result": number,
        "result_text": result,
    }
    allocation: Object = {
        "description": message,
        "carrier_reference": string(source, "CarrierReference", path, found.decisive),
        "carrier_name": string(source, "CarrierName", path, found),
        "carrier_service_reference": service,
        "carrier_service_name": string(source, "CarrierServiceName", path, found),
        "legs": common.legs(source, path, found),
        "links": common.links(source, path, found),
    }
    found.extend(of_label)
    return {
        "message": message,
        "is_return": is_return,
        "problem": problem,
        "done": _is_allocated(number, status_code, names_service=bool(service), has_label=bool(content)),
        "label": {**label, "unreadable": of_label.claim()},
        "allocation": {**allocation, "unreadable": found.claim()},
        "found": found,
    }


def _content(source: Object, key: str, path: str, findings: Findings) -> tuple[bytes, str]:
    """Returns a label, and what is wrong with it; both empty if there is none."""
    value = source.get(key)
    if value is None:
        return b"", ""
    if not isinstance(value, str):
        problem = f"expected a string, got {kind_of(value)}"
    else:
        content = _decoded(value)
        if content or not value.strip():
            return content, ""
        problem = "is not base64"
    findings.tell(f"{path}{key}", problem)
    return b"", f"{path}{key}: {problem}"


def _decoded(text: str) -> bytes:
    """Decodes base64, part by part: a large label at once would keep everybody else waiting. Empty if it is none."""
    parts: list[bytes] = []
    rest = b""
    for start in range(0, len(text), _PART):
        encoded = rest + text[start : start + _PART].encode().translate(None, _WHITE_SPACE)
        # Padding is for the end: with more to come, the last four characters wait for it.
        whole = len(encoded) if start + _PART >= len(text) else max(len(encoded) - 4, 0) // 4 * 4
        encoded, rest = encoded[:whole], encoded[whole:]
        try:
            parts.append(binascii.a2b_base64(encoded, strict_mode=True))
        except binascii.Error:
            return b""
        if whole % 4 or (rest and len(parts[-1]) != whole // 4 * 3):
            return b""
    return b"".join(parts)


def label(_: Message, body: object, findings: Findings) -> pb.ConsignmentLabel:
    """Reads the label of a consignment on its own: `{"File": base64, "ContentType": media type}`.

    One source spells the latter `Content-Type`.
    """
    source = json.whole(body, findings)
    content, problem = _content(source, "File", "", findings.decisive)
    if isinstance(body, dict) and not content and not problem:
        findings.decide("File", "is empty")
    content_type = string(source, json.either(source, "ContentType", "Content-Type"), "", findings)
    return pb.ConsignmentLabel(
        label_type=pb.LABEL_TYPE_CONSIGNMENT,
        content=content,
        content_type=content_type,
        unreadable=findings.claim(),
    )

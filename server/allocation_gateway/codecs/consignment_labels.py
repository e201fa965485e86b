"""Labels of the Consignments API: the answer to allocate-and-get-labels, and a label on its own."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Final

from allocation.v1 import consignment_allocation_service_pb2 as pb
from allocation.v1.error_reason_pb2 import ErrorReason

from allocation_gateway.codecs import consignment_nouns as nouns
from allocation_gateway.codecs import json
from allocation_gateway.codecs.json import string

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from allocation_gateway.codecs.json import Findings, Object

TYPES: Final = {**nouns.pascal(dict(pb.LabelType.items()), "LABEL_TYPE_"), "1": 1, "2": 2}
RESULTS: Final = {
    **nouns.pascal(dict(pb.LabelResult.items()), "LABEL_RESULT_"),
    **{str(number): number for number in range(1, 12)},
}
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
    if not isinstance(body, dict) or not isinstance(body.get("Responses"), list):
        findings.note("Responses", "an array", body.get("Responses") if isinstance(body, dict) else body)
        return pb.AllocateConsignmentWithLabelsResponse()
    results = json.children(body, "Responses", "", findings, _result)
    ways_out = [item for item in results if not _is_return(item)]
    allocated = next((item for item in ways_out if item["done"]), None)
    if allocated is None:
        findings.refused = bool(ways_out) and all(item["done"] is False for item in ways_out)
        if not findings.refused:
            findings.append("Responses: does not say what became of the consignment")
        return pb.AllocateConsignmentWithLabelsResponse()
    findings.made = True
    labels = [item["label"] for item in results if item["label"]["content"]]
    fields: Object = {
        "allocation": {**allocated["allocation"], "consignment_reference": request.consignment_reference},
        "labels": labels,
    }
    if not any(item["label"]["content"] for item in ways_out):
        fields["label_error"] = no_label(allocated["problem"] or allocated["message"])
    return pb.AllocateConsignmentWithLabelsResponse(**fields)


def no_label(message: str) -> Object:
    """Returns a LabelError for a consignment that is allocated."""
    return {
        "reason": ErrorReason.ERROR_REASON_LABEL_NOT_AVAILABLE,
        "message": message or "Upstream allocated the consignment and gave no label.",
    }


def _is_return(item: Object) -> bool:
    return item["label"]["label_type"] == pb.LABEL_TYPE_RETURN or item["label"]["result"] in _OF_RETURN


def _is_allocated(result: int, status_code: int, *, names_service: bool, has_label: bool) -> bool | None:
    """Tells whether the consignment was allocated; None if that cannot be said.

    What upstream calls the result decides. Of one that says neither, the status does, together with what only an
    allocated consignment has.
    """
    if result in NOT_ALLOCATED:
        return False
    if result == pb.LABEL_RESULT_CONSIGNMENT_ALLOCATED or has_label:
        return True
    if 200 <= status_code < 300 or not status_code:
        return True if names_service and result != pb.LABEL_RESULT_OPERATION_FAILED else None
    return False if 400 <= status_code < 500 and not names_service else None


def _result(source: Object, path: str, findings: Findings) -> Object:
    kind = nouns.name_or_number(source, "LabelType", path, findings)
    result = nouns.name_or_number(source, "Result", path, findings)
    message = string(source, "Message", path, findings)
    service = string(source, "CarrierServiceReference", path, findings)
    number = RESULTS.get(result.lower(), 0)
    content, problem = _content(source, "LabelContent", path)
    status_code = nouns.integer(source, "StatusCode", path, findings)
    return {
        "message": message,
        "problem": problem,
        "done": _is_allocated(number, status_code, names_service=bool(service), has_label=bool(content)),
        "label": {
            "label_type": TYPES.get(kind.lower(), 0),
            "label_type_text": kind,
            "content": content,
            "content_type": string(source, "LabelFileType", path, findings),
            "result": number,
            "result_text": result,
        },
        "allocation": {
            "description": message,
            "carrier_reference": string(source, "CarrierReference", path, findings),
            "carrier_name": string(source, "CarrierName", path, findings),
            "carrier_service_reference": service,
            "carrier_service_name": string(source, "CarrierServiceName", path, findings),
            "legs": nouns.legs(source, path, findings),
            "links": nouns.links(source, path, findings),
        },
    }


def _content(source: Object, key: str, path: str) -> tuple[bytes, str]:
    """Returns a label, and what is wrong with it; both empty if there is none."""
    findings = json.Findings()
    text = "".join(string(source, key, path, findings).split())
    try:
        content = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        content = b""
    # Python passes over padding that is too much.
    if text and (not content or len(text) % 4):
        return b"", f"{path}{key}: is not base64"
    return content, findings.summary()


def label(_: Message, body: object, findings: Findings) -> pb.ConsignmentLabel:
    """Reads the label of a consignment on its own: `{"File": base64, "ContentType": media type}`."""
    if not isinstance(body, dict):
        findings.note("body", "an object", body)
        return pb.ConsignmentLabel()
    content, problem = _content(body, "File", "")
    if not content:
        findings.append(problem or "File: is empty")
    return pb.ConsignmentLabel(
        label_type=pb.LABEL_TYPE_CONSIGNMENT,
        content=content,
        content_type=string(body, "ContentType", "", findings),
    )

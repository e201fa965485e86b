"""What the properties of answers share: what holds for every error, what comes over the wire, and how it is changed."""

from __future__ import annotations

import copy
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import grpc
from allocation.v1 import error_reason_pb2
from allocation_gateway import errors
from allocation_gateway.upstream import reply
from google.rpc import error_details_pb2
from hypothesis import strategies as st
from support.upstream import Reply

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from allocation_gateway.errors import GatewayError
    from allocation_gateway.operations.model import Operation
    from allocation_gateway.upstream.http import Answer
    from google.protobuf.message import Message
    from support.upstream import Received

REASONS: Final = frozenset(name.removeprefix("ERROR_REASON_") for name, _ in error_reason_pb2.ErrorReason.items()) - {
    "UNSPECIFIED",
    "GATEWAY_DEFECT",
}
EFFECTS: Final = frozenset({"none", "made", "unknown"})
SUCCESSES: Final = (200, 201, 202, 207)
STATUSES: Final = (
    *SUCCESSES,
    *(204, 205, 206, 301, 304, 400, 401, 402, 403, 404, 405, 406, 407, 409, 410, 418, 422, 429),
    *(500, 501, 502, 503, 504, 505, 520, 521, 522, 530, 531, 599, 600, 999),
)
# What exceptions of the libraries in use say, and what tracebacks hold.
TELLTALES: Final = (
    "Traceback",
    "Error:",
    "Exception",
    "malformed",
    "codec can't",
    "Input data",
    "invalid literal",
    "object has no attribute",
    "NoneType",
    "recursion",
    ".py",
    "msgspec",
    "httpx",
    "0x",
)
HEADERS: Final = st.one_of(
    st.just(""),
    st.text(st.characters(codec="latin-1")),
    st.sampled_from(["0", "120", "9" * 5_000, "-1", "1e9", "Wed, 21 Oct 2099 07:28:00 GMT"]),
    st.sampled_from(["Wed, 21 Oct 0000 07:28:00 GMT", "Wed, 21 Oct 2099 07:28:00", "21 Oct 99999999999 7:28:00 GMT"]),
    st.sampled_from(["Wed, 21 Oct 2099 07:28:00 +9999999999999999", "Wed, 21 Oct 9999 23:59:59 -2359"]),
)
STATUS: Final = st.sampled_from(STATUSES) | st.integers(100, 999)


def check_error(operation: Operation, received: Answer, error: GatewayError) -> None:
    """Checks what holds for every error."""
    status = error.status()
    assert error.code is not grpc.StatusCode.OK
    assert error.reason_name in REASONS
    assert errors.wire_size(status) <= errors.TRAILER_BUDGET < 6_000
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info), "the reason comes first"
    assert info.reason == error.reason_name
    assert info.metadata["upstream_status"] == str(received.status)
    assert ("effect" in info.metadata) == operation.action.writes
    effect = info.metadata.get("effect", "none")
    assert effect in EFFECTS
    if effect == "made":
        assert received.status in reply.SUCCESSES
        assert "The operation was carried out." in status.message
    # Of the message nothing is upstream's, whatever is in the details.
    assert not any(telltale in status.message for telltale in TELLTALES), status.message


def resolving(request: Any) -> Callable[[Received], Reply]:
    """Returns what answers readings so that no write stays in doubt: each has just had its effect.

    De-allocations are of shipments and consignments that have `freed` in their names.

    Args:
        request: The write. A consignment shows the group that it was allocated with, and none else.
    """
    group = getattr(request, "service_group", "") or None

    def answer(received: Received) -> Reply:
        reference = received.line.split(" ")[1].rpartition("/")[2]
        now = datetime.now(UTC).isoformat()
        if "/consignments/" in received.line:
            state = "Unallocated" if "freed" in reference else "Allocated"
            booked = {"AllocationDate": now, "CarrierServiceGroupReference": group}
            return Reply(200, {"Reference": reference, "ConsignmentState": state, "Allocation": booked})
        state = "unallocated" if "freed" in reference else "allocated"
        return Reply(200, {"reference": reference, "state": state, "allocation": {"allocation_date": now}})

    return answer


def named(rpc: str, request: Message) -> Any:
    """Returns a request to be made: a de-allocation for what no other names, since one that is read keeps its lock."""
    if not rpc.startswith("Deallocate"):
        return request
    copied: Any = type(request)()
    copied.CopyFrom(request)
    for field in ("shipment_reference", "consignment_reference"):
        if field in copied.DESCRIPTOR.fields_by_name:
            setattr(copied, field, f"freed-{uuid.uuid4()}")
    if "consignments" in copied.DESCRIPTOR.fields_by_name:
        copied.consignments[:] = [f"freed-{uuid.uuid4()}" for _ in copied.consignments]
    return copied


DROPPED: Final = object()
REPLACEMENTS: Final[tuple[Any, ...]] = (
    DROPPED,
    *(None, True, False, 0, -1, 2**63, 10**40, 0.5, 1e-10, "", "text", "0", "2020-01-01T00:00:00Z", "é" * 3_000),
    *([], {}, [None], [[]], [{}], [0], ["a"], {"a": {}}, {"has_value": False}, {"reference": 0}),
)


def places(node: object, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yields the path of every node below a document."""
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in items:
        yield (*path, key)
        yield from places(value, (*path, key))


def mutated(document: Any, path: tuple[Any, ...], replacement: object) -> Any:
    """Returns a document with one node replaced, or without it."""
    changed = copy.deepcopy(document)
    parent = changed
    for key in path[:-1]:
        parent = parent[key]
    if replacement is DROPPED:
        del parent[path[-1]]
    else:
        parent[path[-1]] = replacement
    return changed


def trailers(error: Any) -> int:
    """Returns the size of a failed call's trailers as HTTP/2 counts a list of headers, before base64 is undone."""
    total = 0
    for key, value in error.trailing_metadata():
        size = -(-len(value) // 3) * 4 if key.endswith("-bin") else len(value)
        total += len(key) + size + 32
    return total + len("grpc-message") + 32 + 3 * len(error.details().encode())

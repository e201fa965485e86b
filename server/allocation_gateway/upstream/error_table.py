"""The rows of the error table: the gRPC status and the reason of everything that can go wrong upstream."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from allocation.v1.error_reason_pb2 import ErrorReason
from grpc import StatusCode

if TYPE_CHECKING:
    from collections.abc import Mapping


class ErrorEntry(NamedTuple):
    """A row of the table.

    Attributes:
        code: The gRPC status code.
        reason: The reason in the ErrorInfo.
        message: What callers read.
        missing: The fields that may name what was not found, the first that a request has; none if that is unknown.
        kind: The resource type of what was not found, such as `Shipment`.
    """

    code: StatusCode
    reason: ErrorReason.ValueType
    message: str
    missing: tuple[str, ...] = ()
    kind: str = ""


INVALID = ErrorEntry(
    StatusCode.INVALID_ARGUMENT,
    ErrorReason.ERROR_REASON_INVALID_REQUEST,
    "Upstream finds the request invalid.",
)
STATE = ErrorEntry(
    StatusCode.FAILED_PRECONDITION,
    ErrorReason.ERROR_REASON_INVALID_STATE,
    "The state of the shipment or consignment does not allow this.",
)
FAILED = ErrorEntry(
    StatusCode.FAILED_PRECONDITION,
    ErrorReason.ERROR_REASON_ALLOCATION_FAILED,
    "No carrier service in scope could take the shipment or consignment.",
)
MISMATCH = FAILED._replace(message="The carrier service does not take shipments of this type.")
NO_QUOTES = ErrorEntry(
    StatusCode.FAILED_PRECONDITION,
    ErrorReason.ERROR_REASON_NO_QUOTES_AVAILABLE,
    "There is no quote for the shipment.",
)
CONFLICT = ErrorEntry(
    StatusCode.FAILED_PRECONDITION,
    ErrorReason.ERROR_REASON_UPSTREAM_CONFLICT,
    "The request conflicts with the current state upstream.",
)
GONE = CONFLICT._replace(message="Something that the request needs was removed upstream for good.")
NO_SHIPMENT = ErrorEntry(
    StatusCode.NOT_FOUND,
    ErrorReason.ERROR_REASON_SHIPMENT_NOT_FOUND,
    "Upstream does not know the shipment.",
    ("shipment_reference", "shipments"),
    "Shipment",
)
NO_CONSIGNMENT = ErrorEntry(
    StatusCode.NOT_FOUND,
    ErrorReason.ERROR_REASON_CONSIGNMENT_NOT_FOUND,
    "Upstream does not know the consignment.",
    ("consignment_reference", "consignments"),
    "Consignment",
)
NO_SERVICE = ErrorEntry(
    StatusCode.NOT_FOUND,
    ErrorReason.ERROR_REASON_CARRIER_SERVICE_NOT_FOUND,
    "Upstream does not know the carrier service.",
    ("carrier_service_reference", "virtual_service_reference"),
    "CarrierService",
)
NO_GROUP = ErrorEntry(
    StatusCode.NOT_FOUND,
    ErrorReason.ERROR_REASON_SERVICE_GROUP_NOT_FOUND,
    "Upstream does not know the service group.",
    ("service_group", "virtual_service_reference"),
    "ServiceGroup",
)
NO_VIRTUAL = ErrorEntry(
    StatusCode.NOT_FOUND,
    ErrorReason.ERROR_REASON_VIRTUAL_SERVICE_NOT_FOUND,
    "Upstream knows neither a carrier service nor a service group of this reference.",
    ("virtual_service_reference",),
    "VirtualService",
)
NOT_FOUND = ErrorEntry(
    StatusCode.NOT_FOUND,
    ErrorReason.ERROR_REASON_RESOURCE_NOT_FOUND,
    "Upstream does not know something that the request names, and does not say what.",
)
PROCESSING = ErrorEntry(
    StatusCode.UNAVAILABLE,
    ErrorReason.ERROR_REASON_RESOURCE_PROCESSING,
    "Upstream is still working on the resource.",
)
CREDENTIALS = ErrorEntry(
    StatusCode.INTERNAL,
    ErrorReason.ERROR_REASON_UPSTREAM_CREDENTIALS_REJECTED,
    "Upstream does not accept the gateway's key.",
)
MISCONFIGURED = ErrorEntry(
    StatusCode.INTERNAL,
    ErrorReason.ERROR_REASON_GATEWAY_MISCONFIGURED,
    "Upstream refuses the method or the version header with which the gateway calls it.",
)
THROTTLED = ErrorEntry(
    StatusCode.RESOURCE_EXHAUSTED,
    ErrorReason.ERROR_REASON_UPSTREAM_THROTTLED,
    "Upstream limits the rate of calls.",
)
UPSTREAM_FAILED = ErrorEntry(
    StatusCode.INTERNAL,
    ErrorReason.ERROR_REASON_UPSTREAM_FAILED,
    "Upstream failed with an internal error.",
)
UNAVAILABLE = ErrorEntry(
    StatusCode.UNAVAILABLE,
    ErrorReason.ERROR_REASON_UPSTREAM_UNAVAILABLE,
    "Upstream is not available.",
)
BROKEN = ErrorEntry(
    StatusCode.INTERNAL,
    ErrorReason.ERROR_REASON_UPSTREAM_CONTRACT_BROKEN,
    "Upstream's answer is not as documented",
)
PROXY = MISCONFIGURED._replace(
    message="A proxy between the gateway and upstream refuses the gateway's credentials (HTTP 407)."
)
NETWORK = MISCONFIGURED._replace(
    message="The network between the gateway and upstream lets nobody through without signing in (HTTP 511)."
)

BY_STATUS: Final[Mapping[int, ErrorEntry]] = {
    400: INVALID,
    401: CREDENTIALS,
    403: CREDENTIALS,
    404: NOT_FOUND,
    405: MISCONFIGURED,
    407: PROXY,
    409: CONFLICT,
    410: GONE,
    429: THROTTLED,
    500: UPSTREAM_FAILED,
    502: UNAVAILABLE,
    503: UNAVAILABLE,
    504: UNAVAILABLE,
    511: NETWORK,
    531: NO_QUOTES,
}

# What the same statuses say if nothing of upstream's own comes with them: it may be somebody in front of it who speaks.
BY_STATUS_ALONE: Final[Mapping[int, ErrorEntry]] = {
    401: CREDENTIALS._replace(
        message="Upstream, or a proxy in front of it, does not accept the gateway's credentials (HTTP 401)."
    ),
    403: CREDENTIALS._replace(message="Upstream, or a proxy in front of it, refuses to serve the gateway (HTTP 403)."),
    405: MISCONFIGURED._replace(
        message="Upstream, or a proxy in front of it, refuses the method of the request (HTTP 405)."
    ),
    407: PROXY,
    429: THROTTLED._replace(message="Upstream, or a proxy in front of it, limits the rate of calls (HTTP 429)."),
    500: UPSTREAM_FAILED,
    502: UNAVAILABLE,
    503: UNAVAILABLE,
    504: UNAVAILABLE,
    511: NETWORK,
}

# What is missing if the one thing that a request names is not found.
BY_RESOURCE: Final[Mapping[str, ErrorEntry]] = {
    "shipment_reference": NO_SHIPMENT,
    "consignment_reference": NO_CONSIGNMENT,
}

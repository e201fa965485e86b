"""The client of the allocation gateway: calls that are safe to repeat, and errors that say what to do."""

from allocation_gateway_client.aio import AsyncClient
from allocation_gateway_client.client import Client
from allocation_gateway_client.connecting import Tls
from allocation_gateway_client.errors import (
    AllocationError,
    GatewayFailure,
    InvalidRequest,
    InvalidState,
    NoServiceAvailable,
    NotFound,
    NotPermitted,
    NotSupported,
    Refused,
    TryAgain,
    UnknownOutcome,
)
from allocation_gateway_client.failure import FieldViolation, Resource
from allocation_gateway_client.policy import SERVICE_CONFIG
from allocation_gateway_client.values import Money, decimal, money, time

__all__ = [
    "SERVICE_CONFIG",
    "AllocationError",
    "AsyncClient",
    "Client",
    "FieldViolation",
    "GatewayFailure",
    "InvalidRequest",
    "InvalidState",
    "Money",
    "NoServiceAvailable",
    "NotFound",
    "NotPermitted",
    "NotSupported",
    "Refused",
    "Resource",
    "Tls",
    "TryAgain",
    "UnknownOutcome",
    "decimal",
    "money",
    "time",
]

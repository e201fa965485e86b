"""The client of the allocation gateway: calls that are safe to repeat, and errors that say what to do."""

from allocation_gateway_client.aio import AsyncClient
from allocation_gateway_client.aio_lasting import AsyncJob, AsyncWatch
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
    UnfinishedJob,
    UnknownOutcome,
)
from allocation_gateway_client.failure import FieldViolation, Resource
from allocation_gateway_client.lasting import Job, Watch
from allocation_gateway_client.outcomes import JobSummary, Outcome, OutcomeKind, Standing
from allocation_gateway_client.policy import SERVICE_CONFIG
from allocation_gateway_client.values import Money, decimal, money, time

__all__ = [
    "SERVICE_CONFIG",
    "AllocationError",
    "AsyncClient",
    "AsyncJob",
    "AsyncWatch",
    "Client",
    "FieldViolation",
    "GatewayFailure",
    "InvalidRequest",
    "InvalidState",
    "Job",
    "JobSummary",
    "Money",
    "NoServiceAvailable",
    "NotFound",
    "NotPermitted",
    "NotSupported",
    "Outcome",
    "OutcomeKind",
    "Refused",
    "Resource",
    "Standing",
    "Tls",
    "TryAgain",
    "UnfinishedJob",
    "UnknownOutcome",
    "Watch",
    "decimal",
    "money",
    "time",
]

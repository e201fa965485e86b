"""The semantic conventions for RPC and HTTP, as far as the gateway follows them: names, attributes, buckets.

The conventions are still changing, so the attributes that several modules need are kept here. The names of metrics are
in instruments.py.
"""

from __future__ import annotations

import enum
from functools import lru_cache
from typing import TYPE_CHECKING, Final, TypeAlias
from urllib.parse import urlsplit

from allocation_gateway.settings import DEFAULT_ACCOUNT

if TYPE_CHECKING:
    from collections.abc import Mapping

    Attributes: TypeAlias = Mapping[str, str | int]
    # What identifies a kind of call: rpc, gRPC status code, reason, and the account.
    Call: TypeAlias = tuple[str, str, str, str]
    # What identifies a kind of upstream request, whatever it is about: HTTP method, path template, base URL, why, and
    # the account.
    Route: TypeAlias = tuple[str, str, str, "AttemptKind", str]

SCOPE: Final = "allocation_gateway"
"""The instrumentation scope of every span, metric and log record."""
STATE: Final = "{state}"
"""The unit of a gauge that tells how something is. Of 1, a Collector's page for Prometheus would make a ratio."""
RPC_METHOD: Final = "rpc.method"
ERROR_TYPE: Final = "error.type"
REASON: Final = "allocation_gateway.reason"
"""Why a call has failed, whoever is at fault: a value of ErrorReason, of which there are few."""
ATTEMPT_KIND: Final = "allocation_gateway.attempt.kind"
ACCOUNT: Final = "allocation_gateway.account"
"""The account that a request to upstream is for, or the connections to it are, unless it is that of the settings."""
WORKER: Final = "allocation_gateway.worker"
"""The attribute of the resource that tells several workers apart."""
CONNECTION_STATE: Final = "http.connection.state"
DURATION_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
"""The upper bounds that both conventions advise, in seconds."""
STORE_BUCKETS: Final = (0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1)
"""The upper bounds for a server nearby, which mostly answers within the first of the advised ones, in seconds."""
_RPC_SYSTEM: Final = "rpc.system.name"
_RPC_STATUS: Final = "rpc.response.status_code"
_HTTP_STATUS: Final = "http.response.status_code"
# The status codes that the conventions count as errors of the server. The others are errors of its caller.
_SERVER_ERRORS: Final = frozenset(
    {"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"}
)
_FIRST_ERROR_STATUS: Final = 400
NOT_SENT: Final = "not_sent"
"""The kind of error of a request of which nothing was sent: it was called off, or came too late to be sent."""
CANCELLED: Final = "cancelled"
"""The kind of error of a request that its caller did not wait for, although there was time left."""
CALLER_TIMED_OUT: Final = "deadline_exceeded"
"""The kind of error of a request that was not answered until the deadline of its caller."""
# What tells nothing of upstream.
_NO_FAULT: Final = frozenset({NOT_SENT, CANCELLED})


class AttemptKind(enum.Enum):
    """Why a request is sent to upstream."""

    FIRST = "first"
    """A call asks for it."""
    WATCH = "watch"
    """It is read how something stands, until it is final, for all streams and watches that wait for it."""
    LISTING = "listing"
    """The gateway reads upstream's list of service groups, of its own accord."""
    REPEAT = "repeat"
    """The same was sent before."""
    READ_BEFORE = "read_before"
    """How a shipment stands is read before it is written."""
    READ_BACK = "read_back"
    """A write is in doubt, and it is read what became of it."""
    FOLLOW_UP = "follow_up"
    """It completes the answer of another request, or explains it."""

    # Enum's own is a function in Python, and each request looks its series up.
    __hash__ = object.__hash__


def is_server_error(code: str) -> bool:
    """Returns whether a gRPC status code is an error of the server rather than of its caller."""
    return code in _SERVER_ERRORS


def is_request_error(outcome: int | str) -> bool:
    """Returns whether an HTTP request has failed.

    Args:
        outcome: Its HTTP status, or the kind of error if it has got no response.
    """
    return isinstance(outcome, str) or outcome >= _FIRST_ERROR_STATUS


def is_request_fault(outcome: int | str) -> bool:
    """Returns whether an HTTP request has failed, and not only since nobody has waited for it any more."""
    return is_request_error(outcome) and outcome not in _NO_FAULT


@lru_cache(maxsize=256)
def rpc_attributes(method: str) -> Attributes:
    """Returns the attributes that every call of an rpc has."""
    return {_RPC_SYSTEM: "grpc", RPC_METHOD: method}


def status_attributes(code: str) -> Attributes:
    """Returns the attributes that tell a gRPC status code."""
    return {_RPC_STATUS: code}


def call_attributes(call: Call) -> Attributes:
    """Returns the attributes of a call, by its rpc, gRPC status code, reason, which may be empty, and account."""
    method, code, reason, account = call
    error = {ERROR_TYPE: reason or code} if is_server_error(code) else {}
    why = {REASON: reason} if reason else {}
    of = account_attributes(account, ACCOUNT)
    return {**rpc_attributes(method), **status_attributes(code), **error, **why, **of}


def server_attributes(base_url: str) -> Attributes:
    """Returns the attributes of what has to do with the server at a URL."""
    parts = urlsplit(base_url)
    default = 443 if parts.scheme == "https" else 80
    return {"server.address": parts.hostname or "", "server.port": parts.port or default}


def account_attributes(account: str, key: str = "account") -> Attributes:
    """Returns the attribute that names an account: none for the one that the settings are of."""
    return {} if account == DEFAULT_ACCOUNT else {key: account}


@lru_cache(maxsize=1024)
def route_attributes(route: Route) -> Attributes:
    """Returns the attributes that every upstream request of a route has."""
    method, template, base_url, kind, account = route
    own = {"http.request.method": method, "url.template": template, ATTEMPT_KIND: kind.value}
    return {**own, **server_attributes(base_url), **account_attributes(account, ACCOUNT)}


def request_attributes(request: tuple[Route, int | str]) -> Attributes:
    """Returns the attributes of an upstream request, by its route and its HTTP status or kind of error."""
    route, outcome = request
    status = {_HTTP_STATUS: outcome} if isinstance(outcome, int) else {}
    error = {ERROR_TYPE: str(outcome)} if is_request_error(outcome) else {}
    return {**route_attributes(route), **status, **error}

"""The semantic conventions for RPC and HTTP, as far as the gateway follows them: names, attributes, buckets.

Current names, in one place because they are still moving.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final, TypeAlias
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

    Attributes: TypeAlias = Mapping[str, str | int]
    # What upstream requests have in common that differ only in what they are about: method, template, base URL.
    Route: TypeAlias = tuple[str, str, str]

_RPC_SYSTEM: Final = "rpc.system.name"
RPC_METHOD: Final = "rpc.method"
_RPC_STATUS: Final = "rpc.response.status_code"
_HTTP_STATUS: Final = "http.response.status_code"
ERROR_TYPE: Final = "error.type"
# A server span is red only for what is the server's own fault.
_SERVER_ERRORS: Final = frozenset(
    {"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"}
)
_HTTP_ERROR: Final = 400
# The buckets that both conventions advise, in seconds.
BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)


def is_server_error(code: str) -> bool:
    """Tells whether a gRPC status code is the server's fault rather than its caller's."""
    return code in _SERVER_ERRORS


def is_request_error(outcome: int | str) -> bool:
    """Tells whether a request has failed, by its HTTP status, or the kind of error for which it has none."""
    return isinstance(outcome, str) or outcome >= _HTTP_ERROR


@lru_cache(maxsize=256)
def of_method(method: str) -> Attributes:
    """Returns the attributes that every call of an rpc has."""
    return {_RPC_SYSTEM: "grpc", RPC_METHOD: method}


def of_call(call: tuple[str, str]) -> Attributes:
    """Returns the attributes of a call, by its rpc and its gRPC status code."""
    method, code = call
    error = {ERROR_TYPE: code} if is_server_error(code) else {}
    return {**of_method(method), _RPC_STATUS: code, **error}


@lru_cache(maxsize=256)
def of_route(route: Route) -> Attributes:
    """Returns the attributes that every upstream request of a route has."""
    method, template, base_url = route
    parts = urlsplit(base_url)
    default = 443 if parts.scheme == "https" else 80
    server: Attributes = {"server.address": parts.hostname or "", "server.port": parts.port or default}
    return {"http.request.method": method, "url.template": template, **server}


def of_request(request: tuple[Route, int | str]) -> Attributes:
    """Returns the attributes of an upstream request, by its route and its HTTP status or kind of error."""
    route, outcome = request
    status = {_HTTP_STATUS: outcome} if isinstance(outcome, int) else {}
    error = {ERROR_TYPE: str(outcome)} if is_request_error(outcome) else {}
    return {**of_route(route), **status, **error}

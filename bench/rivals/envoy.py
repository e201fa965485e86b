"""Envoy's configuration, as the documentation of its reverse transcoder has it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from pathlib import Path

# The largest number of calls in flight that is measured: neither side may be what limits it.
_MAX_IN_FLIGHT: Final = 8192
_TYPE: Final = "type.googleapis.com/envoy.extensions"


def configuration(upstream: str, descriptors: Path, ca_file: Path | None) -> dict[str, Any]:
    """Returns a configuration with `{port}` for the port to listen on.

    Args:
        upstream: The URL of the REST API.
        descriptors: The schema with its `google.api.http` rules.
        ca_file: The authorities that vouch for upstream, PEM; None without TLS.
    """
    listener = {
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": "{port}"}},
        "filter_chains": [{"filters": [{"name": "http", "typed_config": _connections(descriptors)}]}],
    }
    return {"static_resources": {"listeners": [listener], "clusters": [_cluster(upstream, ca_file)]}}


def _connections(descriptors: Path) -> dict[str, Any]:
    prefix = "/allocation.v1.ShipmentAllocationService/"
    headers = [
        {"header": {"key": key, "value": text}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
        for key, text in (("x-api-key", "bench"), ("x-api-version", "1.1"))
    ]
    route = {
        "match": {"prefix": prefix},
        "route": {"cluster": "upstream", "timeout": "60s"},
        "request_headers_to_add": headers,
    }
    # The filter replaces the path, and the route is looked up once more by the new one.
    rest = {**route, "match": {"prefix": "/shipments/"}}
    return {
        "@type": f"{_TYPE}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "bench",
        "codec_type": "HTTP2",
        "http2_protocol_options": {"max_concurrent_streams": _MAX_IN_FLIGHT},
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route, rest]}]},
        "http_filters": [
            {
                "name": "envoy.filters.http.grpc_json_reverse_transcoder",
                "typed_config": {
                    "@type": f"{_TYPE}.filters.http.grpc_json_reverse_transcoder.v3.GrpcJsonReverseTranscoder",
                    "descriptor_path": str(descriptors),
                },
            },
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": f"{_TYPE}.filters.http.router.v3.Router"},
            },
        ],
    }


def _cluster(upstream: str, ca_file: Path | None) -> dict[str, Any]:
    parts = urlsplit(upstream)
    address = {"socket_address": {"address": parts.hostname, "port_value": parts.port}}
    limits = dict.fromkeys(("max_connections", "max_pending_requests", "max_requests"), _MAX_IN_FLIGHT)
    cluster: dict[str, Any] = {
        "name": "upstream",
        "type": "STATIC",
        "circuit_breakers": {"thresholds": [limits]},
        "load_assignment": {
            "cluster_name": "upstream",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        },
    }
    if ca_file is not None:
        cluster["transport_socket"] = {
            "name": "envoy.transport_sockets.tls",
            "typed_config": {
                "@type": f"{_TYPE}.transport_sockets.tls.v3.UpstreamTlsContext",
                "common_tls_context": {"validation_context": {"trusted_ca": {"filename": str(ca_file)}}},
            },
        }
    return cluster

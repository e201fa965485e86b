"""Envoy and nginx in front of gateways, in plain text and with TLS, by configurations that lose no call."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_TYPE: Final = "type.googleapis.com/envoy.extensions"
_HTTP2: Final = {
    "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
        "@type": f"{_TYPE}.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {"http2_protocol_options": {}},
    }
}


def _address(address: str) -> dict[str, Any]:
    host, _, port = address.rpartition(":")
    return {"socket_address": {"address": host, "port_value": int(port)}}


def envoy(listening: Mapping[str, str], gateways: Mapping[str, Sequence[str]], files: Mapping[str, str]) -> str:
    """Returns a configuration of Envoy.

    Args:
        listening: Where to listen, by `plain` and `tls`.
        gateways: The gateways behind each.
        files: The authority's certificate, and the certificate and key to serve with.
    """
    return json.dumps(
        {
            "static_resources": {
                "listeners": [_listener(name, address, files) for name, address in listening.items()],
                "clusters": [_cluster(name, addresses, files) for name, addresses in gateways.items()],
            }
        }
    )


def _listener(name: str, address: str, files: Mapping[str, str]) -> dict[str, Any]:
    route = {
        "cluster": name,
        "timeout": "60s",
        "retry_policy": {
            "retry_on": "connect-failure,refused-stream,reset-before-request",
            "num_retries": 3,
            "retry_host_predicate": [
                {
                    "name": "envoy.retry_host_predicates.previous_hosts",
                    "typed_config": {"@type": f"{_TYPE}.retry.host.previous_hosts.v3.PreviousHostsPredicate"},
                }
            ],
        },
    }
    manager = {
        "@type": f"{_TYPE}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": name,
        "codec_type": "HTTP2",
        "route_config": {"virtual_hosts": [{"name": name, "domains": ["*"], "routes": [_all(route)]}]},
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": f"{_TYPE}.filters.http.router.v3.Router"},
            }
        ],
    }
    chain: dict[str, Any] = {"filters": [{"name": "http", "typed_config": manager}]}
    if name == "tls":
        own = {"certificate_chain": {"filename": files["certificate"]}, "private_key": {"filename": files["key"]}}
        chain["transport_socket"] = _tls("Downstream", {"tls_certificates": [own]})
    return {"name": name, "address": _address(address), "filter_chains": [chain]}


def _all(route: Mapping[str, Any]) -> dict[str, Any]:
    return {"match": {"prefix": "/"}, "route": route}


def _cluster(name: str, addresses: Sequence[str], files: Mapping[str, str]) -> dict[str, Any]:
    endpoints = [{"endpoint": {"address": _address(address)}} for address in addresses]
    cluster: dict[str, Any] = {
        "name": name,
        "type": "STATIC",
        "typed_extension_protocol_options": _HTTP2,
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": endpoints}]},
    }
    if name == "tls":
        trusted = {"validation_context": {"trusted_ca": {"filename": files["authority"]}}}
        cluster["transport_socket"] = _tls("Upstream", trusted)
    return cluster


def _tls(side: str, common: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": f"{_TYPE}.transport_sockets.tls.v3.{side}TlsContext",
            "common_tls_context": {"alpn_protocols": ["h2"], **common},
        },
    }


def nginx(
    folder: Path, listening: Mapping[str, str], gateways: Mapping[str, Sequence[str]], files: Mapping[str, str]
) -> str:
    """Returns a configuration of nginx, with the limits of docs/proxies.md. See envoy()."""
    upstreams = "".join(
        f"upstream {name} {{ {' '.join(f'server {address};' for address in addresses)} keepalive 64; }}\n"
        for name, addresses in gateways.items()
    )
    temporary = "".join(
        f"{kind}_temp_path {folder}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    server = (
        "keepalive_requests 100000000; keepalive_time 7d; http2_max_concurrent_streams 1024;"
        "grpc_read_timeout 60s; client_body_timeout 60s;"
    )
    own = f"ssl_certificate {files['certificate']}; ssl_certificate_key {files['key']};"
    trusted = f"grpc_ssl_verify on; grpc_ssl_trusted_certificate {files['authority']}; grpc_ssl_name localhost;"
    return f"""
daemon off;
pid {folder}/pid;
master_process off;
worker_rlimit_nofile 65536;
error_log {folder}/error.log warn;
events {{ worker_connections 16384; }}
http {{
    access_log off;
    {temporary}
    {upstreams}
    server {{ listen {listening["plain"]} http2; {server} location / {{ grpc_pass grpc://plain; }} }}
    server {{ listen {listening["tls"]} ssl http2; {server} {own} location / {{ grpc_pass grpcs://tls; {trusted} }} }}
}}
"""

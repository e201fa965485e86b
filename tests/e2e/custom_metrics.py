"""Stands in for prometheus-adapter: tells Kubernetes a metric of pods, as their own pages for Prometheus have it."""

from __future__ import annotations

import base64
import datetime as dt
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs, quote, unquote, urlsplit

import httpx
from support.certificates import Authority

from e2e.control_plane import NAMESPACE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from e2e.control_plane import Kubernetes, Object

METRIC: Final = "allocation_gateway_calls_in_hand"
_ADDRESS: Final = "10.64.254.3"
_NAME: Final = "custom-metrics"
_GROUP: Final = "custom.metrics.k8s.io"
_VERSION: Final = "v1beta2"
_PAGE: Final = 9464


def series(address: str, name: str) -> dict[str, float]:
    """Returns a metric of a pod, by its labels."""
    text = httpx.get(f"http://{address}:{_PAGE}/metrics", timeout=5, trust_env=False).raise_for_status().text
    found: dict[str, float] = {}
    for line in text.splitlines():
        labels, _, value = line.rpartition(" ")
        if labels.partition("{")[0] == name:
            found[labels.removeprefix(name)] = float(value)
    return found


class _Handler(BaseHTTPRequestHandler):
    kubernetes: Kubernetes

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        base = f"/apis/{_GROUP}/{_VERSION}"
        pods = f"{base}/namespaces/{NAMESPACE}/pods/*/{METRIC}"
        if url.path == base:
            resource = {"name": f"pods/{METRIC}", "singularName": "", "namespaced": True}
            resource |= {"kind": "MetricValueList", "verbs": ["get"]}
            self._answer(
                {
                    "kind": "APIResourceList",
                    "apiVersion": "v1",
                    "groupVersion": f"{_GROUP}/{_VERSION}",
                    "resources": [resource],
                }
            )
        elif unquote(url.path) == pods:
            self._answer(self._values(parse_qs(url.query).get("labelSelector", [""])[0]))
        else:
            self.send_error(404)

    def _values(self, selector: str) -> Object:
        found = self.kubernetes.items(f"/api/v1/namespaces/{NAMESPACE}/pods?labelSelector={quote(selector)}")
        items = []
        for pod in found:
            try:
                value = sum(series(pod["status"]["podIP"], METRIC).values())
            except (KeyError, httpx.HTTPError):
                # It has no page yet, or none any more.
                continue
            items.append(
                {
                    "describedObject": {
                        "kind": "Pod",
                        "apiVersion": "v1",
                        "namespace": NAMESPACE,
                        "name": pod["metadata"]["name"],
                    },
                    "metric": {"name": METRIC},
                    "timestamp": dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
                    "value": f"{round(value * 1000)}m",
                }
            )
        return {
            "kind": "MetricValueList",
            "apiVersion": f"{_GROUP}/{_VERSION}",
            "metadata": {},
            "items": items,
        }

    def _answer(self, body: Object) -> None:
        content = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its base class calls it so
        pass


@contextmanager
def serving_custom_metrics(kubernetes: Kubernetes, folder: Path) -> Iterator[None]:
    """Serves it as a part of the API of the cluster, until the end of the block."""
    authority = Authority(folder, "custom-metrics")
    handler = type("Handler", (_Handler,), {"kubernetes": kubernetes})
    server = ThreadingHTTPServer((_ADDRESS, 443), handler)
    context = authority.server_context(host=f"{_NAME}.{NAMESPACE}.svc")
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    kubernetes.stand_in(_NAME, _ADDRESS, 443, headless=False)
    path = "/apis/apiregistration.k8s.io/v1/apiservices"
    name = f"{_VERSION}.{_GROUP}"
    kubernetes.call(
        "POST",
        path,
        {
            "apiVersion": "apiregistration.k8s.io/v1",
            "kind": "APIService",
            "metadata": {"name": name},
            "spec": {
                "group": _GROUP,
                "version": _VERSION,
                "groupPriorityMinimum": 100,
                "versionPriority": 100,
                "service": {"namespace": NAMESPACE, "name": _NAME, "port": 443},
                "caBundle": base64.b64encode(authority.file.read_bytes()).decode(),
            },
        },
    ).raise_for_status()
    try:
        yield
    finally:
        kubernetes.call("DELETE", f"{path}/{name}")
        server.shutdown()
        thread.join()
        server.server_close()

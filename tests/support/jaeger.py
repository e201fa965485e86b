"""A real OpenTelemetry Collector that keeps traces in memory: Jaeger, which is a build of it with queries."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import httpx
import pytest
from google.protobuf.json_format import ParseDict
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from support.cache import free_port
from support.prometheus import asking, wait_until_ready

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

PROGRAM: Final = Path(__file__).resolve().parents[2] / ".cache" / "jaeger" / "jaeger"
_IDS: Final = frozenset({"traceId", "spanId", "parentSpanId"})
_STORAGE: Final = "memory"
_SENDERS: Final = "basicauth/senders"


@dataclass(frozen=True)
class Options:
    """What is not as usual.

    Attributes:
        processors: What traces pass before they are kept, by name and in that order.
        password: What senders have to give, as `name:password`; nothing if they need not.
        encodings: How OTLP over HTTP has to be compressed; none if as the sender likes.
        forward_to: A collector that gets the traces too, by OTLP over gRPC.
    """

    processors: Mapping[str, Any] = field(default_factory=dict)
    password: str = ""
    encodings: Sequence[str] = ()
    forward_to: str = ""


@dataclass
class Jaeger:
    """A collector that can be killed and started again, at the same ports and without the traces that it had.

    Attributes:
        folder: Where its configuration and its log are.
    """

    folder: Path
    options: Options = field(default_factory=Options)
    _ports: dict[str, int] = field(default_factory=dict)
    _process: subprocess.Popen[bytes] | None = None

    def address(self, name: str) -> str:
        """Returns where something listens, as host:port: `grpc` or `http` (OTLP), `query`, `metrics`, and its own."""
        return f"127.0.0.1:{self._ports.setdefault(name, free_port())}"

    def endpoint(self, protocol: str = "grpc") -> str:
        """Returns where it takes OTLP by a protocol, `grpc` or `http/protobuf`, as the standard variables have it."""
        return f"http://{self.address(protocol.partition('/')[0])}"

    @property
    def url(self) -> str:
        """Where its page and its query API are."""
        return f"http://{self.address('query')}"

    @property
    def log(self) -> str:
        """What it has logged so far, which includes the log records that it was sent."""
        return (self.folder / "jaeger.log").read_text()

    def start(self) -> None:
        """Starts it, and waits until it says that it is healthy."""
        config = self.folder / "jaeger.json"
        config.write_text(json.dumps(self._config()))
        with (self.folder / "jaeger.log").open("ab") as log:
            # Its own spans would go to the port where a collector usually is, whoever that is of.
            quiet = {**os.environ, "OTEL_TRACES_SAMPLER": "always_off"}
            self._process = subprocess.Popen([PROGRAM, "--config", config], stdout=log, stderr=log, env=quiet)
        with asking(f"http://{self.address('health')}") as client:
            wait_until_ready(client, "/status")

    def kill(self) -> None:
        """Ends it at once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def trace(self, trace_id: str) -> TracesData:
        """Returns what it has of a trace, which may be nothing."""
        with asking(self.url) as client:
            answer = client.get(f"/api/v3/traces/{trace_id}")
        if answer.status_code == httpx.codes.NOT_FOUND:
            return TracesData()
        found = answer.raise_for_status().json()["result"]
        return ParseDict(_with_base64_ids(found), TracesData(), ignore_unknown_fields=True)

    def asked(self, path: str, **parameters: str) -> Any:
        """Returns what it answers by the API of its page."""
        with asking(self.url) as client:
            return client.get(f"/api/{path}", params=parameters).raise_for_status().json()["data"]

    def page(self, name: str) -> str:
        """Returns a page for Prometheus: `metrics`, of those that it was sent, or `own`, of its own."""
        with asking(f"http://{self.address(name)}") as client:
            return client.get("/metrics").raise_for_status().text

    def _config(self) -> dict[str, Any]:
        options = self.options
        senders: dict[str, Any] = {"auth": {"authenticator": _SENDERS}} if options.password else {}
        encodings = {"compression_algorithms": [*options.encodings]} if options.encodings else {}
        exporters: dict[str, Any] = {
            "jaeger_storage_exporter": {"trace_storage": _STORAGE},
            "prometheus": {"endpoint": self.address("metrics"), "enable_open_metrics": True},
            "debug": {"verbosity": "detailed"},
        }
        kept = ["jaeger_storage_exporter"]
        if options.forward_to:
            exporters["otlp"] = {"endpoint": options.forward_to.removeprefix("http://"), "tls": {"insecure": True}}
            kept.append("otlp")
        extensions: dict[str, Any] = {
            "jaeger_storage": {"backends": {_STORAGE: {"memory": {"max_traces": 100_000}}}},
            "jaeger_query": {
                "storage": {"traces": _STORAGE},
                "http": {"endpoint": self.address("query")},
                "grpc": {"endpoint": self.address("query over gRPC")},
            },
            "healthcheckv2": {"use_v2": True, "http": {"endpoint": self.address("health")}},
        }
        if options.password:
            extensions[_SENDERS] = {"htpasswd": {"inline": options.password}}
        own = {"host": "127.0.0.1", "port": int(self.address("own").rpartition(":")[2])}
        return {
            "extensions": extensions,
            "receivers": {
                "otlp": {
                    "protocols": {
                        "grpc": {"endpoint": self.address("grpc"), **senders},
                        "http": {"endpoint": self.address("http"), **senders, **encodings},
                    }
                }
            },
            "processors": options.processors,
            "exporters": exporters,
            "service": {
                "extensions": [*extensions],
                "pipelines": {
                    "traces": {"receivers": ["otlp"], "processors": [*options.processors], "exporters": kept},
                    "metrics": {"receivers": ["otlp"], "exporters": ["prometheus"]},
                    "logs": {"receivers": ["otlp"], "exporters": ["debug"]},
                },
                "telemetry": {
                    "metrics": {"level": "detailed", "readers": [{"pull": {"exporter": {"prometheus": own}}}]}
                },
            },
        }


def _with_base64_ids(found: Any) -> Any:
    """Returns JSON with its ids as protobuf has them: those of OTLP are hexadecimal."""
    if isinstance(found, list):
        return [_with_base64_ids(one) for one in found]
    if not isinstance(found, dict):
        return found
    return {
        name: base64.b64encode(bytes.fromhex(value)).decode() if name in _IDS else _with_base64_ids(value)
        for name, value in found.items()
    }


@contextmanager
def running_jaeger(folder: Path, options: Options | None = None) -> Iterator[Jaeger]:
    """Runs a collector whose configuration and log are in a folder."""
    if not PROGRAM.exists():
        pytest.fail(f"{PROGRAM} is missing: `make test-jaeger` builds it", pytrace=False)
    jaeger = Jaeger(folder, options or Options())
    jaeger.start()
    try:
        yield jaeger
    finally:
        jaeger.kill()

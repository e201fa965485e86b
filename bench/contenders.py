"""Who is measured: one entry for each gateway and each way to configure ours."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Final

from bench import payloads
from bench.building import DESCRIPTORS, envoy
from bench.credentials import Credentials, credentials
from bench.machine import CACHE, script
from bench.processes import Program
from bench.rivals.envoy import configuration

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path


@dataclass(frozen=True)
class Surroundings:
    """What a gateway is put into.

    Attributes:
        upstream: The URL of the REST API.
        ca_file: The authorities that vouch for it, PEM; None without TLS.
        telemetry: Where telemetry is taken, by OTLP over HTTP.
        store: The URL of an empty store of claims.
        raised: Whether limits are raised to what 4,000 calls in flight take.
    """

    upstream: str
    ca_file: Path | None
    telemetry: str
    store: str
    raised: bool


@dataclass(frozen=True)
class Contender:
    """One gateway, configured in one way.

    Attributes:
        key: What it is called by.
        title: What it is called in the report.
        lacks: What it does not do that ours does; empty of ours.
        program: How to start it.
        settings: Settings of ours, by their names without the prefix, that make it what it is.
        optional: Settings that it takes besides, where the gateway has them.
        credentials: The options of the load by which callers say who they are, and trust the gateway.
    """

    key: str
    title: str
    lacks: str
    program: Callable[[Surroundings], Program]
    settings: Mapping[str, str] = field(default_factory=dict)
    optional: Mapping[str, str] = field(default_factory=dict)
    credentials: Callable[[], Sequence[str]] = tuple

    def missing(self) -> list[str]:
        """Returns the settings that make it what it is and that this gateway does not have."""
        return [name for name in self.settings if not name.startswith("OTEL_") and name not in known_settings()]


_PREFIX: Final = "ALLOCATION_GATEWAY_"
_TRACED: Final = "0.01"
# Set where the gateway has them.
_RAISED: Final = {
    "MAX_CONCURRENT_CALLS": "8192",
    # More than calls in flight: reads have some of their own.
    "SHIP_MAX_CONNECTIONS": "10000",
    "SHIP_MAX_IN_FLIGHT": "8192",
    "SHIP_MAX_QUEUE": "8192",
    "SHIP_QUEUE_TIME": "10",
}
# A rate that is never reached: what counting costs.
_NEVER_REACHED: Final = "1000000"


@cache
def known_settings() -> frozenset[str]:
    """Returns the settings that the gateway has, without the prefix: what it lacks is not measured."""
    told = subprocess.run([script("allocation-gateway"), "settings"], check=True, capture_output=True, text=True)
    return frozenset(re.findall(r"^\| `([A-Z_0-9]+)`", told.stdout, re.MULTILINE))


def _ours(key: str, title: str, optional: Mapping[str, str] | None = None, **settings: str) -> Contender:
    besides = optional or {}

    def program(around: Surroundings) -> Program:
        known = {name: text for name, text in besides.items() if name in known_settings()}
        return ours([script("allocation-gateway"), "serve"], around, {**settings, **known})

    return Contender(key, title, "", program, settings, besides)


def _secured(
    key: str,
    title: str,
    settings: Callable[[Credentials], Mapping[str, str]],
    load: Callable[[Credentials], Sequence[str]],
) -> Contender:
    """Returns ours with certificates and what else is made when it is started first."""

    def program(around: Surroundings) -> Program:
        return ours([script("allocation-gateway"), "serve"], around, settings(credentials()))

    return Contender(key, title, "", program, credentials=lambda: load(credentials()))


def ours(command: list[str], around: Surroundings, settings: Mapping[str, str]) -> Program:
    """Returns our gateway with every policy and all telemetry on, but for what settings change."""
    raised = _RAISED if around.raised else {}
    chosen = {
        "PORT": "{port}",
        "ALLOW_PLAINTEXT": "true",
        "SHUTDOWN_DELAY": "0",
        "SHUTDOWN_GRACE": "1",
        "SHIP_BASE_URL": around.upstream,
        "SHIP_API_KEY": "benchmark-key",
        "SERVICE_GROUPS": payloads.GROUP,
        **{name: text for name, text in raised.items() if name in known_settings()},
        **{name: text.replace("{store}", around.store) for name, text in settings.items()},
    }
    environment = {name if name.startswith("OTEL_") else _PREFIX + name: text for name, text in chosen.items()}
    telemetry = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": around.telemetry,
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
        "OTEL_TRACES_SAMPLER_ARG": _TRACED,
    }
    certificates = {"SSL_CERT_FILE": str(around.ca_file)} if around.ca_file else {}
    return Program(command, {**telemetry, **certificates, **environment})


def _python(module: str) -> Callable[[Surroundings], Program]:
    def program(around: Surroundings) -> Program:
        authorities = [str(around.ca_file)] if around.ca_file else []
        return Program([sys.executable, "-m", module, "{port}", around.upstream, *authorities], {})

    return program


def _echo(*engine: str) -> Callable[[Surroundings], Program]:
    def program(_: Surroundings) -> Program:
        return Program([sys.executable, "-m", "bench.rivals.echo", "{port}", *engine], {})

    return program


def _go(name: str) -> Callable[[Surroundings], Program]:
    def program(around: Surroundings) -> Program:
        authorities = ["-ca", str(around.ca_file)] if around.ca_file else []
        return Program(
            [str(CACHE / name), "-listen", "127.0.0.1:{port}", "-upstream", around.upstream, *authorities], {}
        )

    return program


def _envoy(around: Surroundings) -> Program:
    text = json.dumps(configuration(around.upstream, DESCRIPTORS, around.ca_file))
    quiet = ["--concurrency", "1", "--log-level", "error", "--disable-hot-restart"]
    return Program([envoy(), *quiet, "--config-yaml", text], {})


def _responder(_: Surroundings) -> Program:
    return Program([str(CACHE / "responder"), "-listen", "127.0.0.1:{port}"], {})


_NO_POLICIES: Final = "no claims, read-back, retries, limits, breaker, service groups, error details or telemetry"

CONTENDERS: Final = {
    contender.key: contender
    for contender in (
        Contender("responder", "prepared frames, no gateway", "everything", _responder),
        Contender("echo", "bare grpc.aio echo, typed", "everything: it asks nobody", _echo()),
        Contender("echo-direct", "the same on the gateway's own server", "everything: it asks nobody", _echo("direct")),
        Contender("go", "Go by hand: grpc-go, net/http, typed JSON", _NO_POLICIES, _go("handmade")),
        Contender(
            "vanguard",
            "Vanguard (Go)",
            f"{_NO_POLICIES}; prices are binary floats, states and codes are text, no request or answer is checked, "
            "and an HTTP status becomes a code by the table that is meant for broken proxies",
            _go("vanguard"),
        ),
        Contender(
            "envoy",
            "Envoy, reverse transcoder",
            "no claims, read-back, service groups or error details; prices are binary floats, states and codes are "
            "text, no request or answer is checked, and an error's whole body becomes its message. It has retries, "
            "limits, outlier detection and telemetry, and they are off here",
            _envoy,
        ),
        Contender(
            "naive",
            "Python: grpc.aio, httpx, json_format",
            f"{_NO_POLICIES}; no request is checked",
            _python("bench.rivals.naive"),
        ),
        _ours("ours", "ours, all policies on"),
        _ours("ours-store", "ours, claims on a Redis server", STORE_URL="{store}"),
        _ours("ours-no-traces", "ours without traces", OTEL_TRACES_EXPORTER="none"),
        _ours("ours-no-metrics", "ours without metrics", OTEL_METRICS_EXPORTER="none"),
        _ours(
            "ours-untold", "ours without metrics and traces", OTEL_TRACES_EXPORTER="none", OTEL_METRICS_EXPORTER="none"
        ),
        _ours("ours-traced", "ours with every call traced", OTEL_TRACES_SAMPLER_ARG="1.0"),
        _ours("ours-no-log", "ours without a log line per call", LOG_LEVEL="warning"),
        _ours(
            "ours-rate-limit",
            "ours with a rate limit, which is off by default",
            SHIP_RATE_LIMIT=_NEVER_REACHED,
            SHIP_RATE_BURST=_NEVER_REACHED,
        ),
        _ours("ours-grpcio", "ours on grpc.aio's server", GRPC_ENGINE="grpcio"),
        _ours("ours-httpx", "ours over httpx", HTTP_ENGINE="httpx"),
        _ours("ours-workers", "ours, `--workers 2`", {"ALLOW_UNSHARED_CLAIMS": "true"}, WORKERS="2"),
        _secured("ours-tls", "ours with TLS to callers", Credentials.of_tls, Credentials.load_of_tls),
        _secured(
            "ours-secured",
            "ours with mutual TLS, a token, a policy of 200 rules and 20 more accounts",
            Credentials.of_callers,
            Credentials.load_of_caller,
        ),
    )
}
# What cannot be switched off, and so is in every number of ours.
ALWAYS_ON: Final = (
    "admission, validation, service groups, claims, the limit of calls in flight, the breaker and the budget of retries"
)

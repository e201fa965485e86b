"""The OTEL_* variables: what `check` calls valid starts, and what it refuses `serve` refuses with the same one line."""

from __future__ import annotations

import itertools
import subprocess
from typing import TYPE_CHECKING, Final, Protocol

import pytest
from allocation_gateway.settings import ConfigurationError
from allocation_gateway.telemetry import variables
from support.certificates import Authority
from support.collector import running_collector
from support.front import KEY, LONG, READ, running_front
from support.gateway import COMMAND, PREFIX, environment

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from support.command import Command

GOOD: Final = {"ALLOW_PLAINTEXT": "true", "SHIP_API_KEY": KEY, "PORT": "0"}
TOKEN: Final = "a-token-that-nobody-may-see"  # noqa: S105 - of nothing
# Whatever somebody may write somewhere. Which of it is good is for the rules to say, and for the process to prove.
ANYTHING: Final = (
    "abc",
    "0",
    "1",
    "-1",
    "0.5",
    "1e400",
    "nan",
    "512",
    "2048",
    "99999999999999999999",
    "true",
    "TRUE",
    "no",
    "none",
    "otlp",
    "console",
    "otlp,console",
    "prometheus",
    "zipkin",
    "grpc",
    "http/protobuf",
    "http/json",
    "gzip",
    "GZIP",
    "zstd",
    "deflate",
    "always_on",
    "ALWAYS_OFF",
    "traceidratio",
    "jaeger_remote",
    "trace_based",
    "delta",
    "LowMemory",
    "base2_exponential_bucket_histogram",
    "tracecontext",
    "tracecontext,b3multi",
    "b3",
    "baggage,",
    "jaeger",
    "xray",
    "ottrace",
    "process",
    "*",
    "a=b",
    "a=b,c=d%20e",
    "=b",
    f"authorization=Bearer {TOKEN}",
    f"authorization: Bearer {TOKEN}",
    f"authorization=Bearer%0A{TOKEN}",
    f"authorization=\u00e4{TOKEN}",
    f"key-bin={TOKEN}",
    "http://127.0.0.1:4317",
    "127.0.0.1:4317",
    "https://127.0.0.1",
    "http://",
    "http://127.0.0.1:port",
    "http://999.1.1.1:4317",
    "http://user:word@127.0.0.1:4317",
    "ftp://127.0.0.1",
    "127.0.0.1",
    "/no/such/file",
    "/dev/null",
    "/tmp",  # noqa: S108 - a folder is no file
    "UNAVAILABLE, internal",
    "error",
    "info",
    "contextvars_context",
    "default_meter_provider",
    "\udcff",
)
# With these everything is read that there is.
ON: Final = {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_METRICS_EXPORTER": "otlp", "OTEL_LOGS_EXPORTER": "otlp"}


class Checking(Protocol):
    """Runs `check` with variables. Returns its exit code and what it says."""

    def __call__(self, settings: Mapping[str, str]) -> tuple[int, str]:
        """Runs it."""


@pytest.fixture
def checking(monkeypatch: pytest.MonkeyPatch, command: Command) -> Checking:
    def check(settings: Mapping[str, str]) -> tuple[int, str]:
        with monkeypatch.context() as context:
            for name, value in settings.items():
                context.setenv(name, value)
            done = command("check", **GOOD)
        return done.code, done.err

    return check


def problem(settings: Mapping[str, str]) -> str:
    """Returns what the rules say of variables; nothing if they can be used."""
    try:
        environ = dict(settings)
        variables.prepare(environ)
        variables.check(environ)
    except ConfigurationError as error:
        return str(error)
    return ""


def run(command: str, settings: Mapping[str, str]) -> tuple[int, str]:
    """Runs a command that has to end by itself, as a process. Returns its exit code and what it says."""
    given = environment({**GOOD, **settings})
    done = subprocess.run(
        [COMMAND, command], env=given, capture_output=True, text=True, timeout=LONG, check=False, errors="replace"
    )
    return done.returncode, done.stderr


# A batch must fit its queue, whatever else is right.
SMALL: Final = {"OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "1", "OTEL_BLRP_MAX_EXPORT_BATCH_SIZE": "1"}


def values(name: str) -> tuple[list[str], list[str]]:
    """Returns which of all those values the rule of a variable takes, and which it refuses."""
    good: list[str] = []
    bad: list[str] = []
    for value in ANYTHING:
        (bad if problem({**SMALL, name: value}) else good).append(value)
    return good, bad


# One variable of those that have the same rule.
BY_RULE: Final = {rule: name for name, rule in variables.RULES.items()}
# What can be anything, or needs files that fit together.
FILES: Final = {name for name in variables.RULES if name.endswith(("CERTIFICATE", "CLIENT_KEY"))}
UNSUPPORTED: Final = {"OTEL_CONFIG_FILE", "OTEL_EXPERIMENTAL_CONFIG_FILE", "OTEL_PYTHON_ID_GENERATOR"} | {
    name for name in variables.RULES if name.endswith(("CREDENTIAL_PROVIDER", "_CONFIGURATOR"))
}
ONLY_WITH_MORE: Final = {"OTEL_PYTHON_TRACER_PROVIDER", "OTEL_PYTHON_LOGGER_PROVIDER"}


@pytest.mark.parametrize("name", sorted(variables.RULES))
def test_variable_is_refused_by_both_commands_alike_with_a_line_that_names_it(name: str, checking: Checking) -> None:
    """All bad values by `check`; and one of each rule, and of what is read on import, by `serve` as a process."""
    good, bad = values(name)
    assert bad
    assert bool(good) is not (name in FILES | UNSUPPORTED | ONLY_WITH_MORE)
    for value in bad:
        code, told = checking({**ON, **SMALL, name: value})
        assert code == 2
        assert told.startswith(f"allocation-gateway: {name}: ")
        assert told.count("\n") == 1
        assert TOKEN not in told
    if name in BY_RULE.values() or name == "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT":
        assert run("serve", {**ON, **SMALL, name: bad[0]}) == checking({**ON, **SMALL, name: bad[0]})


def test_header_is_never_shown_however_ill_formed_it_is() -> None:
    for value in ANYTHING:
        if TOKEN in value:
            for command in ("check", "serve") if ": " in value else ():
                code, told = run(command, {**ON, "OTEL_EXPORTER_OTLP_HEADERS": value})
                assert (code, TOKEN in told) == (2, False)
                assert told.startswith("allocation-gateway: OTEL_EXPORTER_OTLP_HEADERS: ")
            assert TOKEN not in problem({**ON, "OTEL_EXPORTER_OTLP_HEADERS": value})


def rounds() -> list[dict[str, str]]:
    """Returns environments of good values alone, in which each good value of each variable occurs.

    They speak either protocol in turn, so that a value which only one of them has is put right for the other.
    """
    left_out = {"OTEL_SDK_DISABLED", variables.PROMETHEUS_HOST, variables.PROMETHEUS_PORT}
    left_out |= FILES | UNSUPPORTED | ONLY_WITH_MORE
    columns = {name: values(name)[0] for name in variables.RULES if name not in left_out}
    made = []
    for number in range(max(map(len, columns.values()))):
        row = {name: good[number % len(good)] for name, good in columns.items()}
        row |= {**SMALL, variables.PROMETHEUS_HOST: "127.0.0.1", variables.PROMETHEUS_PORT: "0"}
        spoken = "grpc" if number % 2 else "http/protobuf"
        for name, value in row.items():
            if name.endswith("PROTOCOL"):
                row[name] = spoken
            elif name.endswith("COMPRESSION") and value == "deflate" and spoken == "grpc":
                row[name] = "none"
            elif name.endswith("ENDPOINT") and ("@" in value or not value.startswith("http")):
                row[name] = value if ("@" in value) is (spoken != "grpc") else "http://127.0.0.1:4317"
        made.append(row)
    return made


@pytest.mark.parametrize("part", range(3))
def test_what_is_valid_starts_without_a_traceback(part: int) -> None:
    """Every good value of every variable occurs in one of these environments."""
    for settings in itertools.islice(rounds(), part, None, 3):
        assert problem(settings) == ""
        started(settings)


def started(settings: Mapping[str, str]) -> None:
    """Starts a gateway, has it answer a call and stops it."""
    with running_front(settings={**settings, "TELEMETRY_FLUSH_TIMEOUT": "0"}) as front:
        front.stub.GetShipmentAllocation(READ, timeout=LONG)
        assert front.gateway.stop() == 0
    told = f"{front.gateway.lines}"
    assert "Traceback" not in told
    assert TOKEN not in told


@pytest.mark.parametrize("name", sorted(variables.RULES))
def test_variable_that_is_set_to_nothing_is_not_set(name: str) -> None:
    environ = {name: "  ", "OTHER": ""}
    variables.prepare(environ)
    assert environ == {"OTHER": ""}


def test_variables_that_are_all_set_to_nothing_leave_a_gateway_that_exports() -> None:
    with running_collector() as collector:
        settings = dict.fromkeys(variables.RULES, "") | {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint}
        # Of the traces that are kept by default, none may be among two.
        started({**settings, "OTEL_TRACES_SAMPLER_ARG": "1", "TELEMETRY_FLUSH_TIMEOUT": "3"})
        assert len(collector.spans) == 2


def test_disabled_sdk_needs_nothing_but_what_is_read_on_import() -> None:
    """It is how an operator gets a process to start."""
    off = {"OTEL_SDK_DISABLED": "true"}
    assert problem({**off, "OTEL_TRACES_EXPORTER": "zipkin", "OTEL_EXPORTER_OTLP_TIMEOUT": "abc"}) == ""
    assert problem({**off, "OTEL_PROPAGATORS": "jaeger"}).startswith("OTEL_PROPAGATORS: names 'jaeger', which is not")
    started({**off, "OTEL_TRACES_EXPORTER": "zipkin", "OTEL_EXPORTER_OTLP_COMPRESSION": "zstd"})


AT_ODDS: Final = [
    (
        {"OTEL_BSP_MAX_QUEUE_SIZE": "100"},
        "OTEL_BSP_MAX_QUEUE_SIZE: a batch, 512, must not be larger than the queue, 100",
    ),
    (
        {"OTEL_BLRP_MAX_EXPORT_BATCH_SIZE": "4096"},
        "OTEL_BLRP_MAX_EXPORT_BATCH_SIZE: a batch, 4096, must not be larger than the queue, 2048",
    ),
    (
        {**ON, "OTEL_EXPORTER_OTLP_COMPRESSION": "deflate"},
        "OTEL_EXPORTER_OTLP_COMPRESSION: must be none or gzip with grpc, got 'deflate'",
    ),
    (
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "collector:4318", "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL": "http/protobuf"},
        "OTEL_EXPORTER_OTLP_ENDPOINT: must be an http:// or https:// URL with http/protobuf",
    ),
    (
        {"OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": "http://user:word@collector:4317"},
        "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT: must hold no credentials with grpc: send them as a header",
    ),
    ({"OTEL_TRACES_EXPORTER": "otlp,none"}, "OTEL_TRACES_EXPORTER: names none together with others"),
]


@pytest.mark.parametrize(("settings", "text"), AT_ODDS)
def test_variables_that_do_not_go_together_are_refused_alike(
    settings: dict[str, str], text: str, checking: Checking
) -> None:
    assert checking(settings) == run("serve", settings) == (2, f"allocation-gateway: {text}\n")


def test_certificates_have_to_be_ones_and_to_fit_together(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    chain, key = map(str, authority.issue("client"))
    _, other = map(str, authority.issue("other"))
    names = {name: f"OTEL_EXPORTER_OTLP_{name}" for name in ("CERTIFICATE", "CLIENT_KEY", "CLIENT_CERTIFICATE")}
    good = {names["CERTIFICATE"]: str(authority.file), names["CLIENT_KEY"]: key, names["CLIENT_CERTIFICATE"]: chain}
    started({**ON, **good, "OTEL_EXPORTER_OTLP_ENDPOINT": "https://127.0.0.1:9"})
    for changed, text in [
        ({names["CERTIFICATE"]: key}, f"{names['CERTIFICATE']}: holds no certificate"),
        ({names["CLIENT_KEY"]: other}, f"{names['CLIENT_KEY']}: cannot be used with {names['CLIENT_CERTIFICATE']}"),
        ({names["CLIENT_KEY"]: ""}, f"{names['CLIENT_CERTIFICATE']}: needs {names['CLIENT_KEY']}"),
        ({names["CLIENT_CERTIFICATE"]: ""}, f"{names['CLIENT_KEY']}: needs {names['CLIENT_CERTIFICATE']}"),
    ]:
        code, told = run("serve", {**ON, **good, **changed})
        assert (code, told.count("\n")) == (2, 1)
        assert told.startswith(f"allocation-gateway: {text}")


def test_prefix_of_the_gateway_is_none_of_them() -> None:
    assert not [name for name in variables.RULES if name.startswith(PREFIX)]

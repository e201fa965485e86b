"""The standard OTEL_* variables: which there are, and what each of them may be.

The SDK reads them for itself, some as soon as it is imported. What it cannot use it ignores, or it ends with a
traceback long after a check has called the configuration valid; and an ill-formed header it prints, with the token in
it. So this module looks at every variable that names a choice, a number, a file or an address, before the SDK is
imported.
"""

from __future__ import annotations

import math
import re
import ssl
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias
from urllib.parse import unquote, urlsplit

from allocation_gateway.settings import ConfigurationError
from allocation_gateway.settings.urls import split_url
from allocation_gateway.settings.wording import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, MutableMapping

    # Says what is wrong with a value, as what follows the name of its variable; nothing if it can be used.
    Rule: TypeAlias = Callable[[str], str]

OTLP: Final = "otlp"
CONSOLE: Final = "console"
PROMETHEUS: Final = "prometheus"
NONE: Final = "none"
GRPC: Final = "grpc"
HTTP: Final = "http/protobuf"
SIGNALS: Final = ("TRACES", "METRICS", "LOGS")
"""What can be exported, as it is written in the names of variables."""
SDK_DISABLED: Final = "OTEL_SDK_DISABLED"
PROMETHEUS_HOST: Final = "OTEL_EXPORTER_PROMETHEUS_HOST"
PROMETHEUS_PORT: Final = "OTEL_EXPORTER_PROMETHEUS_PORT"

_PREFIX: Final = "OTEL_"
_EXPORTERS: Final = {
    "TRACES": (OTLP, CONSOLE, NONE),
    "METRICS": (OTLP, PROMETHEUS, CONSOLE, NONE),
    "LOGS": (OTLP, CONSOLE, NONE),
}
_COMPRESSIONS: Final = {GRPC: ("none", "gzip"), HTTP: ("none", "gzip", "deflate")}
# What fits into the system's timers and the SDK's queues.
_MOST: Final = 2**31 - 1
_MOST_SECONDS: Final = 86_400
# The SDK's own defaults, which a batch and a queue must fit that are set alone.
_QUEUE: Final = 2048
_BATCH: Final = 512
# A header as the SDK reads it, of which both gRPC and HTTP take the name.
_HEADER_NAME: Final = re.compile(r"[A-Za-z0-9_.-]+")
_HEADER_VALUE: Final = re.compile(r"[ !#-+\--:<-\[\]-~]*")
_HTTP_URL: Final = re.compile(r"https?://", re.IGNORECASE)
_STATUS_CODE: Final = re.compile(
    "OK|CANCELLED|UNKNOWN|INVALID_ARGUMENT|DEADLINE_EXCEEDED|NOT_FOUND|ALREADY_EXISTS|PERMISSION_DENIED|ABORTED|"
    "RESOURCE_EXHAUSTED|FAILED_PRECONDITION|OUT_OF_RANGE|UNIMPLEMENTED|INTERNAL|UNAVAILABLE|DATA_LOSS|UNAUTHENTICATED",
    re.IGNORECASE,
)


def _choice(*choices: str) -> Rule:
    def rule(text: str) -> str:
        if text.lower() in choices:
            return ""
        *most, last = choices
        return f"must be {', '.join(most)} or {last}, got {shown(text)}"

    return rule


def _exporters(*known: str) -> Rule:
    def rule(text: str) -> str:
        names = _names(text)
        for name in names:
            if name not in known:
                return (
                    f"must be {', '.join(known[:-1])} or {known[-1]}, or several separated by commas; got {shown(name)}"
                )
        return f"names {NONE} together with others" if NONE in names and len(names) > 1 else ""

    return rule


def _whole(least: int, most: int = _MOST) -> Rule:
    def rule(text: str) -> str:
        if re.fullmatch(r"[0-9]{1,10}", text) and least <= int(text) <= most:
            return ""
        return f"must be a whole number from {least} to {most}, got {shown(text)}"

    return rule


def _number(least: float, most: float, *, above: bool = False, unit: str = "") -> Rule:
    def rule(text: str) -> str:
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if (least < number if above else least <= number) and number <= most:
            return ""
        bounds = f"above {least:g} and at most {most:g}" if above else f"from {least:g} to {most:g}"
        return f"must be a number {bounds}{unit}, got {shown(text)}"

    return rule


def _installed(group: str, *more: str, several: bool = True) -> Rule:
    def rule(text: str) -> str:
        for name in text.split(",") if several else (text,):
            if name.strip() not in (*more, *_there(group)):
                there = sorted({*_there(group), *more})
                known = f"; there are {', '.join(there)}" if there else ""
                return f"names {shown(name.strip())}, which is not installed{known}"
        return ""

    return rule


@cache
def _there(group: str) -> frozenset[str]:
    """Returns the names of what is installed."""
    return frozenset(point.name for point in entry_points(group=group))


def _headers(text: str) -> str:
    # The values are credentials: not even a wrong one is told.
    for item in re.split(r"[ \t]*,[ \t]*", text):
        name, separator, value = item.partition("=")
        if item and (
            not separator
            or not _HEADER_NAME.fullmatch(unquote(name.strip()))
            or not _HEADER_VALUE.fullmatch(value.strip())
            or not re.fullmatch(r"[ -~]*", unquote(value.strip()))
        ):
            return "must be name=value, or several separated by commas, where a value is percent-encoded"
        if unquote(name.strip()).lower().endswith("-bin"):
            return "names a header that ends in -bin, which holds bytes"
    return ""


def _attributes(text: str) -> str:
    for item in text.split(","):
        name, separator, _ = item.partition("=")
        if item.strip() and not (separator and name.strip()):
            return f"must be name=value, or several separated by commas, got {shown(item.strip())}"
    return ""


def _endpoint(text: str) -> str:
    # What OTLP over gRPC takes besides URLs is looked at where it is known that it is spoken.
    if _HTTP_URL.match(text):
        return _url(text)
    if re.fullmatch(r"(?:unix:|dns:|ipv4:|ipv6:)[!-~]+|[A-Za-z0-9_.-]+:[0-9]{1,5}", text):
        return ""
    return "must be a URL such as http://collector:4317"


def _url(text: str) -> str:
    try:
        parts = split_url(text)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        host, port = "", None
    if not host or port == 0 or not re.fullmatch(r"[!-~]+", text) or not re.fullmatch(r"[A-Za-z0-9_.:-]+", host):
        return "must be a URL such as http://collector:4317"
    return ""


def _file(text: str) -> str:
    # What is no path may be a header that went into the wrong variable.
    path = text if text.startswith(("/", ".")) else shown(text)
    try:
        content = Path(text).read_bytes()
    except (OSError, ValueError) as error:
        return f"cannot be read: {path}: {getattr(error, 'strerror', '') or 'it is no path'}"
    return "" if b"-----BEGIN " in content else f"is not PEM: {path}"


def _host(text: str) -> str:
    return "" if re.fullmatch(r"[A-Za-z0-9_.:-]+", text) else f"must be a host or an address, got {shown(text)}"


def _status_codes(text: str) -> str:
    for name in text.split(","):
        if name.strip() and not _STATUS_CODE.fullmatch(name.strip()):
            return f"must be gRPC status codes, separated by commas, got {shown(name.strip())}"
    return ""


def _unsupported(_: str) -> str:
    return "is not supported: the other OTEL_ variables say what a file would"


def _per_signal(pattern: str, rule: Rule) -> dict[str, Rule]:
    """Returns the rule for a variable of all signals, and for that of each of them."""
    return {pattern.format(signal): rule for signal in ("", *(f"{signal}_" for signal in SIGNALS))}


_SWITCH: Final = _choice("true", "false")
_LIMIT: Final = _whole(0)
_BATCHING: Final = _whole(1)
_CREDENTIALS: Final = _installed("opentelemetry_otlp_credential_provider", several=False)

RULES: Final[Mapping[str, Rule]] = {
    SDK_DISABLED: _SWITCH,
    "OTEL_PROPAGATORS": _installed("opentelemetry_propagator", NONE),
    "OTEL_RESOURCE_ATTRIBUTES": _attributes,
    "OTEL_LOG_LEVEL": _choice("debug", "info", "warn", "warning", "error", "none"),
    "OTEL_CONFIG_FILE": _unsupported,
    "OTEL_EXPERIMENTAL_CONFIG_FILE": _unsupported,
    "OTEL_EXPERIMENTAL_RESOURCE_DETECTORS": _installed("opentelemetry_resource_detector", "*"),
    **{f"OTEL_{signal}_EXPORTER": _exporters(*known) for signal, known in _EXPORTERS.items()},
    "OTEL_TRACES_SAMPLER": _choice(
        "always_on",
        "always_off",
        "traceidratio",
        "parentbased_always_on",
        "parentbased_always_off",
        "parentbased_traceidratio",
    ),
    "OTEL_TRACES_SAMPLER_ARG": _number(0, 1),
    **{
        f"OTEL_{processor}_{name}": _BATCHING
        for processor in ("BSP", "BLRP")
        for name in ("SCHEDULE_DELAY", "EXPORT_TIMEOUT", "MAX_QUEUE_SIZE", "MAX_EXPORT_BATCH_SIZE")
    },
    "OTEL_METRIC_EXPORT_INTERVAL": _number(0, _MOST, above=True, unit=" milliseconds"),
    "OTEL_METRIC_EXPORT_TIMEOUT": _number(0, _MOST, above=True, unit=" milliseconds"),
    "OTEL_METRICS_EXEMPLAR_FILTER": _choice("trace_based", "always_on", "always_off"),
    **{
        f"OTEL_{name}_LIMIT": _LIMIT
        for name in (
            "ATTRIBUTE_COUNT",
            "ATTRIBUTE_VALUE_LENGTH",
            "SPAN_ATTRIBUTE_COUNT",
            "SPAN_ATTRIBUTE_VALUE_LENGTH",
            "SPAN_EVENT_COUNT",
            "SPAN_LINK_COUNT",
            "EVENT_ATTRIBUTE_COUNT",
            "LINK_ATTRIBUTE_COUNT",
            "LOGRECORD_ATTRIBUTE_COUNT",
            "LOGRECORD_ATTRIBUTE_VALUE_LENGTH",
        )
    },
    **_per_signal("OTEL_EXPORTER_OTLP_{}PROTOCOL", _choice(GRPC, HTTP)),
    **_per_signal("OTEL_EXPORTER_OTLP_{}ENDPOINT", _endpoint),
    **_per_signal("OTEL_EXPORTER_OTLP_{}INSECURE", _SWITCH),
    **_per_signal("OTEL_EXPORTER_OTLP_{}HEADERS", _headers),
    **_per_signal("OTEL_EXPORTER_OTLP_{}TIMEOUT", _number(0, _MOST_SECONDS, above=True, unit=" seconds")),
    **_per_signal("OTEL_EXPORTER_OTLP_{}COMPRESSION", _choice(*_COMPRESSIONS[HTTP])),
    **_per_signal("OTEL_EXPORTER_OTLP_{}CERTIFICATE", _file),
    **_per_signal("OTEL_EXPORTER_OTLP_{}CLIENT_KEY", _file),
    **_per_signal("OTEL_EXPORTER_OTLP_{}CLIENT_CERTIFICATE", _file),
    "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": _choice("cumulative", "delta", "lowmemory"),
    "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION": _choice(
        "explicit_bucket_histogram", "base2_exponential_bucket_histogram"
    ),
    PROMETHEUS_HOST: _host,
    PROMETHEUS_PORT: _whole(0, 65535),
    # What the SDK of this language has besides.
    "OTEL_PYTHON_CONTEXT": _installed("opentelemetry_context", several=False),
    "OTEL_PYTHON_METER_PROVIDER": _installed("opentelemetry_meter_provider", several=False),
    "OTEL_PYTHON_TRACER_PROVIDER": _installed("opentelemetry_tracer_provider", several=False),
    "OTEL_PYTHON_LOGGER_PROVIDER": _installed("opentelemetry_logger_provider", several=False),
    "OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED": _SWITCH,
    "OTEL_PYTHON_EXPORTER_OTLP_GRPC_RETRYABLE_ERROR_CODES": _status_codes,
    **_per_signal("OTEL_PYTHON_EXPORTER_OTLP_GRPC_{}CREDENTIAL_PROVIDER", _CREDENTIALS),
    **_per_signal("OTEL_PYTHON_EXPORTER_OTLP_HTTP_{}CREDENTIAL_PROVIDER", _CREDENTIALS),
}
"""What each variable may be."""

# What is read as soon as the SDK is imported, whether it is disabled or not.
_ON_IMPORT: Final = frozenset(
    {SDK_DISABLED, "OTEL_PROPAGATORS", "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "OTEL_PYTHON_CONTEXT"}
)
# Choices in which the SDK does not put up with capital letters everywhere.
_IN_SMALL_LETTERS: Final = frozenset(
    {
        "OTEL_METRICS_EXEMPLAR_FILTER",
        "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION",
        "OTEL_TRACES_SAMPLER",
    }
)


def prepare(environ: MutableMapping[str, str]) -> None:
    """Writes the variables as the SDK reads them: a variable that is set to nothing is not set.

    Must be called before anything of OpenTelemetry is imported, and check() after it.

    Args:
        environ: The process's own environment, in which the SDK looks.
    """
    for name in [name for name in environ if name.startswith(_PREFIX)]:
        text = environ.pop(name).strip()
        if text:
            environ[name] = text.lower() if name in _IN_SMALL_LETTERS else text


def check(environ: Mapping[str, str], *, workers: int = 1) -> None:
    """Checks the variables.

    Args:
        environ: The environment, as prepare() has left it.
        workers: How many processes there will be that have these variables.

    Raises:
        ConfigurationError: A variable asks for something that cannot be had. The text names it.
    """
    disabled = is_disabled(environ)
    for name, rule in RULES.items():
        text = environ.get(name, "")
        if text and (not disabled or name in _ON_IMPORT):
            problem = rule(text) or ("" if _is_text(text) else "holds bytes that are no UTF-8")
            if problem:
                raise ConfigurationError(f"{name}: {problem}")
    if not disabled:
        for name, problem in _at_odds(environ, workers):
            raise ConfigurationError(f"{name}: {problem}")


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _at_odds(environ: Mapping[str, str], workers: int) -> Iterator[tuple[str, str]]:
    """Yields variables that do not go with others, and why."""
    for processor in ("BSP", "BLRP"):
        batch, queue = f"OTEL_{processor}_MAX_EXPORT_BATCH_SIZE", f"OTEL_{processor}_MAX_QUEUE_SIZE"
        if int(environ.get(batch, _BATCH)) > int(environ.get(queue, _QUEUE)):
            yield (
                batch if batch in environ else queue,
                f"a batch, {environ.get(batch, _BATCH)}, must not be larger than the queue, "
                f"{environ.get(queue, _QUEUE)}",
            )
    if workers > 1 and PROMETHEUS in exporters("METRICS", environ):
        yield (
            "OTEL_METRICS_EXPORTER",
            f"{PROMETHEUS} serves the metrics of one process, and there are {workers} workers: "
            f"use {OTLP}, whose collector can offer them to Prometheus, or one worker in each of several replicas",
        )
    for signal in SIGNALS:
        if OTLP in exporters(signal, environ):
            yield from _otlp_at_odds(signal, environ)


def _otlp_at_odds(signal: str, environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    spoken = protocol(signal, environ)
    name, compression = setting(signal, "COMPRESSION", environ)
    if compression and compression.lower() not in _COMPRESSIONS[spoken]:
        yield name, f"must be {' or '.join(_COMPRESSIONS[spoken])} with {spoken}, got {shown(compression)}"
    name, endpoint = setting(signal, "ENDPOINT", environ)
    if endpoint:
        is_url = _HTTP_URL.match(endpoint) is not None
        if spoken == HTTP and not is_url:
            yield name, f"must be an http:// or https:// URL with {HTTP}"
        elif spoken == GRPC and is_url and "@" in urlsplit(endpoint).netloc:
            yield name, f"must hold no credentials with {GRPC}: send them as a header"
    yield from _certificates_at_odds(signal, environ)


def _certificates_at_odds(signal: str, environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    name, authorities = setting(signal, "CERTIFICATE", environ)
    if authorities:
        try:
            context.load_verify_locations(authorities)
        except (ssl.SSLError, OSError):
            yield name, f"holds no certificate that can be used: {authorities}"
    key_name, key = setting(signal, "CLIENT_KEY", environ)
    chain_name, chain = setting(signal, "CLIENT_CERTIFICATE", environ)
    if bool(key) != bool(chain):
        yield ((key_name, f"needs {chain_name}") if key else (chain_name, f"needs {key_name}"))
    elif key:
        try:
            # Without the empty password, an encrypted key would make OpenSSL ask for one on the terminal.
            context.load_cert_chain(chain, key, password="")
        except (ssl.SSLError, OSError):
            yield key_name, f"cannot be used with {chain_name}: {key}"


def _names(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name.strip().lower() for name in text.split(",") if name.strip()))


def is_disabled(environ: Mapping[str, str]) -> bool:
    """Returns whether everything is switched off."""
    return environ.get(SDK_DISABLED, "").strip().lower() == "true"


def exporters(signal: str, environ: Mapping[str, str]) -> tuple[str, ...]:
    """Returns by what a signal is exported: what its variable names, or OTLP if an endpoint is set for it.

    An endpoint for all signals asks for traces and metrics alone: log lines are on standard error, and many collectors
    take no others.
    """
    names = _names(environ.get(f"OTEL_{signal}_EXPORTER", ""))
    if not names:
        general = "" if signal == "LOGS" else environ.get("OTEL_EXPORTER_OTLP_ENDPOINT", "")
        names = (OTLP,) if general or environ.get(f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT") else ()
    return tuple(name for name in names if name != NONE)


def protocol(signal: str, environ: Mapping[str, str]) -> str:
    """Returns how OTLP is spoken for a signal."""
    return setting(signal, "PROTOCOL", environ)[1].lower() or GRPC


def setting(signal: str, name: str, environ: Mapping[str, str]) -> tuple[str, str]:
    """Returns which variable decides something about OTLP for a signal, and what it says; empty if none is set."""
    own, general = f"OTEL_EXPORTER_OTLP_{signal}_{name}", f"OTEL_EXPORTER_OTLP_{name}"
    return (own, environ[own]) if environ.get(own) else (general, environ.get(general, ""))

"""The standard OTEL_* variables: which there are, and what each of them may be.

The SDK reads the variables itself, some of them as soon as it is imported. It ignores what it cannot use, or ends with
a traceback long after a check has called the configuration valid; and it logs an ill-formed header with the token in
it. So this module checks every variable that names a choice, a number, a file or an address before the SDK is
imported.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from allocation_gateway.settings import ConfigurationError
from allocation_gateway.settings.wording import shown
from allocation_gateway.telemetry import variable_rules as rules
from allocation_gateway.telemetry.variable_rules import HTTP_URL, LARGEST_NUMBER, NONE, names

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, MutableMapping

    from allocation_gateway.telemetry.variable_rules import Rule

OTLP: Final = "otlp"
CONSOLE: Final = "console"
PROMETHEUS: Final = "prometheus"
GRPC: Final = "grpc"
HTTP: Final = "http/protobuf"
SIGNALS: Final = ("TRACES", "METRICS", "LOGS")
"""The signals that can be exported, as the names of variables spell them."""
SDK_DISABLED: Final = "OTEL_SDK_DISABLED"
SAMPLER: Final = "OTEL_TRACES_SAMPLER"
SAMPLER_ARGUMENT: Final = "OTEL_TRACES_SAMPLER_ARG"
DEFAULT_SHARE: Final = 0.01
"""Of the traces that begin here, so many are kept if the variables say nothing."""
PROMETHEUS_HOST: Final = "OTEL_EXPORTER_PROMETHEUS_HOST"
PROMETHEUS_PORT: Final = "OTEL_EXPORTER_PROMETHEUS_PORT"

_PREFIX: Final = "OTEL_"
_EXPORTERS: Final = {
    "TRACES": (OTLP, CONSOLE, NONE),
    "METRICS": (OTLP, PROMETHEUS, CONSOLE, NONE),
    "LOGS": (OTLP, CONSOLE, NONE),
}
_COMPRESSIONS: Final = {GRPC: ("none", "gzip"), HTTP: ("none", "gzip", "deflate")}
_MAX_TIMEOUT: Final = 86_400
# The SDK's own defaults, which a batch or a queue that is set alone has to fit.
_DEFAULT_QUEUE_SIZE: Final = 2048
_DEFAULT_BATCH_SIZE: Final = 512


def _per_signal(pattern: str, rule: Rule) -> dict[str, Rule]:
    """Returns the rule of a variable for all signals, and of the variables for each signal."""
    return {pattern.format(signal): rule for signal in ("", *(f"{signal}_" for signal in SIGNALS))}


_BOOLEAN: Final = rules.choice("true", "false")
_LIMIT: Final = rules.whole_number(0)
_POSITIVE: Final = rules.whole_number(1)
_CREDENTIALS: Final = rules.installed("opentelemetry_otlp_credential_provider", several=False)

RULES: Final[Mapping[str, Rule]] = {
    SDK_DISABLED: _BOOLEAN,
    "OTEL_PROPAGATORS": rules.installed("opentelemetry_propagator", NONE),
    "OTEL_RESOURCE_ATTRIBUTES": rules.attributes,
    "OTEL_LOG_LEVEL": rules.choice("debug", "info", "warn", "warning", "error", "none"),
    "OTEL_CONFIG_FILE": rules.unsupported,
    "OTEL_EXPERIMENTAL_CONFIG_FILE": rules.unsupported,
    "OTEL_EXPERIMENTAL_RESOURCE_DETECTORS": rules.installed("opentelemetry_resource_detector", "*"),
    **{f"OTEL_{signal}_EXPORTER": rules.exporters(*known) for signal, known in _EXPORTERS.items()},
    SAMPLER: rules.choice(
        "always_on",
        "always_off",
        "traceidratio",
        "parentbased_always_on",
        "parentbased_always_off",
        "parentbased_traceidratio",
    ),
    SAMPLER_ARGUMENT: rules.number(0, 1),
    **{
        f"OTEL_{processor}_{name}": _POSITIVE
        for processor in ("BSP", "BLRP")
        for name in ("SCHEDULE_DELAY", "EXPORT_TIMEOUT", "MAX_QUEUE_SIZE", "MAX_EXPORT_BATCH_SIZE")
    },
    "OTEL_METRIC_EXPORT_INTERVAL": rules.number(0, LARGEST_NUMBER, above=True, unit=" milliseconds"),
    "OTEL_METRIC_EXPORT_TIMEOUT": rules.number(0, LARGEST_NUMBER, above=True, unit=" milliseconds"),
    "OTEL_METRICS_EXEMPLAR_FILTER": rules.choice("trace_based", "always_on", "always_off"),
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
    **_per_signal("OTEL_EXPORTER_OTLP_{}PROTOCOL", rules.choice(GRPC, HTTP)),
    **_per_signal("OTEL_EXPORTER_OTLP_{}ENDPOINT", rules.endpoint),
    **_per_signal("OTEL_EXPORTER_OTLP_{}INSECURE", _BOOLEAN),
    **_per_signal("OTEL_EXPORTER_OTLP_{}HEADERS", rules.headers),
    **_per_signal("OTEL_EXPORTER_OTLP_{}TIMEOUT", rules.number(0, _MAX_TIMEOUT, above=True, unit=" seconds")),
    **_per_signal("OTEL_EXPORTER_OTLP_{}COMPRESSION", rules.choice(*_COMPRESSIONS[HTTP])),
    **_per_signal("OTEL_EXPORTER_OTLP_{}CERTIFICATE", rules.pem_file),
    **_per_signal("OTEL_EXPORTER_OTLP_{}CLIENT_KEY", rules.pem_file),
    **_per_signal("OTEL_EXPORTER_OTLP_{}CLIENT_CERTIFICATE", rules.pem_file),
    "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": rules.choice("cumulative", "delta", "lowmemory"),
    "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION": rules.choice(
        "explicit_bucket_histogram", "base2_exponential_bucket_histogram"
    ),
    PROMETHEUS_HOST: rules.host,
    PROMETHEUS_PORT: rules.whole_number(0, 65535),
    # The variables that only the SDK for Python has.
    "OTEL_PYTHON_CONTEXT": rules.installed("opentelemetry_context", several=False),
    "OTEL_PYTHON_METER_PROVIDER": rules.installed("opentelemetry_meter_provider", several=False),
    "OTEL_PYTHON_TRACER_PROVIDER": rules.installed("opentelemetry_tracer_provider", several=False),
    "OTEL_PYTHON_LOGGER_PROVIDER": rules.installed("opentelemetry_logger_provider", several=False),
    "OTEL_PYTHON_ID_GENERATOR": rules.unread,
    "OTEL_PYTHON_TRACER_CONFIGURATOR": rules.unread,
    "OTEL_PYTHON_METER_CONFIGURATOR": rules.unread,
    "OTEL_PYTHON_LOGGER_CONFIGURATOR": rules.unread,
    "OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED": _BOOLEAN,
    "OTEL_PYTHON_EXPORTER_OTLP_GRPC_RETRYABLE_ERROR_CODES": rules.status_codes,
    **_per_signal("OTEL_PYTHON_EXPORTER_OTLP_GRPC_{}CREDENTIAL_PROVIDER", _CREDENTIALS),
    **_per_signal("OTEL_PYTHON_EXPORTER_OTLP_HTTP_{}CREDENTIAL_PROVIDER", _CREDENTIALS),
}
"""The rule for each variable."""

# The variables that the SDK reads when it is imported, whether it is disabled or not.
_ON_IMPORT: Final = frozenset(
    {SDK_DISABLED, "OTEL_PROPAGATORS", "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "OTEL_PYTHON_CONTEXT"}
)
# Choices of which the SDK does not accept capital letters everywhere.
_LOWER_CASE: Final = frozenset(
    {
        "OTEL_METRICS_EXEMPLAR_FILTER",
        "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION",
        SAMPLER,
    }
)


def prepare(environ: MutableMapping[str, str]) -> None:
    """Writes the variables as the SDK reads them. One that is set to nothing is removed.

    Must be called before anything of OpenTelemetry is imported, and check() after it.

    Args:
        environ: The process's own environment, in which the SDK looks.
    """
    for name in [name for name in environ if name.startswith(_PREFIX)]:
        text = environ.pop(name).strip()
        if text:
            environ[name] = text.lower() if name in _LOWER_CASE else text


def check(environ: Mapping[str, str]) -> None:
    """Checks the variables.

    Args:
        environ: The environment, as prepare() has left it.

    Raises:
        ConfigurationError: A variable asks for something that cannot be had. The text names it.
    """
    disabled = is_disabled(environ)
    for name, rule in RULES.items():
        text = environ.get(name, "")
        if text and (not disabled or name in _ON_IMPORT):
            problem = rule(text) or ("" if _is_text(text) else "holds bytes that are not UTF-8")
            if problem:
                raise ConfigurationError(f"{name}: {problem}")
    if not disabled:
        for name, problem in _conflicts(environ):
            raise ConfigurationError(f"{name}: {problem}")


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _conflicts(environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yields each variable that conflicts with others, and how."""
    for processor in ("BSP", "BLRP"):
        batch, queue = f"OTEL_{processor}_MAX_EXPORT_BATCH_SIZE", f"OTEL_{processor}_MAX_QUEUE_SIZE"
        if int(environ.get(batch, _DEFAULT_BATCH_SIZE)) > int(environ.get(queue, _DEFAULT_QUEUE_SIZE)):
            yield (
                batch if batch in environ else queue,
                f"a batch, {environ.get(batch, _DEFAULT_BATCH_SIZE)}, must not be larger than the queue, "
                f"{environ.get(queue, _DEFAULT_QUEUE_SIZE)}",
            )
    for signal in SIGNALS:
        if OTLP in exporters(signal, environ):
            yield from _otlp_conflicts(signal, environ)


def _otlp_conflicts(signal: str, environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    spoken = protocol(signal, environ)
    name, compression = setting(signal, "COMPRESSION", environ)
    if compression and compression.lower() not in _COMPRESSIONS[spoken]:
        yield name, f"must be {' or '.join(_COMPRESSIONS[spoken])} with {spoken}, got {shown(compression)}"
    name, endpoint = setting(signal, "ENDPOINT", environ)
    if endpoint:
        is_url = HTTP_URL.match(endpoint) is not None
        if spoken == HTTP and not is_url:
            yield name, f"must be an http:// or https:// URL with {HTTP}"
        elif spoken == GRPC and is_url and "@" in urlsplit(endpoint).netloc:
            yield name, f"must hold no credentials with {GRPC}: send them as a header"
    yield from _certificate_conflicts(signal, environ)


def _certificate_conflicts(signal: str, environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
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


def is_disabled(environ: Mapping[str, str]) -> bool:
    """Returns whether telemetry is switched off as a whole."""
    return environ.get(SDK_DISABLED, "").strip().lower() == "true"


def exporters(signal: str, environ: Mapping[str, str]) -> tuple[str, ...]:
    """Returns the exporters of a signal: those that its variable names, or OTLP if an endpoint is set for it.

    An endpoint for all signals switches on traces and metrics alone: log lines are on standard error, and many
    collectors do not take log records.
    """
    found = names(environ.get(f"OTEL_{signal}_EXPORTER", ""))
    if not found:
        general = "" if signal == "LOGS" else environ.get("OTEL_EXPORTER_OTLP_ENDPOINT", "")
        found = (OTLP,) if general or environ.get(f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT") else ()
    return tuple(name for name in found if name != NONE)


def protocol(signal: str, environ: Mapping[str, str]) -> str:
    """Returns the protocol of OTLP for a signal: `grpc` or `http/protobuf`."""
    return setting(signal, "PROTOCOL", environ)[1].lower() or GRPC


def setting(signal: str, name: str, environ: Mapping[str, str]) -> tuple[str, str]:
    """Returns the variable that decides something about OTLP for a signal, and its value, empty if none is set."""
    own, general = f"OTEL_EXPORTER_OTLP_{signal}_{name}", f"OTEL_EXPORTER_OTLP_{name}"
    return (own, environ[own]) if environ.get(own) else (general, environ.get(general, ""))

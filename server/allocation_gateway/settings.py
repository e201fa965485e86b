"""The configuration: the only module that reads the environment, the TOML file and the key files.

Each field of Settings is one setting: its type is what it accepts, its description is its documentation. The
environment variable of a setting is ALLOCATION_GATEWAY_ and its name in capitals; in the TOML file it is its name as it
stands here. The environment wins over the file. Everything is read once and checked before the port opens; the files of
keys are followed afterwards.
"""

from __future__ import annotations

import tomllib
from ipaddress import IPv4Address
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_type_hints
from urllib.parse import SplitResult, urlsplit

import msgspec
from msgspec import Meta

from allocation_gateway import server_url, setting_types

if TYPE_CHECKING:
    from collections.abc import Mapping

PREFIX = "ALLOCATION_GATEWAY_"
CONFIG_FILE = "config_file"
API_NAMES = ("ship", "consignments")
# The part of the places that there are on top of what writes, or reads, may take alone.
_RESERVE = 8
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


class ConfigurationError(Exception):
    """The configuration cannot be used. The text is one line for the operator and names the setting."""


class Secret:
    """A text that never shows itself: not in a log, not in a trace, not in a traceback."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Returns the text itself, for the one place that sends it."""
        return self._value

    def __repr__(self) -> str:
        return "********"

    def __bool__(self) -> bool:
        return bool(self._value)


Port = Annotated[int, Meta(ge=0, le=65535)]
Count = Annotated[int, Meta(ge=1)]
Limit = Annotated[int, Meta(ge=0)]
Workers = Annotated[int, Meta(ge=1, le=256)]
WorkerSeconds = Annotated[float, Meta(ge=1, le=86400)]
Seconds = Annotated[float, Meta(ge=0, le=86400)]
PositiveSeconds = Annotated[float, Meta(gt=0, le=86400)]
PerSecond = Annotated[float, Meta(ge=0, le=1_000_000)]
Ratio = Annotated[float, Meta(gt=0, le=1)]


def described(text: str) -> Meta:
    """Attaches the documentation of a setting to its type."""
    return Meta(description=text)


class ApiSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The settings that every API has, under the names that they have in Settings after the API's prefix."""

    base_url: str
    api_key: Secret
    api_key_file: Path | None
    api_version: str
    timeout: float
    connect_timeout: float
    max_connections: int
    max_answer_bytes: int
    routes: dict[str, str]
    disabled_operations: tuple[str, ...]
    max_in_flight: int
    max_queue: int
    queue_time: float
    rate_limit: float
    rate_burst: int
    breaker_window: float
    breaker_min_calls: int
    breaker_failure_ratio: float
    breaker_open_time: float
    breaker_probes: int
    retry_budget_ratio: float
    retry_budget_burst: int
    max_attempts: int
    settle_time: float
    settle_times: dict[str, float]
    read_before_write: bool

    @property
    def places(self) -> tuple[int, int]:
        """How many writes (and as many reads) may be under way at once, and how many of both together.

        The difference keeps each of them from shutting the other out. Every one of them finds a free connection.
        """
        if self.max_in_flight:
            return self.max_in_flight, self.max_in_flight + max(self.max_in_flight // _RESERVE, 1)
        return self.max_connections - self.max_connections // (_RESERVE + 1), self.max_connections


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Every setting of the gateway. Build one with load()."""

    host: Annotated[str, described("The address to listen on. `[::]` or `0.0.0.0` for all of them.")] = "127.0.0.1"
    port: Annotated[Port, described("The port to listen on. 0 lets the system choose one.")] = 50051
    workers: Annotated[
        Workers,
        described(
            "Processes that share the port, to use more than one core. What limits calls, requests and connections "
            "counts in each of them."
        ),
    ] = 1
    worker_timeout: Annotated[
        WorkerSeconds,
        described("Seconds of silence after which one of several workers is taken for stuck and replaced."),
    ] = 30.0
    tls_cert_file: Annotated[
        Path | None,
        described("The certificate chain of the listener, PEM. A file that changes is read again for new connections."),
    ] = None
    tls_key_file: Annotated[Path | None, described("The private key of `TLS_CERT_FILE`, PEM.")] = None
    tls_client_ca_file: Annotated[
        Path | None,
        described(
            "The authorities whose client certificates are accepted, PEM. Set, it makes TLS mutual, and 1.3 at least "
            "unless `GRPC_ENGINE` is `grpcio`."
        ),
    ] = None
    grpc_engine: Annotated[
        Literal["direct", "grpcio"],
        described(
            "What serves gRPC: `direct` is the gateway's own and faster, `grpcio` is the server of that library."
        ),
    ] = "direct"
    allow_plaintext: Annotated[
        bool,
        described("Accept a listener without TLS, and an `http://` base URL on another host. Implied by `--sandbox`."),
    ] = False
    max_concurrent_calls: Annotated[
        Count,
        described("Calls in hand at once. One more is refused with RESOURCE_EXHAUSTED, GATEWAY_OVERLOADED."),
    ] = 1000
    max_request_bytes: Annotated[Count, described("The largest request message, in bytes.")] = 262_144
    max_metadata_bytes: Annotated[Count, described("The largest request metadata, in bytes.")] = 16_384
    max_connections: Annotated[
        Count,
        described(
            "Connections that may be open at once, in each process. One more takes the place of the oldest that has "
            "made no call, or is closed at once. Only `GRPC_ENGINE=direct` has this limit."
        ),
    ] = 4096
    max_connections_per_address: Annotated[
        Count,
        described(
            "Of these, connections that one IP address may have. Behind a proxy, all callers share its address. Only "
            "`GRPC_ENGINE=direct` has this limit."
        ),
    ] = 2048
    max_held_bytes: Annotated[
        Annotated[int, Meta(ge=1_048_576)],
        described(
            "Bytes that are held at once for all callers of a process: requests that are not answered yet, and answers "
            "that are not taken. One connection may hold half of them. If it is more, the connection that holds most "
            "is closed. Only `GRPC_ENGINE=direct` has this limit."
        ),
    ] = 33_554_432
    keepalive_time: Annotated[
        PositiveSeconds, described("Seconds of silence on a connection before the gateway probes it.")
    ] = 60.0
    keepalive_timeout: Annotated[
        PositiveSeconds,
        described("Seconds that such a probe may stay unanswered before the connection is closed."),
    ] = 20.0
    max_connection_age: Annotated[
        PositiveSeconds,
        described("Seconds after which a client is asked to connect anew, so that load spreads over new replicas."),
    ] = 300.0
    max_connection_age_grace: Annotated[
        PositiveSeconds, described("Seconds that calls on such an aged connection have to finish.")
    ] = 60.0
    health_port: Annotated[
        Port | None,
        described(
            "A further port, without TLS, that serves nothing but `grpc.health.v1`: for probes that know no TLS."
        ),
    ] = None
    reflection: Annotated[bool, described("Offer gRPC server reflection.")] = True
    default_deadline: Annotated[
        PositiveSeconds, described("Seconds that a call may take if its caller sets no deadline.")
    ] = 15.0
    deadline_margin: Annotated[
        Seconds,
        described("Seconds before the caller's deadline at which the gateway answers, so that its details arrive."),
    ] = 0.05
    shutdown_delay: Annotated[
        Seconds,
        described("Seconds between SIGTERM, which turns health to NOT_SERVING, and the end of accepting calls."),
    ] = 3.0
    shutdown_grace: Annotated[
        Seconds, described("Seconds that calls and writes have to finish once no more calls are accepted.")
    ] = 25.0
    telemetry_flush_timeout: Annotated[
        Seconds, described("Seconds that telemetry has to be sent off at the very end of a shutdown.")
    ] = 3.0
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], described("The least severe log line that is written.")
    ] = "info"
    log_format: Annotated[Literal["json", "console"], described("How log lines are written to standard error.")] = (
        "json"
    )
    service_groups: Annotated[
        tuple[str, ...],
        described(
            "Codes of service groups that are known to exist with every API, besides the catalogue file. "
            "In the environment: separated by commas."
        ),
    ] = ()
    service_group_catalogue_file: Annotated[
        Path | None,
        described("The catalogue of service groups, TOML or YAML. It is read again whenever it changes."),
    ] = None
    service_group_policy: Annotated[
        Literal["learn", "strict"],
        described(
            "What becomes of a service group that is not known: `learn` passes it on and remembers it once it works, "
            "`strict` refuses it where a catalogue or a list from upstream is complete."
        ),
    ] = "learn"
    service_group_listing: Annotated[
        bool, described("Read the Consignments API's own list of service groups, where the account may.")
    ] = True
    service_group_refresh: Annotated[bool, described("Offer the rpc that forgets what is known and reads it anew.")] = (
        False
    )
    service_group_ttl: Annotated[
        PositiveSeconds, described("Seconds that a service group which was listed, or seen to work, is trusted.")
    ] = 3600.0
    service_group_stale: Annotated[
        Seconds, described("Seconds after that in which upstream's list is still used if it cannot be read.")
    ] = 86400.0
    service_group_cache_size: Annotated[
        Count, described("How many service groups that were seen to work are remembered at most.")
    ] = 10_000
    cache_url: Annotated[
        Secret,
        described(
            "A Valkey or Redis server by which replicas share what they know of service groups, as "
            "`rediss://user:password@host:6379/0`, percent-encoded; `redis://` is without TLS. `valkeys://` and "
            "`valkey://` are the same."
        ),
    ] = Secret("")
    cache_namespace: Annotated[
        str, described("What the names of all keys there begin with. Different accounts need different ones.")
    ] = "allocation-gateway"
    cache_timeout: Annotated[PositiveSeconds, described("Seconds that a call may wait for that server.")] = 0.1
    store_url: Annotated[
        Secret,
        described(
            "A Valkey or Redis server that keeps the claims of writes for all processes, as "
            "`rediss://user:password@host:6379/0`, percent-encoded; `redis://` is without TLS. `valkeys://` and "
            "`valkey://` are the same. Without one each process keeps its own."
        ),
    ] = Secret("")
    store_namespace: Annotated[
        str, described("What the names of all keys there begin with. Different accounts need different ones.")
    ] = "allocation-gateway-claims"
    store_timeout: Annotated[PositiveSeconds, described("Seconds that one step of that server may take.")] = 0.5
    store_connections: Annotated[
        Count, described("Connections to that server at once. Further steps wait for one, within their time.")
    ] = 32
    store_checks: Annotated[
        Literal["require", "warn", "off"],
        described(
            "Whether that server must never evict keys and must keep them over a restart: `require` refuses one that "
            "does not, `warn` logs it, `off` does not ask."
        ),
    ] = "require"
    store_unavailable: Annotated[
        Literal["refuse", "proceed"],
        described(
            "What becomes of a write while that server cannot be reached: `refuse` sends nothing, `proceed` keeps its "
            "claim in the process alone, so that only upstream's own rule keeps other processes from doing it again."
        ),
    ] = "refuse"
    replicas: Annotated[
        Count, described("How many processes serve the same account, at most. More than one need `STORE_URL`.")
    ] = 1
    allow_unshared_claims: Annotated[
        bool,
        described(
            "Accept several processes without `STORE_URL`: a call that is repeated at another one is then protected by "
            "upstream's own rule alone."
        ),
    ] = False
    request_id_required: Annotated[
        bool, described("Refuse allocations and de-allocations without a `request_id` of the caller's own.")
    ] = False
    claim_lease: Annotated[
        PositiveSeconds,
        described(
            "Seconds for which a process holds a claim at a time. So long after a crash another one may take over; no "
            "process sends anything under a claim that it has not renewed for so long."
        ),
    ] = 10.0
    lock_wait: Annotated[
        Seconds,
        described(
            "Seconds for which a write waits for another one of the same shipment or consignment, before it is "
            "refused with ABORTED, WRITE_IN_PROGRESS."
        ),
    ] = 2.0
    claim_retention: Annotated[
        PositiveSeconds, described("Seconds for which a write's answer is remembered on that server.")
    ] = 86400.0
    claims_in_memory: Annotated[
        Count,
        described(
            "How many claims a process without such a server keeps. The oldest answer makes room; when all are in "
            "doubt, writes are refused."
        ),
    ] = 50_000
    claim_retention_in_memory: Annotated[
        PositiveSeconds, described("Seconds for which a write's answer is remembered without such a server.")
    ] = 3600.0
    http_engine: Annotated[
        Literal["auto", "direct", "httpx"],
        described(
            "What makes the HTTP requests: `direct` is faster, `httpx` can go through proxies. `auto` takes `httpx` "
            "for an API to which `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY` prescribe a proxy."
        ),
    ] = "auto"
    ship_base_url: Annotated[str, described("Where the Ship API is.")] = "https://api.sorted.com/pro"
    ship_api_key: Annotated[Secret, described("The key of the Ship API.")] = Secret("")
    ship_api_key_file: Annotated[
        Path | None,
        described(
            "A file that holds the key of the Ship API, instead of `SHIP_API_KEY`. A key that is replaced in it is "
            "used without a restart."
        ),
    ] = None
    ship_api_version: Annotated[str, described("The value of the header `x-api-version`.")] = "1.1"
    ship_timeout: Annotated[
        PositiveSeconds,
        described("Seconds that one request to the Ship API may take, even if its caller has gone."),
    ] = 30.0
    ship_connect_timeout: Annotated[PositiveSeconds, described("Seconds that connecting to the Ship API may take.")] = (
        5.0
    )
    ship_max_connections: Annotated[
        Count,
        described("Connections to the Ship API at once. Further requests wait for one, within their deadline."),
    ] = 512
    ship_max_answer_bytes: Annotated[
        Count, described("The largest answer of the Ship API that is read, in bytes after decompression.")
    ] = 4_194_304
    ship_routes: Annotated[
        dict[str, str],
        described(
            "Which documented spelling of an operation to use, where there are several, as `Operation=variant`. "
            "In the environment: separated by commas."
        ),
    ] = {}
    ship_disabled_operations: Annotated[
        tuple[str, ...],
        described(
            "Operations that are switched off, by the name of their rpc. In the environment: separated by commas."
        ),
    ] = ()
    ship_capabilities_shape: Annotated[
        Literal["array", "object"],
        described("Whether `capabilities` is sent as a JSON array or as one object."),
    ] = "array"
    ship_max_in_flight: Annotated[
        Limit,
        described(
            "Writes to the Ship API under way at once, and as many reads; both together an eighth more. "
            "0: as many as `SHIP_MAX_CONNECTIONS` allows."
        ),
    ] = 0
    ship_max_queue: Annotated[
        Limit, described("Writes, and also reads, that may wait for their turn with the Ship API.")
    ] = 256
    ship_queue_time: Annotated[
        Seconds, described("Seconds that one of them may wait. What would wait longer is refused at once.")
    ] = 0.5
    ship_rate_limit: Annotated[
        PerSecond, described("Requests to the Ship API in a second. 0: as many as there are.")
    ] = 0.0
    ship_rate_burst: Annotated[
        Count, described("Requests that may be sent at once within `SHIP_RATE_LIMIT`, after a pause.")
    ] = 10
    ship_breaker_window: Annotated[
        PositiveSeconds, described("Seconds in which failures of the Ship API are counted, to leave it alone.")
    ] = 10.0
    ship_breaker_min_calls: Annotated[
        Count, described("Requests that there must have been in that time before the breaker can open.")
    ] = 20
    ship_breaker_failure_ratio: Annotated[
        Ratio, described("The part of them that must have failed for the breaker to open.")
    ] = 0.5
    ship_breaker_open_time: Annotated[
        PositiveSeconds,
        described(
            "Seconds that the breaker stays open, and a little more at random. Each time that upstream still fails "
            "doubles it, up to eight times."
        ),
    ] = 5.0
    ship_breaker_probes: Annotated[
        Count,
        described("Requests at once that try the Ship API after that. As many answers close the breaker."),
    ] = 3
    ship_retry_budget_ratio: Annotated[
        Ratio, described("Writes that may be sent once more, as a part of the writes that were asked for.")
    ] = 0.1
    ship_retry_budget_burst: Annotated[
        Limit, described("Writes that may be sent once more besides, in a row. 0: none is ever.")
    ] = 10
    ship_max_attempts: Annotated[
        Count,
        described(
            "How often a request to the Ship API is sent at most that certainly had no effect, such as one that was "
            "throttled, within its deadline."
        ),
    ] = 3
    ship_settle_time: Annotated[
        PositiveSeconds,
        described(
            "Seconds after which a write that was sent to the Ship API and not answered can take effect no more. "
            "Nothing is sent again before. At least `SHIP_TIMEOUT`."
        ),
    ] = 30.0
    ship_settle_times: Annotated[
        dict[str, PositiveSeconds],
        described("The same for single operations, as `Operation=seconds`. In the environment: separated by commas."),
    ] = {}
    ship_read_before_write: Annotated[
        bool,
        described(
            "Read each shipment before an allocation is sent, so that what was there before is known when an answer is "
            "lost. It costs a request, and a step of the store, for each allocation."
        ),
    ] = False
    consignments_base_url: Annotated[str, described("Where the Consignments API is.")] = "https://api.electioapp.com"
    consignments_api_key: Annotated[Secret, described("The key of the Consignments API.")] = Secret("")
    consignments_api_key_file: Annotated[
        Path | None,
        described(
            "A file that holds the key of the Consignments API, instead of `CONSIGNMENTS_API_KEY`. A key that is "
            "replaced in it is used without a restart."
        ),
    ] = None
    consignments_api_version: Annotated[str, described("The value of the header `electio-api-version`.")] = "1.1"
    consignments_timeout: Annotated[
        PositiveSeconds,
        described("Seconds that one request to the Consignments API may take, even if its caller has gone."),
    ] = 30.0
    consignments_connect_timeout: Annotated[
        PositiveSeconds, described("Seconds that connecting to the Consignments API may take.")
    ] = 5.0
    consignments_max_connections: Annotated[
        Count,
        described("Connections to the Consignments API at once. Further requests wait for one, within their deadline."),
    ] = 512
    consignments_max_answer_bytes: Annotated[
        Count, described("The largest answer of the Consignments API that is read, in bytes after decompression.")
    ] = 16_777_216
    consignments_routes: Annotated[
        dict[str, str],
        described("As `SHIP_ROUTES`. No operation of the Consignments API has several spellings so far."),
    ] = {}
    consignments_disabled_operations: Annotated[
        tuple[str, ...],
        described(
            "Operations that are switched off, by the name of their rpc. In the environment: separated by commas."
        ),
    ] = ()
    consignments_max_references: Annotated[
        Count, described("How many consignments a bulk call may name. Upstream documents no limit of its own.")
    ] = 100
    consignments_max_in_flight: Annotated[
        Limit,
        described(
            "Writes to the Consignments API under way at once, and as many reads; both together an eighth more. "
            "0: as many as `CONSIGNMENTS_MAX_CONNECTIONS` allows."
        ),
    ] = 0
    consignments_max_queue: Annotated[
        Limit, described("Writes, and also reads, that may wait for their turn with the Consignments API.")
    ] = 256
    consignments_queue_time: Annotated[
        Seconds, described("Seconds that one of them may wait. What would wait longer is refused at once.")
    ] = 0.5
    consignments_rate_limit: Annotated[
        PerSecond, described("Requests to the Consignments API in a second. 0: as many as there are.")
    ] = 0.0
    consignments_rate_burst: Annotated[
        Count, described("Requests that may be sent at once within `CONSIGNMENTS_RATE_LIMIT`, after a pause.")
    ] = 10
    consignments_breaker_window: Annotated[
        PositiveSeconds, described("Seconds in which failures of the Consignments API are counted, to leave it alone.")
    ] = 10.0
    consignments_breaker_min_calls: Annotated[
        Count, described("Requests that there must have been in that time before the breaker can open.")
    ] = 20
    consignments_breaker_failure_ratio: Annotated[
        Ratio, described("The part of them that must have failed for the breaker to open.")
    ] = 0.5
    consignments_breaker_open_time: Annotated[
        PositiveSeconds,
        described(
            "Seconds that the breaker stays open, and a little more at random. Each time that upstream still fails "
            "doubles it, up to eight times."
        ),
    ] = 5.0
    consignments_breaker_probes: Annotated[
        Count,
        described("Requests at once that try the Consignments API after that. As many answers close the breaker."),
    ] = 3
    consignments_retry_budget_ratio: Annotated[
        Ratio, described("Writes that may be sent once more, as a part of the writes that were asked for.")
    ] = 0.1
    consignments_retry_budget_burst: Annotated[
        Limit, described("Writes that may be sent once more besides, in a row. 0: none is ever.")
    ] = 10
    consignments_max_attempts: Annotated[
        Count,
        described(
            "How often a request to the Consignments API is sent at most that certainly had no effect, such as one "
            "that was throttled, within its deadline."
        ),
    ] = 3
    consignments_settle_time: Annotated[
        PositiveSeconds,
        described(
            "Seconds after which a write that was sent to the Consignments API and not answered can take effect no "
            "more. Nothing is sent again before. At least `CONSIGNMENTS_TIMEOUT`."
        ),
    ] = 30.0
    consignments_settle_times: Annotated[
        dict[str, PositiveSeconds],
        described("The same for single operations, as `Operation=seconds`. In the environment: separated by commas."),
    ] = {}
    consignments_read_before_write: Annotated[
        bool,
        described(
            "Read each consignment before an allocation is sent, so that what was there before is known when an answer "
            "is lost. It costs a request, and a step of the store, for each allocation."
        ),
    ] = False
    sandbox_port: Annotated[Port, described("The port of the sandbox that `serve --sandbox` starts.")] = 8080

    def api(self, name: str) -> ApiSettings:
        """Returns what is configured for one API: `ship` or `consignments`."""
        fields = ApiSettings.__struct_fields__
        return ApiSettings(**{field: getattr(self, f"{name}_{field}") for field in fields})

    def key(self, name: str) -> Secret:
        """Returns the key of an API, empty if it is not configured.

        Raises:
            ConfigurationError: The key file cannot be read, or is empty.
        """
        api = self.api(name)
        if api.api_key_file is None:
            return api.api_key
        where = variable(f"{name}_api_key_file")
        try:
            return key_of(api.api_key_file.read_bytes())
        except OSError as error:
            raise ConfigurationError(f"{where}: cannot be read: {error}") from error
        except ConfigurationError as error:
            raise ConfigurationError(f"{where}: {error}") from None


TYPES: Mapping[str, Any] = {
    name: hint
    for name, hint in get_type_hints(Settings, include_extras=True).items()
    if name in Settings.__struct_fields__
}


def variable(name: str) -> str:
    """Returns the environment variable of a setting."""
    return PREFIX + name.upper()


def load(environ: Mapping[str, str], *, overrides: Mapping[str, Any] | None = None) -> Settings:
    """Reads the configuration.

    Args:
        environ: The process's environment.
        overrides: Settings that the command line decides. They win over everything.

    Raises:
        ConfigurationError: A setting is unknown, malformed, missing or at odds with another one.
    """
    given = {name[len(PREFIX) :].lower(): text for name, text in environ.items() if name.startswith(PREFIX)}
    values = _from_file(given.pop(CONFIG_FILE, ""))
    for name, text in given.items():
        values[name] = _convert(name, _split(name, text), variable(name), text)
    values.update(overrides or {})
    settings = Settings(**values)
    _check(settings)
    return settings


def _from_file(path: str) -> dict[str, Any]:
    if not path:
        return {}
    where = variable(CONFIG_FILE)
    try:
        with Path(path).open("rb") as file:
            content = tomllib.load(file)
    except OSError as error:
        raise ConfigurationError(f"{where}: cannot be read: {error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{where}: {path} is not valid TOML: {error}") from error
    return {name: _convert(name, value, f"{name} in {path}") for name, value in content.items()}


def _split(name: str, text: str) -> object:
    """Turns the text of an environment variable into a list or table where its setting is one."""
    default = getattr(Settings(), name, None)
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if isinstance(default, tuple):
        return parts
    if isinstance(default, dict):
        pairs = [part.partition("=") for part in parts]
        if not all(separator for _, separator, _ in pairs):
            told = setting_types.sentence(TYPES[name], text, is_from_text=True)
            raise ConfigurationError(f"{variable(name)}: {told}")
        return {key.strip(): value.strip() for key, _, value in pairs}
    if isinstance(default, bool):
        return text.strip().lower() or None
    return text or None


def _convert(name: str, value: object, where: str, text: str | None = None) -> Any:
    """Makes a setting of what was given: of a text of the environment if there is one, and else of the TOML file."""
    if name not in TYPES:
        raise ConfigurationError(f"{where}: there is no such setting")
    if value is None:
        return getattr(Settings(), name)
    try:
        return msgspec.convert(value, TYPES[name], strict=False, dec_hook=from_text)
    except msgspec.ValidationError:
        given = value if text is None else text
        told = setting_types.sentence(TYPES[name], given, is_from_text=text is not None)
        raise ConfigurationError(f"{where}: {told}") from None


def from_text(kind: type, value: object) -> object:
    """Returns what a text stands for where the kind is none that msgspec knows: a path or a secret."""
    if not isinstance(value, str):
        raise TypeError("expected `str`")
    return kind(value)


def _check(settings: Settings) -> None:
    _check_tls(settings)
    _check_apis(settings)
    for name in ("cache_url", "store_url"):
        _check_server(variable(name), getattr(settings, name).reveal())
    _check_processes(settings)


def _check_tls(settings: Settings) -> None:
    has_cert, has_key = settings.tls_cert_file is not None, settings.tls_key_file is not None
    if has_cert != has_key:
        missing = "tls_key_file" if has_cert else "tls_cert_file"
        raise ConfigurationError(f"{variable(missing)}: is required, since its counterpart is set")
    if settings.tls_client_ca_file is not None and not has_cert:
        raise ConfigurationError(f"{variable('tls_client_ca_file')}: needs {variable('tls_cert_file')}")
    if not has_cert and not settings.allow_plaintext:
        raise ConfigurationError(
            f"{variable('tls_cert_file')}: is required, unless {variable('allow_plaintext')}=true "
            "accepts a listener without TLS"
        )


def _check_processes(settings: Settings) -> None:
    several = next((name for name in ("workers", "replicas") if getattr(settings, name) > 1), None)
    if several and not settings.store_url and not settings.allow_unshared_claims:
        raise ConfigurationError(
            f"{variable('store_url')}: is required with {variable(several)} above 1, unless "
            f"{variable('allow_unshared_claims')}=true accepts that processes do not know of each other's writes"
        )


def _check_server(where: str, url: str) -> None:
    if not url:
        return
    try:
        server_url.check_files(server_url.parse(url))
    except ValueError as error:
        raise ConfigurationError(f"{where}: {error}") from None


def _check_apis(settings: Settings) -> None:
    configured = [_check_api(settings, name) for name in API_NAMES]
    if not any(configured):
        raise ConfigurationError(
            f"{variable('ship_api_key')}: is required (or {variable('ship_api_key_file')}), "
            f"unless {variable('consignments_api_key')} is set"
        )


def _check_api(settings: Settings, name: str) -> bool:
    """Checks the settings of an API. Returns whether it is configured, which it is if its key is."""
    api = settings.api(name)
    where = variable(f"{name}_api_key")
    if api.api_key and api.api_key_file is not None:
        raise ConfigurationError(f"{where}: is set together with {variable(f'{name}_api_key_file')}")
    key = settings.key(name)
    if not _is_header(key.reveal()):
        raise ConfigurationError(f"{where}: holds characters that cannot be sent in a header")
    if not _is_header(api.api_version):
        raise ConfigurationError(f"{variable(f'{name}_api_version')}: holds characters that cannot be sent in a header")
    for field, seconds in (
        ("settle_time", api.settle_time),
        *(("settle_times", each) for each in api.settle_times.values()),
    ):
        if seconds < api.timeout:
            raise ConfigurationError(
                f"{variable(f'{name}_{field}')}: must be at least {variable(f'{name}_timeout')}, {api.timeout:g}"
            )
    if api.places[1] > api.max_connections:
        raise ConfigurationError(
            f"{variable(f'{name}_max_in_flight')}: needs {variable(f'{name}_max_connections')} "
            f"to be {api.places[1]} or more"
        )
    check_base_url(variable(f"{name}_base_url"), api.base_url, allow_plaintext=settings.allow_plaintext)
    return bool(key)


def _is_header(text: str) -> bool:
    return text.isascii() and text.isprintable()


def key_of(content: bytes) -> Secret:
    """Returns the key that a file holds, without the line break at its end.

    Raises:
        ConfigurationError: It holds none that can be sent. The text does not name the file.
    """
    try:
        text = content.decode().strip()
    except UnicodeDecodeError:
        raise ConfigurationError("the file is no text") from None
    if not text:
        raise ConfigurationError("the file is empty")
    if not _is_header(text):
        raise ConfigurationError("the file holds characters that cannot be sent in a header")
    return Secret(text)


def split_url(url: str) -> SplitResult:
    """Takes a URL apart.

    Raises:
        ValueError: It is none, or its port or the IPv4 address in it is none.
    """
    parts = urlsplit(url)
    host, _ = parts.hostname, parts.port
    if host and not host.strip("0123456789."):
        IPv4Address(host)
    return parts


def check_base_url(where: str, url: str, *, allow_plaintext: bool) -> None:
    """Checks that an API can be called at an address.

    Raises:
        ConfigurationError: It is no http or https URL, or would send the key unencrypted to another host unasked.
    """
    if not url.isascii() or not url.isprintable() or " " in url:
        # Python would leave out a line break, and take the rest for the address.
        raise ConfigurationError(f"{where}: holds characters that have to be encoded in a URL")
    try:
        parts = split_url(url)
    except ValueError as error:
        raise ConfigurationError(f"{where}: is not a URL: {error}") from None
    host = parts.hostname
    if parts.scheme not in {"http", "https"} or not host:
        raise ConfigurationError(f"{where}: must be an http:// or https:// URL")
    if parts.username is not None or parts.query or parts.fragment:
        raise ConfigurationError(f"{where}: must hold no credentials, query or fragment")
    if parts.scheme == "http" and host not in LOOPBACK and not allow_plaintext:
        raise ConfigurationError(
            f"{where}: would send the key unencrypted, unless {variable('allow_plaintext')}=true accepts it"
        )


def markdown() -> str:
    """Returns the documentation of every setting as a Markdown table, in the order of the fields."""
    lines = ["| setting | default | what it is |", "|---|---|---|"]
    defaults = Settings()
    for name, hint in TYPES.items():
        text = " ".join(part.description for part in hint.__metadata__ if isinstance(part, Meta) and part.description)
        lines.append(f"| `{name.upper()}` | {_shown(getattr(defaults, name))} | {text} |")
    lines.append(f"| `{CONFIG_FILE.upper()}` |  | A TOML file with settings, by their names in small letters. |")
    return "\n".join(lines)


def _shown(value: object) -> str:
    if value is None or value == () or value == {} or isinstance(value, Secret):
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"

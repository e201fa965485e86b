"""What can be set for the gateway as a whole, and with it for each API.

Each field is one setting: its type is what it accepts, its description is its documentation.
"""

from __future__ import annotations

# The types of fields are read at run time.
from pathlib import Path  # noqa: TC003
from typing import Annotated, Literal, cast

import msgspec

from allocation_gateway.settings.api import ApiSettings, ConsignmentsSettings, ShipSettings
from allocation_gateway.settings.key_files import read_key
from allocation_gateway.settings.names import DEFAULT_ACCOUNT, variable
from allocation_gateway.settings.types import (
    Count,
    Port,
    PositiveSeconds,
    SandboxShipments,
    Seconds,
    Secret,
    Workers,
    WorkerSeconds,
    described,
)


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Every setting of the gateway. Build one with load().

    Each account has one of these: they differ in what the APIs have. What has no description is no setting.

    Attributes:
        account: The name of the account that it is of.
        is_sandboxed: Whether a sandbox stands in for upstream, whatever an account says of its address and key.
    """

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
            "Of these, connections that one IP address may have; with IPv6, one network of 64 bits. Behind a proxy, "
            "all callers share its address. Only `GRPC_ENGINE=direct` has this limit."
        ),
    ] = 2048
    max_held_bytes: Annotated[
        Annotated[int, msgspec.Meta(ge=1_048_576)],
        described(
            "Bytes held at once for all callers of a process: requests not answered yet, answers not taken, and 256 "
            "KiB for each connection with TLS, up to half. At least four times `MAX_REQUEST_BYTES`. One connection "
            "may hold half. Above it, the connection that holds most is closed. Only for `GRPC_ENGINE=direct`."
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
    jwks_url: Annotated[
        str,
        described(
            "Where the issuer of callers' tokens publishes its keys, a JSON Web Key Set. Set, each call needs a valid "
            "bearer token or client certificate."
        ),
    ] = ""
    jwks_file: Annotated[
        Path | None, described("A file that holds these keys, instead of `JWKS_URL`. It is read again when it changes.")
    ] = None
    jwt_issuer: Annotated[str, described("The issuer that tokens must be of.")] = ""
    jwt_audience: Annotated[str, described("The audience that tokens must be for.")] = ""
    policy_file: Annotated[
        Path | None,
        described(
            "What callers may do, TOML. Set, what it does not allow is refused. It is read again when it changes."
        ),
    ] = None
    accounts_file: Annotated[
        Path | None,
        described(
            "Further accounts at upstream, TOML, each with keys and limits of its own. It is read again when it "
            "changes."
        ),
    ] = None
    default_deadline: Annotated[
        PositiveSeconds, described("Seconds that a call may take if its caller sets no deadline.")
    ] = 15.0
    deadline_margin: Annotated[
        Seconds,
        described("Seconds before the caller's deadline at which the gateway answers, so that its details arrive."),
    ] = 0.05
    stream_outage_time: Annotated[
        PositiveSeconds,
        described(
            "Seconds for which an allocation stream waits while nothing can be sent, as when upstream does not answer, "
            "before it ends with the reason."
        ),
    ] = 300.0
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
        str, described("What the names of all keys there begin with. Gateways of other accounts need other ones.")
    ] = "allocation-gateway"
    cache_timeout: Annotated[PositiveSeconds, described("Seconds that a call may wait for that server.")] = 0.1
    store_url: Annotated[
        Secret,
        described(
            "A Valkey or Redis server that keeps the claims of writes for all processes, as "
            "`rediss://user:password@host:6379/0`, percent-encoded; `redis://` is without TLS. `valkeys://` and "
            "`valkey://` are the same. `rediss+sentinel://` and `rediss+cluster://` name several servers. Without one "
            "each process keeps its own."
        ),
    ] = Secret("")
    store_namespace: Annotated[
        str, described("What the names of all keys there begin with. Gateways of other accounts need other ones.")
    ] = "allocation-gateway-claims"
    store_timeout: Annotated[
        PositiveSeconds,
        described("Seconds that a step may wait for a connection to that server, and then for any sign of it."),
    ] = 0.5
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
    ship: ShipSettings = ShipSettings()
    consignments: ConsignmentsSettings = ConsignmentsSettings()
    sandbox_port: Annotated[Port, described("The port of the sandbox that `serve --sandbox` starts.")] = 8080
    sandbox_shipments: Annotated[
        SandboxShipments,
        described(
            "Shipments, and as many consignments, that it has besides the examples: `sp_` and a number of 32 digits."
        ),
    ] = 0
    account: str = DEFAULT_ACCOUNT
    is_sandboxed: bool = False

    @property
    def takes_tokens(self) -> bool:
        """Whether callers may say by a token who they are."""
        return bool(self.jwks_url) or self.jwks_file is not None

    @property
    def identifies_callers(self) -> bool:
        """Whether each call is asked who makes it."""
        return self.takes_tokens or self.policy_file is not None

    def api(self, name: str) -> ApiSettings:
        """Returns what is configured for one API: `ship` or `consignments`."""
        return cast("ApiSettings", getattr(self, name))

    def key(self, name: str) -> Secret:
        """Returns the key of an API, empty if it is not configured.

        Raises:
            ConfigurationError: The key file cannot be read, or is empty.
        """
        api = self.api(name)
        if api.api_key_file is None:
            return api.api_key
        return read_key(self.where(name, "api_key_file"), api.api_key_file)

    def where(self, name: str, field: str) -> str:
        """Returns what errors call a setting of an API: its variable, or its place in the file of accounts."""
        if self.account == DEFAULT_ACCOUNT:
            return variable(f"{name}_{field}")
        return f"accounts.{self.account}.{name}.{field}"

    def at(self, *, ship_base_url: str, consignments_base_url: str) -> Settings:
        """Returns the same settings for APIs at other addresses."""
        return msgspec.structs.replace(
            self,
            ship=msgspec.structs.replace(self.ship, base_url=ship_base_url),
            consignments=msgspec.structs.replace(self.consignments, base_url=consignments_base_url),
        )

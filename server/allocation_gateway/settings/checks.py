"""Every check of the settings that goes beyond the type of one: `check` and `serve` run the same list.

It has two parts. EARLY looks at the settings and at the files that they name; it runs in the process that the operator
starts, which may be one that supervises workers and must not load what they need. LATE looks at what settings name of
this release, such as its operations; it runs in each process that serves calls, before anything else.

Nothing else refuses a setting for its value. What only starting can find out, such as a port that is taken, is told by
whoever finds it.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from allocation_gateway.settings import server_files, server_url
from allocation_gateway.settings.certificates import read_certificates
from allocation_gateway.settings.fields import API_NAMES
from allocation_gateway.settings.key_files import is_header
from allocation_gateway.settings.names import variable
from allocation_gateway.settings.proxies import is_proxied
from allocation_gateway.settings.types import ConfigurationError
from allocation_gateway.settings.urls import LOOPBACK, split_url

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from allocation_gateway.settings.schema import Settings

    EarlyCheck: TypeAlias = Callable[[Settings], None]
    LateCheck: TypeAlias = Callable[[Settings, "Release"], None]
    # Looks at the variables of OpenTelemetry. Raises ConfigurationError.
    VariablesCheck: TypeAlias = Callable[[Mapping[str, str]], None]

# The largest request takes no more than this part of what all callers may have held: a connection has half of that, and
# the request is held twice, as bytes and as what becomes of them.
_REQUEST_PART: Final = 4
# The levels at which audit lines are written.
_AUDITED: Final = ("debug", "info")


class Release(NamedTuple):
    """What this release has that settings can name.

    Attributes:
        operations: By the names of the API and of the operation, the spellings that the operation's path has.
        read_catalogue: Reads the catalogue of service groups, if there is one. Raises ConfigurationError.
        read_callers: Reads the files that say who callers are and what they may do, the same way.
        read_accounts: Reads the file of further accounts, the same way.
    """

    operations: Mapping[str, Mapping[str, Collection[str]]]
    read_catalogue: Callable[[Settings], object]
    read_callers: Callable[[Settings], object]
    read_accounts: Callable[[Settings], object]


def check_early(settings: Settings, environ: Mapping[str, str], check_variables: VariablesCheck) -> None:
    """Runs the first part of the list, and the rules of OpenTelemetry's variables.

    Args:
        settings: What has been loaded.
        environ: The environment.
        check_variables: Those rules, which are telemetry's own.

    Raises:
        ConfigurationError: A setting cannot be used, or not with another one.
    """
    for check in EARLY:
        check(settings)
    check_variables(environ)


def check_late(settings: Settings, release: Release) -> None:
    """Runs the second part of the list.

    Raises:
        ConfigurationError: A setting names what there is not.
    """
    for check in LATE:
        check(settings, release)


def _tls(settings: Settings) -> None:
    has_cert, has_key = settings.tls_cert_file is not None, settings.tls_key_file is not None
    if has_cert != has_key:
        present, missing = ("tls_cert_file", "tls_key_file") if has_cert else ("tls_key_file", "tls_cert_file")
        raise ConfigurationError(f"{variable(missing)}: is required, since {variable(present)} is set")
    if settings.tls_client_ca_file is not None and not has_cert:
        raise ConfigurationError(f"{variable('tls_client_ca_file')}: needs {variable('tls_cert_file')}")
    if not has_cert and not settings.allow_plaintext:
        raise ConfigurationError(
            f"{variable('tls_cert_file')}: is required, unless {variable('allow_plaintext')}=true "
            "accepts a listener without TLS"
        )


def _apis(settings: Settings) -> None:
    configured = [_api(settings, name) for name in API_NAMES]
    # With a file of accounts there may be none by default, so that every call has to name one.
    if not any(configured) and settings.accounts_file is None:
        raise ConfigurationError(
            f"{variable('ship_api_key')}: is required (or {variable('ship_api_key_file')}), "
            f"unless {variable('consignments_api_key')} is set"
        )


def _api(settings: Settings, name: str) -> bool:
    """Checks the settings of an API. Returns whether it is configured, which it is if its key is."""
    api = settings.api(name)
    where = partial(settings.where, name)
    if api.api_key and api.api_key_file is not None:
        raise ConfigurationError(
            f"{where('api_key')}: must not be set together with {where('api_key_file')}: remove one"
        )
    key = settings.key(name)
    if not is_header(key.reveal()):
        raise ConfigurationError(f"{where('api_key')}: holds characters that cannot be sent in a header")
    if not is_header(api.api_version):
        raise ConfigurationError(f"{where('api_version')}: holds characters that cannot be sent in a header")
    for field, seconds in (
        ("settle_time", api.settle_time),
        *(("settle_times", each) for each in api.settle_times.values()),
    ):
        if seconds < api.timeout:
            raise ConfigurationError(f"{where(field)}: must be at least {where('timeout')}, {api.timeout:g}")
    if api.places[1] > api.max_connections:
        raise ConfigurationError(
            f"{where('max_in_flight')}: needs {where('max_connections')} to be {api.places[1]} or more"
        )
    _base_url(where("base_url"), api.base_url, allow_plaintext=settings.allow_plaintext)
    return api.is_configured


def _base_url(where: str, url: str, *, allow_plaintext: bool, does: str = "send the key") -> None:
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
            f"{where}: would {does} unencrypted, unless {variable('allow_plaintext')}=true accepts it"
        )


def _servers(settings: Settings) -> None:
    for name in ("cache_url", "store_url"):
        url = getattr(settings, name).reveal()
        try:
            if url:
                server = server_url.parse(url)
                if server.nodes and name == "cache_url":
                    raise ValueError("a cluster can only be used for claims: name one server, or its Sentinels")
                server_files.check_files(server)
        except ValueError as error:
            raise ConfigurationError(f"{variable(name)}: {error}") from None


def _processes(settings: Settings) -> None:
    several = next((name for name in ("workers", "replicas") if getattr(settings, name) > 1), None)
    if several and not settings.store_url and not settings.allow_unshared_claims:
        raise ConfigurationError(
            f"{variable('store_url')}: is required with {variable(several)} above 1, unless "
            f"{variable('allow_unshared_claims')}=true accepts that processes do not know of each other's writes"
        )


def _ports(settings: Settings) -> None:
    if settings.health_port and settings.health_port == settings.port:
        raise ConfigurationError(f"{variable('health_port')}: must be another port than {variable('port')}")


def _held_bytes(settings: Settings) -> None:
    least = _REQUEST_PART * settings.max_request_bytes
    if settings.grpc_engine == "direct" and settings.max_held_bytes < least:
        raise ConfigurationError(
            f"{variable('max_held_bytes')}: must be at least {least}, {_REQUEST_PART} times "
            f"{variable('max_request_bytes')}, since one connection may hold half of it"
        )


def _certificates(settings: Settings) -> None:
    if settings.tls_cert_file is not None:
        read_certificates(settings, settings.tls_cert_file)


def _callers(settings: Settings) -> None:
    """Checks what says who callers are: nothing may look as if it protected, and not do so."""
    if settings.jwks_url and settings.jwks_file is not None:
        raise ConfigurationError(
            f"{variable('jwks_url')}: must not be set together with {variable('jwks_file')}: remove one"
        )
    for name in ("jwt_issuer", "jwt_audience"):
        if settings.takes_tokens and not getattr(settings, name):
            raise ConfigurationError(
                f"{variable(name)}: is required, since {variable('jwks_url')} or {variable('jwks_file')} is set"
            )
        if getattr(settings, name) and not settings.takes_tokens:
            raise ConfigurationError(f"{variable(name)}: needs {variable('jwks_url')} or {variable('jwks_file')}")
    if settings.jwks_url:
        _key_url(variable("jwks_url"), settings.jwks_url, allow_plaintext=settings.allow_plaintext)
    if settings.policy_file is not None and not settings.takes_tokens and settings.tls_client_ca_file is None:
        raise ConfigurationError(
            f"{variable('policy_file')}: needs {variable('tls_client_ca_file')}, {variable('jwks_url')} or "
            f"{variable('jwks_file')}, since callers cannot be identified without one of them"
        )
    if settings.identifies_callers and settings.log_level not in _AUDITED:
        raise ConfigurationError(
            f"{variable('log_level')}: must be {' or '.join(_AUDITED)} if callers are identified: "
            "the audit lines are of level info"
        )


def _key_url(where: str, url: str, *, allow_plaintext: bool) -> None:
    _base_url(where, url.partition("?")[0], allow_plaintext=allow_plaintext, does="take the keys")
    if not url.isascii() or not url.isprintable() or " " in url or "#" in url:
        raise ConfigurationError(f"{where}: holds characters that have to be encoded in a URL")


def _engine(settings: Settings) -> None:
    if settings.http_engine != "direct":
        return
    for url in (settings.api(name).base_url for name in API_NAMES if settings.api(name).is_configured):
        if is_proxied(url):
            raise ConfigurationError(
                f"{variable('http_engine')}: direct does not support proxies, but the environment names one for {url}"
            )


def _operations(settings: Settings, release: Release) -> None:
    _named_operations(settings, release.operations)


def _named_operations(settings: Settings, operations: Mapping[str, Mapping[str, Collection[str]]]) -> None:
    for api, known in operations.items():
        configured, where = settings.api(api), partial(settings.where, api)
        for name, spelling in configured.routes.items():
            spellings = _operation(name, known, where("routes"))
            if spelling not in spellings:
                told = f"{name} has no spelling {spelling!r}, only {', '.join(spellings)}"
                raise ConfigurationError(f"{where('routes')}: {told}")
        for name in configured.disabled_operations:
            _operation(name, known, where("disabled_operations"))
        for name in configured.settle_times:
            _operation(name, known, where("settle_times"))


def _operation(name: str, known: Mapping[str, Collection[str]], where: str) -> Collection[str]:
    if name not in known:
        raise ConfigurationError(f"{where}: there is no operation {name!r}")
    return known[name]


def _catalogue(settings: Settings, release: Release) -> None:
    release.read_catalogue(settings)


def _caller_files(settings: Settings, release: Release) -> None:
    release.read_callers(settings)


def _accounts(settings: Settings, release: Release) -> None:
    release.read_accounts(settings)


def check_account(settings: Settings, operations: Mapping[str, Mapping[str, Collection[str]]]) -> None:
    """Runs what the list has of checks for the APIs, on the settings of one account.

    Args:
        settings: The settings.
        operations: See Release.

    Raises:
        ConfigurationError: A setting cannot be used.
    """
    for name in API_NAMES:
        _api(settings, name)
    _engine(settings)
    _named_operations(settings, operations)


EARLY: Final[tuple[EarlyCheck, ...]] = (
    _tls,
    _apis,
    _servers,
    _processes,
    _ports,
    _held_bytes,
    _certificates,
    _callers,
    _engine,
)
LATE: Final[tuple[LateCheck, ...]] = (_operations, _catalogue, _caller_files, _accounts)

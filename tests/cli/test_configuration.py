"""The configuration: what is wrong stops the process with one line that names the setting, before the port opens."""

from __future__ import annotations

import contextlib
import re
import signal
import subprocess
import traceback
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import grpc
import pytest
from allocation_gateway import app
from allocation_gateway import settings as configuration
from allocation_gateway.accounts.file import read_accounts
from allocation_gateway.callers.opening import read_files
from allocation_gateway.groups.opening import read_catalogue
from allocation_gateway.operations import table
from allocation_gateway.settings import ConfigurationError, Release, Secret
from allocation_gateway.settings.checks import EARLY, LATE
from allocation_gateway.telemetry import providers, variables
from allocation_gateway.workers import supervisor
from support.certificates import Authority
from support.front import KEY, LONG, READ, running_front
from support.gateway import COMMAND, PREFIX, environment
from support.status import failure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from support.command import Command

GOOD: Final = {"ALLOW_PLAINTEXT": "true", "SHIP_API_KEY": KEY}
UNKNOWN: Final = "there is no such setting"


def load(**given: str) -> configuration.Settings:
    named = {PREFIX + name: value for name, value in {**GOOD, **given}.items()}
    loaded = configuration.load({"PATH": "/bin", "ALLOCATION": "no setting", **named})
    configuration.check_early(loaded, {}, variables.check)
    return loaded


def toml(folder: Path, text: str) -> str:
    file = folder / "gateway.toml"
    file.write_text(text)
    return str(file)


TOKENS: Final = {"JWT_ISSUER": "https://issuer.example", "JWT_AUDIENCE": "gateway"}
# What is set wrongly, which setting the line names, and what it says.
WRONG: Final = [
    ({"COLOUR": "red"}, "COLOUR", UNKNOWN),
    ({"SHIP_KEY": "x"}, "SHIP_KEY", UNKNOWN),
    ({"SHIP_API_KEY": ""}, "SHIP_API_KEY", "is required"),
    ({"SHIP_API_KEY": "a key\nwith a line"}, "SHIP_API_KEY", "cannot be sent"),
    ({"SHIP_API_KEY": "schlüssel"}, "SHIP_API_KEY", "cannot be sent"),
    ({"SHIP_API_VERSION": "1.1\r\nx-evil: 1"}, "SHIP_API_VERSION", "cannot be sent"),
    ({"MAX_REQUEST_BYTES": "20000000"}, "MAX_HELD_BYTES", "must be at least 80000000"),
    ({"SHIP_BASE_URL": "not a url"}, "SHIP_BASE_URL", "have to be encoded"),
    ({"SHIP_BASE_URL": "api.sorted.com/pro"}, "SHIP_BASE_URL", "must be an http:// or https:// URL"),
    ({"SHIP_BASE_URL": "ftp://api.sorted.com"}, "SHIP_BASE_URL", "must be an http:// or https:// URL"),
    ({"SHIP_BASE_URL": "https://"}, "SHIP_BASE_URL", "must be an http:// or https:// URL"),
    ({"SHIP_BASE_URL": "https://api.sorted.com:99999"}, "SHIP_BASE_URL", "is not a URL"),
    ({"SHIP_BASE_URL": "https://[::1/pro"}, "SHIP_BASE_URL", "is not a URL"),
    ({"SHIP_BASE_URL": "https://999.1.1.1/pro"}, "SHIP_BASE_URL", "is not a URL"),
    ({"SHIP_BASE_URL": "https://api.sorted.com\n.evil.com"}, "SHIP_BASE_URL", "have to be encoded"),
    ({"SHIP_BASE_URL": "https://me:word@api.sorted.com"}, "SHIP_BASE_URL", "no credentials"),
    ({"SHIP_BASE_URL": "https://api.sorted.com?a=b"}, "SHIP_BASE_URL", "no credentials, query"),
    ({"PORT": "many"}, "PORT", "must be a whole number from 0 to 65535, got 'many'\n"),
    ({"PORT": "65536"}, "PORT", "must be a whole number from 0 to 65535, got '65536'\n"),
    ({"PORT": "-1"}, "PORT", "must be a whole number from 0 to 65535, got '-1'\n"),
    ({"PORT": "1.5"}, "PORT", "must be a whole number from 0 to 65535, got '1.5'\n"),
    ({"PORT": "50051", "HEALTH_PORT": "50051"}, "HEALTH_PORT", f"must be another port than {PREFIX}PORT\n"),
    ({"MAX_CONCURRENT_CALLS": "0"}, "MAX_CONCURRENT_CALLS", "must be a whole number of at least 1, got '0'\n"),
    ({"DEFAULT_DEADLINE": "0"}, "DEFAULT_DEADLINE", "must be a number above 0 and at most 86400, got '0'\n"),
    ({"DEFAULT_DEADLINE": "nan"}, "DEFAULT_DEADLINE", "must be a number above 0 and at most 86400, got 'nan'\n"),
    ({"SHUTDOWN_GRACE": "nan"}, "SHUTDOWN_GRACE", "must be a number from 0 to 86400, got 'nan'\n"),
    ({"SHUTDOWN_GRACE": "inf"}, "SHUTDOWN_GRACE", "must be a number from 0 to 86400, got 'inf'\n"),
    ({"REFLECTION": "perhaps"}, "REFLECTION", "must be true or false, got 'perhaps'\n"),
    ({"LOG_LEVEL": "loud"}, "LOG_LEVEL", "must be debug, info, warning or error, got 'loud'\n"),
    ({"SHIP_CAPABILITIES_SHAPE": "list"}, "SHIP_CAPABILITIES_SHAPE", "must be array or object, got 'list'\n"),
    ({"SHIP_ROUTES": "CreateShipmentQuotes"}, "SHIP_ROUTES", "Operation=value"),
    ({"SHIP_ROUTES": "NoSuchOperation=get"}, "SHIP_ROUTES", "'NoSuchOperation'"),
    ({"SHIP_ROUTES": "CreateShipmentQuotes=fax"}, "SHIP_ROUTES", "'fax', only post, get"),
    ({"SHIP_DISABLED_OPERATIONS": "NoSuchOperation"}, "SHIP_DISABLED_OPERATIONS", "'NoSuchOperation'"),
    ({"SHIP_MAX_CONNECTIONS": "8", "SHIP_MAX_IN_FLIGHT": "8"}, "SHIP_MAX_IN_FLIGHT", "CONNECTIONS to be 9 or more"),
    (
        {"SHIP_BREAKER_FAILURE_RATIO": "1.5"},
        "SHIP_BREAKER_FAILURE_RATIO",
        "above 0 and at most 1, got '1.5'\n",
    ),
    ({"CONSIGNMENTS_RATE_LIMIT": "-1"}, "CONSIGNMENTS_RATE_LIMIT", "must be a number from 0 to 1000000, got '-1'\n"),
    ({"CACHE_URL": "http://127.0.0.1"}, "CACHE_URL", "must be a redis:// or rediss:// URL"),
    ({"CACHE_URL": "redis://"}, "CACHE_URL", "must be a redis:// or rediss:// URL"),
    ({"CACHE_URL": "redis://host:port"}, "CACHE_URL", "the port must be a whole number from 1 to 65535"),
    ({"STORE_URL": "http://127.0.0.1"}, "STORE_URL", "must be a redis:// or rediss:// URL"),
    ({"STORE_TIMEOUT": "0"}, "STORE_TIMEOUT", "must be a number above 0"),
    (
        {"REPLICAS": "2"},
        "STORE_URL",
        f"is required with {PREFIX}REPLICAS above 1, unless {PREFIX}ALLOW_UNSHARED_CLAIMS",
    ),
    ({"WORKERS": "2"}, "STORE_URL", f"is required with {PREFIX}WORKERS above 1, unless {PREFIX}ALLOW_UNSHARED_CLAIMS"),
    ({"SHIP_TIMEOUT": "9", "SHIP_SETTLE_TIME": "8.9"}, "SHIP_SETTLE_TIME", f"at least {PREFIX}SHIP_TIMEOUT, 9"),
    (
        {"CONSIGNMENTS_TIMEOUT": "9", "CONSIGNMENTS_SETTLE_TIMES": "DeallocateConsignment=8"},
        "CONSIGNMENTS_SETTLE_TIMES",
        f"at least {PREFIX}CONSIGNMENTS_TIMEOUT, 9",
    ),
    ({"SHIP_SETTLE_TIMES": "NoSuchOperation=60"}, "SHIP_SETTLE_TIMES", "'NoSuchOperation'"),
    ({"SHIP_SETTLE_TIMES": "AllocateConsignment=60"}, "SHIP_SETTLE_TIMES", "'AllocateConsignment'"),
    ({"CACHE_TIMEOUT": "0"}, "CACHE_TIMEOUT", "must be a number above 0"),
    ({"SERVICE_GROUP_POLICY": "lax"}, "SERVICE_GROUP_POLICY", "must be learn or strict, got 'lax'\n"),
    ({"CONFIG_FILE": "/no/such/file"}, "CONFIG_FILE", "cannot be read"),
    ({"SHIP_API_KEY": "", "SHIP_API_KEY_FILE": "/no/such/file"}, "SHIP_API_KEY_FILE", "cannot be read"),
    ({"SHIP_API_KEY_FILE": "/dev/null"}, "SHIP_API_KEY", "must not be set together with"),
    ({"ALLOW_PLAINTEXT": ""}, "TLS_CERT_FILE", f"is required, unless {PREFIX}ALLOW_PLAINTEXT=true"),
    ({"TLS_CERT_FILE": "/dev/null"}, "TLS_KEY_FILE", f"is required, since {PREFIX}TLS_CERT_FILE is set"),
    ({"TLS_KEY_FILE": "/dev/null"}, "TLS_CERT_FILE", f"is required, since {PREFIX}TLS_KEY_FILE is set"),
    ({"TLS_CLIENT_CA_FILE": "/dev/null"}, "TLS_CLIENT_CA_FILE", f"needs {PREFIX}TLS_CERT_FILE"),
    ({"TLS_CERT_FILE": "/no/such/file", "TLS_KEY_FILE": "/dev/null"}, "TLS_KEY_FILE", "/dev/null is not PEM"),
    ({"SERVICE_GROUP_CATALOGUE_FILE": "/no/such.toml"}, "SERVICE_GROUP_CATALOGUE_FILE", "cannot be read: No such file"),
    ({"SERVICE_GROUP_CATALOGUE_FILE": "/dev/null"}, "SERVICE_GROUP_CATALOGUE_FILE", "/dev/null: "),
    ({"SHIP_API_KEY": "", "SHIP_API_KEY_FILE": "/dev/null"}, "SHIP_API_KEY_FILE", "the file is empty"),
    ({**TOKENS, "JWKS_FILE": "/dev/null", "JWKS_URL": "https://x"}, "JWKS_URL", "must not be set together with"),
    ({**TOKENS, "JWKS_URL": "https://x", "JWT_ISSUER": ""}, "JWT_ISSUER", "is required"),
    ({**TOKENS, "JWKS_URL": "https://x", "JWT_AUDIENCE": ""}, "JWT_AUDIENCE", "is required"),
    (TOKENS, "JWT_ISSUER", f"needs {PREFIX}JWKS_URL or {PREFIX}JWKS_FILE"),
    ({**TOKENS, "JWKS_URL": "ftp://x"}, "JWKS_URL", "must be an http:// or https:// URL"),
    ({**TOKENS, "JWKS_URL": "https://me:word@x"}, "JWKS_URL", "no credentials"),
    ({**TOKENS, "JWKS_URL": "https://x?a b"}, "JWKS_URL", "have to be encoded"),
    ({**TOKENS, "JWKS_FILE": "/no/such/file"}, "JWKS_FILE", "cannot be read: No such file"),
    ({**TOKENS, "JWKS_FILE": "/dev/null"}, "JWKS_FILE", "/dev/null: is not a JSON Web Key Set"),
    ({"POLICY_FILE": "/dev/null"}, "POLICY_FILE", f"needs {PREFIX}TLS_CLIENT_CA_FILE"),
    ({**TOKENS, "JWKS_URL": "https://x", "POLICY_FILE": "/dev/null"}, "POLICY_FILE", "/dev/null: "),
    ({**TOKENS, "JWKS_URL": "https://x", "LOG_LEVEL": "warning"}, "LOG_LEVEL", "must be debug or info"),
    ({"ACCOUNTS_FILE": "/no/such/file"}, "ACCOUNTS_FILE", "cannot be read: No such file"),
    ({"ACCOUNTS_FILE": "/dev/null"}, "ACCOUNTS_FILE", "/dev/null: accounts: must be a table of accounts"),
]


@pytest.fixture
def command(command: Command, monkeypatch: pytest.MonkeyPatch) -> Iterator[Command]:
    """Runs commands of which none may get as far as to start."""

    def started(*_: object) -> None:
        raise AssertionError("a gateway begins to start")

    monkeypatch.setattr(app, "Stop", started)
    monkeypatch.setattr(supervisor, "run", started)
    before = signal.getsignal(signal.SIGHUP)
    yield command
    signal.signal(signal.SIGHUP, before)


def refused(settings: dict[str, str], command: Command) -> str:
    """Runs `check` and `serve` with settings that both have to refuse alike. Returns the one line."""
    done = command("check", **{**GOOD, **settings})
    assert (done.code, done.out) == (2, "")
    assert command("serve", **{**GOOD, **settings}) == done
    assert done.err.count("\n") == 1
    assert done.err.startswith("allocation-gateway: ")
    return done.err


@pytest.mark.parametrize(("settings", "name", "text"), WRONG)
def test_wrong_setting_is_one_line_that_names_it(
    settings: dict[str, str], name: str, text: str, command: Command
) -> None:
    told = refused(settings, command)
    assert told.startswith(f"allocation-gateway: {PREFIX}{name}: ")
    assert text in told
    assert KEY not in told


def test_proxy_that_the_direct_engine_does_not_know_is_refused(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    told = refused({"HTTP_ENGINE": "direct"}, command)
    assert told.startswith(f"allocation-gateway: {PREFIX}HTTP_ENGINE: direct does not support proxies")


def refuses(check: Callable[[], None]) -> bool:
    try:
        check()
    except ConfigurationError:
        return True
    return False


def test_every_check_of_the_list_is_the_one_that_refuses_something(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each alone: without it, one of those configurations would be taken."""
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    release = Release(table.spellings(), lambda settings: read_catalogue(settings, 0.0), read_files, read_accounts)
    needed: set[object] = set()
    for given in [*(given for given, _, _ in WRONG), {"HTTP_ENGINE": "direct"}]:
        named = {PREFIX + name: value for name, value in {**GOOD, **given}.items()}
        with contextlib.suppress(ConfigurationError):
            loaded = configuration.load(named)
            refusing: set[object] = {check for check in EARLY if refuses(partial(check, loaded))}
            refusing |= {check for check in LATE if refuses(partial(check, loaded, release))}
            if len(refusing) == 1:
                needed |= refusing
    assert needed == {*EARLY, *LATE}


@pytest.mark.parametrize("name", configuration.FIELDS)
def test_every_type_error_is_an_english_sentence(name: str, tmp_path: Path, command: Command) -> None:
    """From the environment and from the file alike, whatever the type of the setting is."""
    default = configuration.FIELDS[name].default
    if isinstance(default, bool | int | float | dict) or name in {"log_level", "service_group_policy", "http_engine"}:
        told = refused({name.upper(): "?"}, command)
        assert re.fullmatch(rf"allocation-gateway: {PREFIX}{name.upper()}: must be [^`]+, got '\?'\n", told)
    told = refused({"CONFIG_FILE": toml(tmp_path, f"{name} = 2020-01-01T00:00:00")}, command)
    assert re.fullmatch(rf"allocation-gateway: {name} in \S+: must be [^`]+\n", told)
    assert (", got a date or a time" in told) is not isinstance(default, Secret)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ('colour = "red"', "colour in {file}: there is no such setting"),
        ("PORT = 1", "PORT in {file}: there is no such setting"),
        ('port = "many"', "port in {file}: must be a whole number from 0 to 65535, got 'many'\n"),
        ("default_deadline = nan", "default_deadline in {file}: must be a number above 0 and at most 86400, got nan\n"),
        ("port =", "CONFIG_FILE: {file} is not valid TOML"),
        ("[ship]\nbase_url = 'https://x'", "ship in {file}: there is no such setting"),
        ("config_file = '/etc/other.toml'", "config_file in {file}: there is no such setting"),
        ("service_groups = 'one, two'", "service_groups in {file}: must be an array of texts, got 'one, two'\n"),
        ("service_groups = [1]", "service_groups in {file}: must be an array of texts, got an array\n"),
        ("reflection = 2", "reflection in {file}: must be true or false, got 2\n"),
        ("port = 2020-01-01", "port in {file}: must be a whole number from 0 to 65535, got a date or a time\n"),
        ("port = true", "port in {file}: must be a whole number from 0 to 65535, got true\n"),
        ("ship_api_key = 5", "ship_api_key in {file}: must be a text\n"),
        ("ship_settle_times = {A = 'x'}", "ship_settle_times in {file}: must be a table of a number above 0"),
    ],
)
def test_wrong_file_is_one_line_that_names_it_and_the_key(
    content: str, text: str, tmp_path: Path, command: Command
) -> None:
    file = toml(tmp_path, content)
    assert text.format(file=file) in refused({"CONFIG_FILE": file}, command)


def ended(settings: dict[str, str]) -> str:
    """Runs `serve`, which has to end before its port opens. Returns its one line."""
    given = environment({**GOOD, "PORT": "0", **settings})
    done = subprocess.run([COMMAND, "serve"], env=given, capture_output=True, text=True, timeout=LONG, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    return done.stderr


def test_process_ends_before_its_port_opens() -> None:
    assert ended({"COLOUR": "red"}) == f"allocation-gateway: {PREFIX}COLOUR: {UNKNOWN}\n"


@pytest.mark.parametrize("name", ["REPLICAS", "WORKERS"])
def test_several_processes_need_a_store_for_their_claims_or_a_word_that_they_do_without(name: str) -> None:
    """`serve` refuses it too; a single process needs neither."""
    assert ended({name: "2"}).startswith(f"allocation-gateway: {PREFIX}STORE_URL: is required")
    assert load(**{name: "2"}, ALLOW_UNSHARED_CLAIMS="true").allow_unshared_claims
    assert load(**{name: "2"}, STORE_URL="redis://127.0.0.1:6379/0").store_url
    assert not load(**{name: "1"}).store_url


def test_a_settle_time_of_no_operation_stops_the_process() -> None:
    assert ended({"SHIP_SETTLE_TIMES": "NoSuchOperation=60"}) == (
        f"allocation-gateway: {PREFIX}SHIP_SETTLE_TIMES: there is no operation 'NoSuchOperation'\n"
    )


def test_a_settle_time_may_be_as_short_as_the_time_out() -> None:
    loaded = load(SHIP_TIMEOUT="9", SHIP_SETTLE_TIME="9", SHIP_SETTLE_TIMES="DeallocateShipment=9")
    assert (loaded.ship.settle_time, loaded.ship.settle_times) == (9.0, {"DeallocateShipment": 9.0})


ENDPOINT: Final = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}


@pytest.mark.parametrize("variable", ["OTEL_TRACES_EXPORTER", "OTEL_METRICS_EXPORTER", "OTEL_EXPORTER_OTLP_PROTOCOL"])
def test_telemetry_that_cannot_be_had_is_named(variable: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^{variable}: "):
        providers.from_environment({**ENDPOINT, variable: "carrier-pigeon"})


def test_telemetry_that_cannot_be_had_stops_the_process() -> None:
    line = ended({**ENDPOINT, "OTEL_TRACES_EXPORTER": "carrier-pigeon"})
    assert line.startswith("allocation-gateway: OTEL_TRACES_EXPORTER: ")


def test_environment_wins_over_the_file_and_the_file_over_the_defaults(tmp_path: Path) -> None:
    file = toml(tmp_path, 'port = 1\nmax_concurrent_calls = 2\nservice_groups = ["a", "b"]\nreflection = false')
    loaded = load(CONFIG_FILE=file, PORT="3")
    assert (loaded.port, loaded.max_concurrent_calls, loaded.shutdown_grace) == (3, 2, 25.0)
    assert loaded.service_groups == ("a", "b")
    assert not loaded.reflection


def test_lists_and_tables_are_separated_by_commas() -> None:
    loaded = load(
        SERVICE_GROUPS=" one group , two,", SHIP_ROUTES="CreateShipmentQuotes = get, AllocateShipments=allocation"
    )
    assert loaded.service_groups == ("one group", "two")
    assert loaded.ship.routes == {"CreateShipmentQuotes": "get", "AllocateShipments": "allocation"}


# Without these nothing can be loaded; test_wrong_setting_is_one_line_that_names_it has them.
NEEDED: Final = {"ship_api_key", "allow_plaintext"}


@pytest.mark.parametrize("name", sorted(set(configuration.FIELDS) - NEEDED))
def test_empty_variable_is_as_good_as_none(name: str) -> None:
    """Charts and shells leave behind variables that are set to nothing."""
    field = configuration.FIELDS[name]
    loaded = load(**{name.upper(): ""})
    assert getattr(loaded.api(field.api) if field.api else loaded, field.attribute) == field.default


@pytest.mark.parametrize(
    ("text", "value"), [("true", True), ("TRUE", True), ("1", True), ("false", False), ("0", False)]
)
def test_switches_are_read_as_people_write_them(text: str, value: bool) -> None:
    assert load(REFLECTION=text).reflection is value


def test_key_file_is_read_without_its_line_break(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(KEY + "\n")
    with running_front(SHIP_API_KEY="", SHIP_API_KEY_FILE=str(file)) as front:
        front.stub.GetShipmentAllocation(READ, timeout=LONG)
        assert front.upstream.next_request().headers["x-api-key"] == KEY


def test_http_to_another_host_has_to_be_asked_for(tmp_path: Path) -> None:
    chain, key = map(str, Authority(tmp_path).issue("server"))
    tls = {"ALLOW_PLAINTEXT": "", "TLS_CERT_FILE": chain, "TLS_KEY_FILE": key}
    with pytest.raises(ConfigurationError, match="SHIP_BASE_URL: would send the key unencrypted"):
        load(**tls, SHIP_BASE_URL="http://api.sorted.com")
    load(**tls, SHIP_BASE_URL="http://127.0.0.1:8080")
    load(**{**tls, "ALLOW_PLAINTEXT": "true"}, SHIP_BASE_URL="http://api.sorted.com")


def test_secret_never_shows_itself() -> None:
    loaded = load()
    secret = loaded.ship.api_key
    for shown in (repr(loaded), str(loaded), repr(secret), str(secret), f"{secret}", "%s" % secret, repr([secret])):  # noqa: UP031
        assert KEY not in shown
    assert KEY not in "".join(traceback.format_exception(ValueError(loaded)))
    assert secret.reveal() == KEY
    assert not Secret("")


def test_secret_in_the_wrong_variable_is_not_echoed(command: Command) -> None:
    for name in ("PORT", "DEFAULT_DEADLINE", "REFLECTION", "LOG_LEVEL", "SHIP_BASE_URL"):
        assert KEY not in refused({name: KEY}, command)


def test_secret_in_the_file_is_not_echoed(tmp_path: Path, command: Command) -> None:
    for text in (f'port = "{KEY}"', f"ship_api_key = {KEY}", f'ship_api_key = ["{KEY}"]', f'ship_api_key = "{KEY}'):
        assert KEY not in refused({"CONFIG_FILE": toml(tmp_path, text)}, command)


def test_key_is_in_no_log_line_and_no_answer_at_the_most_talkative_level() -> None:
    """Also if upstream quotes it, and if the call fails."""
    with running_front(LOG_LEVEL="debug", SHIP_MAX_ATTEMPTS="1") as front:
        front.stub.GetShipmentAllocation(READ, timeout=LONG)
        assert front.upstream.next_request().headers["x-api-key"] == KEY
        quoting: dict[str, Any] = {
            "code": "validation_error",
            "message": KEY,
            "correlation_id": KEY,
            "details": [{"property": KEY, "code": KEY, "message": f"the key {KEY} is wrong"}],
        }
        for status in (400, 401, 500):
            front.upstream.answer(status, quoting)
            told = failure(lambda: front.stub.GetShipmentAllocation(READ, timeout=LONG))
            assert KEY not in f"{told}"
            assert not [detail for detail in told.details if KEY.encode() in detail.value]
        front.upstream.answer(raw=b"", close=True)
        assert failure(lambda: front.stub.GetShipmentAllocation(READ, timeout=LONG)).code is grpc.StatusCode.UNAVAILABLE
        assert front.gateway.stop() == 0
        front.gateway.wait_for("stopped")
    assert KEY not in f"{front.gateway.lines}"


def test_metadata_of_callers_is_not_logged() -> None:
    """Whatever a caller sends along, such as a token, is its own."""
    with running_front(LOG_LEVEL="debug") as front:
        front.stub.GetShipmentAllocation(READ, timeout=LONG, metadata=(("authorization", "Bearer a-callers-token"),))
        assert "authorization" not in front.upstream.next_request().headers
        front.gateway.stop()
    assert "a-callers-token" not in f"{front.gateway.lines}"

"""Nothing that a gateway emits has a secret, whoever quotes it: upstream, a collector, a store, or a defect.

Log lines of its own and of libraries, spans, metrics and log records as they are exported, statuses, tracebacks, and
what is left when it ends because of a defect. Other suites search theirs for secrets too: tests/support/canaries.py.
"""

from __future__ import annotations

import base64
import json
import signal
import sys
import traceback
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import grpc
import pytest
from allocation.v1 import shipment_allocation_service_pb2 as pb
from allocation.v1.shipment_allocation_service_pb2_grpc import ShipmentAllocationServiceStub
from allocation_gateway import settings as configuration
from allocation_gateway.settings import Secret
from allocation_gateway.settings.known_secrets import KnownSecrets
from secrecy import rude
from secrecy.planted import DEFECT
from support import canaries
from support.certificates import Authority
from support.front import LONG, READ, another_write
from support.gateway import running_gateway
from support.issuer import AUDIENCE, ISSUER, Issuer, bearing
from support.upstream import running_upstream

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from support.command import Command

PLANTED: Final = Path(__file__).with_name("planted.py")
SHIP: Final = 'ship-key-that-nobody-may-see-"\\%'
SECRETS: Final = {
    name: f"{name}-that-nobody-may-see"
    for name in ("consignments", "account", "store", "sentinels", "cache", "header", "collector", "proxy")
}
TEXTS: Final = ("ship-key-that-nobody-may-see", *SECRETS.values())
# As it is sent to the collector.
LOGIN: Final = base64.b64encode(f"user:{SECRETS['collector']}".encode()).decode()


class Emitted(NamedTuple):
    """What a gateway has emitted.

    Attributes:
        lines: Its log lines.
        exported: What it has sent to its collector, but for the headers.
        statuses: How calls ended.
    """

    lines: list[dict[str, Any]]
    exported: list[str]
    statuses: list[str]

    def texts(self) -> Iterator[str]:
        """Yields all of it."""
        yield from map(json.dumps, self.lines)
        yield from self.exported
        yield from self.statuses


def settings(folder: Path, upstream: int, store: int, collector: int) -> dict[str, str]:
    """Returns settings with a secret of each kind, and writes the files that they name."""
    chain, key = Authority(folder).issue("gateway")
    (folder / "key").write_text(f"{SHIP}\n")
    (folder / "jwks").write_bytes(ISSUED.published())
    (folder / "accounts.toml").write_text(
        f'[accounts.north.ship]\nbase_url = "http://127.0.0.1:{upstream}/pro"\napi_key = "{SECRETS["account"]}"\n'
    )
    return {
        "TLS_CERT_FILE": str(chain),
        "TLS_KEY_FILE": str(key),
        "ALLOW_PLAINTEXT": "true",
        "SHIP_BASE_URL": f"http://127.0.0.1:{upstream}/pro",
        "SHIP_API_KEY_FILE": str(folder / "key"),
        "CONSIGNMENTS_BASE_URL": f"http://127.0.0.1:{upstream}",
        "CONSIGNMENTS_API_KEY": SECRETS["consignments"],
        "ACCOUNTS_FILE": str(folder / "accounts.toml"),
        "JWKS_FILE": str(folder / "jwks"),
        "JWT_ISSUER": ISSUER,
        "JWT_AUDIENCE": AUDIENCE,
        "STORE_URL": f"redis+sentinel://:{SECRETS['store']}@127.0.0.1:{store}/primary"
        f"?sentinel_password={SECRETS['sentinels']}",
        "STORE_CHECKS": "off",
        "STORE_UNAVAILABLE": "proceed",
        "CACHE_URL": f"redis://user:{SECRETS['cache']}@127.0.0.1:{store}/0",
        "LOG_LEVEL": "debug",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://user:{SECRETS['collector']}@127.0.0.1:{collector}",
        "OTEL_EXPORTER_OTLP_HEADERS": f"x-of-the-collector=Bearer%20{SECRETS['header']}",
        "OTEL_LOGS_EXPORTER": "otlp",
        "OTEL_METRIC_EXPORT_INTERVAL": "500",
        "OTEL_BSP_SCHEDULE_DELAY": "100",
        "OTEL_BLRP_SCHEDULE_DELAY": "100",
    }


ISSUED: Final = Issuer(one="ES256")


def emitted(folder: Path, *, broken: bool) -> Emitted:
    """Has a gateway meet servers that quote what they are told, and defects of its own, and crash in the end."""
    with rude.collector() as collector, rude.store() as store, running_upstream() as upstream:
        upstream.default = rude.quoting
        given = settings(folder, upstream.port, store, collector.port)
        extra = {"PLANTED": "broken" * broken, "HTTPS_PROXY": f"http://user:{SECRETS['proxy']}@127.0.0.1:9"}
        with running_gateway(given, command=(sys.executable, str(PLANTED)), extra=extra, leaks=broken) as gateway:
            trusted = grpc.ssl_channel_credentials((folder / "authority.pem").read_bytes())
            with grpc.secure_channel(gateway.address, trusted) as channel:
                statuses = list(traffic(ShipmentAllocationServiceStub(channel)))
            edited(folder)
            gateway.process.send_signal(signal.SIGHUP)
            for event in ("accounts_rejected", "api_key_rejected", "token_keys_rejected"):
                gateway.wait_for(event)
            gateway.wait_for("library")
            assert gateway.stop() == 1
        assert any(SECRETS["header"] in headers for headers in collector.asked)
        return Emitted(gateway.lines, collector.received, statuses)


def traffic(stub: Any) -> Iterator[str]:
    """Makes calls of every kind, and yields how they ended."""
    token = ISSUED.token()
    good, bad = bearing(token), bearing(f"{token}x")
    to_north = (*good, ("allocation-account", "north"))
    defect = pb.AllocateShipmentRequest(shipment_reference=DEFECT)
    for call, request, metadata in (
        (stub.GetShipmentAllocation, READ, good),
        (stub.GetShipmentAllocation, READ, bad),
        (stub.AllocateShipment, another_write(), good),
        (stub.AllocateShipment, another_write(), to_north),
        (stub.AllocateShipment, another_write(), bad),
        (stub.AllocateShipment, defect, good),
    ):
        try:
            yield f"{call(request, timeout=LONG, metadata=metadata)}"
        except grpc.RpcError as error:
            told: Any = error
            yield f"{told.code()} {told.details()} {told.trailing_metadata()}"


def edited(folder: Path) -> None:
    """Edits files in a way that cannot be used, right where secrets are."""
    (folder / "accounts.toml").write_text(f'[accounts.north.ship]\napi_key = "{SECRETS["account"]}\n')
    (folder / "jwks").write_text(json.dumps({"keys": [{"kty": "oct", "k": SECRETS["account"]}]}))
    (folder / "key").write_text(f"{SHIP}\n{SHIP}\n")


def test_nothing_that_a_gateway_emits_has_a_secret(tmp_path: Path) -> None:
    found = emitted(tmp_path, broken=False)
    for text in found.texts():
        canaries.search("what is emitted", text)
        assert LOGIN not in text
    events = {line["event"] for line in found.lines}
    assert {"defect", "crashed", "library", "claim_store_not_usable", "cache_not_usable", "audit"} <= events
    assert "text" not in events, "what Python itself writes is not looked at"
    assert len([line for line in found.lines if line["event"] == "crashed"]) == 2
    assert [line for line in found.lines if line.get("part") == "clean-up"]


def test_without_what_keeps_secrets_in_each_would_be_seen(tmp_path: Path) -> None:
    """So the other test looks in the right places, by the right words."""
    found = emitted(tmp_path, broken=True)
    by_event: dict[str, str] = {}
    for line in found.lines:
        by_event[line["event"]] = by_event.get(line["event"], "") + json.dumps(line)
    for secret in TEXTS:
        assert secret in by_event["defect"]
        assert secret in by_event["crashed"]
    for secret in (SECRETS["header"], LOGIN):
        assert secret in by_event["library"]
    for secret in ("ship-key-that-nobody-may-see", SECRETS["account"]):
        assert any(secret in status for status in found.statuses)
        assert any(secret in text for text in found.exported)


@pytest.mark.parametrize("algorithm", ["ES256", "RS256", "EdDSA"])
def test_tokens_and_private_keys_are_recognised_wherever_they_stand(algorithm: str, tmp_path: Path) -> None:
    """In JSON, in headers, and without the lines around a key: by these the search would see them."""
    token = Issuer(one=algorithm).token()
    _, key = Authority(tmp_path).issue("gateway")
    pem = key.read_text()
    for text in (
        token,
        f"authorization: Bearer {token}",
        json.dumps({"key": pem}),
        pem,
        "".join(pem.split("\n")[1:-2]),
    ):
        assert canaries.has_secret(text)
        with pytest.raises(AssertionError):
            canaries.search("what is emitted", f"before {text} after")
    assert not canaries.has_secret(token.split(".")[0])


def own(given: Mapping[str, str]) -> dict[str, str]:
    """Returns the settings of the gateway alone."""
    return {name: text for name, text in given.items() if not name.startswith("OTEL_")}


def loaded(folder: Path) -> configuration.Settings:
    given = own(settings(folder, 1, 1, 1))
    return configuration.load({configuration.PREFIX + name: text for name, text in given.items()})


def shown(folder: Path) -> str:
    """Returns what a debugger or an error tracker shows of settings: themselves, and a traceback with what it had."""
    settings_in_use = loaded(folder)
    key = settings_in_use.key("ship")
    try:
        raise RuntimeError
    except RuntimeError as error:
        trace = traceback.TracebackException.from_exception(error, capture_locals=True)
        return f"{settings_in_use!r} {settings_in_use} {key} {key!r}" + "".join(trace.stack.format())


def test_settings_do_not_show_their_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    canaries.search("what settings show", shown(tmp_path))
    monkeypatch.setattr(Secret, "__repr__", Secret.reveal)
    leaking = shown(tmp_path)
    for name in ("consignments", "store", "sentinels", "cache"):
        assert SECRETS[name] in leaking


@pytest.mark.parametrize("arguments", [("check",), ("check", "--upstream"), ("settings",)])
def test_commands_do_not_tell_secrets(arguments: tuple[str, ...], tmp_path: Path, command: Command) -> None:
    """The fixture searches what they print."""
    with running_upstream() as upstream:
        upstream.default = rude.quoting
        given = own(settings(tmp_path, upstream.port, 1, 1))
        done = command(*arguments, **given)
        assert (done.code, bool(done.out)) == (0, True)
        (tmp_path / "accounts.toml").write_text(f'[accounts.north.ship]\napi_kex = "{SECRETS["account"]}"\n')
        assert command(*arguments, **given).code == (0 if arguments == ("settings",) else 2)


@pytest.mark.parametrize("count", [1, 3_000])
def test_each_secret_is_taken_out_wherever_it_stands(count: int) -> None:
    """However many there are: as many as accounts may have."""
    known, secrets = KnownSecrets(), [f"{uuid.uuid4()}" for _ in range(count)]
    for secret in secrets:
        known.add(secret)
    for secret in secrets:
        assert known.without(f"{secret} and {secret}") == "******** and ********"
    for innocent in ("", "short", secrets[0][:-1], secrets[-1][1:], f"{uuid.uuid4()}"):
        assert known.without(innocent) is innocent

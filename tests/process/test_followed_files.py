"""Which content of each followed file is in use, as the health of the gateway and its metrics tell it."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, get_args

import grpc
import pytest
from allocation_gateway.following import FollowedFiles, Follower
from allocation_gateway.settings import API_NAMES, FIELDS, server_url_options
from grpc_health.v1 import health_pb2, health_pb2_grpc
from support.certificates import Authority
from support.front import KEY, LONG, running_front
from support.issuer import AUDIENCE, ISSUER, Issuer

if TYPE_CHECKING:
    from collections.abc import Iterator

SERVING: Final = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING: Final = health_pb2.HealthCheckResponse.NOT_SERVING
POLICY: Final = '[[rules]]\nname = "all"\ncallers = ["jwt:**"]\nrpcs = ["reads"]\n'
ACCOUNTS: Final = '[accounts.a.ship]\napi_key = "a-key"\n'
# What each file holds, and something else that is as good.
CONTENTS: Final = {
    "ship_api_key_file": (KEY, f"{KEY}-too"),
    "accounts_file": (ACCOUNTS, ACCOUNTS + "# the same\n"),
    "policy_file": (POLICY, POLICY + "# the same\n"),
    "jwks_file": (Issuer(a="ES256").published().decode(), Issuer(b="ES256").published().decode()),
    "service_group_catalogue_file": ("service_groups = []", 'complete = ["ship"]\nservice_groups = []'),
}
# Those whose state is that of another one: they are of use together or not at all.
TOGETHER: Final = {"tls_key_file": "tls_cert_file", "tls_client_ca_file": "tls_cert_file"}
URLS: Final = ("cache_url", "store_url")


def parts(hint: object) -> Iterator[object]:
    """Yields a type and all that it consists of."""
    yield hint
    for part in get_args(hint):
        yield from parts(part)


def file_settings() -> list[str]:
    """Returns the names of the settings that name a file."""
    return [name for name, field in FIELDS.items() if Path in parts(field.hint)]


def file_options() -> list[str]:
    """Returns the names of the options of a URL that name a file."""
    return [name for name, (rule, _) in server_url_options._OPTIONS.items() if rule == "the path of a file"]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """A gateway that follows files of all kinds: the address of its health, and the folder of the files."""
    folder = tmp_path_factory.mktemp("files")
    certificate, key = Authority(folder).issue("gateway")
    settings = {"TLS_CERT_FILE": str(certificate), "TLS_KEY_FILE": str(key), "HEALTH_PORT": "0", "SHIP_API_KEY": ""}
    settings |= {"JWT_ISSUER": ISSUER, "JWT_AUDIENCE": AUDIENCE}
    for name, (content, _) in CONTENTS.items():
        (folder / f"{name}.toml").write_text(content)
        settings[name.upper()] = str(folder / f"{name}.toml")
    with running_front(settings=settings) as front:
        yield front.gateway.wait_for("listening")["health"], folder


def wait(health: str, name: str, wanted: int) -> None:
    """Waits until a file has a health."""
    with grpc.insecure_channel(health) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        request = health_pb2.HealthCheckRequest(service=f"allocation_gateway.files/{name}")
        for told in stub.Watch(request, timeout=LONG):
            if told.status == wanted:
                return


@pytest.mark.parametrize("name", CONTENTS)
def test_health_says_whether_the_newest_content_of_a_file_is_in_use(running: tuple[str, Path], name: str) -> None:
    health, folder = running
    file = folder / f"{name}.toml"
    wait(health, name, SERVING)
    file.write_text("")
    wait(health, name, NOT_SERVING)
    file.write_text(CONTENTS[name][1])
    wait(health, name, SERVING)
    file.unlink()
    wait(health, name, NOT_SERVING)
    file.write_text(CONTENTS[name][0])
    wait(health, name, SERVING)


def test_health_says_so_of_certificates_before_anybody_connects(running: tuple[str, Path]) -> None:
    health, folder = running
    wait(health, "tls_cert_file", SERVING)
    content = (folder / "gateway.crt").read_bytes()
    (folder / "gateway.crt").write_bytes(b"-----BEGIN NONSENSE-----\n")
    wait(health, "tls_cert_file", NOT_SERVING)
    (folder / "gateway.crt").write_bytes(content)
    wait(health, "tls_cert_file", SERVING)


def test_metrics_say_when_the_content_in_use_was_written(tmp_path: Path) -> None:
    """A bad edit changes nothing of that, and neither does a file that is written anew with what it held."""

    async def run() -> None:
        file = tmp_path / "file"
        followed = FollowedFiles()

        async def take(content: bytes | str) -> bool:
            return content != b"bad"

        follower = Follower(file, b"one", most=100, interval=60.0, on_content=take, state=followed.add("policy_file"))
        labels = {"file": "policy_file"}
        assert (followed.written_at(), followed.usable()) == ([], [(1.0, labels)])
        seen = []
        for second, content in enumerate((b"one", b"two", b"bad", b"bad", b"two", b"two"), 1):
            file.write_bytes(content)
            os.utime(file, (second, second))
            await follower.check(at_once=True)
            seen.append((followed.written_at(), followed.usable()))
        assert seen == [([(at, labels)], [(ok, labels)]) for at, ok in ((1, 1), (2, 1), (2, 0), (2, 0), (5, 1), (6, 1))]

    asyncio.run(run())


def test_every_file_that_a_setting_or_a_url_names_has_a_state(tmp_path: Path) -> None:
    """Whoever adds one learns here that an operator has to be told which content of it is in use."""
    certificate, key = Authority(tmp_path).issue("gateway")
    (tmp_path / "password").write_text("a-password")
    of_tls = {"tls_cert_file": certificate, "tls_key_file": key, "tls_client_ca_file": tmp_path / "authority.pem"}
    of_url = {"ssl_certfile": certificate, "ssl_keyfile": key, "ssl_ca_certs": tmp_path / "authority.pem"}
    account = "".join(f'[accounts.a.{api}]\napi_key_file = "{tmp_path / "account"}"\n' for api in API_NAMES)
    (tmp_path / "account").write_text(KEY)
    settings = {"JWT_ISSUER": ISSUER, "JWT_AUDIENCE": AUDIENCE, "HEALTH_PORT": "0", "STORE_CHECKS": "off"}
    for name in file_settings():
        file = of_tls.get(name, tmp_path / f"{name}.toml")
        if file not in of_tls.values():
            file.write_text(account if name == "accounts_file" else CONTENTS.get(name, (KEY,))[0])
        settings[name.upper()] = str(file)
    options = "&".join(f"{name}={of_url.get(name, tmp_path / 'password')}" for name in file_options())
    # Nothing listens there: that is another matter.
    settings |= {name.upper(): f"rediss+sentinel://127.0.0.1:1/primary?{options}" for name in URLS}
    expected = {*file_settings(), *(f"accounts.a.{api}.api_key_file" for api in API_NAMES)}
    expected |= {f"{url}.{option}" for url in URLS for option in file_options()}
    with (
        running_front(settings=settings, SHIP_API_KEY="") as front,
        grpc.insecure_channel(front.gateway.wait_for("listening")["health"]) as channel,
    ):
        stub: Any = health_pb2_grpc.HealthStub(channel)
        for name in expected:
            state = TOGETHER.get(name, name)
            asked = health_pb2.HealthCheckRequest(service=f"allocation_gateway.files/{state}")
            assert stub.Check(asked, timeout=LONG).status == SERVING, name

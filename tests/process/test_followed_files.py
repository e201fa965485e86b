"""Which content of each followed file is in use, as the health of the gateway and its metrics tell it."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any, Final

import grpc
import pytest
from allocation_gateway.following import FollowedFiles, Follower
from grpc_health.v1 import health_pb2, health_pb2_grpc
from support.certificates import Authority
from support.front import KEY, LONG, running_front
from support.issuer import AUDIENCE, ISSUER, Issuer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

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


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str, Path]]:
    """A gateway that follows files of all kinds: its address, that of its health, and the folder of the files."""
    folder = tmp_path_factory.mktemp("files")
    certificate, key = Authority(folder).issue("gateway")
    settings = {"TLS_CERT_FILE": str(certificate), "TLS_KEY_FILE": str(key), "HEALTH_PORT": "0", "SHIP_API_KEY": ""}
    settings |= {"JWT_ISSUER": ISSUER, "JWT_AUDIENCE": AUDIENCE}
    for name, (content, _) in CONTENTS.items():
        (folder / f"{name}.toml").write_text(content)
        settings[name.upper()] = str(folder / f"{name}.toml")
    with running_front(settings=settings) as front:
        yield front.gateway.address, front.gateway.wait_for("listening")["health"], folder


def wait(health: str, name: str, wanted: int, *, poke: str = "") -> None:
    """Waits until a file has a health. As long as it has not, connections are made to an address, if one is given."""
    with grpc.insecure_channel(health) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        request = health_pb2.HealthCheckRequest(service=f"allocation_gateway.files/{name}")
        for told in stub.Watch(request, timeout=LONG):
            if told.status == wanted:
                return
            if poke:
                connect(poke)


def connect(address: str) -> None:
    """Begins TLS with an address."""
    import ssl

    host, _, port = address.rpartition(":")
    ssl.get_server_certificate((host, int(port)))


@pytest.mark.parametrize("name", CONTENTS)
def test_health_says_whether_the_newest_content_of_a_file_is_in_use(running: tuple[str, str, Path], name: str) -> None:
    _, health, folder = running
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


def test_health_says_so_of_certificates_when_a_connection_is_made(running: tuple[str, str, Path]) -> None:
    address, health, folder = running
    wait(health, "tls_cert_file", SERVING)
    content = (folder / "gateway.crt").read_bytes()
    (folder / "gateway.crt").write_bytes(b"-----BEGIN NONSENSE-----\n")
    wait(health, "tls_cert_file", NOT_SERVING, poke=address)
    (folder / "gateway.crt").write_bytes(content)
    wait(health, "tls_cert_file", SERVING, poke=address)


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

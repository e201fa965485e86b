"""Proxies: which engine goes through them, and that the one that does not is never taken for one that does."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final

import pytest
from allocation_gateway.settings import ConfigurationError, check_early, load
from allocation_gateway.settings import variable as configured
from allocation_gateway.telemetry import variables
from allocation_gateway.upstream.engines import engine_for, open_engine
from allocation_gateway.upstream.http import Attempt, NoAnswerError, Target
from support.asking import ask
from support.certificates import Authority
from support.peer import OK, answering, running_peer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

# Not an address for which proxies are never used, and still nobody else's.
HOST: Final = "127.0.0.2"
VARIABLES: Final = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment without proxies."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


CHOICES: Final = {
    "no proxy": ({}, "https://api.example/pro", "direct"),
    "for https": ({"HTTPS_PROXY": "http://proxy:3128"}, "https://api.example/pro", "httpx"),
    "in small letters": ({"https_proxy": "http://proxy:3128"}, "https://api.example/pro", "httpx"),
    "for everything": ({"ALL_PROXY": "http://proxy:3128"}, "https://api.example/pro", "httpx"),
    "for http": ({"HTTP_PROXY": "http://proxy:3128"}, "http://api.example/pro", "httpx"),
    "for the other scheme": ({"HTTP_PROXY": "http://proxy:3128"}, "https://api.example/pro", "direct"),
    "empty": ({"HTTPS_PROXY": ""}, "https://api.example/pro", "direct"),
    "exempt": ({"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": "api.example"}, "https://api.example/pro", "direct"),
    "exempt by domain": ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": ".example"}, "https://api.example/pro", "direct"),
    "exempt by port": ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "api.example:8443"},
                       "https://api.example:8443/pro", "direct"),
    "all exempt": ({"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": "*"}, "https://api.example/pro", "direct"),
    "another exempt": ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "other.example"}, "https://api.example/pro", "httpx"),
    "this host": ({"ALL_PROXY": "http://proxy:3128"}, "http://127.0.0.1:8080/pro", "direct"),
}  # fmt: skip


@pytest.mark.parametrize("name", CHOICES)
def test_engine_is_chosen_by_the_environment(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    environment, url, chosen = CHOICES[name]
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    assert engine_for("auto", url) == chosen
    assert engine_for("httpx", url) == "httpx"
    given = {"SHIP_API_KEY": "a-key", "SHIP_BASE_URL": url, "ALLOW_PLAINTEXT": "true", "HTTP_ENGINE": "direct"}
    settings = load({configured(name): value for name, value in given.items()})
    if chosen == "direct":
        check_early(settings, {}, variables.check)
        assert engine_for("direct", url) == "direct"
    else:
        with pytest.raises(ConfigurationError, match="ALLOCATION_GATEWAY_HTTP_ENGINE: direct does not support proxies"):
            check_early(settings, {}, variables.check)


class Proxy:
    """A proxy that notes the first line of each request.

    Attributes:
        lines: What it was asked for.
        url: Its address.
        refuses: Whether it lets nobody through.
    """

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.url = ""
        self.refuses = False

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serves a connection."""
        try:
            await self._serve(reader, writer)
        finally:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        line = head.partition(b"\r\n")[0].decode()
        self.lines.append(line)
        method, where, _ = line.split(" ")
        if self.refuses:
            writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n")
        elif method == "CONNECT":
            host, _, port = where.rpartition(":")
            far_reader, far_writer = await asyncio.open_connection(host, int(port))
            writer.write(b"HTTP/1.1 200 Connected\r\n\r\n")
            try:
                await asyncio.gather(_pump(reader, far_writer), _pump(far_reader, writer))
            finally:
                far_writer.transport.abort()
        else:
            writer.write(OK)
        await writer.drain()
        await reader.read()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


@asynccontextmanager
async def running_proxy() -> AsyncIterator[Proxy]:
    """Runs a proxy on a free port."""
    proxy = Proxy()
    tasks: set[asyncio.Task[None]] = set()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.get_running_loop().create_task(proxy.connected(reader, writer)))

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    proxy.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield proxy
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()


def target(url: str) -> Target:
    """Returns where to send requests."""
    return Target(url, [("accept", "application/json")], 2.0, 3, 10_000)


@pytest.mark.asyncio
async def test_plain_request_goes_through_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running_proxy() as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        engine = open_engine("auto", target(f"http://{HOST}:9/pro"))
        try:
            assert (await ask(engine, path="/a%20b")).body == b"ok"
        finally:
            await engine.close()
        assert proxy.lines == [f"PUT http://{HOST}:9/pro/a%20b HTTP/1.1"]


@pytest.mark.asyncio
async def test_encrypted_request_goes_through_a_tunnel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = Authority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    async with running_proxy() as proxy, running_peer(authority.server_context(address=HOST), host=HOST) as peer:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        peer.serve(answering)
        engine = open_engine("auto", target(peer.url))
        attempt = Attempt()
        try:
            assert (await ask(engine, attempt=attempt)).body == b"ok"
        finally:
            await engine.close()
        assert attempt.sent
        assert proxy.lines == [f"CONNECT {HOST}:{peer.port} HTTP/1.1"]


@pytest.mark.asyncio
async def test_nothing_counts_as_sent_if_the_tunnel_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running_proxy() as proxy:
        proxy.refuses = True
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        engine = open_engine("auto", target(f"https://{HOST}:9/pro"))
        attempt = Attempt()
        try:
            with pytest.raises(NoAnswerError):
                await ask(engine, attempt=attempt)
        finally:
            await engine.close()
        assert not attempt.sent
        assert len(proxy.lines) == 1


@pytest.mark.asyncio
async def test_exempt_upstream_is_asked_directly(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running_proxy() as proxy, running_peer(host=HOST) as peer:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("NO_PROXY", HOST)
        peer.serve(answering)
        for name in ("auto", "direct", "httpx"):
            engine = open_engine(name, target(peer.url))
            try:
                assert (await ask(engine)).body == b"ok"
            finally:
                await engine.close()
        assert proxy.lines == []

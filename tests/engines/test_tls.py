"""TLS: whom an engine trusts, and that nobody else reads a request."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import pytest
from allocation_gateway.upstream.http import Attempt, NoAnswerError
from support.asking import ask, asking
from support.certificates import Authority
from support.peer import answering, running_peer

if TYPE_CHECKING:
    from pathlib import Path

    from engines.conftest import Open


def trust(monkeypatch: pytest.MonkeyPatch, authority: Authority) -> None:
    """Has engines trust an authority."""
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))


async def check_that_it_is_refused(open_engine: Open, url: str) -> None:
    """No request arrives, and the reason is told."""
    attempt = Attempt()
    engine = open_engine(url)
    with pytest.raises(NoAnswerError, match="no connection could be made") as caught:
        await ask(engine, attempt=attempt)
    assert not attempt.sent
    causes = []
    cause: BaseException | None = caught.value
    while cause is not None:
        causes.append(cause)
        cause = cause.__cause__ or cause.__context__
    assert any(isinstance(cause, ssl.SSLCertVerificationError) for cause in causes)


@pytest.mark.asyncio
async def test_trusted_upstream_is_asked_again_on_one_connection(
    open_engine: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = Authority(tmp_path)
    trust(monkeypatch, authority)
    async with running_peer(authority.server_context()) as peer:
        peer.serve(answering)
        engine = open_engine(peer.url)
        for _ in range(5):
            assert (await ask(engine)).body == b"ok"
        assert len(peer.visits) == 1
        assert (await ask(open_engine(peer.url.replace("127.0.0.1", "localhost")))).body == b"ok"


@pytest.mark.asyncio
async def test_unknown_authority_is_refused(open_engine: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = Authority(tmp_path)
    async with running_peer(authority.server_context()) as peer:
        peer.serve(answering)
        trust(monkeypatch, Authority(tmp_path, "other"))
        await check_that_it_is_refused(open_engine, peer.url)
        monkeypatch.delenv("SSL_CERT_FILE")
        await check_that_it_is_refused(open_engine, peer.url)
        assert peer.requests == []


@pytest.mark.asyncio
async def test_certificate_for_another_host_is_refused(
    open_engine: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = Authority(tmp_path)
    trust(monkeypatch, authority)
    async with running_peer(authority.server_context(host="elsewhere.example")) as peer:
        peer.serve(answering)
        await check_that_it_is_refused(open_engine, peer.url)
        await check_that_it_is_refused(open_engine, peer.url.replace("127.0.0.1", "localhost"))
        assert peer.requests == []
    async with running_peer(authority.server_context(), host="127.0.0.2") as peer:
        peer.serve(answering)
        await check_that_it_is_refused(open_engine, peer.url)
        assert peer.requests == []


@pytest.mark.asyncio
async def test_expired_certificate_is_refused(
    open_engine: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = Authority(tmp_path)
    trust(monkeypatch, authority)
    async with running_peer(authority.server_context(expired=True)) as peer:
        peer.serve(answering)
        await check_that_it_is_refused(open_engine, peer.url)
        assert peer.requests == []


@pytest.mark.asyncio
async def test_plain_text_is_no_tls(open_engine: Open) -> None:
    async with running_peer() as peer:

        async def serve(visit: object) -> None:
            await visit.send(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")  # type: ignore[attr-defined]

        peer.serve(serve)
        attempt = Attempt()
        with pytest.raises(NoAnswerError):
            await ask(open_engine(peer.url.replace("http:", "https:")), attempt=attempt)
        assert not attempt.sent


@pytest.mark.asyncio
async def test_large_exchange_passes_through_tls(
    open_engine: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = Authority(tmp_path)
    trust(monkeypatch, authority)
    body = bytes(range(256)) * 4096
    async with running_peer(authority.server_context()) as peer:
        engine = open_engine(peer.url, max_answer_bytes=len(body))
        for _ in range(2):
            asked = asking(engine)
            visit = peer.visits[0] if peer.visits else await peer.visit()
            await visit.answer(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
            assert (await asked).body == body


@pytest.mark.asyncio
async def test_connection_broken_off_under_tls_is_told(
    open_engine: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = Authority(tmp_path)
    trust(monkeypatch, authority)
    async with running_peer(authority.server_context()) as peer:
        engine = open_engine(peer.url)
        for data in (b"", b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nok"):
            attempt = Attempt()
            asked = asking(engine, attempt=attempt)
            visit = await peer.visit()
            await visit.answer(data)
            visit.reset()
            if data:
                assert (await asked).problem == "the body ended early"
            else:
                with pytest.raises(NoAnswerError):
                    await asked
            assert attempt.sent


@pytest.mark.asyncio
async def test_idle_connection_that_upstream_closed_under_tls_is_not_used(
    open_engine: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = Authority(tmp_path)
    trust(monkeypatch, authority)
    async with running_peer(authority.server_context()) as peer:
        engine = open_engine(peer.url)
        for _ in range(3):
            asked = asking(engine)
            visit = await peer.visit()
            await visit.answer()
            assert (await asked).body == b"ok"
            await visit.close()

"""What is sent, and how answers are read."""

from __future__ import annotations

import asyncio
import gzip
from typing import TYPE_CHECKING, Final

import pytest
from allocation_gateway.upstream.http import Answer, NoAnswerError
from support.asking import ask, asking
from support.peer import OK, until

if TYPE_CHECKING:
    from allocation_gateway.upstream.http import HttpEngine
    from engines.conftest import Open
    from support.peer import Peer

HEAD: Final = b"HTTP/1.1 200 OK\r\n"
LIMIT: Final = 1_000


async def told(engine: HttpEngine, peer: Peer, *parts: bytes, close: bool = False, method: str = "PUT") -> Answer:
    """Returns what an engine makes of the bytes of an answer."""
    asked = asking(engine, method)
    visit = await peer.visit()
    await visit.request()
    await visit.send(*parts)
    if close:
        await visit.close()
    return await asked


async def check_that_it_goes_on(engine: HttpEngine) -> None:
    """However an answer ended, it leaves nothing to the next ones: none of them may be taken for another."""
    bodies = [(await ask(engine, path=f"/{number}")).body for number in range(3)]
    assert bodies == [b"/pro/0", b"/pro/1", b"/pro/2"]


def echoing(peer: Peer) -> None:
    """Has further connections tell the path that was asked for."""

    async def serve(visit: object) -> None:
        while True:
            path = (await visit.request()).split(b" ")[1]  # type: ignore[attr-defined]
            await visit.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(path), path))  # type: ignore[attr-defined]

    peer.serve(serve)


@pytest.mark.asyncio
async def test_request_is_sent_as_it_was_given(engine: HttpEngine, peer: Peer) -> None:
    asked = asyncio.create_task(ask(engine, "PUT", "/a%2Fb", body=b'{"a":1}', headers=[(b"traceparent", b"00-1")]))
    visit = await peer.visit()
    head, _, body = (await visit.answer()).partition(b"\r\n\r\n")
    line, *lines = head.split(b"\r\n")
    headers = {name.lower(): value for name, _, value in (text.partition(b": ") for text in lines)}
    assert (line, body) == (b"PUT /pro/a%2Fb HTTP/1.1", b'{"a":1}')
    assert headers[b"host"] == b"127.0.0.1:%d" % peer.port
    assert (headers[b"x-key"], headers[b"traceparent"]) == (b"secret", b"00-1")
    assert headers[b"content-length"] == b"7"
    await asked


@pytest.mark.asyncio
async def test_nothing_is_asked_for_that_cannot_be_read(engine: HttpEngine, peer: Peer) -> None:
    asked = asking(engine)
    request = await (await peer.visit()).answer()
    assert b"\r\naccept-encoding: gzip\r\n" in request.lower()
    await asked


@pytest.mark.asyncio
@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_request_without_a_body_has_none(method: str, engine: HttpEngine, peer: Peer) -> None:
    asked = asyncio.create_task(ask(engine, method, body=None))
    request = await (await peer.visit()).answer()
    assert b"content-length" not in request.lower()
    assert b"transfer-encoding" not in request.lower()
    await asked


ANSWERS: Final = {
    "length": ([HEAD + b"content-length: 2\r\n\r\nok"], 200, b"ok"),
    "error": ([b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 2\r\n\r\nok"], 503, b"ok"),
    "unknown status": ([b"HTTP/1.1 531 Whatever\r\ncontent-length: 2\r\n\r\nok"], 531, b"ok"),
    "no reason": ([b"HTTP/1.1 200 \r\ncontent-length: 2\r\n\r\nok"], 200, b"ok"),
    "empty": ([HEAD + b"content-length: 0\r\n\r\n"], 200, b""),
    "no content": ([b"HTTP/1.1 204 No Content\r\n\r\n"], 204, b""),
    "not modified": ([b"HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n"], 304, b""),
    "redirect": ([b"HTTP/1.1 302 Found\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n"], 302, b""),
    "chunks": ([HEAD + b"transfer-encoding: chunked\r\n\r\n1\r\no\r\n1\r\nk\r\n0\r\n\r\n"], 200, b"ok"),
    "chunks with extensions": (
        [HEAD + b"transfer-encoding: chunked\r\n\r\n2;a=b\r\nok\r\n0\r\n\r\n"],
        200,
        b"ok",
    ),
    "trailers": (
        [HEAD + b"transfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nretry-after: 9\r\n\r\n"],
        200,
        b"ok",
    ),
    "large chunk size": ([HEAD + b"transfer-encoding: chunked\r\n\r\n0002\r\nok\r\n0\r\n\r\n"], 200, b"ok"),
    "gzip": ([HEAD + b"content-encoding: gzip\r\ncontent-length: 22\r\n\r\n" + gzip.compress(b"ok")], 200, b"ok"),
    "empty gzip": ([HEAD + b"content-encoding: gzip\r\ncontent-length: 0\r\n\r\n"], 200, b""),
    "byte by byte": (
        [bytes([byte]) for byte in HEAD + b"transfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"],
        200,
        b"ok",
    ),
    "continue": ([b"HTTP/1.1 100 Continue\r\n\r\n" + OK], 200, b"ok"),
    "early hints": ([b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\nretry-after: 7\r\n\r\n", OK], 200, b"ok"),
    "many interim answers": ([b"HTTP/1.1 102 Processing\r\n\r\n" * 20 + OK], 200, b"ok"),
}


@pytest.mark.asyncio
@pytest.mark.parametrize("name", ANSWERS)
async def test_answer_is_read_and_its_connection_used_again(name: str, engine: HttpEngine, peer: Peer) -> None:
    parts, status, body = ANSWERS[name]
    answer = await told(engine, peer, *parts)
    assert (answer.status, answer.body, answer.problem) == (status, body, "")
    assert answer.headers.get("retry-after") is None
    asked = asking(engine)
    await peer.visits[0].answer()
    assert (await asked).body == b"ok"
    assert len(peer.visits) == 1


ENDING: Final = {
    "without a length": [HEAD + b"\r\nok"],
    "HTTP/1.0": [b"HTTP/1.0 200 OK\r\n\r\nok"],
    "HTTP/1.0 with a length": [b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok"],
    "said so": [HEAD + b"connection: close\r\ncontent-length: 2\r\n\r\nok"],
}


@pytest.mark.asyncio
@pytest.mark.parametrize("name", ENDING)
async def test_answer_that_ends_its_connection_is_read(name: str, engine: HttpEngine, peer: Peer) -> None:
    answer = await told(engine, peer, *ENDING[name], close=True)
    assert (answer.status, answer.body, answer.problem) == (200, b"ok", "")
    echoing(peer)
    await check_that_it_goes_on(engine)


@pytest.mark.asyncio
async def test_answer_to_head_has_no_body_whatever_its_length(engine: HttpEngine, peer: Peer) -> None:
    asked = asyncio.create_task(ask(engine, "HEAD", body=None))
    visit = await peer.visit()
    await visit.answer(HEAD + b"content-length: 5\r\n\r\n")
    assert (await asked).body == b""


@pytest.mark.asyncio
async def test_headers_are_found_by_any_spelling_and_joined(engine: HttpEngine, peer: Peer) -> None:
    answer = await told(engine, peer, HEAD + b"Retry-AFTER: 5\r\nX-A: 1\r\nx-a: 2\r\ncontent-length: 0\r\n\r\n")
    assert answer.headers["retry-after"] == "5"
    assert answer.headers.get("Retry-After") == "5"
    assert answer.headers.get("missing", "none") == "none"
    assert "retry-after" in {name.lower() for name in answer.headers}


@pytest.mark.asyncio
async def test_cookies_are_not_kept(engine: HttpEngine, peer: Peer) -> None:
    await told(engine, peer, HEAD + b"set-cookie: a=b; path=/\r\ncontent-length: 0\r\n\r\n")
    asked = asking(engine)
    assert b"cookie" not in (await peer.visits[0].answer()).lower()
    await asked


CHUNKED: Final = HEAD + b"transfer-encoding: chunked\r\n\r\n"
NO_HTTP: Final = {
    "nothing": b"",
    "another protocol": b"SSH-2.0-OpenSSH_9.2\r\n",
    "RTSP": b"RTSP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok",
    "HTTP/2": b"HTTP/2.0 200 OK\r\ncontent-length: 2\r\n\r\nok",
    "HTTP/0.9": b"ok",
    "status of two digits": b"HTTP/1.1 20 OK\r\ncontent-length: 2\r\n\r\nok",
    "status of four digits": b"HTTP/1.1 2000 OK\r\ncontent-length: 2\r\n\r\nok",
    "status below 100": b"HTTP/1.1 099 OK\r\ncontent-length: 2\r\n\r\nok",
    "status with a sign": b"HTTP/1.1 +20 OK\r\ncontent-length: 2\r\n\r\nok",
    "switching protocols": b"HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\nxx",
    "header without a colon": HEAD + b"nothing\r\ncontent-length: 2\r\n\r\nok",
    "header without a name": HEAD + b": x\r\ncontent-length: 2\r\n\r\nok",
    "space before the colon": HEAD + b"content-length : 2\r\n\r\nok",
    "folded header": HEAD + b"x: a\r\n b\r\ncontent-length: 2\r\n\r\nok",
    "NUL in a header": HEAD + b"x: a\0b\r\ncontent-length: 2\r\n\r\nok",
    "bare carriage return": HEAD + b"x: a\rcontent-length: 9\r\ncontent-length: 2\r\n\r\nok",
    "bare line feeds": b"HTTP/1.1 200 OK\ncontent-length: 2\n\nok",
    "two lengths": HEAD + b"content-length: 2\r\ncontent-length: 1\r\n\r\nok",
    "list of lengths": HEAD + b"content-length: 2, 1\r\n\r\nok",
    "length with a sign": HEAD + b"content-length: +2\r\n\r\nok",
    "negative length": HEAD + b"content-length: -2\r\n\r\nok",
    "hexadecimal length": HEAD + b"content-length: 0x2\r\n\r\nok",
    "no length": HEAD + b"content-length: \r\n\r\nok",
    "length beyond all numbers": HEAD + b"content-length: 18446744073709551618\r\n\r\nok",
    "length and chunks": HEAD + b"content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "chunks and length": HEAD + b"transfer-encoding: chunked\r\ncontent-length: 2\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "unknown transfer encoding": HEAD + b"transfer-encoding: zipped\r\n\r\nok",
    "chunks within another": HEAD + b"transfer-encoding: chunked, identity\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "compressed chunks": HEAD + b"transfer-encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "chunks in HTTP/1.0": b"HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "endless header": HEAD + b"x: " + b"a" * 300_000,
    "endless name": HEAD + b"x" * 300_000,
    "endless status": b"HTTP/1.1 200 " + b"O" * 300_000,
    "endless headers": HEAD + b"".join(b"x-%d: a\r\n" % number for number in range(30_000)),
    "endless interim answers": b"HTTP/1.1 102 Processing\r\nx: y\r\n\r\n" * 10_000,
}


@pytest.mark.asyncio
@pytest.mark.parametrize("name", NO_HTTP)
async def test_what_is_not_clearly_an_answer_is_none(name: str, engine: HttpEngine, peer: Peer) -> None:
    asked = asking(engine)
    visit = await peer.visit()
    await visit.request()
    sending = asyncio.create_task(visit.send(NO_HTTP[name]))
    if len(NO_HTTP[name]) > LIMIT:
        await visit.gone()
    else:
        await sending
        await visit.close()
    with pytest.raises(NoAnswerError):
        await asked
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
    echoing(peer)
    await check_that_it_goes_on(engine)


BOMB: Final = gzip.compress(b"\0" * 50_000_000)
ZIPPED: Final = gzip.compress(b"x" * 20)
PROBLEMS: Final = {
    "length beyond the limit": (HEAD + b"content-length: 2000\r\n\r\n" + b"x" * 2000, "larger"),
    "no length and beyond the limit": (HEAD + b"\r\n" + b"x" * 2000, "larger"),
    "chunk beyond the limit": (CHUNKED + b"7d0\r\n" + b"x" * 2000, "larger"),
    "chunks beyond the limit": (CHUNKED + b"1\r\nx\r\n" * 2000, "larger"),
    "bomb": (HEAD + b"content-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(BOMB) + BOMB, "larger"),
    "bomb in chunks": (CHUNKED.replace(b"\r\n\r\n", b"\r\ncontent-encoding: gzip\r\n\r\n")
                       + b"%x\r\n" % len(BOMB) + BOMB + b"\r\n0\r\n\r\n", "larger"),
    "truncated": (HEAD + b"content-length: 5\r\n\r\nok", "ended early"),
    "truncated to nothing": (HEAD + b"content-length: 5\r\n\r\n", "ended early"),
    "truncated chunk": (CHUNKED + b"5\r\nok", "ended early"),
    "truncated chunks": (CHUNKED + b"2\r\nok\r\n", "ended early"),
    "truncated last chunk": (CHUNKED + b"2\r\nok\r\n0\r\n", "ended early"),
    "truncated gzip": (HEAD + b"content-encoding: gzip\r\ncontent-length: 10\r\n\r\n" + ZIPPED[:10], "ended early"),
    "no gzip": (HEAD + b"content-encoding: gzip\r\ncontent-length: 2\r\n\r\nok", "gzip"),
    "more than gzip": (HEAD + b"content-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % (len(ZIPPED) + 3) + ZIPPED
                       + b"xyz", "gzip"),
    "unknown encoding": (HEAD + b"content-encoding: br\r\ncontent-length: 2\r\n\r\nok", "not asked for"),
    "chunk size that is none": (CHUNKED + b"2\r\nok\r\nzz\r\n", ""),
    "chunk size with a prefix": (CHUNKED + b"0x2\r\nok\r\n0\r\n\r\n", ""),
    "chunk size with a sign": (CHUNKED + b"-2\r\nok\r\n0\r\n\r\n", ""),
    "chunk size with a space": (CHUNKED + b" 2\r\nok\r\n0\r\n\r\n", ""),
    "chunk size beyond all numbers": (CHUNKED + b"fffffffffffffffff2\r\nok\r\n0\r\n\r\n", ""),
    "chunk size and a bare line feed": (CHUNKED + b"2\nok\r\n0\r\n\r\n", ""),
    "longer chunk than it says": (CHUNKED + b"2\r\nokk\r\n0\r\n\r\n", ""),
    "endless chunk extension": (CHUNKED + b"2;" + b"x" * 300_000, ""),
    "endless chunk size": (CHUNKED + b"0" * 300_000, ""),
    "endless trailer": (CHUNKED + b"2\r\nok\r\n0\r\nx: " + b"a" * 300_000, ""),
}  # fmt: skip


@pytest.mark.asyncio
@pytest.mark.parametrize("name", PROBLEMS)
async def test_body_that_cannot_be_read_is_told(name: str, open_engine: Open, peer: Peer) -> None:
    data, problem = PROBLEMS[name]
    engine = open_engine(peer.url, max_answer_bytes=LIMIT)
    asked = asking(engine)
    visit = await peer.visit()
    await visit.request()
    sending = asyncio.create_task(visit.send(data))
    if len(data) <= LIMIT:
        await sending
        await visit.close()
    answer = await asked
    assert (answer.status, answer.body) == (200, b"")
    assert problem in answer.problem
    assert answer.problem
    if len(data) > LIMIT:
        await visit.gone()  # the rest of it is not waited for
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
    echoing(peer)
    await check_that_it_goes_on(engine)


@pytest.mark.asyncio
async def test_body_broken_off_is_told(engine: HttpEngine, peer: Peer) -> None:
    asked = asking(engine)
    visit = await peer.visit()
    await visit.answer(HEAD + b"content-length: 5\r\n\r\nok")
    visit.reset()
    answer = await asked
    assert (answer.status, answer.body, answer.problem) == (200, b"", "the body ended early")


@pytest.mark.asyncio
async def test_body_of_exactly_the_limit_is_read(open_engine: Open, peer: Peer) -> None:
    engine = open_engine(peer.url, max_answer_bytes=LIMIT)
    for body, encoding in ((b"x" * LIMIT, b"identity"), (gzip.compress(b"x" * LIMIT), b"gzip")):
        head = HEAD + b"content-encoding: %b\r\ncontent-length: %d\r\n\r\n" % (encoding, len(body))
        asked = asking(engine)
        await until(lambda: bool(peer.visits))
        await peer.visits[0].answer(head + body)
        answer = await asked
        assert (answer.status, answer.body, answer.problem) == (200, b"x" * LIMIT, "")


@pytest.mark.asyncio
async def test_large_body_is_read(open_engine: Open, peer: Peer) -> None:
    body = bytes(range(256)) * 16_384
    engine = open_engine(peer.url, max_answer_bytes=len(body))
    answer = await told(engine, peer, HEAD + b"content-length: %d\r\n\r\n" % len(body), body)
    assert answer.body == body


SURPLUS: Final = {
    "another answer": OK.replace(b"ok", b"no"),
    "the beginning of one": b"HTTP/1.1 200 O",
    "anything": b"garbage",
}


@pytest.mark.asyncio
@pytest.mark.parametrize("when", ["at once", "later", "just before the next request"])
@pytest.mark.parametrize("name", SURPLUS)
async def test_what_follows_an_answer_is_nobodys_answer(name: str, when: str, engine: HttpEngine, peer: Peer) -> None:
    if when == "at once":
        assert (await told(engine, peer, OK + SURPLUS[name])).body == b"ok"
    else:
        assert (await told(engine, peer, OK)).body == b"ok"
        await peer.visits[0].send(SURPLUS[name])
        await asyncio.sleep(0.02 if when == "later" else 0)
    echoing(peer)
    await check_that_it_goes_on(engine)
    assert len(peer.visits[0].requests) == 1


@pytest.mark.asyncio
async def test_answer_that_comes_before_the_request_is_sent_is_taken(engine: HttpEngine, peer: Peer) -> None:
    """More than the system's buffers hold, of which upstream reads nothing."""
    asked = asyncio.create_task(ask(engine, body=b"x" * 30_000_000))
    visit = await peer.visit()
    await visit.head()
    await visit.send(b"HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\n\r\nno")
    assert ((await asked).status, (await asked).body) == (413, b"no")
    echoing(peer)
    await check_that_it_goes_on(engine)

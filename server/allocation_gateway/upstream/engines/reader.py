"""Reads one answer of HTTP/1.1 from the bytes of a connection, and refuses what could be read in two ways.

llhttp does the parsing, as strictly as it can: it refuses a length beside chunks, two lengths, folded headers, bare
line feeds, and chunk sizes that are not plain hexadecimal numbers. What it lets pass and should not is refused here.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from allocation_gateway.upstream.engines.body import Body
from allocation_gateway.upstream.http import Answer

if TYPE_CHECKING:
    from collections.abc import Iterator

_FIRST_STATUS: Final = 100
_FIRST_FINAL_STATUS: Final = 200
_VERSIONS: Final = frozenset({"1.0", "1.1"})
_CHUNKED: Final = (b"chunked", "1.1")
# Bytes of an answer that need not be its body: headers, also of interim answers, sizes and extensions of chunks, and
# trailers. A head larger than this is no REST API's.
_MAX_OVERHEAD: Final = 65_536
# Bytes that each byte of the body may cost on top, since a server may well send the smallest of chunks.
_OVERHEAD_PER_BYTE: Final = 8


class NotHttpError(Exception):
    """What came is not an answer of HTTP/1.1, or not clearly one."""


class Headers(Mapping[str, str]):
    """The headers of an answer, decoded only when somebody looks at them."""

    __slots__ = ("_raw",)

    def __init__(self, raw: Mapping[bytes, bytes]) -> None:
        self._raw = raw

    def __getitem__(self, name: str) -> str:
        return self._raw[name.lower().encode("latin-1")].decode("latin-1")

    def __iter__(self) -> Iterator[str]:
        return (name.decode("latin-1") for name in self._raw)

    def __len__(self) -> int:
        return len(self._raw)


class AnswerReader:
    """Takes the bytes of one answer. Each answer has a reader of its own, so that nothing passes to the next one.

    Attributes:
        answer: The answer as soon as it is complete, or can be read no further; None until then.
        keeps_alive: Whether the connection is fit for another request after it. Never true before it is complete.
    """

    __slots__ = (
        "_body",
        "_body_size",
        "_head_at",
        "_is_delimited",
        "_is_refused",
        "_limit",
        "_parser",
        "_raw",
        "_received",
        "_status",
        "_wants_body",
        "answer",
        "keeps_alive",
    )

    def __init__(self, method: str, max_body_bytes: int) -> None:
        self.answer: Answer | None = None
        self.keeps_alive = False
        self._limit = max_body_bytes
        self._wants_body = method != "HEAD"
        self._parser = HttpResponseParser(self)
        self._raw: dict[bytes, bytes] = {}
        self._status = 0
        self._body: Body | None = None
        self._body_size = 0
        self._head_at = 0.0
        self._is_delimited = False
        self._is_refused = False
        self._received = 0

    def feed(self, data: bytes) -> None:
        """Takes bytes as they arrive.

        Raises:
            NotHttpError: This is no answer.
        """
        # llhttp also takes empty lines before an answer, and answers of RTSP and ICE.
        if not self._received and not data.startswith(b"H"):
            raise NotHttpError("it does not begin with an HTTP status line")
        self._received += len(data)
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade) as error:
            self._give_up(error)
        if self._is_refused:
            raise NotHttpError("its status or its framing is not HTTP/1.1")
        if self.answer is None and self._received - self._body_size > self._allowed_overhead():
            self._give_up(NotHttpError("its headers and chunk framing exceed the limit"))

    def _allowed_overhead(self) -> int:
        return _MAX_OVERHEAD + _OVERHEAD_PER_BYTE * self._body_size

    def end(self, *, is_orderly: bool) -> bool:
        """Is called when the connection ends, as some answers end by that. Returns whether there is an answer."""
        if self.answer is None and self._body is not None:
            if self._is_delimited or not is_orderly:
                self._body.cut_short()
            self._complete(self._body)
        return self.answer is not None

    def close(self) -> None:
        """Takes nothing more. Reader and parser hold on to each other: left so, they wait for the garbage collector.

        It would run several times as often for their sake, and look through every call that is under way.
        """
        del self._parser

    def _give_up(self, error: Exception) -> None:
        """Ends reading because of what came: a head without its body is an answer, less than that is none."""
        self.keeps_alive = False
        if self.answer is not None:
            return
        if self._body is None:
            raise NotHttpError(str(error)) from error
        self._body.cut_short()
        self._complete(self._body)

    def _complete(self, body: Body) -> None:
        self.answer = Answer(self._status, Headers(self._raw), *body.whole(), self._head_at)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Is called by the parser with a header, or with a trailer, which nobody asked for."""
        if self._body is not None:
            return
        name = name.lower()
        if name in self._raw:
            value = self._raw[name] + b", " + value
        self._raw[name] = value

    def on_message_begin(self) -> None:
        """Is called by the parser when an answer begins."""
        if self.answer is not None:
            self.keeps_alive = False

    def on_headers_complete(self) -> None:
        """Is called by the parser when a head has ended."""
        if self._body is not None:
            return
        raw = self._raw
        status = self._parser.get_status_code()
        if _FIRST_STATUS <= status < _FIRST_FINAL_STATUS:
            raw.clear()
            return
        coding = raw.get(b"transfer-encoding")
        version = self._parser.get_http_version()
        if status < _FIRST_STATUS or version not in _VERSIONS or (coding and (coding.lower(), version) != _CHUNKED):
            self._is_refused = True
            return
        self._status = status
        self._head_at = time.monotonic()
        self._is_delimited = coding is not None or b"content-length" in raw
        encoding = raw.get(b"content-encoding")
        self._body = body = Body(self._limit) if encoding is None else Body(self._limit, encoding.decode("latin-1"))
        if not self._wants_body:
            self._complete(body)

    def on_body(self, part: bytes) -> None:
        """Is called by the parser with a part of the body."""
        self._body_size += len(part)
        if self.answer is None and self._body is not None and not self._body.add(part):
            self._complete(self._body)

    def on_message_complete(self) -> None:
        """Is called by the parser when an answer is complete: maybe only an interim one."""
        if self.answer is None and self._body is not None:
            self.keeps_alive = self._parser.should_keep_alive()
            self._complete(self._body)

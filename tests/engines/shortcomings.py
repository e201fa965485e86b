"""What engines are known to get wrong: by engine, reason and test.

Each of these tests is expected to fail, and says so when it no longer does.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping


def _cases(test: str, *cases: str) -> frozenset[str]:
    return frozenset(f"{test}[{case}]" for case in cases)


_NO_HTTP: Final = "test_what_is_not_clearly_an_answer_is_none"
_PROBLEM: Final = "test_body_that_cannot_be_read_is_told"
_SURPLUS: Final = "test_what_follows_an_answer_is_nobodys_answer"
_AGAIN: Final = "test_request_without_an_answer_is_never_sent_again"
_EARLY: Final = "test_answer_that_comes_before_the_request_is_sent_is_taken"
_CLOSE: Final = "test_close_ends_what_is_under_way_and_what_waits"
_ENDS: Final = ("closed", "half-closed", "broken off", "closed in the head", "closed after an interim answer")

# aiohttp waits for ever if a chunk is malformed that comes after the head, even when its connection is closed.
HANG: Final = frozenset({"aiohttp"})

# Of the following, what goes well now and then.
UNSTEADY: Final = frozenset({("pyreqwest", _EARLY)})

# What h11 and httpcore do is the same in both.
_HTTPCORE: Final[Mapping[str, frozenset[str]]] = {
    "h11 joins folded headers, takes bare line feeds, and lets chunks win over a length and over HTTP/1.0": _cases(
        _NO_HTTP, "HTTP/2", "folded header", "bare line feeds", "length beyond all numbers", "length and chunks",
        "chunks and length", "chunks in HTTP/1.0",
    ),
    "h11 reads interim answers for as long as they come": _cases(_NO_HTTP, "endless interim answers"),
    "h11 takes what came along with an answer for the answer to the next request": _cases(
        _SURPLUS, "another answer-at once", "the beginning of one-at once", "anything-at once"
    ),
    "httpcore reads nothing before everything is sent": frozenset({_EARLY}),
}  # fmt: skip

SHORTCOMINGS: Final[Mapping[str, Mapping[str, frozenset[str]]]] = {
    "httpx": _HTTPCORE,
    "httpx2": {
        **_HTTPCORE,
        "exchanges go on after the client is closed": frozenset({_CLOSE}),
        "a handshake that nobody waits for any more leaves no connection, but raises": frozenset(
            {"test_request_cancelled_while_its_handshake_lasts_is_never_sent"}
        ),
    },
    "aiohttp": {
        "whatever is idempotent is sent a second time, a PUT and a DELETE too (its issue 10790)": _cases(
            _AGAIN, *("-".join(case) for case in product(_ENDS, ("GET", "PUT", "DELETE"), ("new", "reused")))
        )
        | _cases(_NO_HTTP, "nothing")
        | {"test_connection_broken_off_under_tls_is_told"},
        "the parser is lenient in answers": _cases(
            _NO_HTTP, "RTSP", "HTTP/2", "status below 100", "switching protocols", "space before the colon",
            "folded header", "bare line feeds", "unknown transfer encoding", "chunks within another",
            "compressed chunks", "chunks in HTTP/1.0",
        ),
        "interim answers are read for as long as they come": _cases(_NO_HTTP, "endless interim answers"),
        "a head whose body is broken in the same read is no answer": _cases(
            _PROBLEM, "chunk size that is none", "chunk size with a prefix", "chunk size with a sign",
            "chunk size with a space", "chunk size beyond all numbers", "chunk size and a bare line feed",
            "longer chunk than it says", "endless chunk extension", "endless chunk size", "endless trailer",
        ),
        "a connection that is given up in the middle of a body is not closed at once": _cases(
            _PROBLEM, "length beyond the limit", "bomb", "bomb in chunks"
        ),
        "what follows an answer later is taken for the answer to the next request, or spoils the answer": _cases(
            _SURPLUS, "another answer-later", "the beginning of one-at once", "the beginning of one-later",
            "anything-at once", "another answer-just before the next request",
            "the beginning of one-just before the next request",
        ),
        "nothing is taken before everything is sent": frozenset({_EARLY}),
        "a DELETE without a body gets a length": _cases("test_request_without_a_body_has_none", "DELETE"),
        "a name that cannot be one raises something else": frozenset({"test_name_that_cannot_be_one_is_told"}),
        "exchanges go on after the session is closed": frozenset({_CLOSE}),
        "names of headers are not checked": _cases(
            "test_header_that_would_be_two_is_never_sent", "space in the name", "colon in the name", "no name"
        ),
    },
    "pyreqwest": {
        "it does not tell when it sends, and cannot be kept from it": frozenset(
            {
                "test_crowd_that_gives_up_waiting_leaves_all_places",
                "test_attempt_called_off_while_it_waits_is_never_sent",
                "test_attempt_whose_time_is_over_is_never_sent",
                "test_request_cancelled_while_its_handshake_lasts_is_never_sent",
                "test_connecting_that_takes_too_long_ends_and_gives_its_place_back",
                "test_nobody_listening_is_told_and_nothing_counts_as_sent",
                "test_name_that_cannot_be_one_is_told",
                "test_plain_text_is_no_tls",
            }
        ),
        "a certificate that is refused is told by a text only": frozenset(
            {
                "test_unknown_authority_is_refused",
                "test_certificate_for_another_host_is_refused",
                "test_expired_certificate_is_refused",
            }
        ),
        "hyper takes bare line feeds, other transfer encodings, and chunks beside a length": _cases(
            _NO_HTTP, "switching protocols", "bare line feeds", "length and chunks", "chunks and length",
            "unknown transfer encoding", "chunks within another", "compressed chunks",
        ),
        "hyper reads larger heads, and interim answers for as long as they come": _cases(
            _NO_HTTP, "endless header", "endless name", "endless status", "endless interim answers"
        ),
        "a connection that is given up in the middle of a body is not closed at once": _cases(
            _PROBLEM, "length beyond the limit", "bomb", "bomb in chunks", "endless chunk size"
        ),
        "nothing is taken before everything is sent": frozenset({_EARLY}),
        "what it can decompress cannot be switched off but for gzip": _cases(_PROBLEM, "unknown encoding"),
        "exchanges go on after the client is closed, and so do connections": frozenset(
            {_CLOSE, "test_close_leaves_no_idle_connection"}
        ),
        "a header that comes twice is given once": frozenset({"test_headers_are_found_by_any_spelling_and_joined"}),
        "the answer to a request that was cancelled keeps its connection": frozenset(
            {
                "test_answer_to_a_cancelled_request_is_nobodys",
                "test_place_that_is_given_to_someone_who_has_just_gone_is_passed_on",
            }
        ),
    },
}  # fmt: skip

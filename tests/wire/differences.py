"""What an engine does otherwise than these tests ask for, though nobody comes to harm: by engine, reason and test.

Each of these tests is expected to fail, and says so when it no longer does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping


def _cases(test: str, *cases: str) -> frozenset[str]:
    return frozenset(f"{test}[{case}]" for case in cases)


DIFFERENCES: Final[Mapping[str, Mapping[str, frozenset[str]]]] = {
    "grpcio": {
        "padding is not understood": _cases(
            "test_request_may_take_any_form_that_the_rules_allow", "padded", "padded and with a priority"
        )
        | {"test_empty_messages_and_padding_use_no_room_up_for_good"},
        "there is no limit of streams": _cases("test_flood_is_bounded_and_holds_up_nobody", "calls without an end"),
        "the limit of metadata is told, and not held against who does not heed it": frozenset(
            {"test_metadata_beyond_the_limit_is_refused_and_the_connection_goes_on"}
        ),
        "unknown compression is an internal error": frozenset(
            {"test_unknown_compression_is_unimplemented_and_says_what_is_known"}
        ),
        "the second goodbye of an old connection has the code of an error": frozenset(
            {"test_old_connection_is_told_to_go_and_its_calls_finish"}
        ),
        "a path that is not UTF-8 ends the whole server": frozenset({"test_path_that_is_no_text_ends_no_server"}),
        "connections are hardly ever probed": frozenset(
            {
                "test_peer_that_answers_no_probe_is_let_go",
                "test_peers_that_answer_probes_are_kept",
                "test_peer_that_vanished_is_let_go",
            }
        ),
        "connections in their greeting hold up the end": frozenset(
            {"test_end_waits_for_no_connection_that_only_stands"}
        ),
        "unknown flags are taken for an offence": _cases(
            "test_what_looks_odd_but_is_allowed_changes_nothing", "unknown flags"
        ),
    }
}

# What becomes of the same bytes: with direct, with grpcio, and why. Each may be a pattern; the first that fits counts.
# A stream is `waiting` if its client has more to send, and otherwise `open`: that direct leaves a whole request without
# an answer where grpcio gives one is not here, and must never be.
FUZZED: Final[tuple[tuple[str, str, str], ...]] = (
    ("*", "crashed", "a path that is not UTF-8 ends the whole server"),
    ("closed *", "open", "grpcio passes over much that breaks the rules, and lets floods go on"),
    ("open", "closed*", "grpcio ends the connection where only a stream is at fault"),
    (
        "waiting",
        "status *",
        "grpcio answers a call of one message when that has come, direct when that was all",
    ),
    (
        "reset PROTOCOL_ERROR",
        "*",
        "headers that HTTP/2 forbids are malformed, and grpcio takes some of them",
    ),
    ("reset STREAM_CLOSED", "*", "what comes on a stream that has ended is passed over by grpcio"),
    ("reset REFUSED_STREAM", "*", "there is no limit of streams"),
    ("reset FLOW_CONTROL_ERROR", "*", "a stream that has a window beyond all bounds goes on"),
    ("reset FRAME_SIZE_ERROR", "*", "a PRIORITY frame of another size is passed over by grpcio"),
    ("status 0", "status 2", "grpcio fails a handler that tells initial metadata twice, and direct passes over it"),
    ("HTTP 4??", "reset *", "grpcio resets what is not a request of gRPC"),
    ("HTTP 4??", "open", "grpcio never answers some requests that are not of gRPC"),
    ("*", "reset INTERNAL_ERROR", "grpcio resets a call without :authority"),
    ("status 8", "status *", "direct looks at all messages of a body, grpcio at those that it needs"),
    ("status 13", "status *", "direct looks at all messages of a body, grpcio at those that it needs"),
    ("status 8", "open", "grpcio never answers a call of one message of which none can be read"),
    ("status 13", "open", "grpcio never answers a call of one message of which none can be read"),
    ("status 8", "waiting", "grpcio waits for the rest of a message that is too large"),
    ("status 13", "waiting", "grpcio waits for the rest of a request that cannot be read"),
    ("status 0", "open", "what grpcio answers earlier, before all of its call has come, has taken the window of all"),
    ("status 12", "status 13", "unknown compression is an internal error"),
)

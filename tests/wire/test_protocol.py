"""What a call of gRPC says and is told, byte by byte: its headers, its message, its deadline, its status."""

from __future__ import annotations

import base64
import gzip
import struct
import time
import urllib.parse
import zlib
from typing import TYPE_CHECKING, Final

import pytest
from allocation.v1 import shipment_allocation_service_pb2 as pb
from google.rpc import error_details_pb2, status_pb2
from support.front import READ, SHIPMENT, another_write, running_front
from support.http2 import (
    END_HEADERS,
    END_STREAM,
    HEALTH_PATH,
    SERVICE,
    Code,
    Connection,
    Kind,
    block,
    frame,
    kinds,
    message,
    request_fields,
    reset,
)
from wire.conftest import LENIENT, STRICT, check_served, chosen, memory

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.front import Front
    from support.http2 import Answer

    Connect = Callable[..., Connection]

OK, INVALID, LATE, NOT_FOUND, EXHAUSTED, UNIMPLEMENTED, INTERNAL = 0, 3, 4, 5, 8, 12, 13
PLAIN: Final = READ.SerializeToString()
CALL: Final = message(PLAIN)
WRITE_PATH: Final = f"{SERVICE}/AllocateShipment"
LIMIT: Final = 262_144
# Seconds that are far fewer than those after which a call would end by itself.
SOON: Final = 15.0
# Metadata that tells of the call as a whole goes to upstream or comes back; this one does neither, and is harmless.
HARMLESS: Final = ("x-anything", "1")


def asked(connection: Connection, data: bytes | None = CALL, path: str | None = None, **changed: str | None) -> Answer:
    """Makes a call with headers that differ, and returns what comes back."""
    fields = request_fields(**changed) if path is None else request_fields(path, **changed)
    return connection.answer(connection.begin(data, fields))


def test_answer_has_the_form_that_the_protocol_asks_for(connect: Connect) -> None:
    """Headers, a message, trailers: each once, and with nothing in it that a proxy would stumble over."""
    connection = connect()
    answer = asked(connection)
    assert kinds(connection.frames, 1) == [Kind.HEADERS, Kind.DATA, Kind.HEADERS]
    assert (answer.headers[":status"], answer.headers["content-type"]) == ("200", "application/grpc")
    assert answer.trailers["grpc-status"] == "0"
    assert "grpc-status" not in answer.headers
    compressed, length = struct.unpack(">BL", answer.data[:5])
    assert (compressed, length) == (0, len(answer.data) - 5)
    response = pb.GetShipmentAllocationResponse.FromString(answer.data[5:])
    assert response.allocation.shipment_reference == SHIPMENT


def test_failure_without_a_message_is_trailers_only(connect: Connect) -> None:
    connection = connect()
    answer = asked(connection, message(b""))
    assert kinds(connection.frames, 1) == [Kind.HEADERS]
    assert (answer.headers[":status"], answer.headers["content-type"]) == ("200", "application/grpc")
    assert answer.status == INVALID


def test_failure_has_its_details_in_binary_and_its_text_for_a_header(front: Front, connect: Connect) -> None:
    front.upstream.answer(404, {"code": "not_found", "message": "nicht gefunden: über 100 %"})
    answer = asked(connect())
    assert answer.status == NOT_FOUND
    packed = answer.trailers["grpc-status-details-bin"]
    details = status_pb2.Status.FromString(base64.b64decode(packed + "=" * (-len(packed) % 4)))
    assert details.code == NOT_FOUND
    assert details.details[0].Is(error_details_pb2.ErrorInfo.DESCRIPTOR)
    assert urllib.parse.unquote(answer.trailers["grpc-message"]) == details.message
    assert answer.trailers["grpc-message"].isascii()


def test_text_that_no_header_can_hold_is_percent_encoded(front: Front, connect: Connect) -> None:
    reference = "sp_ü%\n\x7f日本"
    front.upstream.answer(404, {"code": "not_found", "message": "x"})
    asked_for = pb.GetShipmentAllocationRequest(shipment_reference=reference).SerializeToString()
    answer = asked(connect(), message(asked_for))
    assert answer.status not in {OK, None}
    raw = answer.trailers["grpc-message"]
    assert all(" " <= letter <= "~" for letter in raw)
    packed = answer.trailers["grpc-status-details-bin"]
    told = status_pb2.Status.FromString(base64.b64decode(packed + "=" * (-len(packed) % 4))).message
    assert urllib.parse.unquote(raw) == told


@pytest.mark.parametrize(
    "path",
    [f"{SERVICE}/NoSuchMethod", "/no.such.Service/Get", "/", "/x", "//", f"{SERVICE}/", f"{SERVICE}//Get", "*",
     f"{SERVICE}/GetShipmentAllocation/", f"{SERVICE}/getshipmentallocation", f"{SERVICE}/GetShipmentAllocation?a=b",
     "/%61llocation.v1.ShipmentAllocationService/GetShipmentAllocation"],
)  # fmt: skip
def test_unknown_path_is_unimplemented(path: str, front: Front, connect: Connect) -> None:
    answer = asked(connect(), path=path)
    assert answer.status == UNIMPLEMENTED
    assert front.upstream.received.empty()


def test_path_that_is_no_text_ends_no_server(engine: str) -> None:
    """For whoever sends it the server is none; for everybody else it goes on."""
    with running_front(settings=chosen(engine)) as front:
        with Connection(front.gateway.address) as connection:
            fields = [(name, b"/\x86" if name == ":path" else value) for name, value in request_fields()]
            connection.begin(CALL, fields)
            connection.quiet(0.2)
        check_served(front)


@pytest.mark.parametrize(
    "content_type",
    ["application/grpc", "application/grpc+proto", "application/grpc;charset=utf-8"],
)
def test_content_types_of_grpc_are_accepted(content_type: str, connect: Connect) -> None:
    assert asked(connect(), content_type=content_type).status == OK


@STRICT
@pytest.mark.parametrize(
    "content_type", ["text/html", "application/json", "application/grpcx", "application", "", None]
)
def test_other_content_types_are_none_of_ours(content_type: str | None, front: Front, connect: Connect) -> None:
    answer = asked(connect(), content_type=content_type)
    assert answer.headers[":status"] == "415"
    assert front.upstream.received.empty()


@STRICT
@pytest.mark.parametrize("method", ["GET", "PUT", "HEAD", "OPTIONS", "post"])
def test_other_methods_are_none_of_ours(method: str, front: Front, connect: Connect) -> None:
    answer = asked(connect(), _method=method)
    assert answer.headers.get(":status") == "405" or answer.reset == Code.PROTOCOL_ERROR
    assert front.upstream.received.empty()


def test_plain_request_of_a_browser_is_not_carried_out(front: Front, connect: Connect) -> None:
    """It is told so in whatever way, and its connection ends or goes on."""
    connection = connect()
    stream = connection.begin(None, request_fields("/", _method="GET", te=None, content_type=None))
    connection.until_closed_or(lambda: connection.on(stream).over)
    assert connection.on(stream).status != OK
    assert front.upstream.received.empty()


# Deadlines.


@pytest.mark.parametrize("timeout", ["1H", "1M", "20S", "20000m", "20000000u", "99999999n", "99999999H", "00000020S"])
def test_deadline_is_understood_in_every_unit(timeout: str, connect: Connect) -> None:
    assert asked(connect(), grpc_timeout=timeout).status == OK


@pytest.mark.parametrize("timeout", ["300m", "300000u", "99999999n"])
def test_deadline_is_kept_in_every_unit(timeout: str, front: Front, connect: Connect) -> None:
    front.upstream.hold()
    connection = connect()
    begun = time.monotonic()
    answer = asked(connection, grpc_timeout=timeout)
    assert 0.05 < time.monotonic() - begun < SOON
    assert answer.status == LATE


@pytest.mark.parametrize("timeout", ["0S", "0n", "0m"])
def test_deadline_that_has_passed_leaves_nothing_to_do(
    timeout: str, engine: str, front: Front, connect: Connect
) -> None:
    answer = asked(connect(), grpc_timeout=timeout)
    assert answer.status == LATE or answer.reset in {Code.CANCEL, Code.NO_ERROR}
    # To grpcio no time is a millisecond, in which a request may be sent.
    assert front.upstream.received.empty() or engine == "grpcio"


@pytest.mark.parametrize(
    "timeout", ["", "S", "1", "1s", "1 S", "-1S", "+1S", "1.5S", "999999999S", "0x1S", "1SS", "S1", "\u0661S", "1_0S"]
)
def test_deadline_that_cannot_be_read_crashes_nothing(timeout: str, connect: Connect) -> None:
    """It is refused, or none."""
    connection = connect()
    stream = connection.begin(CALL, request_fields(grpc_timeout=timeout))
    connection.until_closed_or(lambda: connection.on(stream).over)
    answer = connection.on(stream)
    assert (
        answer.status in {OK, INVALID, INTERNAL, LATE} or answer.reset is not None or answer.headers[":status"] == "400"
    )


# Cancellation.


@pytest.mark.parametrize("code", [Code.CANCEL, Code.NO_ERROR, Code.INTERNAL_ERROR, 0xDEADBEEF])
def test_reset_cancels_a_read_at_upstream(code: int, front: Front, connect: Connect) -> None:
    release = front.upstream.hold()
    connection = connect()
    stream = connection.begin(CALL)
    front.upstream.next_request()
    connection.send(reset(stream, code))
    assert release.gone.wait(SOON)
    assert front.gateway.wait_for("call", rpc="GetShipmentAllocation", code="CANCELLED")
    assert connection.answer(connection.begin(CALL)).status == OK


@pytest.mark.parametrize("end", ["closed", "half-closed", "cut off"])
def test_lost_connection_cancels_its_reads_and_detaches_its_writes(end: str, front: Front, connect: Connect) -> None:
    holds = [front.upstream.hold() for _ in range(2)]
    write = another_write()
    release = front.upstream.hold(body={"shipment_reference": write.shipment_reference, "state": "allocated"})
    connection = connect()
    for _ in holds:
        connection.begin(CALL)
        front.upstream.next_request()
    connection.begin(message(write.SerializeToString()), request_fields(WRITE_PATH))
    front.upstream.next_request()
    if end == "closed":
        connection.socket.close()
    elif end == "half-closed":
        connection.finish_sending()
        connection.quiet(0.1)
    else:
        connection.cut()
    connection.socket.close()
    for hold in holds:
        assert hold.gone.wait(SOON)
    front.gateway.wait_for("write_detached", reference=write.shipment_reference)
    release.set()
    front.gateway.wait_for("detached_write_done", reference=write.shipment_reference)


def test_reset_before_the_request_was_whole_is_no_call(front: Front, connect: Connect) -> None:
    connection = connect()
    stream = connection.begin(CALL[:-3], end=False)
    connection.send(reset(stream))
    connection.ping()
    assert front.upstream.received.empty()
    assert connection.answer(connection.begin(CALL)).status == OK


# Messages.


def raw_deflate(data: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-15)
    return compressor.compress(data) + compressor.flush()


@pytest.mark.parametrize(
    ("encoding", "data"),
    [
        ("identity", CALL),
        ("gzip", message(gzip.compress(PLAIN), flag=1)),
        ("deflate", message(zlib.compress(PLAIN), flag=1)),
        ("gzip", CALL),
    ],
    ids=["identity", "gzip", "deflate", "gzip that is not used"],
)
def test_request_may_be_compressed(encoding: str, data: bytes, front: Front, connect: Connect) -> None:
    answer = asked(connect(), data, grpc_encoding=encoding)
    assert answer.status == OK
    assert SHIPMENT in front.upstream.next_request().line


def test_unknown_compression_is_unimplemented_and_says_what_is_known(front: Front, connect: Connect) -> None:
    answer = asked(connect(), message(PLAIN, flag=1), grpc_encoding="snappy")
    assert answer.status == UNIMPLEMENTED
    accepted = {**answer.headers, **answer.trailers}["grpc-accept-encoding"].replace(" ", "").split(",")
    assert {"identity", "gzip"} <= set(accepted)
    assert front.upstream.received.empty()


@pytest.mark.parametrize(
    ("encoding", "data"),
    [
        (None, message(gzip.compress(PLAIN), flag=1)),
        ("identity", message(gzip.compress(PLAIN), flag=1)),
        ("gzip", message(b"no gzip", flag=1)),
        ("gzip", message(gzip.compress(PLAIN)[:-9], flag=1)),
        ("gzip", message(gzip.compress(PLAIN) + b"rest", flag=1)),
        ("deflate", message(raw_deflate(PLAIN)[:-1] + b"\xff", flag=1)),
        (None, message(PLAIN, flag=2)),
        (None, message(PLAIN, flag=0xFF)),
    ],
    ids=[
        "unsaid",
        "identity",
        "no gzip",
        "gzip that is cut off",
        "gzip with a rest",
        "no deflate",
        "flag 2",
        "flag 255",
    ],
)
def test_message_that_cannot_be_unpacked_is_refused(
    encoding: str | None, data: bytes, front: Front, connect: Connect
) -> None:
    connection = connect()
    answer = asked(connection, data, grpc_encoding=encoding)
    assert answer.status in {INTERNAL, UNIMPLEMENTED, INVALID} or answer.reset is not None
    assert front.upstream.received.empty()
    assert asked(connection).status == OK


def test_bomb_is_not_unpacked(front: Front, connect: Connect) -> None:
    """64 MB of zeros in 64 kB: the limit is of what comes out."""
    before = memory(front.gateway, peak=True)
    bomb = message(gzip.compress(bytes(64 << 20), 9), flag=1)
    assert len(bomb) < LIMIT
    connection = connect()
    for _ in range(3):
        stream = connection.begin(None, request_fields(grpc_encoding="gzip"), end=False)
        for at in range(0, len(bomb), 16_000):
            connection.until_room(stream, 16_000)
            connection.send_data(stream, bomb[at : at + 16_000], end=at + 16_000 >= len(bomb))
        assert connection.answer(stream).status == EXHAUSTED
    assert memory(front.gateway, peak=True) - before < 48 << 20


@pytest.mark.parametrize("length", [LIMIT + 1, 2**31, 2**32 - 1])
def test_message_beyond_the_limit_is_refused_before_it_is_there(length: int, front: Front, connect: Connect) -> None:
    """And before its end: a limit that only counts what has come is none."""
    connection = connect()
    stream = connection.begin(message(b"", length=length), end=False)
    assert connection.answer(stream).status == EXHAUSTED
    assert front.upstream.received.empty()
    assert asked(connection).status == OK


def padded_read(size: int) -> bytes:
    """Returns a request of just a size, most of which is a field that nobody knows."""
    filling = size - len(PLAIN) - 5
    varint = bytes([filling & 0x7F | 0x80, filling >> 7 & 0x7F | 0x80, filling >> 14])
    return PLAIN + b"\xfa\x3f" + varint + bytes(filling)


@pytest.mark.parametrize(("size", "status"), [(LIMIT, OK), (LIMIT + 1, EXHAUSTED)])
def test_limit_of_a_message_is_exact(size: int, status: int, front: Front, connect: Connect) -> None:
    connection = connect()
    connection.until(lambda: connection.acknowledged)
    rest = message(padded_read(size))
    assert len(rest) == size + 5
    stream = connection.begin(None, end=False)
    while rest and not connection.on(stream).over:
        connection.until_room(stream)
        part = rest[: min(connection.room(stream), 16_384)]
        connection.send_data(stream, part, end=len(part) == len(rest))
        rest = rest[len(part) :]
    assert connection.answer(stream).status == status


NOT_ONE_MESSAGE: Final = {
    "none": b"",
    "a byte": b"\0",
    "part of the length": CALL[:4],
    "no content": CALL[:5],
    "one byte less": CALL[:-1],
    "longer than it is": message(PLAIN, length=len(PLAIN) + 1),
    "two": CALL + CALL,
    "one byte more": CALL + b"\0",
}


@LENIENT
@pytest.mark.parametrize("case", NOT_ONE_MESSAGE)
def test_call_without_one_whole_message_harms_nobody(case: str, front: Front, connect: Connect) -> None:
    connection = connect()
    connection.begin(NOT_ONE_MESSAGE[case])
    connection.quiet(0.02)
    assert asked(connection).status == OK


@STRICT
@pytest.mark.parametrize("case", NOT_ONE_MESSAGE)
def test_call_has_one_whole_message(case: str, front: Front, connect: Connect) -> None:
    """Grpcio waits for the rest even where there can be none, and lets a second message pass."""
    connection = connect()
    answer = connection.answer(connection.begin(NOT_ONE_MESSAGE[case]))
    assert answer.status in {INTERNAL, UNIMPLEMENTED}
    assert front.upstream.received.empty()
    assert asked(connection).status == OK


def test_call_may_begin_before_its_message_is_there(connect: Connect) -> None:
    connection = connect()
    stream = connection.begin(CALL[:2], end=False)
    connection.quiet(0.05)
    connection.send(frame(Kind.DATA, 0, stream, CALL[2:9]))
    connection.quiet(0.05)
    connection.send(frame(Kind.DATA, END_STREAM, stream, CALL[9:]))
    assert connection.answer(stream).status == OK


# Metadata.


@pytest.mark.parametrize(
    "fields",
    [
        [HARMLESS],
        [HARMLESS, HARMLESS],
        [("x-empty", "")],
        [("x-some-bin", base64.b64encode(b"\0\xff").decode())],
        [("x-some-bin", base64.b64encode(b"\0\xff").decode().rstrip("="))],
        [("x-some-bin", "")],
        [("user-agent", "grpc-java-netty/1.71.0"), ("grpc-accept-encoding", "gzip")],
        [("x-colon", "a: b"), ("x-spaces", "  a  ")],
        [("cookie", "a=1"), ("cookie", "b=2")],
        [("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")],
        [("traceparent", "nonsense"), ("tracestate", "=,=,"), ("baggage", "a=%ff")],
        [(b"x-high", b"caf\xe9")],
        [("x-tab", "a\tb")],
        [("grpc-previous-rpc-attempts", "2")],
    ],
    ids=["one", "twice", "empty", "padded", "unpadded", "no bytes", "of a client", "odd text", "cookies",
         "trace", "no trace", "beyond ASCII", "tab", "attempts"],
)  # fmt: skip
def test_metadata_of_any_kind_is_taken(fields: list[tuple[str | bytes, str | bytes]], connect: Connect) -> None:
    connection = connect()
    assert connection.answer(connection.begin(CALL, [*request_fields(), *fields])).status == OK


@pytest.mark.parametrize("value", ["!", "A", "AA=A", "====", "A\u00e9", "AAE=,AAI"])
def test_binary_metadata_that_is_none_crashes_nothing(value: str, connect: Connect) -> None:
    connection = connect()
    connection.begin(CALL, [*request_fields(), ("x-some-bin", value)])
    connection.until_closed_or(lambda: connection.on(1).over)


def test_missing_te_is_let_pass_or_refused(connect: Connect) -> None:
    connection = connect()
    answer = asked(connection, te=None)
    assert answer.status in {OK, INTERNAL, INVALID} or answer.reset is not None


def test_request_id_that_the_gateway_makes_is_told_before_the_answer(front: Front, connect: Connect) -> None:
    write = another_write()
    release = front.upstream.hold(body={"shipment_reference": write.shipment_reference, "state": "allocated"})
    connection = connect()
    stream = connection.begin(message(write.SerializeToString()), request_fields(WRITE_PATH))
    connection.until(lambda: connection.on(stream).blocks)
    request_id = connection.on(stream).headers["allocation-request-id"]
    assert connection.on(stream).headers["content-type"] == "application/grpc"
    assert not connection.on(stream).over
    release.set()
    assert connection.answer(stream).status == OK
    front.gateway.wait_for("call", rpc="AllocateShipment", request_id=request_id)
    assert "allocation-request-id" not in connection.on(stream).trailers


def test_request_id_of_the_callers_own_comes_back_with_the_status(front: Front, connect: Connect) -> None:
    write = another_write()
    write.request_id = "5F1C3B0E-7C3B-4F57-9E2E-0F6A1A3A9F10"
    front.upstream.answer(body={"shipment_reference": write.shipment_reference, "state": "allocated"})
    answer = asked(connect(), message(write.SerializeToString()), path=WRITE_PATH)
    assert answer.status == OK
    assert answer.trailers["allocation-request-id"] == write.request_id


def test_failure_after_the_headers_has_its_status_in_trailers(front: Front, connect: Connect) -> None:
    front.upstream.answer(400, {"code": "validation_error", "message": ""})
    connection = connect()
    answer = asked(connection, message(another_write().SerializeToString()), path=WRITE_PATH)
    assert kinds(connection.frames, 1) == [Kind.HEADERS, Kind.HEADERS]
    assert "allocation-request-id" in answer.headers
    assert "grpc-status" not in answer.headers
    assert answer.status == INVALID
    assert answer.trailers["grpc-status-details-bin"]


def test_early_refusal_leaves_the_connection_usable(connect: Connect) -> None:
    """Whose request was still on its way; what comes of it afterwards belongs to nobody."""
    connection = connect()
    stream = connection.begin(CALL[:3], request_fields("/no.such.Service/Get"), end=False)
    connection.quiet(0.05)
    connection.send(frame(Kind.DATA, 0, stream, CALL[3:]), frame(Kind.DATA, END_STREAM, stream))
    assert connection.answer(stream).status == UNIMPLEMENTED
    assert asked(connection).status == OK


@STRICT
@pytest.mark.parametrize("rest", ["DATA", "trailers"])
def test_rest_of_a_request_that_was_refused_early_is_let_be(rest: str, connect: Connect) -> None:
    """It was on its way. Nothing more is said to it, and the connection goes on."""
    connection = connect()
    stream = connection.begin(CALL[:3], request_fields("/no.such.Service/Get"), end=False)
    assert connection.answer(stream).status == UNIMPLEMENTED
    if rest == "DATA":
        connection.send(frame(Kind.DATA, 0, stream, CALL[3:]), frame(Kind.DATA, END_STREAM, stream))
    else:
        connection.send(frame(Kind.HEADERS, END_HEADERS | END_STREAM, stream, block([("x-checksum", "12")])))
    assert asked(connection).status == OK
    assert connection.on(stream).resets == [Code.NO_ERROR]


def test_health_answers_like_any_other_call(connect: Connect) -> None:
    answer = asked(connect(), message(b""), HEALTH_PATH)
    assert (answer.status, answer.data) == (OK, message(b"\x08\x01"))


def test_trailers_of_a_client_are_let_be(connect: Connect) -> None:
    connection = connect()
    stream = connection.begin(CALL, end=False)
    connection.send(frame(Kind.HEADERS, END_HEADERS | END_STREAM, stream, block([("x-checksum", "12")])))
    assert connection.answer(stream).status == OK

"""The headers and trailers of responses, as field blocks that depend on no table."""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from grpc import StatusCode

from allocation_gateway.wire import message
from allocation_gateway.wire.hpack import literal

if TYPE_CHECKING:
    from collections.abc import Iterable

    from allocation_gateway.wire.request import Metadata, Request

# :status 200 by its index in the static table.
_OK_STATUS: Final = b"\x88"
RESPONSE: Final = _OK_STATUS + literal(b"content-type", b"application/grpc")
OK: Final = literal(b"grpc-status", b"0")
_NUMBERS: Final = {code: str(code.value[0]).encode() for code in StatusCode}
# All of ASCII that can be seen, but for the sign that begins an escape.
_UNESCAPED: Final = "".join(chr(octet) for octet in range(0x20, 0x7F) if chr(octet) != "%")
# What follows is the message's format, of which there is one, or a parameter.
_CONTENT_TYPES: Final = ("application/grpc+", "application/grpc;")
_METHOD_NOT_ALLOWED: Final = 405
_UNSUPPORTED_TYPE: Final = 415


def status(code: StatusCode, details: str) -> bytes:
    """Returns the status of a call."""
    block = literal(b"grpc-status", _NUMBERS[code])
    return block + literal(b"grpc-message", quote(details, safe=_UNESCAPED).encode()) if details else block


def encoded(metadata: Iterable[tuple[str, str | bytes]]) -> bytes:
    """Returns metadata. Bytes are told in base64."""
    return b"".join(
        literal(name.encode("ascii"), b64encode(value).rstrip(b"=") if isinstance(value, bytes) else value.encode())
        for name, value in metadata
    )


def trailers_only(code: StatusCode, details: str, metadata: Metadata = ()) -> bytes:
    """Returns the headers that refuse a call of which nothing else was answered."""
    return RESPONSE + status(code, details) + encoded(metadata)


def refusal(asked: Request, timeout: float | None, *, is_known: bool) -> bytes:
    """Returns the headers that answer a request which no handler gets to see; nothing if one does.

    Args:
        asked: The request.
        timeout: Its timeout in seconds; None if it has none, or none that can be read.
        is_known: Whether there is a method of its path.
    """
    if asked.method != "POST":
        return _http_status(_METHOD_NOT_ALLOWED)
    if asked.content_type != "application/grpc" and not asked.content_type.startswith(_CONTENT_TYPES):
        return _http_status(_UNSUPPORTED_TYPE)
    if not is_known:
        return trailers_only(StatusCode.UNIMPLEMENTED, "The server has no such method.")
    if asked.timeout and timeout is None:
        return trailers_only(StatusCode.INTERNAL, "The value of grpc-timeout is not valid.")
    if timeout == 0.0:
        return trailers_only(StatusCode.DEADLINE_EXCEEDED, "The deadline has passed.")
    if asked.encoding not in message.ENCODINGS:
        accepted = (("grpc-accept-encoding", ",".join(message.ENCODINGS)),)
        return trailers_only(StatusCode.UNIMPLEMENTED, "The message encoding is not supported.", accepted)
    return b""


def _http_status(status: int) -> bytes:
    """Returns the headers that refuse a request that is not one of gRPC."""
    return literal(b":status", str(status).encode())

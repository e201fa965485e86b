"""Field blocks: HEADERS and their CONTINUATION frames, put together and decoded (RFC 9113, section 4.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from allocation_gateway.wire import frames
from allocation_gateway.wire.errors import Http2ConnectionError
from allocation_gateway.wire.hpack import CompressionError, Decoder, ExcessiveError

if TYPE_CHECKING:
    from allocation_gateway.wire.hpack import HeaderField
    from allocation_gateway.wire.memory import ConnectionMemory

# How much larger than the metadata a field block may be, before nobody reads it.
_BLOCK_FACTOR: Final = 4
# Frames of one field block. Nobody needs more than a few.
_MAX_FRAMES: Final = 16
# The flags with which the field block is not all of the payload.
_FRAMED_FIELDS: Final = frames.PADDED | frames.WITH_PRIORITY


class FieldBlock(NamedTuple):
    """A field block that is complete.

    Attributes:
        stream: Its stream.
        ends_stream: Whether the peer sends nothing after it.
        size: The size of what it stands for, in bytes as HTTP/2 counts them.
        fields: The fields; None if they are larger than they may be.
    """

    stream: int
    ends_stream: bool
    size: int
    fields: list[HeaderField] | None


class HeaderReceiver:
    """Puts the field blocks of one connection together.

    Attributes:
        open_stream: The stream whose field block is not complete yet; 0 if there is none.
        open_size: How many bytes of that field block have come.
    """

    __slots__ = ("_decoder", "_flags", "_max_size", "_memory", "_parts", "open_size", "open_stream")

    def __init__(self, max_metadata: int, memory: ConnectionMemory) -> None:
        """Starts with an empty table.

        Args:
            max_metadata: How large the fields of a request may be, in bytes as HTTP/2 counts them.
            memory: The account that has field blocks as long as they are not complete.
        """
        self._memory = memory
        self._decoder = Decoder(max_metadata)
        self._max_size = max(_BLOCK_FACTOR * max_metadata, frames.MAX_FRAME_SIZE)
        self._parts: list[bytes] = []
        self._flags = 0
        self.open_stream = 0
        self.open_size = 0

    def check(self, kind: int, stream: int) -> None:
        """Checks that a frame may come while a field block is open.

        Raises:
            Http2ConnectionError: It may not.
        """
        if kind != frames.CONTINUATION or stream != self.open_stream:
            raise Http2ConnectionError(
                frames.PROTOCOL_ERROR, "HEADERS without END_HEADERS must be followed by CONTINUATION on its stream."
            )

    def on_headers(self, flags: int, stream: int, payload: bytes) -> FieldBlock | None:
        """Takes a HEADERS frame. Returns the field block if that is complete.

        Raises:
            Http2ConnectionError: The frame breaks the rules.
        """
        if not stream & 1:
            raise Http2ConnectionError(frames.PROTOCOL_ERROR, "HEADERS must be on a stream that a client opens.")
        if flags & _FRAMED_FIELDS:
            payload = frames.header_fragment(flags, stream, payload)
        if flags & frames.END_HEADERS:
            return self._decoded(flags, stream, payload)
        self._parts, self.open_stream, self._flags = [], stream, flags
        self._keep(payload)
        return None

    def on_continuation(self, flags: int, stream: int, payload: bytes) -> FieldBlock | None:
        """Takes a CONTINUATION frame. Returns the field block if that is complete.

        Raises:
            Http2ConnectionError: The frame breaks the rules.
        """
        if not self.open_stream:
            raise Http2ConnectionError(frames.PROTOCOL_ERROR, "CONTINUATION must follow HEADERS without END_HEADERS.")
        self._keep(payload)
        if len(self._parts) > _MAX_FRAMES or self.open_size > self._max_size:
            raise Http2ConnectionError(frames.ENHANCE_YOUR_CALM, "The field block is too large.")
        if not flags & frames.END_HEADERS:
            return None
        block = b"".join(self._parts)
        self._memory.change(-self.open_size)
        self._parts, self.open_stream, self.open_size = [], 0, 0
        return self._decoded(self._flags, stream, block)

    def _keep(self, part: bytes) -> None:
        self._parts.append(part)
        self.open_size += len(part)
        self._memory.change(len(part))

    def _decoded(self, flags: int, stream: int, block: bytes) -> FieldBlock:
        try:
            fields = self._decoder.decode(block)
        except CompressionError as error:
            raise Http2ConnectionError(frames.COMPRESSION_ERROR, str(error)) from error
        except ExcessiveError as error:
            raise Http2ConnectionError(frames.ENHANCE_YOUR_CALM, str(error)) from error
        return FieldBlock(stream, bool(flags & frames.END_STREAM), self._decoder.list_size, fields)

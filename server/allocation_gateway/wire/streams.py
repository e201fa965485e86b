"""The streams of a connection: those that are open, and those of which something may still be on its way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from allocation_gateway.wire import frames
from allocation_gateway.wire.errors import Http2ConnectionError

if TYPE_CHECKING:
    from allocation_gateway.wire.call import Call

# How many streams that were reset are remembered, of which something may be on its way.
_MAX_RESETS: Final = 1000


class StreamTable:
    """The streams of one connection.

    Attributes:
        calls: The calls that are open, by their streams.
        last: The last stream that the client has opened.
        final: Up to which stream calls are answered; None as long as more are taken.
    """

    __slots__ = ("_forgotten", "_resets", "calls", "final", "last")

    def __init__(self) -> None:
        self.calls: dict[int, Call] = {}
        self.last = 0
        self.final: int | None = None
        # Those that were ended before the other side had, in order; and up to which stream some may be forgotten.
        self._resets: dict[int, None] = {}
        self._forgotten = 0

    @property
    def last_answered(self) -> int:
        """Up to which stream calls are answered, as GOAWAY tells it."""
        return self.last if self.final is None else self.final

    def note_reset(self, stream: int) -> None:
        """Remembers a stream that was ended here, before the client had ended it."""
        resets = self._resets
        resets[stream] = None
        if len(resets) > _MAX_RESETS:
            oldest = next(iter(resets))
            del resets[oldest]
            self._forgotten = max(self._forgotten, oldest)

    def was_reset(self, stream: int) -> bool:
        """Returns whether a stream was ended here before the client had ended it, or may have been."""
        return stream in self._resets or stream <= self._forgotten

    def check_opened(self, stream: int) -> None:
        """Checks that a stream is one that the client has opened.

        Raises:
            Http2ConnectionError: It is not.
        """
        if not stream & 1 or stream > self.last:
            raise Http2ConnectionError(frames.PROTOCOL_ERROR, "The frame is on a stream that was not opened.")

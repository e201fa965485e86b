"""One connection to a server that many steps share: what is asked goes out at once, and is answered in order.

What is asked within one turn of the event loop is written together, and no step has a timer of its own. A server is
given up when it owes an answer and has sent nothing for a time. So a long line of steps, here or there, is waited for,
and one that stands still is not.
"""

from __future__ import annotations

import asyncio
import contextvars
import re
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final, cast

import hiredis
from redis import exceptions
from redis.asyncio.connection import DefaultParser

if TYPE_CHECKING:
    from collections.abc import Callable

# Of what only writes, or looks at the time.
_NO_CONTEXT: Final = contextvars.Context()
_INCOMPLETE: Final = object()
# It is declared for one part alone.
_pack: Final[Callable[[tuple[str | bytes | int, ...]], bytes]] = hiredis.pack_command  # type: ignore[assignment]
# Turns of the event loop after which all that had come by the first of them has been read.
_TURNS: Final = 3
# Redis 6 puts what has failed within a script behind where in the script that was.
_WITHIN_SCRIPT: Final = re.compile(r"-([A-Z]{2,}) ")


def read_error(text: str) -> Exception:
    """Returns the error that a server has answered."""
    code = text.partition(" ")[0]
    if not re.fullmatch(r"[A-Z]+", code) or code == "ERR":
        within = _WITHIN_SCRIPT.search(text)
        text = text[within.start(1) :] if within else text
    error: Exception = DefaultParser.parse_error(text)  # type: ignore[no-untyped-call]
    return error


class StoreConnection(asyncio.Protocol):
    """A connection that is made.

    Attributes:
        is_open: Whether more may be asked.
        peer: The address at the other end.
        ended: Is done when nothing more may be asked.
        lost: Is done when the connection is closed.
        heard_at: When something was received last, by the monotonic clock.
    """

    __slots__ = (
        "_error",
        "_loop",
        "_owed",
        "_reader",
        "_silence",
        "_since",
        "_transport",
        "_unsent",
        "_watching",
        "ended",
        "heard_at",
        "is_open",
        "lost",
        "peer",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, *, silence: float) -> None:
        """Waits for the connection.

        Args:
            loop: The event loop.
            silence: Seconds without a sign of a server that owes an answer, after which it is given up.
        """
        self._loop = loop
        self._silence = silence
        self._reader = hiredis.Reader(
            protocolError=exceptions.InvalidResponse,
            replyError=read_error,
            notEnoughData=_INCOMPLETE,
        )
        # The answers that are to come, in order.
        self._owed: deque[asyncio.Future[Any]] = deque()
        self._unsent: list[bytes] = []
        self._since = 0.0
        self._watching: asyncio.Handle | None = None
        self._error: Exception | None = None
        self._transport: asyncio.Transport | None = None
        self.ended: asyncio.Future[None] = loop.create_future()
        self.lost: asyncio.Future[None] = loop.create_future()
        self.heard_at = time.monotonic()
        self.is_open = False
        self.peer = ""

    def ask(self, *command: str | bytes | int) -> asyncio.Future[Any]:
        """Sends a command with the others of this turn of the event loop, if the connection is open.

        Returns:
            What will be answered. It fails with the error of the answer; with ConnectionError of the client library or
            with TimeoutError if there is none, and then the command may be carried out, also later.
        """
        answer = self._loop.create_future()
        if not self.is_open:
            answer.set_exception(_lost(self._error))
            return answer
        unsent = self._unsent
        if not unsent:
            self._loop.call_soon(self._flush, context=_NO_CONTEXT)
        unsent.append(_pack(command))
        self._owed.append(answer)
        return answer

    def retire(self) -> None:
        """Asks nothing more, and closes when all that was asked is answered."""
        self._end()
        if not self._owed:
            self._close()

    def abort(self, error: Exception | None = None) -> None:
        """Closes at once. What is not answered fails with the error."""
        self._error = self._error or error
        self._end()
        if self._transport is not None:
            self._transport.abort()

    # See asyncio.Protocol for the following.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Takes the transport."""
        self._transport = cast(asyncio.Transport, transport)
        self.peer = (transport.get_extra_info("peername") or ("",))[0]
        self.is_open = True

    def data_received(self, data: bytes) -> None:
        """Hands out the answers."""
        reader, owed = self._reader, self._owed
        reader.feed(data)
        try:
            while (answer := reader.gets()) is not _INCOMPLETE:
                if owed:
                    self._answered(owed, answer)
                else:
                    self._unasked(answer)
        except exceptions.InvalidResponse as error:
            self.abort(error)
        self.heard_at = self._since = time.monotonic()
        if not owed and not self.is_open:
            self._close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Fails what is not answered."""
        self._end()
        if self._watching is not None:
            self._watching.cancel()
        self._unsent.clear()
        while self._owed:
            answer = self._owed.popleft()
            if not answer.done():
                answer.set_exception(_lost(self._error or exc))
        self.lost.set_result(None)

    def _answered(self, owed: deque[asyncio.Future[Any]], answer: Any) -> None:
        if isinstance(answer, hiredis.PushNotification):
            return
        asked = owed.popleft()
        if asked.done():  # whoever asked has gone
            return
        if isinstance(answer, Exception):
            asked.set_exception(answer)
        else:
            asked.set_result(answer)

    def _unasked(self, answer: Any) -> None:
        """Keeps what a server says that refuses the connection."""
        if isinstance(answer, Exception):
            self.abort(answer)

    def _flush(self) -> None:
        unsent = self._unsent
        if not unsent or self._transport is None or self._transport.is_closing():
            return
        if len(unsent) == len(self._owed):
            self._since = time.monotonic()
        self._transport.write(unsent[0] if len(unsent) == 1 else b"".join(unsent))
        unsent.clear()
        if self._watching is None:
            self._watch()

    def _watch(self) -> None:
        self._watching = None
        if not self._owed:
            return
        left = self._since + self._silence - time.monotonic()
        if left > 0:
            self._watching = self._loop.call_later(left, self._watch, context=_NO_CONTEXT)
        else:
            self._watching = self._loop.call_soon(self._look_again, self._since, _TURNS, context=_NO_CONTEXT)

    def _look_again(self, since: float, turns: int) -> None:
        """Gives the server up, unless it has answered and only the event loop was too busy to read that."""
        if self._since != since or not self._owed:
            self._watch()
        elif turns:
            self._watching = self._loop.call_soon(self._look_again, since, turns - 1, context=_NO_CONTEXT)
        else:
            self._watching = None
            self.abort(TimeoutError("the server does not answer"))

    def _end(self) -> None:
        self.is_open = False
        if not self.ended.done():
            self.ended.set_result(None)

    def _close(self) -> None:
        if self._transport is not None:
            self._transport.close()


def _lost(cause: Exception | None) -> Exception:
    """Returns an error of its own for each that waits: one that is raised in many places grows with each."""
    if isinstance(cause, TimeoutError):
        return TimeoutError(*cause.args)
    if isinstance(cause, exceptions.RedisError):
        return type(cause)(*cause.args)
    error = exceptions.ConnectionError("Connection closed by the server")
    error.__cause__ = cause
    return error

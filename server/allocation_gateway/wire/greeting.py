"""Waits on a socket until the client of TLS that has connected there has greeted.

Nothing is read meanwhile, since the handshake is to find all of it. The system tells once when as many bytes are there
as are missing, or the peer is gone: who sends half a greeting costs nothing while it stands, and its place as soon as
it is gone.
"""

from __future__ import annotations

import asyncio
import select
import socket
from contextlib import suppress
from typing import Final

from allocation_gateway.wire.client_hello import FIRST_BYTES, MOST_BYTES, ClientHello

# Seconds between the first two looks where the system tells too early, since it cannot do better or has no memory for
# more. Those after it are ever further apart.
_NEXT_LOOK: Final = 0.001
_LAST_LOOK: Final = 1.0
# What poll() knows of a peer that sends no more, where there is such an event. Others are always told.
_SENDS_NO_MORE: Final[int] = getattr(select, "POLLRDHUP", 0)


async def greeted(accepted: socket.socket, loop: asyncio.AbstractEventLoop) -> bool:
    """Waits until a client has greeted. Returns whether it has: else it is gone.

    Raises:
        UnexpectedBytesError: It has sent something else.
        OSError: The connection is broken.
    """
    hello, pause = ClientHello(), _NEXT_LOOK
    least = FIRST_BYTES
    while True:
        _wake_at(accepted, least)
        await _readable(accepted, loop)
        seen = accepted.recv(MOST_BYTES, socket.MSG_PEEK)
        missing = hello.missing(seen)
        if not missing:
            _wake_at(accepted, 1)
            return True
        if len(seen) < least:
            if not seen or _is_gone(accepted):
                return False
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LAST_LOOK)
        least = len(seen) + missing


def _wake_at(accepted: socket.socket, count: int) -> None:
    """Asks the system to tell of bytes when there are so many, if it can. Linux lowers a number that does not fit."""
    with suppress(OSError):
        accepted.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, count)


def _is_gone(accepted: socket.socket) -> bool:
    """Returns whether the peer has closed its side, or the connection is broken."""
    poll = select.poll()
    poll.register(accepted, _SENDS_NO_MORE)
    return bool(poll.poll(0))


async def _readable(accepted: socket.socket, loop: asyncio.AbstractEventLoop) -> None:
    """Waits until the system tells that there is something to be read."""
    there: asyncio.Future[None] = loop.create_future()
    loop.add_reader(accepted.fileno(), _note, there)
    try:
        await there
    finally:
        loop.remove_reader(accepted.fileno())


def _note(there: asyncio.Future[None]) -> None:
    if not there.done():
        there.set_result(None)

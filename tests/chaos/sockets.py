"""Ports that stay free while nobody listens, and the sudden end of connections."""

from __future__ import annotations

import contextlib
import random
import socket
import struct
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import asyncio

# On, and no seconds to wait: the peer sees a reset instead of an orderly end.
_AT_ONCE: Final = struct.pack("ii", 1, 0)


# Below the ports that systems hand out to connections. One of those may go to somebody else while its server is down,
# and whoever connects to it may even reach itself.
_STEADY: Final = range(15_000, 32_000)


def steady_port() -> int:
    """Returns a port of the loopback that is free, and that no connection will be given."""
    for port in random.sample(_STEADY, len(_STEADY)):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise OSError("no port is free")


def reset(writer: asyncio.StreamWriter) -> None:
    """Ends a connection without a word, so that its peer sees a reset."""
    if writer.is_closing():
        return
    # One that the peer has just left has no socket any more.
    with contextlib.suppress(OSError, ValueError):
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
    writer.transport.abort()

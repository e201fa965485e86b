"""Compressing replies for clients that ask for it."""

from __future__ import annotations

import zlib
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from allocation_gateway.sandbox.messages import Reply

# The fastest level: the sandbox compresses to be faithful, not to save traffic.
LEVEL = 1

# The window size that makes zlib write a gzip header and trailer.
GZIP_WINDOW = 31


def compressed(reply: Reply, accept_encoding: str) -> Reply:
    """The reply as it travels to a client with that Accept-Encoding: gzipped if it allows that."""
    if not reply.body or reply.gzip_label is None or not _allows_gzip(accept_encoding):
        return reply
    body = zlib.compress(reply.body, LEVEL, GZIP_WINDOW)
    return replace(reply, body=body, headers={**reply.headers, "Content-Encoding": reply.gzip_label})


def _allows_gzip(accept_encoding: str) -> bool:
    for item in accept_encoding.split(","):
        coding, _, quality = item.partition(";")
        if coding.strip().lower() == "gzip":
            return quality.replace(" ", "") not in {"q=0", "q=0.0", "q=0.00", "q=0.000"}
    return False

"""The limits that a server holds its clients to."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of a server, and how its connections age. Times are in seconds.

    Attributes:
        message: The largest request message, in bytes.
        metadata: The largest request metadata, in bytes as HTTP/2 counts them.
        calls: How many calls may be open on a connection.
        connections: How many connections may be open.
        connections_per_address: How many of them may come from one address.
        held: How many bytes of requests, and of answers that are not taken, may be held over all connections.
        keepalive_time: After how much silence a connection is probed.
        keepalive_timeout: How long such a probe may stay unanswered.
        age: After how long a client is asked to connect anew.
        age_grace: How long calls have to finish then.
    """

    message: int
    metadata: int
    calls: int
    connections: int
    connections_per_address: int
    held: int
    keepalive_time: float
    keepalive_timeout: float
    age: float
    age_grace: float

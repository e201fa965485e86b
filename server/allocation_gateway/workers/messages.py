"""What a supervisor and the processes that it runs say to each other: JSON, one message a line, over a socket pair."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

import msgspec

# The types of a message are read at run time.
from allocation_gateway.settings import Secret, Settings, from_text
from allocation_gateway.telemetry.pages import SharedPage  # noqa: TC001

if TYPE_CHECKING:
    import socket


class WorkerTask(msgspec.Struct, frozen=True, tag=True):
    """The first message to a worker. All have the same settings, also those that are started later.

    Attributes:
        number: The number of its place.
        settings: The configuration.
        restarts: How many workers have had its place before.
        page: The page for Prometheus that all share; None if none is asked for.
    """

    number: int
    settings: Settings
    restarts: int = 0
    page: SharedPage | None = None


class SandboxTask(msgspec.Struct, frozen=True, tag=True):
    """The first message to the process of the sandbox.

    Attributes:
        port: Where it listens.
        shipments: How many shipments, and how many consignments, it has besides its examples.
    """

    port: int
    shipments: int


class Serve(msgspec.Struct, frozen=True, tag=True):
    """To a worker: all of them accept calls."""


class Beat(msgspec.Struct, frozen=True, tag=True):
    """A worker is alive."""


class Listening(msgspec.Struct, frozen=True, tag=True):
    """A worker accepts calls."""

    address: str
    health_address: str


class Opened(msgspec.Struct, frozen=True, tag=True):
    """The sandbox listens."""

    base_url: str
    ship_base_url: str
    consignments_base_url: str


class ConfigurationRefused(msgspec.Struct, frozen=True, tag=True):
    """The configuration cannot be used. The text is one line for the operator."""

    text: str


Task: TypeAlias = WorkerTask | SandboxTask
Report: TypeAlias = Beat | Listening | Opened | ConfigurationRefused

_CHUNK: Final = 65_536
_TASKS: Final[msgspec.json.Decoder[Task]] = msgspec.json.Decoder(Task, dec_hook=from_text)
_REPORTS: Final[msgspec.json.Decoder[Report]] = msgspec.json.Decoder(Report)


def encode(message: Task | Serve | Report) -> bytes:
    """Returns a message as a line."""
    return msgspec.json.encode(message, enc_hook=_to_text) + b"\n"


def report(line: bytes) -> Report:
    """Returns what a line from a process says."""
    return _REPORTS.decode(line)


def receive_task(link: socket.socket) -> Task | None:
    """Waits for the first message to this process. None if the supervisor has gone before."""
    line = b""
    while not line.endswith(b"\n"):
        chunk = link.recv(_CHUNK)
        if not chunk:
            return None
        line += chunk
    return _TASKS.decode(line)


def _to_text(value: object) -> str:
    # The socket has no name and no other end: the one way by which a secret may leave the process as text.
    return value.reveal() if isinstance(value, Secret) else str(value)

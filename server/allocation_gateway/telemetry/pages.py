"""Where the page of metrics is that Prometheus scrapes: one address for all workers.

A supervisor reserves it, and has no need of what serves it: page_server.py does.
"""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Final

import msgspec

from allocation_gateway import ports
from allocation_gateway.settings import ConfigurationError
from allocation_gateway.telemetry import variables

if TYPE_CHECKING:
    from collections.abc import Mapping

# The defaults of the specification, except that `localhost` may resolve to an address that nobody scrapes.
_HOST: Final = "127.0.0.1"
_PORT: Final = "9464"


class SharedPage(msgspec.Struct, frozen=True):
    """What the workers of one supervisor have to know of the page that they share.

    Attributes:
        name: What the names of their sockets begin with.
        port: The port that is reserved for them.
        workers: How many there are.
    """

    name: str
    port: int
    workers: int

    def socket_of(self, worker: int) -> str:
        """Returns the name of a worker's socket."""
        return f"\0{self.name}/{worker}"


def bind(environ: Mapping[str, str], *, reserved: int | None = None) -> list[socket.socket]:
    """Takes the port of the page on each address of its host.

    Args:
        environ: The variables that name them.
        reserved: The port, if it is one that workers share and that is reserved for them.

    Raises:
        ConfigurationError: It is taken, or there is no such address.
    """
    host = environ.get(variables.PROMETHEUS_HOST) or _HOST
    port = int(environ.get(variables.PROMETHEUS_PORT) or _PORT) if reserved is None else reserved
    try:
        return ports.take(host, port, shared=reserved is not None)
    except OSError as error:
        where = variables.PROMETHEUS_HOST if isinstance(error, socket.gaierror) else variables.PROMETHEUS_PORT
        raise ConfigurationError(f"{where}: {host}:{port}: {error.strerror}") from error


def reserve(environ: Mapping[str, str], workers: int) -> tuple[SharedPage, ports.Reservation] | None:
    """Reserves the port of the page for several workers. Returns None if none is asked for.

    Raises:
        ConfigurationError: It is taken, or there is no such address.
    """
    if variables.is_disabled(environ) or variables.PROMETHEUS not in variables.exporters("METRICS", environ):
        return None
    reservation = ports.Reservation(bind(environ))
    # The name is in a place that others can see: it only has to be another one than theirs.
    return SharedPage(f"allocation-gateway/{os.urandom(8).hex()}", reservation.port, workers), reservation

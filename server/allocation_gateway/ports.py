"""Finding out whether a port can be had, and keeping it.

gRPC tells nobody but its own log why it cannot listen, and a port that it shares it takes without asking who has it.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from allocation_gateway.settings import ConfigurationError, variable

if TYPE_CHECKING:
    from collections.abc import Iterator


def bracketed(host: str) -> str:
    """Returns a host as it stands before a colon and a port."""
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


def probe(name: str, host: str, port: int) -> None:
    """Checks that a port can be had, and leaves it.

    Args:
        name: The setting that holds the port.
        host: The address, or a name of one.
        port: The port.

    Raises:
        ConfigurationError: It is taken, or there is no such address.
    """
    for bound in bind(name, host, port, shared=False):
        bound.close()


def bind(name: str, host: str, port: int, *, shared: bool) -> list[socket.socket]:
    """Takes a port on each address of a host, for a server to listen on.

    Args:
        name: The setting that holds the port.
        host: The address, or a name of one.
        port: The port; 0 lets the system choose one, the same on all addresses.
        shared: Whether somebody has reserved it, for several processes to share.

    Raises:
        ConfigurationError: It is taken, or there is no such address.
    """
    try:
        return take(host, port, shared=shared)
    except OSError as error:
        about = "host" if isinstance(error, socket.gaierror) else name
        raise ConfigurationError(
            f"{variable(about)}: cannot listen on {bracketed(host)}:{port}: {error.strerror}"
        ) from error


def take(host: str, port: int, *, shared: bool) -> list[socket.socket]:
    """Takes a port that no setting names: see bind().

    Raises:
        OSError: It is taken, or there is no such address.
    """
    sockets: list[socket.socket] = []
    try:
        sockets.extend(_bound(host, port, shared=shared))
    except BaseException:
        for bound in sockets:
            bound.close()
        raise
    return sockets


class Reservation:
    """A port that nobody else can have, and that processes of this user can share by SO_REUSEPORT.

    It is bound and does not listen: connections only reach those who do.

    Attributes:
        port: The port, which the system has chosen if 0 was asked for.
    """

    def __init__(self, sockets: list[socket.socket]) -> None:
        """Takes the sockets that bind() or take() has bound to it, not shared."""
        self._sockets = sockets
        self.port = self._sockets[-1].getsockname()[1]
        for bound in self._sockets:
            # Only now: bound at once with these, it would share a port that another gateway has.
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)

    def close(self) -> None:
        """Lets go of the port."""
        for bound in self._sockets:
            bound.close()


def _bound(host: str, port: int, *, shared: bool) -> Iterator[socket.socket]:
    """Binds a socket to each address of a host, all of them to the same port."""
    found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    for family, kind, protocol, _, address in found:
        bound = socket.socket(family, kind, protocol)
        try:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT if shared else socket.SO_REUSEADDR, 1)
            if family is socket.AF_INET6:
                bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            bound.bind((address[0], port, *address[2:]))
            port = bound.getsockname()[1]
        except OSError:
            bound.close()
            raise
        yield bound

"""Where the server is that takes writes: what its name stands for now, or what its Sentinels say."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from typing import TYPE_CHECKING, Any, Final, Protocol

from redis.exceptions import RedisError

from allocation_gateway.pooling import NoPrimaryError, diagnose, open_sentinel

if TYPE_CHECKING:
    from collections.abc import Mapping

    from allocation_gateway.settings.server_url import ServerUrl

_FAILURES: Final = (RedisError, OSError, TimeoutError)


class Locator(Protocol):
    """Finds the primary.

    Attributes:
        interval: Seconds between two looks at whether it is elsewhere.
    """

    interval: float

    async def locate(self) -> ServerUrl:
        """Returns where it is.

        Raises:
            NoPrimaryError: That cannot be told now.
        """

    async def is_elsewhere(self, target: ServerUrl, peer: str) -> bool:
        """Tells whether it is certainly not where a connection leads to.

        Args:
            target: Where it was when the connection was made.
            peer: The address at the other end.
        """

    async def close(self) -> None:
        """Closes all connections."""


def locator(url: ServerUrl, *, timeout: float) -> Locator:
    """Returns what finds the primary of a URL. Each question may take so many seconds."""
    return BySentinels(url, timeout=timeout) if url.sentinels else ByName(url)


class ByName:
    """The URL names the primary. Its name is looked up for each connection, and now and then whether it has moved."""

    # A look-up can be a dozen questions to the servers of a cluster's names.
    interval = 5.0

    def __init__(self, url: ServerUrl) -> None:
        self._url = url

    async def locate(self) -> ServerUrl:
        """Returns the URL: connecting looks the name up."""
        return self._url

    async def is_elsewhere(self, target: ServerUrl, peer: str) -> bool:
        """See Locator. A name that cannot be looked up now has not moved."""
        if _is_address(target.host):
            return False
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            return False
        return peer not in {entry[4][0] for entry in found}

    async def close(self) -> None:
        """Does nothing: there is nothing to close."""


class BySentinels:
    """Sentinels tell which server is the primary."""

    interval = 1.0

    def __init__(self, url: ServerUrl, *, timeout: float) -> None:
        self._url = url
        self._timeout = timeout
        self._sentinel = open_sentinel(url, timeout=timeout)

    async def locate(self) -> ServerUrl:
        """Returns what the majority of the Sentinels knows, by the latest of their elections.

        One that was cut off from the others may still tell the former primary.
        """
        clients: list[Any] = self._sentinel.sentinels
        at = {
            asyncio.create_task(self._ask(client)): address
            for client, address in zip(clients, self._url.sentinels, strict=True)
        }
        asking = {*at}
        told: list[Mapping[str, Any]] = []
        errors: list[tuple[tuple[str, int], BaseException]] = []
        try:
            while asking and len(told) <= len(clients) // 2:
                done, asking = await asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    error = task.exception()
                    if error is None:
                        told.append(task.result())
                    else:
                        errors.append((at[task], error))
        finally:
            for task in asking:
                task.cancel()
            await asyncio.gather(*asking, return_exceptions=True)
        if not told:
            raise self._none(errors)
        latest = max(told, key=lambda state: int(state["config-epoch"]))
        return self._url.at(str(latest["ip"]), int(latest["port"]))

    async def _ask(self, client: Any) -> Mapping[str, Any]:
        async with asyncio.timeout(self._timeout):
            state: Mapping[str, Any] = await client.sentinel_master(self._url.service)
        return state

    def _none(self, errors: list[tuple[tuple[str, int], BaseException]]) -> NoPrimaryError:
        """Returns why no Sentinel has told anything.

        Raises:
            BaseException: It is none of what a server, or the way to it, can do.
        """
        for _, error in errors:
            if not isinstance(error, _FAILURES):
                raise error
        if all("No such master" in str(error) for _, error in errors):
            return NoPrimaryError(f"the Sentinels know no primary with the name {self._url.service}", is_lasting=True)
        (host, port), error = errors[0]
        one = self._url.of_sentinels().at(host, port)
        where = ", ".join(f"{host}:{port}" for host, port in self._url.sentinels)
        return NoPrimaryError(f"none of the Sentinels {where} tells the primary: {diagnose(error, one).text}")

    async def is_elsewhere(self, target: ServerUrl, peer: str) -> bool:
        """See Locator. While the Sentinels cannot tell, the primary has not moved."""
        del peer
        try:
            return await self.locate() != target
        except NoPrimaryError:
            return False

    async def close(self) -> None:
        """See Locator."""
        await self._sentinel.aclose()


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True

"""Where the server is that takes writes: what its name stands for now, or what its Sentinels say."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
from collections import Counter
from typing import TYPE_CHECKING, Any, Final, Protocol

from redis.exceptions import RedisError

from allocation_gateway.claims.patience import PatientLimit
from allocation_gateway.pooling import open_sentinel
from allocation_gateway.server_diagnosis import NoPrimaryError, diagnose

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from allocation_gateway.settings.server_url import ServerUrl

_FAILURES: Final = (RedisError, OSError, TimeoutError)
# How many times longer the client library waits for a Sentinel.
_PATIENCE: Final = 20


class Locator(Protocol):
    """Finds the primary.

    Attributes:
        interval: Seconds between two looks at whether it is elsewhere.
    """

    interval: float

    async def locate(self) -> ServerUrl:
        """Returns where it is.

        It bounds itself how long that takes.

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
        # What bounds a question here bears with a busy process, unlike the library.
        self._sentinel = open_sentinel(url, timeout=_PATIENCE * timeout)
        self._last: ServerUrl | None = None

    async def locate(self) -> ServerUrl:
        """Returns what the majority of the Sentinels knows, by the latest of their elections.

        One that was cut off from the others may still tell the former primary. If those of the latest election differ,
        all are heard, and most of them are believed. Those that are silent are waited for until half the time is over,
        if there are others: the rest of it is for connecting.
        """
        clients: list[Any] = self._sentinel.sentinels
        at = {
            asyncio.create_task(self._ask(client)): address
            for client, address in zip(clients, self._url.sentinels, strict=True)
        }
        asking = {*at}
        half = asyncio.create_task(_pass(self._timeout / 2))
        told: list[Mapping[str, Any]] = []
        errors: list[tuple[tuple[str, int], BaseException]] = []
        try:
            while asking and (len(told) <= len(clients) // 2 or len(_latest(told)) > 1):
                ends: set[asyncio.Future[Any]] = {*asking, half} if told else {*asking}
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
                done = {task for task in asking if task.done()}
                asking -= done
                for task in done:
                    error = task.exception()
                    if error is None:
                        told.append(task.result())
                    else:
                        errors.append((at[task], error))
                if told and not done:
                    break
        finally:
            half.cancel()
            for task in asking:
                task.cancel()
            await asyncio.gather(*asking, half, return_exceptions=True)
        if not told:
            raise self._none(errors)
        latest = _latest(told)
        most = max(latest.values())
        equal = [self._url.at(*address) for address, count in latest.items() if count == most]
        # None is more likely than the others: the one that is used has what was written to it.
        self._last = self._last if self._last in equal else equal[0]
        return self._last

    async def _ask(self, client: Any) -> Mapping[str, Any]:
        with PatientLimit(self._timeout):
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


async def _pass(seconds: float) -> None:
    """Lets time pass, in which the event loop could have gone on."""
    with contextlib.suppress(TimeoutError), PatientLimit(seconds):
        await asyncio.get_running_loop().create_future()


def _latest(told: Sequence[Mapping[str, Any]]) -> Counter[tuple[str, int]]:
    """Returns where the primary is by the latest election that was told, and how many say so."""
    epoch = max((int(state["config-epoch"]) for state in told), default=0)
    return Counter((str(state["ip"]), int(state["port"])) for state in told if int(state["config-epoch"]) == epoch)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True

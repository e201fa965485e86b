"""Which node of a cluster has which slots, as one of its nodes tells."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from allocation_gateway.claims.link import FAILURES
from allocation_gateway.claims.patience import PatientLimit
from allocation_gateway.server_diagnosis import NoPrimaryError, diagnose

if TYPE_CHECKING:
    from collections.abc import Sequence

    from allocation_gateway.claims.connecting import Connector
    from allocation_gateway.claims.connection import StoreConnection
    from allocation_gateway.settings.server_url import ServerUrl

Address: TypeAlias = tuple[str, int]
SLOTS: Final = 16_384
_UNKNOWN_HOSTS: Final = {"", "?"}


class View(NamedTuple):
    """What a node tells.

    Attributes:
        rank: Tells which of several views counts: that of a node which is not cut off, and knows the latest election.
        ranges: The first and the last slot of each range, and the address of the primary that has it.
    """

    rank: tuple[bool, int]
    ranges: Sequence[tuple[int, int, Address]]


async def ask(connection: StoreConnection, host: str) -> View:
    """Asks a node.

    Args:
        connection: Leads to it.
        host: Its host, which it may not know itself.

    Raises:
        NoPrimaryError: No node has any slot.
        Exception: It has answered an error, or nothing. One of the link's FAILURES.
    """
    info: Any
    slots: Any
    info, slots = await asyncio.gather(
        connection.ask("CLUSTER", "INFO"), connection.ask("CLUSTER", "SLOTS"), return_exceptions=True
    )
    for answer in (info, slots):
        if isinstance(answer, BaseException):
            raise answer
    return read(info, slots, host)


async def ask_all(connector: Connector, url: ServerUrl, addresses: Sequence[Address], seconds: float) -> View:
    """Asks nodes to which there is no connection, and believes the one that knows best.

    Args:
        connector: Makes connections to them.
        url: How they are spoken to.
        addresses: Where they are.
        seconds: How long each may take.

    Raises:
        NoPrimaryError: None of them tells.
    """

    async def ask_one(address: Address) -> View:
        with PatientLimit(seconds):
            connection = await connector.reach(url.at(*address))
            try:
                return await ask(connection, address[0])
            finally:
                connection.abort()

    told = await asyncio.gather(*(ask_one(address) for address in addresses), return_exceptions=True)
    views, problems = [], []
    for address, found in zip(addresses, told, strict=True):
        if not isinstance(found, BaseException):
            views.append(found)
        elif isinstance(found, FAILURES):
            problems.append(diagnose(found, url.at(*address)))
        else:
            raise found
    if views:
        return max(views, key=lambda view: view.rank)
    where = ", ".join(url.at(*address).address for address in addresses)
    raise NoPrimaryError(
        f"none of the nodes {where} tells where the slots are: {problems[0].text}",
        kind="cluster",
        is_lasting=all(problem.is_lasting for problem in problems),
    )


def read(info: Any, slots: Any, host: str) -> View:
    """Reads the answers to `CLUSTER INFO` and `CLUSTER SLOTS`.

    Raises:
        NoPrimaryError: No node has any slot.
    """
    told = dict(line.partition(":")[::2] for line in _text(info).splitlines())
    ranges = []
    for first, last, primary, *_ in slots:
        named = _text(primary[0] or b"")
        ranges.append((int(first), int(last), (host if named in _UNKNOWN_HOSTS else named, int(primary[1]))))
    if not ranges:
        raise NoPrimaryError("no node of the cluster has any slots: it is not set up yet", kind="cluster")
    return View((told.get("cluster_state") == "ok", int(told.get("cluster_current_epoch", 0))), ranges)


def _text(answer: Any) -> str:
    return answer.decode(errors="replace") if isinstance(answer, bytes) else str(answer)

"""A gateway of several accounts, each of which has a world of its own upstream, and a key that no other one has."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import grpc
from allocation.v1.service_group_service_pb2_grpc import ServiceGroupServiceStub
from allocation.v1.shipment_allocation_service_pb2_grpc import ShipmentAllocationServiceStub

from support.gateway import running_gateway
from support.upstream import Reply, running_upstream
from support.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from support.gateway import Gateway
    from support.upstream import Received, Upstream

DEFAULT: Final = "default"


def key_of(account: str) -> str:
    """Returns the key of an account, which nothing but its requests may hold."""
    return f"key-of-{account}"


def for_account(account: str) -> tuple[tuple[str, str], ...]:
    """Returns the metadata of a call for an account."""
    return () if account == DEFAULT else (("allocation-account", account),)


@dataclass
class Worlds:
    """What is upstream: a world for each account, in the folder of its name, that lets in nobody without its key.

    Attributes:
        of: The worlds by the names of their accounts.
        keys: What opens each.
        wrong: The requests that came with the key of another account, or to nowhere.
        requests: How many requests came to each.
    """

    of: dict[str, World] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    requests: dict[str, int] = field(default_factory=dict)

    def add(self, account: str) -> None:
        """Makes a world."""
        self.of[account] = World()
        self.keys[account] = key_of(account)
        self.requests[account] = 0

    def answer(self, received: Received) -> Reply:
        """Answers a request."""
        account = received.line.split(" ")[1].split("/")[1]
        if self.keys.get(account) != received.headers.get("x-api-key"):
            self.wrong.append(received.line)
            return Reply(401, {"code": "unauthorised", "details": [{"code": "invalid_api_key", "message": ""}]})
        self.requests[account] += 1
        return self.of[account].answer(received)


@dataclass
class Scene:
    """What a test of accounts needs.

    Attributes:
        gateway: The gateway.
        worlds: What is upstream.
        upstreams: The servers that these are on.
        file: The file of accounts.
        channel: Leads to the gateway.
    """

    gateway: Gateway
    worlds: Worlds
    upstreams: Sequence[Upstream]
    file: Path
    channel: grpc.Channel

    @property
    def stub(self) -> ShipmentAllocationServiceStub:
        """Calls the gateway."""
        return ShipmentAllocationServiceStub(self.channel)

    @property
    def groups(self) -> ServiceGroupServiceStub:
        """Asks it for service groups."""
        return ServiceGroupServiceStub(self.channel)

    def world(self, account: str) -> World:
        """Returns the world of an account."""
        return self.worlds.of[account]


def written(urls: Mapping[str, str], keys: Mapping[str, str], more: str = "") -> str:
    """Returns a file of accounts of the Ship API.

    Args:
        urls: Where each is.
        keys: The key of each.
        more: Further settings of each, as lines.
    """
    return "\n".join(
        f'[accounts.{name}.ship]\nbase_url = "{url}"\napi_key = "{keys[name]}"\n{more}' for name, url in urls.items()
    )


def address(upstreams: Sequence[Upstream], number: int, account: str) -> str:
    """Returns where an account is: by turns on one of the servers."""
    return f"http://127.0.0.1:{upstreams[number % len(upstreams)].port}/{account}"


@contextmanager
def running_accounts(
    folder: Path, names: Sequence[str], *arguments: str, more: str = "", **settings: str
) -> Iterator[Scene]:
    """Runs a gateway with some accounts, and the default one, in front of two servers.

    Args:
        folder: Where the file of accounts is put.
        names: The accounts.
        arguments: Further arguments of the gateway.
        more: Further settings of each account, as lines of TOML.
        settings: Settings of the gateway.
    """
    worlds = Worlds()
    with ExitStack() as stack:
        upstreams = [stack.enter_context(running_upstream()) for _ in range(2)]
        for upstream in upstreams:
            upstream.default = worlds.answer
        for name in (DEFAULT, *names):
            worlds.add(name)
        file = folder / "accounts.toml"
        file.write_text(
            written({name: address(upstreams, number, name) for number, name in enumerate(names)}, worlds.keys, more)
        )
        given = {
            "ALLOW_PLAINTEXT": "true",
            "SHIP_BASE_URL": address(upstreams, 0, DEFAULT),
            "SHIP_API_KEY": key_of(DEFAULT),
            "ACCOUNTS_FILE": str(file),
            **settings,
        }
        gateway = stack.enter_context(running_gateway(given, *arguments))
        channel = stack.enter_context(grpc.insecure_channel(gateway.address))
        yield Scene(gateway, worlds, upstreams, file, channel)

"""How the sandbox's tests call it: over real HTTP, as any client would."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

from allocation_gateway.sandbox.ship.seed import own

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import httpx
    from allocation_gateway.sandbox.server import Sandbox

HEADERS = {"x-api-key": "sandbox-key", "x-api-version": "1.1"}

# A Wednesday morning, so that weekdays and days' ends are where the tests expect them.
NOW = datetime(2026, 3, 4, 10, 0, tzinfo=UTC)

ON_DEMAND, OTHER_ON_DEMAND, FRAGILE, FLAMMABLE = own(1), own(2), own(3), own(4)
RADIOACTIVE, HEAVY, TOO_LATE, ABROAD, CANCELLED = own(5), own(6), own(7), own(8), own(9)
UNKNOWN = own(999)

Json = Any
T = TypeVar("T")


@dataclass
class Caller:
    """A client of a running sandbox: Ship's paths, and the control paths."""

    sandbox: Sandbox
    http: httpx.AsyncClient

    async def ship(self, method: str, path: str, body: Json = None, **options: Any) -> httpx.Response:
        """Call Ship; `path` begins after `/pro`."""
        content = {} if body is None else {"json": body}
        headers = {**HEADERS, **options.pop("headers", {})}
        return await self.http.request(method, self.sandbox.ship_base_url + path, headers=headers, **content, **options)

    async def put(self, path: str, body: Json = None) -> httpx.Response:
        """PUT to Ship."""
        return await self.ship("PUT", path, body)

    async def shipment(self, reference: str) -> Json:
        """A shipment as Ship shows it."""
        return (await self.ship("GET", f"/shipments/{reference}")).json()

    async def state(self, reference: str) -> str:
        """A shipment's state."""
        return str((await self.shipment(reference))["state"])

    async def control(self, method: str, path: str, body: Json = None) -> Json:
        """Call a control path and insist that it works."""
        response = await self.control_response(method, path, body)
        assert response.status_code == 200, response.text
        return response.json()

    async def control_response(self, method: str, path: str, body: Json = None) -> httpx.Response:
        """Call a control path."""
        content = {} if body is None else {"json": body}
        return await self.http.request(method, f"{self.sandbox.control_url}/{path}", **content)

    async def switch(self, **values: object) -> None:
        """Set switches of Ship."""
        await self.control("PUT", "switches", {"ship": values})

    async def fault(self, kind: str, *, count: int | None = 1, match: Json = None, **action: object) -> None:
        """Ask for a fault."""
        await self.control("POST", "faults", {"action": {"type": kind, **action}, "match": match or {}, "count": count})

    async def journal(self, reference: str) -> Json:
        """What happened to a shipment."""
        return await self.control("GET", f"journal?reference={reference}")

    async def settled(self, reference: str) -> str:
        """The state of a shipment once the background worker is done with it."""

        async def finished() -> str | None:
            state = await self.state(reference)
            return None if state == "allocating" else state

        return await until(finished)


async def until(probe: Callable[[], Awaitable[T | None]]) -> T:
    """Ask again and again, for five seconds at most, until there is an answer."""
    for _ in range(500):
        answer = await probe()
        if answer is not None:
            return answer
        await asyncio.sleep(0.01)
    raise TimeoutError


def codes(response: httpx.Response) -> list[str]:
    """The child codes of an error answer."""
    return [detail["code"] for detail in response.json()["details"]]


def properties(response: httpx.Response) -> list[str | None]:
    """The property paths of an error answer."""
    return [detail.get("property") for detail in response.json()["details"]]


def exclusions(document: Json) -> dict[str, str]:
    """Exclusion codes by service reference, which stands where the carrier's is expected."""
    return {item["carrier"]["reference"]: item["exclusion"]["code"] for item in document["excluded_services"]}

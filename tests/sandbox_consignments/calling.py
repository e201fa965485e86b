"""How the tests of the sandbox's Consignments API call it: over real HTTP, as any client would."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sandbox.calling import Caller as ShipCaller
from sandbox.calling import until

if TYPE_CHECKING:
    import httpx

HEADERS = {"ocp-apim-subscription-key": "sandbox-key", "electio-api-version": "1.1"}

UNKNOWN = "EC-XXX-XXX-XXX"
PLAIN = ("EC-100-000-001", "EC-100-000-002", "EC-100-000-003")

Json = Any


@dataclass
class Caller(ShipCaller):
    """A client of a running sandbox: the Consignments API's paths, and the control paths."""

    async def call(self, method: str, path: str, body: Json = None, **options: Any) -> httpx.Response:
        """Call the API; a body is sent as JSON."""
        content = {} if body is None else {"json": body}
        headers = {**HEADERS, **options.pop("headers", {})}
        url = self.sandbox.consignments_base_url + path
        return await self.http.request(method, url, headers=headers, **content, **options)

    async def put(self, path: str, body: Json = None) -> httpx.Response:
        """PUT to the API."""
        return await self.call("PUT", path, body)

    async def read(self, path: str) -> Json:
        """GET from the API and insist that it works."""
        response = await self.call("GET", path)
        assert response.is_success, response.text
        return response.json()

    async def consignment(self, reference: str) -> Json:
        """A consignment as the API shows it."""
        return await self.read(f"/consignments/{reference}")

    async def state(self, reference: str) -> str:
        """A consignment's state."""
        return str((await self.consignment(reference))["ConsignmentState"])

    async def switch(self, **values: object) -> None:
        """Set switches of the API."""
        await self.control("PUT", "switches", {"consignments": values})

    async def world(self, **tables: object) -> None:
        """Change the API's catalogue."""
        await self.control("PUT", "world", {"consignments": tables})

    async def bookings(self, reference: str) -> int:
        """How often a consignment was really booked."""
        return int((await self.journal(reference))["allocations"])

    async def settled(self, reference: str) -> str:
        """The state of a consignment once the background worker is done with it."""

        async def finished() -> str | None:
            state = await self.state(reference)
            return None if state == "Allocating" else state

        return await until(finished)


def cheapest(reference: str) -> str:
    """The path that allocates one consignment by default rules."""
    return f"/allocation/{reference}/allocatewithcheapestquote"


def with_quote(reference: str, quote: str) -> str:
    """The path that allocates one consignment with a quote."""
    return f"/allocation/{reference}/allocatewithquote/{quote}"


def with_group(reference: str, code: str) -> str:
    """The path that allocates one consignment with a service group."""
    return f"/allocation/{reference}/allocatewithservicegroup/{code}"


def many(*references: str, **members: object) -> Json:
    """The body of a bulk allocation."""
    return {"ConsignmentReferences": list(references), **members}


def request(**members: Any) -> Json:
    """A complete CreateConsignmentRequest; a member given as None is left out."""
    body = {
        "Packages": [package()],
        "Addresses": [
            {"AddressType": "Origin", "ShippingLocationReference": "EDC5_Electio"},
            address("Destination"),
        ],
        **members,
    }
    return {name: value for name, value in body.items() if value is not None}


def package(weight: float = 2, sides: tuple[float, float, float] = (10, 20, 30), value: float = 12.5) -> Json:
    """A complete package."""
    width, length, height = sides
    return {
        "Description": "Test contents",
        "Weight": {"Value": weight, "Unit": "Kg"},
        "Dimensions": {"Unit": "Cm", "Width": width, "Length": length, "Height": height},
        "Value": {"Amount": value, "Currency": {"IsoCode": "GBP"}},
    }


def address(kind: str, country: str = "GB", postcode: str = "M1 1AA") -> Json:
    """A complete address."""
    return {
        "AddressType": kind,
        "AddressLine1": "2 Test Road",
        "Postcode": postcode,
        "Country": {"IsoCode": {"TwoLetterCode": country}},
    }


async def create(caller: Caller, **members: Any) -> str:
    """Create a consignment; the answer is its reference."""
    response = await caller.call("POST", "/consignments", request(**members))
    assert response.status_code == 201, response.text
    return str(response.json()[0]["Href"].rpartition("/")[2])


def named(items: list[Json]) -> list[str]:
    """The references that items name in their detail links."""
    links = [link for item in items for link in item["ApiLinks"] if link["Rel"] == "detail"]
    return [link["Href"].rpartition("/")[2] for link in links]

"""What other systems do past the gateway: they allocate, de-allocate and cancel by the REST APIs themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from chaos.history import OUTSIDE

if TYPE_CHECKING:
    from collections.abc import Mapping

    import aiohttp
    from chaos.plan import Api, Deed

_REQUESTS: Final[Mapping[tuple[Api, Deed], tuple[str, str]]] = {
    ("ship", "allocate"): ("PUT", "/pro/shipments/{}/allocate"),
    ("ship", "deallocate"): ("DELETE", "/pro/shipments/{}/allocation"),
    ("ship", "cancel"): ("PUT", "/pro/shipments/{}/cancel"),
    ("consignments", "allocate"): ("PUT", "/allocation/{}/allocatewithcheapestquote"),
    ("consignments", "deallocate"): ("PUT", "/consignments/{}/deallocate"),
    ("consignments", "cancel"): ("PUT", "/consignments/{}/cancel"),
}


async def write(http: aiohttp.ClientSession, api: Api, what: Deed, reference: str, id_: str) -> bool:
    """Writes to one shipment or consignment. Returns whether upstream has carried it out.

    Args:
        http: A client of upstream.
        api: The API.
        what: What is done.
        reference: What it is done to.
        id_: The request id of whose shipment it is: the trace of this request is named after it.
    """
    method, path = _REQUESTS[api, what]
    trace = OUTSIDE + id_[len(OUTSIDE) :]
    headers = {"traceparent": f"00-{trace}-{1:016x}-00"}
    async with http.request(method, path.format(reference), headers=headers) as answer:
        return answer.ok

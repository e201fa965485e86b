"""Ship's REST surface: its paths, the headers every request needs, and the shape of every answer."""

from __future__ import annotations

import logging
from hmac import compare_digest
from typing import TYPE_CHECKING, Any

import msgspec

from allocation_gateway.sandbox.messages import Call, Reply, encode
from allocation_gateway.sandbox.options import SHIP_PREFIX
from allocation_gateway.sandbox.routing import Found, Router
from allocation_gateway.sandbox.ship import bulk, documents, errors, reading
from allocation_gateway.sandbox.ship.bulk import BulkEndpoints
from allocation_gateway.sandbox.ship.dialect import spoken
from allocation_gateway.sandbox.ship.engine import Engine, Job
from allocation_gateway.sandbox.ship.errors import Detail, ShipError
from allocation_gateway.sandbox.ship.presenter import Presenter, new_correlation_id
from allocation_gateway.sandbox.ship.quoting import Quoter
from allocation_gateway.sandbox.ship.seed import LINKS_BASE_URL, seed
from allocation_gateway.sandbox.ship.selection import DefaultRules, WithGroup, WithQuote, WithService, WithVirtual
from allocation_gateway.sandbox.ship.single import Answer, SingleEndpoints
from allocation_gateway.sandbox.ship.switches import ShipSwitches
from allocation_gateway.sandbox.ship.world import Changes, World
from allocation_gateway.sandbox.switches import SwitchBoard
from allocation_gateway.sandbox.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from allocation_gateway.sandbox.journal import Journal

    Endpoint = Callable[[Call, str], Answer]

VERSION = "1.1"

# The strict documents say application/json; the service's own specification accepts the others too.
JSON_TYPES = frozenset({"application/json", "application/json-patch+json", "text/json"})

logger = logging.getLogger(__name__)


class ShipApi:
    """Ship as the HTTP handler and the control paths see it."""

    name = "ship"
    prefix = SHIP_PREFIX

    def __init__(
        self,
        *,
        api_key: str,
        extra_shipments: int,
        bulk_delay: float,
        journal: Journal,
        clock: Callable[[], datetime],
    ) -> None:
        self._api_key = api_key.encode()
        self.switches: SwitchBoard[ShipSwitches] = SwitchBoard(ShipSwitches())
        self.world = World(seed(extra_shipments))
        self._worker: Worker[Job] = Worker("ship-worker", bulk_delay)
        self.engine = Engine(self.world, journal, clock, self.switches, self._worker.enqueue)
        self._presenter = Presenter(self.world, self.switches, LINKS_BASE_URL)
        quoter = Quoter(self.world, clock, self.switches)
        self._single = SingleEndpoints(self.world, self.engine, quoter, self._presenter, self.switches, clock)
        self._bulk = BulkEndpoints(self.world, self.engine, self._presenter, self.switches)
        self._router = self._routes()

    def start(self) -> None:
        """Start the background worker."""
        self._worker.start(self.engine.process)

    async def stop(self) -> None:
        """Stop the background worker."""
        await self._worker.stop()

    def own(self, segments: Sequence[str]) -> Sequence[str] | None:
        """The segments after the prefix; None without it."""
        return segments[1:] if segments[:1] == [self.prefix] else None

    def find(self, method: str, segments: Sequence[str]) -> Found[Endpoint] | None:
        """Where a request leads, by its decoded path segments after the prefix."""
        return self._router.find(method, segments)

    def answer(self, call: Call, found: Found[Endpoint] | None) -> Reply:
        """Answer one call. Whatever happens, the answer is one that upstream could give."""
        correlation_id = new_correlation_id()
        try:
            self._check_headers(call.headers)
            status, document = self._endpoint(call, found)(call, correlation_id)
        except ShipError as problem:
            status, document = problem.status, self._presenter.problem(problem, correlation_id)
        except Exception:
            logger.exception("the sandbox failed on %s", call.arrival.request)
            code, message = "internal_server_error", "An unexpected error occurred"
            status, document = 500, documents.api_error(correlation_id, code, message, [Detail(code, message)])
        return self._reply(status, document)

    def reset(self) -> None:
        """Put the world back to its seed; work that is still queued is forgotten."""
        self._worker.clear()
        self.world.reset()

    def restore(self, reference: str) -> bool:
        """Put one shipment back to how it began; False if there is none."""
        return self.world.restore(reference)

    def catalogue(self) -> Mapping[str, Any]:
        """Carriers, services and groups."""
        return self.world.catalogue()

    def change_catalogue(self, changes: object) -> None:
        """Change carriers, services and groups.

        Raises:
            ValueError: the changes are not of the documented shape, or lead nowhere.
        """
        self.world.change(msgspec.convert(changes, Changes))

    def _routes(self) -> Router[Endpoint]:
        router: Router[Endpoint] = Router()
        single, many = self._single, self._bulk
        quoted = single.allocate(lambda path: WithQuote(path["quote_ref"]))
        for template, endpoint in (
            ("/shipments/{reference}/allocate", single.allocate(lambda _: DefaultRules())),
            (
                "/shipments/{reference}/allocate/service/{service_ref}",
                single.allocate(lambda path: WithService(path["service_ref"])),
            ),
            (
                "/shipments/{reference}/allocate/service_group/{group_ref}",
                single.allocate(lambda path: WithGroup(path["group_ref"])),
            ),
            (
                "/shipments/{reference}/allocate/virtual_service/{virtual_service_reference}",
                single.allocate(lambda path: WithVirtual(path["virtual_service_reference"])),
            ),
            ("/shipments/{reference}/allocate/quote/{quote_ref}", quoted),
            ("/shipments/allocate/{reference}/quote/{quote_ref}", quoted),
            ("/shipments/{reference}/cancel", single.cancel),
            ("/shipments/state", single.change_state),
        ):
            router.add("PUT", template, endpoint)
        for spelling in ("allocate", "allocation"):
            base = f"/shipments/{spelling}"
            router.add("PUT", base, many.endpoint(spelling, bulk.by_default_rules))
            router.add("PUT", f"{base}/service", many.endpoint(spelling, bulk.by_service))
            router.add("PUT", f"{base}/service_group", many.endpoint(spelling, bulk.by_group))
            router.add("PUT", f"{base}/filters", many.endpoint(spelling, reading.filters))
        router.add("POST", "/shipments", single.create)
        router.add("GET", "/shipments/{reference}", single.get)
        router.add("DELETE", "/shipments/{reference}/allocation", single.deallocate)
        router.add("POST", "/shipments/quote", single.quote_new)
        router.add("POST", "/shipments/quote/service_group/{group_ref}", single.quote_new)
        router.add("POST", "/shipments/{reference}/quote", single.quote)
        router.add("GET", "/shipments/{reference}/quote", single.quote)
        return router

    def _check_headers(self, headers: Mapping[str, str]) -> None:
        key = headers.get("x-api-key")
        if key is None:
            raise errors.unauthorised("missing_api_key_header", "The x-api-key header was not provided.")
        if not compare_digest(key.encode(errors="surrogateescape"), self._api_key):
            raise errors.unauthorised("invalid_api_key", "The API key is not valid.")
        version = headers.get("x-api-version")
        switches = self.switches.current
        if version is None:
            message = "The x-api-version header was not provided."
            raise errors.version_header(switches, "version_header_missing", message)
        if version != VERSION:
            message = f"The x-api-version must be {VERSION}."
            raise errors.version_header(switches, "version_header_error", message)
        _check_accept(headers.get("Accept"), switches)

    def _endpoint(self, call: Call, found: Found[Endpoint] | None) -> Endpoint:
        if found is None:
            raise errors.not_found("The requested path does not exist.")
        if found.endpoint is None:
            raise errors.method_not_supported(call.method)
        if call.body:
            _check_content_type(call.headers.get("Content-Type"), self.switches.current)
        return found.endpoint

    def _reply(self, status: int, document: object) -> Reply:
        switches = self.switches.current
        return Reply(
            status,
            None if document is None else encode(spoken(document, switches), mark=switches.byte_order_mark),
            {"x-api-version": VERSION},
            gzip_label=switches.gzip_label,
        )


def _check_accept(accept: str | None, switches: ShipSwitches) -> None:
    """Refuse a caller who would not take JSON."""
    if accept is not None and not any(kind in accept for kind in ("json", "*/*", "application/*")):
        raise errors.invalid(switches, [Detail("invalid_format", "Accept must allow application/json", "Accept")])


def _check_content_type(content_type: str | None, switches: ShipSwitches) -> None:
    """Refuse a body that says it is something other than JSON; a body that says nothing is taken for JSON."""
    if content_type is None:
        return
    kind = content_type.partition(";")[0].strip().lower()
    if kind not in JSON_TYPES and not (kind.startswith("application/") and kind.endswith("+json")):
        message = "Content-Type must be application/json"
        raise errors.invalid(switches, [Detail("invalid_format", message, "Content-Type")])

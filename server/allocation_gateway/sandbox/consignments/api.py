"""The REST surface: paths, the headers every request needs, and the shape of every answer."""

from __future__ import annotations

import logging
from hmac import compare_digest
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import msgspec

from allocation_gateway.sandbox.consignments import bulk, errors, requests
from allocation_gateway.sandbox.consignments.bulk import BulkEndpoints
from allocation_gateway.sandbox.consignments.dialect import Version, spoken
from allocation_gateway.sandbox.consignments.engine import Engine, Job
from allocation_gateway.sandbox.consignments.errors import ConsignmentsError
from allocation_gateway.sandbox.consignments.groups import GroupEndpoints
from allocation_gateway.sandbox.consignments.labelling import LabelEndpoints
from allocation_gateway.sandbox.consignments.limits import RateLimit
from allocation_gateway.sandbox.consignments.presenter import Presenter
from allocation_gateway.sandbox.consignments.quoting import QuoteEndpoints
from allocation_gateway.sandbox.consignments.seed import seed
from allocation_gateway.sandbox.consignments.selection import DefaultRules, WithGroup, WithQuote, WithService
from allocation_gateway.sandbox.consignments.single import SingleEndpoints
from allocation_gateway.sandbox.consignments.switches import ConsignmentsSwitches
from allocation_gateway.sandbox.consignments.world import Changes, World
from allocation_gateway.sandbox.messages import Call, Reply, encode
from allocation_gateway.sandbox.routing import Found, Router
from allocation_gateway.sandbox.switches import SwitchBoard
from allocation_gateway.sandbox.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from allocation_gateway.sandbox.consignments.single import Answer
    from allocation_gateway.sandbox.journal import Journal

    Endpoint = Callable[[Call, Version], Answer]

KEY_HEADER, KEY_PARAMETER = "ocp-apim-subscription-key", "subscription-key"
VERSION_HEADER = "electio-api-version"
VERSIONS: Mapping[str, Version] = {"1.1": "1.1", "1": "1", "1.0": "1"}

# The first segments of its paths, by which they are told from those of other APIs.
AREAS = frozenset({"allocation", "consignments", "labels", "quotes", "servicegroups"})

# The one operation that 429 is listed for.
LIMITED = "PUT /allocation/allocate"

logger = logging.getLogger(__name__)


class ConsignmentsApi:
    """The Consignments API as the HTTP handler and the control paths see it."""

    name = "consignments"

    def __init__(
        self,
        *,
        api_key: str,
        extra_consignments: int,
        delay: float,
        journal: Journal,
        clock: Callable[[], datetime],
    ) -> None:
        self._api_key = api_key.encode()
        self.switches: SwitchBoard[ConsignmentsSwitches] = SwitchBoard(ConsignmentsSwitches())
        self.world = World(seed(extra_consignments))
        self._worker: Worker[Job] = Worker("consignments-worker", delay)
        self._limit = RateLimit(clock)
        self.engine = Engine(self.world, journal, clock, self.switches, self._worker.enqueue)
        self._presenter = Presenter(self.world, self.switches)
        self._single = SingleEndpoints(self.world, self.engine, self._presenter, self.switches, clock)
        self._bulk = BulkEndpoints(self.engine, self._presenter, self.switches)
        self._labels = LabelEndpoints(self.engine, self._presenter, self.switches)
        self._quotes = QuoteEndpoints(self.world, self.engine, self._presenter, self.switches)
        self._groups = GroupEndpoints(self.world, self.switches)
        self._router: Router[Endpoint] = Router(any_case=True)
        for method, template, endpoint in (
            *self._allocation(),
            *self._consignments(),
            *self._labelling(),
            *self._quoting(),
            *self._grouping(),
        ):
            self._router.add(method, template, endpoint)

    def start(self) -> None:
        """Start the background worker."""
        self._worker.start(self.engine.process)

    async def stop(self) -> None:
        """Stop the background worker."""
        await self._worker.stop()

    def own(self, segments: Sequence[str]) -> Sequence[str] | None:
        """All segments, if the first is one of this API's; a trailing slash makes no difference."""
        if not segments or segments[0].lower() not in AREAS:
            return None
        return segments[:-1] if len(segments) > 1 and not segments[-1] else segments

    def find(self, method: str, segments: Sequence[str]) -> Found[Endpoint] | None:
        """Where a request leads, by its decoded path segments."""
        return self._router.find(method, segments)

    def answer(self, call: Call, found: Found[Endpoint] | None) -> Reply:
        """Answer one call. Whatever happens, the answer is one that upstream could give."""
        version: Version = "1.1"
        try:
            self._check_key(call)
            if found is None or found.endpoint is None:
                raise errors.no_operation()
            self._check_limit(f"{call.method} {found.template}")
            version = self._version(call.headers)
            _check_media_types(call)
            status, document = found.endpoint(call, version)
        except ConsignmentsError as problem:
            return self._reply(problem.status, self._presenter.problem(problem), version, problem.headers)
        except Exception:
            logger.exception("the sandbox failed on %s", call.arrival.request)
            failure = ConsignmentsError(500, "OperationFailed", "An unexpected error occurred.")
            return self._reply(failure.status, self._presenter.problem(failure), version)
        return self._reply(status, document, version)

    def reset(self) -> None:
        """Put the world back to its seed; work that is still queued is forgotten."""
        self._worker.clear()
        self._limit.reset()
        self.world.reset()

    def restore(self, reference: str) -> bool:
        """Put one consignment back to how it began; False if there is none."""
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

    def _allocation(self) -> Sequence[tuple[str, str, Endpoint]]:
        one, many, reference = self._single.allocate, self._bulk.allocate, "/allocation/{consignmentReference}"
        by_service = many(requests.AllocateWithCarrierService, bulk.by_service)
        by_group = many(requests.AllocateWithServiceGroup, bulk.by_group)
        by_filters = many(requests.AllocateWithServiceFilters, bulk.by_filters)
        return (
            ("PUT", "/allocation/allocate", many(requests.AllocateConsignments, bulk.by_default_rules)),
            ("PUT", "/allocation/allocatewithcarrierservice", by_service),
            ("PUT", "/allocation/allocatewithservicegroup", by_group),
            ("PUT", "/allocation/allocateConsignmentsWithServiceFilters", by_filters),
            ("PUT", f"{reference}/allocatewithcheapestquote", one(lambda _: DefaultRules())),
            (
                "PUT",
                f"{reference}/allocatewithservicegroup/{{mpdCarrierServiceGroupReference}}",
                one(lambda path: WithGroup(path["mpdCarrierServiceGroupReference"])),
            ),
            (
                "PUT",
                f"{reference}/allocatewithquote/{{quoteReference}}",
                one(lambda path: WithQuote(path["quoteReference"])),
            ),
        )

    def _consignments(self) -> Sequence[tuple[str, str, Endpoint]]:
        single, change, engine = self._single, self._bulk.change, self.engine
        reference = "/consignments/{consignmentReference}"
        deallocated = "Consignment deallocation completed successfully"
        cancelled = "Consignment cancellation completed successfully"
        ready = "Consignment marked as Ready To Ship completed successfully"
        not_ready = "Consignment marked as Not Ready To Ship completed successfully"
        return (
            ("POST", "/consignments", single.create),
            ("GET", reference, single.get),
            ("GET", "/consignments/getconsignmentwithmetadata/{consignmentReference}", single.get),
            ("GET", "/consignments/getconsignmentonly/{consignmentReference}", single.get_only),
            ("GET", f"{reference}/status", single.status),
            ("PUT", f"{reference}/deallocate", single.deallocate),
            ("PUT", f"{reference}/cancel", single.cancel),
            ("PUT", "/consignments/deallocatelist", change(engine.deallocate, deallocated, None)),
            ("PUT", "/consignments/cancellist", change(engine.cancel, cancelled, None)),
            ("PUT", "/consignments/setreadytoship", change(engine.set_ready, ready, "detail")),
            ("PUT", "/consignments/setnotreadytoship", change(engine.set_not_ready, not_ready, "detail")),
            ("PUT", "/consignments/manifest", self._bulk.manifest),
        )

    def _labelling(self) -> Sequence[tuple[str, str, Endpoint]]:
        allocate, label = self._labels.allocate, "labels/{labelFormat}"
        reference = "/allocation/{consignmentReference}"
        return (
            ("GET", "/labels/{consignmentReference}", self._labels.get),
            ("GET", "/labels/{consignmentReference}/{labelFormat}", self._labels.get),
            ("PUT", f"{reference}/{label}", allocate(lambda _: DefaultRules())),
            (
                "PUT",
                f"{reference}/carrierservice/{{serviceRef}}/{label}",
                allocate(lambda path: WithService(path["serviceRef"])),
            ),
            (
                "PUT",
                f"{reference}/servicegroup/{{serviceGroupReference}}/{label}",
                allocate(lambda path: WithGroup(path["serviceGroupReference"])),
            ),
            (
                "PUT",
                f"{reference}/quote/{{quoteReference}}/{label}",
                allocate(lambda path: WithQuote(path["quoteReference"])),
            ),
        )

    def _quoting(self) -> Sequence[tuple[str, str, Endpoint]]:
        quotes = self._quotes
        return (
            ("POST", "/quotes", quotes.new),
            ("POST", "/quotes/serviceGroups", quotes.groups),
            ("GET", "/quotes/consignment/{consignmentReference}", quotes.consignment),
            ("GET", "/quotes/{quoteRequestReference}", quotes.earlier),
        )

    def _grouping(self) -> Sequence[tuple[str, str, Endpoint]]:
        groups, reference = self._groups, "{serviceGroupReference}"
        return (
            ("GET", "/servicegroups", groups.list(groups.whole)),
            ("GET", "/servicegroups/summaries", groups.list(groups.summary)),
            ("GET", f"/servicegroups/{reference}", groups.get(groups.whole)),
            ("GET", f"/servicegroups/summary/{reference}", groups.get(groups.summary)),
            ("GET", f"/servicegroups/{reference}/available", groups.available),
        )

    def _check_key(self, call: Call) -> None:
        key = call.headers.get(KEY_HEADER)
        if key is None and KEY_PARAMETER in call.query:
            key = parse_qs(call.query, keep_blank_values=True).get(KEY_PARAMETER, [None])[0]
        switches = self.switches.current
        if key is None:
            raise errors.missing_key(switches)
        if not compare_digest(key.encode(errors="surrogateescape"), self._api_key):
            raise errors.invalid_key(_readable(key), switches)

    def _check_limit(self, operation: str) -> None:
        switches = self.switches.current
        if switches.rate_limit_scope == "all" or operation == LIMITED:
            self._limit.check(switches)

    def _version(self, headers: Mapping[str, str]) -> Version:
        given, missing = headers.get(VERSION_HEADER), self.switches.current.missing_version
        if given is None:
            if missing == "refused":
                raise errors.invalid(f"The {VERSION_HEADER} header is required.", VERSION_HEADER)
            return missing
        version = VERSIONS.get(given.strip())
        if version is None:
            raise errors.invalid(f"The API version '{_readable(given)}' is not supported.", VERSION_HEADER)
        return version

    def _reply(
        self, status: int, document: object, version: Version, headers: Mapping[str, str] | None = None
    ) -> Reply:
        switches = self.switches.current
        mark = switches.byte_order_mark
        body = None if document is None else encode(spoken(document, switches, version), mark=mark)
        label = None if switches.gzip == "never" else switches.gzip
        return Reply(status, body, headers or {}, gzip_label=label)


def _readable(header: str) -> str:
    """A header's value as text that JSON can hold: bytes that are not UTF-8 are replaced."""
    return header.encode(errors="replace").decode()


def _check_media_types(call: Call) -> None:
    """Refuse what is neither sent nor wanted as JSON. Upstream speaks XML too, which the sandbox does not."""
    sent = call.headers.get("Content-Type", "application/json").partition(";")[0].strip().lower()
    if call.body and sent != "application/json":
        raise errors.invalid("The content type must be application/json.", "content-type", status=415)
    accepted = call.headers.get("Accept", "*/*").lower()
    if not any(kind in accepted for kind in ("application/json", "*/*", "application/*")):
        raise errors.invalid("Only application/json can be answered.", "accept", status=406)

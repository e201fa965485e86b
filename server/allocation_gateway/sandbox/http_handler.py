"""The HTTP handler: it finds who answers a request, counts it, and lets faults strike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import parse_qsl

from aiohttp import web

from allocation_gateway.sandbox.messages import Call, Reply, json_reply
from allocation_gateway.sandbox.routing import split_path
from allocation_gateway.sandbox.traffic import UNMATCHED

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from allocation_gateway.sandbox.control import Control
    from allocation_gateway.sandbox.delivery import Delivery
    from allocation_gateway.sandbox.faults import FaultBook
    from allocation_gateway.sandbox.routing import Found
    from allocation_gateway.sandbox.tracing import Spans
    from allocation_gateway.sandbox.traffic import Traffic

CONTROL_PREFIX = "_sandbox"


class Api(Protocol):
    """An upstream API with its own part of all paths and its own way to answer, errors included."""

    def own(self, segments: Sequence[str]) -> Sequence[str] | None:
        """What the API's own templates see of a path, by its decoded segments; None if the path is not its own."""

    def find(self, method: str, segments: Sequence[str]) -> Found[Any] | None:
        """Where a request leads, by what `own` gave."""

    def answer(self, call: Call, found: Found[Any] | None) -> Reply:
        """Answer a call; `found` None means that no template has its path."""


class HttpHandler:
    """Answers every HTTP request. APIs are counted and can be struck by faults; the control area is neither."""

    def __init__(
        self,
        apis: Iterable[Api],
        control: Control,
        traffic: Traffic,
        faults: FaultBook,
        delivery: Delivery,
        spans: Spans,
    ) -> None:
        self._apis = tuple(apis)
        self._control = control
        self._traffic = traffic
        self._faults = faults
        self._delivery = delivery
        self._spans = spans

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        path, _, query = request.raw_path.partition("?")
        segments = split_path(path)
        try:
            body = await request.read()
        except web.HTTPRequestEntityTooLarge:
            return await self._delivery.plainly(request, _refusal(413, "The body is too large."))
        except (ConnectionError, web.RequestPayloadError):
            # The client left in the middle of its request or sent one that cannot be read to its end.
            return self._delivery.abandon(request)
        if segments[:1] == [CONTROL_PREFIX]:
            return await self._delivery.plainly(request, self._answer_control(request, segments[1:], query, body))
        for api in self._apis:
            own = api.own(segments)
            if own is not None:
                return await self._answer_api(request, api, own, query, body)
        return await self._delivery.plainly(request, _refusal(404, "Nothing is served at this path."))

    def _answer_control(self, request: web.BaseRequest, segments: Sequence[str], query: str, body: bytes) -> Reply:
        found = self._control.find(request.method, segments)
        if found is None or found.endpoint is None:
            return _refusal(404 if found is None else 405, "There is no such control path or method.")
        return self._control.answer(dict(parse_qsl(query, keep_blank_values=True)), body, found.endpoint)

    async def _answer_api(
        self, request: web.BaseRequest, api: Api, segments: Sequence[str], query: str, body: bytes
    ) -> web.StreamResponse:
        found = api.find(request.method, segments)
        template = None if found is None else found.template
        parameters = {} if found is None else found.parameters
        arrival = self._traffic.arrive(request.method, template, request.headers.get("traceparent", ""))
        call = Call(request.method, parameters, request.headers, body, arrival, query)
        with self._spans.request(request.method, template or UNMATCHED, request.headers) as ended:
            action = self._faults.strike(request.method, template, parameters.values(), body)
            if action is None:
                response = await self._delivery.plainly(request, api.answer(call, found))
            else:
                response = await self._delivery.faultily(request, lambda: api.answer(call, found), action)
            is_cut = request.transport is None or request.transport.is_closing()
            ended(None if is_cut else response.status)
            return response


def _refusal(status: int, message: str) -> Reply:
    """An answer outside every API, so in the sandbox's own shape."""
    return json_reply(status, {"error": message})

"""What a trace of a call says: whether all of it is there, who was asked, and which requests were made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from observe import scenes

if TYPE_CHECKING:
    from observe.traces import Span

GATEWAY: Final = "allocation-gateway"
UPSTREAM: Final = "sandbox"


class Attempt(NamedTuple):
    """A request of a call.

    Attributes:
        kind: Why it was sent.
        status: What upstream's span says that it has answered, or `cut`.
    """

    kind: str
    status: object


def of(spans: list[Span], service: str) -> list[Span]:
    """Returns the spans of a service."""
    return [span for span in spans if span.service == service]


def is_whole(spans: list[Span]) -> bool:
    """Tells whether a trace has all spans from its caller to upstream, which has one for each request."""
    known = {span.span_id for span in spans}
    answered = {span.parent_id for span in of(spans, UPSTREAM)}
    sent = {span.span_id for span in of(spans, GATEWAY) if span.kind == "CLIENT"}
    return bool(of(spans, GATEWAY)) and sent == answered and all(span.parent_id in {"", *known} for span in spans)


def call(spans: list[Span]) -> Span:
    """Returns the span of the call, after having seen that it is below the one that its caller has of it."""
    (root,) = [span for span in spans if not span.parent_id]
    (asked,) = [span for span in spans if span.parent_id == root.span_id]
    assert (root.service, asked.service, asked.kind) == (scenes.SERVICE, scenes.SERVICE, "CLIENT")
    (found,) = [span for span in spans if span.parent_id == asked.span_id]
    assert (found.service, found.kind) == (GATEWAY, "SERVER")
    assert found.name.startswith("allocation.v1.ShipmentAllocationService/")
    return found


def requests(spans: list[Span]) -> list[Span]:
    """Returns the spans of the requests that the call itself has made."""
    return [span for span in spans if span.parent_id == call(spans).span_id and span.kind == "CLIENT"]


def attempts(spans: list[Span]) -> list[Attempt]:
    """Returns what became of each of these requests."""
    by_parent = {span.parent_id: span for span in of(spans, UPSTREAM)}
    return [
        Attempt(
            request.attributes["allocation_gateway.attempt.kind"],
            by_parent[request.span_id].attributes.get("http.response.status_code", "cut"),
        )
        for request in requests(spans)
    ]

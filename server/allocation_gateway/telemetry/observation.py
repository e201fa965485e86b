"""One rpc, and one upstream request within it, as metrics: what is observed of each that no trace is recorded of.

tracing.py has the same with spans. Which of them a call gets is decided once, when it arrives.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from allocation_gateway.settings import DEFAULT_ACCOUNT
from allocation_gateway.telemetry.conventions import AttemptKind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from allocation_gateway.telemetry.conventions import Attributes, Route
    from allocation_gateway.telemetry.instruments import Instruments


class Observation:
    """Something that makes upstream requests: an rpc, or work that no caller has asked for."""

    __slots__ = ("_instruments",)

    def __init__(self, instruments: Instruments) -> None:
        self._instruments = instruments

    def request(
        self,
        method: str,
        template: str,
        base_url: str,
        path: str,
        kind: AttemptKind = AttemptKind.FIRST,
        resends: int = 0,
        account: str = DEFAULT_ACCOUNT,
    ) -> RequestObservation:
        """Starts observing an upstream request.

        Args:
            method: The HTTP method.
            template: The template of the path, such as `/shipments/{shipment_reference}`.
            base_url: The URL of the API.
            path: The path itself.
            kind: Why it is sent.
            resends: How often the same was sent before.
            account: The account that it is for.
        """
        del path, resends
        return RequestObservation(self._instruments, (method, template, base_url, kind, account))

    def event(self, name: str, attributes: Attributes | None = None) -> None:
        """Notes in the trace, if there is one, that something has happened on the way.

        Args:
            name: The name of the event within `allocation_gateway.write`.
            attributes: What else to say of it.
        """

    def mark(self, name: str) -> None:
        """Notes an event that decides whether a trace is worth keeping: the span has an attribute of its name, too."""

    @property
    def link_target(self) -> str:
        """What a later call can link its trace to, in whatever process: nothing if no trace is recorded."""
        return ""

    def log_fields(self) -> Mapping[str, str]:
        """Returns the ids that join a log line with its trace; nothing if there is none."""
        return {}

    def joins(self, other: Observation) -> None:
        """Links the trace, if there is one, to that of a call that does the work for both."""

    def follows(self, link_target: str, how: str) -> None:
        """Links the trace, if there is one, to that of an earlier call.

        Args:
            link_target: That of the earlier call.
            how: What the earlier call is to this one, as docs/telemetry.md names it.
        """

    def serves(self, other: Observation) -> None:
        """Links what the gateway does of its own accord to a call that waits for it, if there are traces of both."""

    def detach(self) -> None:
        """Says that what is observed goes on after it has ended for its caller: that has a span of its own from now on.

        It has to be told the end, by end_detached().
        """

    def end_detached(self, code: str, reason: str = "") -> None:
        """Ends what has gone on, with a gRPC status code and the reason of its failure. Without detach(), nothing."""

    # The parts of a call that lasts. Where no trace is recorded, they are observed as the call is.

    def item(self, reference: str) -> Observation:
        """Returns what observes one item. It has to be told the end."""
        del reference
        return self

    def batch(self, items: int) -> Observation:
        """Returns what observes a request for so many items. It has to be told the end."""
        del items
        return self

    def sent_with(self, batch: Observation) -> None:
        """Links the trace of an item, if there is one, to that of the batch that it is sent with."""

    def end_part(self, code: str, reason: str = "") -> None:
        """Ends an item or a batch with a gRPC status code, and with the reason of its failure if there is one."""


class CallObservation(Observation):
    """One rpc, from its arrival to its status.

    Attributes:
        started: When it arrived, by time.perf_counter().
    """

    __slots__ = ("_method", "started")

    def __init__(self, instruments: Instruments, method: str, started: float) -> None:
        self._instruments = instruments
        self._method = method
        self.started = started

    def seconds(self) -> float:
        """Returns how long the rpc has taken so far."""
        return time.perf_counter() - self.started

    def finish(self, code: str, reason: str = "", account: str = DEFAULT_ACCOUNT) -> None:
        """Ends the rpc.

        Args:
            code: Its gRPC status code.
            reason: The reason of its failure, if there is one.
            account: The account that it was for. There must be one of the name: callers may name any.
        """
        self._instruments.call_duration.record(
            (self._method, code, reason, account), time.perf_counter() - self.started
        )


class RequestObservation:
    """One upstream request, from before it is sent until its response has been read."""

    __slots__ = ("_instruments", "_route", "_started")

    def __init__(self, instruments: Instruments, route: Route) -> None:
        self._instruments = instruments
        self._route = route
        self._started = time.perf_counter()

    def headers(self) -> list[tuple[bytes, bytes]]:
        """Returns the headers that carry the trace on to upstream; none if there is no trace."""
        return []

    def log_fields(self) -> Mapping[str, str]:
        """Returns the ids that join a log line with its trace; nothing if there is none."""
        return {}

    def answered(self, status: int) -> None:
        """Ends the request with an HTTP status."""
        self._end(status)

    def failed(self, error_type: str) -> None:
        """Ends the request without a response."""
        self._end(error_type)

    def _end(self, outcome: int | str) -> None:
        self._instruments.request_duration.record((self._route, outcome), time.perf_counter() - self._started)

    def undocumented(self, method: str, result: str) -> None:
        """Counts that the response is not as documented, by the rpc that it is for and by what became of it."""
        self._instruments.answer_undocumented(method, result)

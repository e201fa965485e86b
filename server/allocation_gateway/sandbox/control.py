"""The control paths under `/_sandbox`: reading what happened, and deciding what shall happen. No key is needed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from allocation_gateway.sandbox.faults import Fault
from allocation_gateway.sandbox.messages import NotJsonError, Reply, decode, json_reply
from allocation_gateway.sandbox.routing import Found, Router

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from allocation_gateway.sandbox.clock import Clock
    from allocation_gateway.sandbox.delivery import Delivery
    from allocation_gateway.sandbox.faults import FaultBook
    from allocation_gateway.sandbox.journal import Journal
    from allocation_gateway.sandbox.switches import SwitchBoard
    from allocation_gateway.sandbox.traffic import Traffic

    Query = Mapping[str, str]
    Endpoint = Callable[[Query, bytes], object]

PAGE = 1000
KEEPABLE = frozenset({"switches", "faults"})


class Controlled(Protocol):
    """What the control paths need of an API."""

    name: str

    @property
    def switches(self) -> SwitchBoard[Any]:
        """Its switches."""

    def reset(self) -> None:
        """Put its world back to the seed."""

    def restore(self, reference: str) -> bool:
        """Put one thing back to how it began; False if there is no such thing."""

    def catalogue(self) -> Mapping[str, Any]:
        """What can be changed in its world at run time."""

    def change_catalogue(self, changes: object) -> None:
        """Change that; ValueError if it cannot be."""


class ControlError(Exception):
    """A control request that makes no sense, with the HTTP status to say so."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Control:
    """Every control path. Answers are JSON; what is wrong with a request comes back as `{"error": ...}`."""

    def __init__(
        self,
        apis: Sequence[Controlled],
        journal: Journal,
        traffic: Traffic,
        faults: FaultBook,
        delivery: Delivery,
        clock: Clock,
    ) -> None:
        self._apis = {api.name: api for api in apis}
        self._journal = journal
        self._traffic = traffic
        self._faults = faults
        self._delivery = delivery
        self._clock = clock
        self._router: Router[Endpoint] = Router()
        for method, template, endpoint in (
            ("GET", "/health", self._health),
            ("GET", "/journal", self._read_journal),
            ("GET", "/requests", self._read_requests),
            ("GET", "/switches", self._read_switches),
            ("PUT", "/switches", self._set_switches),
            ("GET", "/faults", self._read_faults),
            ("POST", "/faults", self._add_fault),
            ("DELETE", "/faults", self._clear_faults),
            ("GET", "/world", self._read_world),
            ("PUT", "/world", self._change_world),
            ("GET", "/clock", self._read_clock),
            ("POST", "/clock", self._move_clock),
            ("POST", "/reset", self._reset),
        ):
            self._router.add(method, template, endpoint)

    def find(self, method: str, segments: Sequence[str]) -> Found[Endpoint] | None:
        """Where a request leads, by its decoded path segments after the prefix."""
        return self._router.find(method, segments)

    def answer(self, query: Query, body: bytes, endpoint: Endpoint) -> Reply:
        """Answer a control request."""
        try:
            return json_reply(200, endpoint(query, body))
        except ControlError as refusal:
            return json_reply(refusal.status, {"error": str(refusal)})

    def _health(self, _: Query, __: bytes) -> object:
        return {"status": "ok", "apis": sorted(self._apis)}

    def _read_journal(self, query: Query, _: bytes) -> object:
        if "reference" in query:
            return self._journal.about(query["reference"])
        return self._journal.page(query.get("after", ""), PAGE)

    def _read_requests(self, _: Query, __: bytes) -> object:
        return self._traffic.view()

    def _read_switches(self, _: Query, __: bytes) -> object:
        return {name: api.switches.view() for name, api in self._apis.items()}

    def _set_switches(self, _: Query, body: bytes) -> object:
        """Merge switches, all or none."""
        merged = []
        for name, changes in _object(body).items():
            board = self._api(name).switches
            if not isinstance(changes, dict):
                raise ControlError(400, f"the switches of {name} must be an object")
            try:
                merged.append((board, board.merged(changes)))
            except ValueError as error:
                raise ControlError(400, f"{name}: {error}") from error
        for board, values in merged:
            board.current = values
        return self._read_switches({}, b"")

    def _read_faults(self, _: Query, __: bytes) -> object:
        return {"faults": self._faults.view()}

    def _add_fault(self, _: Query, body: bytes) -> object:
        try:
            fault = msgspec.convert(_object(body), Fault)
        except ValueError as error:
            raise ControlError(400, str(error)) from error
        return {"id": self._faults.add(fault)}

    def _clear_faults(self, _: Query, __: bytes) -> object:
        self._faults.clear()
        return self._read_faults({}, b"")

    def _read_world(self, _: Query, __: bytes) -> object:
        return {name: api.catalogue() for name, api in self._apis.items()}

    def _change_world(self, _: Query, body: bytes) -> object:
        for name, changes in _object(body).items():
            try:
                self._api(name).change_catalogue(changes)
            except ValueError as error:
                raise ControlError(400, f"{name}: {error}") from error
        return self._read_world({}, b"")

    def _read_clock(self, _: Query, __: bytes) -> object:
        return {"time": self._clock().isoformat()}

    def _move_clock(self, _: Query, body: bytes) -> object:
        seconds = _object(body).get("advance")
        if isinstance(seconds, bool) or not isinstance(seconds, int):
            raise ControlError(400, "advance must be a whole number of seconds")
        try:
            self._clock.advance(seconds)
        except OverflowError as error:
            raise ControlError(400, "advance is too far") from error
        return self._read_clock({}, b"")

    def _reset(self, query: Query, _: bytes) -> object:
        """Put everything back to the seed, or only one shipment, which then is all that changes."""
        reference = query.get("reference")
        if reference is not None:
            if not any(api.restore(reference) for api in self._apis.values()):
                raise ControlError(404, f"there is no {reference}")
            return {"reset": reference}
        kept = set(filter(None, query.get("keep", "").split(",")))
        if not kept <= KEEPABLE:
            raise ControlError(400, f"keep may name {' and '.join(sorted(KEEPABLE))}")
        self._reset_all(kept)
        return {"reset": "all", "kept": sorted(kept)}

    def _reset_all(self, kept: set[str]) -> None:
        self._delivery.forget()
        for api in self._apis.values():
            api.reset()
            if "switches" not in kept:
                api.switches.reset()
        if "faults" not in kept:
            self._faults.clear()
        self._journal.reset()
        self._traffic.reset()
        self._clock.reset()

    def _api(self, name: str) -> Controlled:
        if name not in self._apis:
            raise ControlError(400, f"there is no API {name!r}; there is {', '.join(self._apis)}")
        return self._apis[name]


def _object(body: bytes) -> dict[str, Any]:
    try:
        document = decode(body)
    except NotJsonError as error:
        raise ControlError(400, f"the body is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise ControlError(400, "the body must be a JSON object")
    return document

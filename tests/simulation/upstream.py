"""A model of upstream and of the network to it, at the place of the gateway's HTTP engine.

Both APIs are there as far as writes and read-backs need them: the answers are documents that the real codecs read.
Upstream has a clock of its own, hours off if it likes, and machines that differ a little; it writes dates in several of
the documented ways. It carries a request out when it arrives, whoever still waits for the answer.
"""

from __future__ import annotations

import asyncio
import contextvars
import time
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
from allocation_gateway.upstream.http import Answer, NoAnswerError
from chaos import plan
from chaos.history import OUTSIDE, Effect, Request
from chaos.requests import CONSIGNMENT_SERVICE, SHIP_SERVICE

from simulation.dice import spread

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Mapping, Sequence

    from allocation_gateway.upstream.http import Attempt
    from chaos.history import History

    from simulation.process import Power

# The request id for which something is sent.
TRACE: Final[contextvars.ContextVar[str]] = contextvars.ContextVar("trace", default="")

KINDS: Final = (
    "latency before",
    "latency after",
    "reset before",
    "reset after",
    "late effect",
    "half a response",
    "drip",
    "error page before",
    "error page after",
    "garbage",
    "hang after",
    "a part of it",
    "throttled",
    "sent twice",
    "cached",
)
READ_KINDS: Final = frozenset(
    {
        "latency before",
        "latency after",
        "reset before",
        "half a response",
        "drip",
        "error page before",
        "garbage",
        "cached",
    }
)
# Seconds after a booking at which a carrier gives its tracking references, if it does so on demand.
_TRACKED_AFTER: Final = (0.05, 20.0)
_STATUSES: Final = (500, 502, 503, 504, 520)
# Of the settle time, so much may pass until an effect comes that was cut off: the promise rests on no more.
_LATEST_EFFECT: Final = 0.9
# Half of what upstream's machines may differ by.
_SKEW: Final = 0.3
# The dialect of upstream that answers so.
_BY_RESULTS: Final = 3
_ZONES: Final = (UTC, timezone(timedelta(hours=5, minutes=30)), timezone(timedelta(hours=-8)))
EPOCH: Final = 1_780_000_000.0
_SHORTEST: Final = 0.01
_LONGEST: Final = 200.0
_QUICK: Final = 0.02
_SLOW: Final = 2.0


class Strike(NamedTuple):
    """A fault that strikes one request."""

    kind: str
    share: float
    status: int


class Shipment:
    """A shipment or a consignment.

    Attributes:
        allocated_at: The date that upstream shows for its allocation; empty if it is not allocated.
        service: The carrier service.
        group: The group by which it was allocated; empty if by none.
        tracking: The tracking reference.
        tracked_at: From when on that is shown.
        queued: The requests that are queued for it.
        is_cancelled: Whether it never gets an allocation again.
        cached: What a cache on the way has kept of it: the answer, and when it was given; None if it has nothing.
    """

    __slots__ = (
        "allocated_at",
        "cached",
        "group",
        "is_cancelled",
        "queued",
        "service",
        "tracked_at",
        "tracking",
    )

    def __init__(self) -> None:
        self.allocated_at = ""
        self.service = ""
        self.group = ""
        self.tracking = ""
        self.tracked_at = 0.0
        self.queued = 0
        self.is_cancelled = False
        self.cached: tuple[Answer, float] | None = None


class Model:
    """All of upstream.

    Attributes:
        guard: Whether it refuses to allocate what is allocated.
        settle: Seconds after an attempt within which its effect must have come.
        outage: Whether nothing is carried out.
        calm: Whether no fault strikes any more.
    """

    def __init__(self, history: History, dice: random.Random, *, settle: float) -> None:
        self._history = history
        self._loop = asyncio.get_running_loop()
        self.guard = history.run.guard
        self.settle = settle
        self._offset = dice.choice((0.0, 0.0, 1.0, -1.0)) * spread(dice, 1.0, 40_000.0)
        self._dialect = dice.randrange(4)
        # Whether a bulk call of Ship's is answered by a list of results, as OpenAPI has it.
        self._answers_by_results = self._dialect == _BY_RESULTS
        self._tracks = dice.random() < 0.8
        self._tracks_on_demand = dice.random() < 0.3
        # Whether what is queued can be seen before its turn comes.
        self._shows_queue = dice.random() < 0.8
        self._shipments: dict[str, Shipment] = {}
        self._sessions: dict[str, tuple[random.Random, frozenset[str], float]] = {}
        self._bookings = 0
        self._requests = 0
        self.outage = False
        self.calm = False

    def add(self, reference: str, dice: random.Random, faults: frozenset[str], rate: float) -> None:
        """Adds a shipment, whose requests are struck by a session's own dice."""
        self._shipments[reference] = Shipment()
        self._sessions[reference] = (dice, faults, rate)

    def engine(self, power: Power, replica: int) -> Engine:
        """Returns what a process reaches it by."""
        return Engine(self, power, replica)

    def number(self) -> int:
        """Counts a request."""
        self._requests += 1
        return self._requests

    def record(self, request: Request) -> None:
        """Keeps a request in the history."""
        self._history.requests.append(request)

    def strike(self, reference: str, *, writes: bool, allocates_one: bool) -> Strike | None:
        """Decides what happens to a request.

        Args:
            reference: What it is about.
            writes: Whether it changes something.
            allocates_one: Whether it allocates one shipment or consignment. Of anything else the promise rests on
                nobody's sending it twice.
        """
        if self.calm:
            return None
        if self.outage:
            return Strike("outage", 0.0, 503)
        dice, faults, rate = self._sessions[reference]
        if dice.random() >= rate:
            return None
        kind = KINDS[int(dice.random() * len(KINDS))]
        share, status = dice.random(), _STATUSES[int(dice.random() * len(_STATUSES))]
        if kind in faults or not (kind != "cached" if writes else kind in READ_KINDS):
            return None
        # Without upstream's own rule, whoever sends a request twice has it carried out twice.
        if kind == "sent twice" and not (self.guard and allocates_one):
            return None
        return Strike(kind, share, status)

    def pace(self, reference: str) -> float:
        """Returns the seconds that a request without a fault takes to arrive."""
        dice = self._sessions[reference][0]
        return dice.random() * (_QUICK if dice.random() < 0.9 else _SLOW)

    def wall(self, skewed_by: float = 0.0) -> float:
        """Returns what one of its clocks shows, in seconds since 1970."""
        return EPOCH + self._offset + self._loop.time() + skewed_by

    def carry_out(self, method: str, path: str, body: bytes | None, trace: str) -> tuple[int, bytes]:
        """Carries out a request. Returns the status and the body of the answer."""
        parts = path.split("/")
        if parts[1] == "shipments":
            return self._ship(method, parts, body, trace)
        return self._consignments(method, parts, body, trace)

    # What it does.

    def _book(self, reference: str, trace: str, service: str, group: str = "") -> bool:
        shipment = self._shipments[reference]
        if (shipment.allocated_at and self.guard) or shipment.is_cancelled:
            return False
        self._bookings += 1
        dice = self._sessions[reference][0]
        shipment.allocated_at = self._date(self.wall(dice.uniform(-_SKEW, _SKEW)))
        shipment.service, shipment.group = service, group
        shipment.tracking = f"TR{self._bookings}" if self._tracks else ""
        shipment.tracked_at = self._loop.time() + (spread(dice, *_TRACKED_AFTER) if self._tracks_on_demand else 0.0)
        self._effect(reference, "allocated", trace, service)
        return True

    def _unbook(self, reference: str, trace: str) -> bool:
        shipment = self._shipments[reference]
        if not shipment.allocated_at or shipment.is_cancelled:
            return False
        shipment.allocated_at = ""
        self._effect(reference, "deallocated", trace, "")
        return True

    def _effect(self, reference: str, kind: str, trace: str, service: str) -> None:
        self._history.effects.append(Effect(reference, kind, self._loop.time(), trace, service))

    def _date(self, wall: float) -> str:
        moment = datetime.fromtimestamp(wall, UTC)
        match self._dialect:
            case 0:
                return moment.isoformat(timespec="microseconds")
            case 1:
                return moment.isoformat(timespec="seconds")
            case 2:
                return moment.astimezone(_ZONES[self._bookings % 3]).isoformat(timespec="seconds")
            case _:
                return moment.strftime("%Y-%m-%dT%H:%M:%S.%f") + "0Z"

    def outside(self, reference: str, what: str, trace: str) -> None:
        """Does what another system does, past the gateway."""
        if what == "allocate":
            service = SHIP_SERVICE if reference.startswith("sp_") else CONSIGNMENT_SERVICE
            self._book(reference, OUTSIDE + trace[8:], service)
            return
        self._unbook(reference, OUTSIDE + trace[8:])
        if what == "cancel":
            self._shipments[reference].is_cancelled = True
            self._effect(reference, "cancelled", OUTSIDE + trace[8:], "")

    def tracking(self, shipment: Shipment) -> str:
        """Returns the tracking reference that is shown of a shipment; empty if there is none yet."""
        return shipment.tracking if self._loop.time() >= shipment.tracked_at else ""

    def keep(self, reference: str, answer: Answer) -> None:
        """Has the cache on the way keep what is answered about a shipment."""
        self._shipments[reference].cached = answer, self._loop.time()

    def kept(self, reference: str) -> Answer | None:
        """Returns what the cache on the way answers, with how old that is; None if it has nothing, or it is new."""
        kept = self._shipments[reference].cached
        if kept is None or (age := int(self._loop.time() - kept[1])) < 1:
            return None
        return kept[0]._replace(headers={**kept[0].headers, "age": str(age)}, head_at=self._loop.time())

    # The Ship API.

    def _ship(self, method: str, parts: Sequence[str], body: bytes | None, trace: str) -> tuple[int, bytes]:
        if method == "GET":
            return 200, self._shown(parts[2])
        if method == "DELETE":
            if self._unbook(parts[2], trace):
                return 200, b'{"reference":"%b","message":"done"}' % parts[2].encode()
            return 400, _SHIP_REFUSAL
        if body is not None:
            return self._queue(_decode(body), trace)
        reference = parts[2]
        service = parts[5] if parts[4:5] == ["service"] else SHIP_SERVICE
        if not self._book(reference, trace, service):
            return 521, _SHIP_REFUSAL
        shipment = self._shipments[reference]
        return 200, (
            b'{"shipment_reference":"%b","state":"allocated","carrier":{"service_reference":"%b"},'
            b'"tracking_details":{"shipment":{"reference":"%b","tracking_references":[%b]}},"correlation_id":"c",'
            b'"price":{"net":2.00,"gross":2.40,"currency":"GBP"}}'
        ) % (reference.encode(), service.encode(), reference.encode(), _quoted(self.tracking(shipment)))

    def _shown(self, reference: str) -> bytes:
        shipment = self._shipments[reference]
        if not shipment.allocated_at:
            return b'{"reference":"%b","state":"%b"}' % (reference.encode(), self._state(reference).encode())
        return (
            b'{"reference":"%b","state":"allocated","allocation":{"carrier":{"service_reference":"%b"},'
            b'"allocation_date":"%b","price":{"net":2.00,"gross":2.40,"currency":"GBP"},'
            b'"tracking_details":{"shipment":{"reference":"%b","tracking_references":[%b]}}}}'
        ) % (
            reference.encode(),
            shipment.service.encode(),
            shipment.allocated_at.encode(),
            reference.encode(),
            _quoted(self.tracking(shipment)),
        )

    def _queue(self, asked: dict[str, Any], trace: str) -> tuple[int, bytes]:
        queued, rejected = [], []
        for reference in asked["shipments"]:
            shipment = self._shipments[reference]
            if shipment.queued or shipment.is_cancelled or (shipment.allocated_at and self.guard):
                rejected.append(reference)
                continue
            queued.append(reference)
            shipment.queued += 1
            dice = self._sessions[reference][0]
            # What cannot be seen in the queue has to be carried out within the settle time, as anything else.
            longest = 20.0 if self._shows_queue else (1.0 - _LATEST_EFFECT) * self.settle * 0.9
            self._loop.call_later(spread(dice, 0.05, longest), self._take_from_queue, reference, trace)
        if self._answers_by_results:
            results = [{"shipment_reference": name, "state": self._state(name)} for name in queued]
            refused = [
                {"shipment_reference": name, "state": self._state(name), "details": _SHIP_PROBLEMS} for name in rejected
            ]
            return 202, _encode([*results, *refused])
        told = [{"code": "shipment_invalid_state", "message": "m", "references": rejected}] if rejected else []
        return 202, _encode({"message": "m", "queued": queued, "rejected": told})

    def _state(self, reference: str) -> str:
        shipment = self._shipments[reference]
        if shipment.is_cancelled:
            return "cancelled"
        if shipment.allocated_at:
            return "allocated"
        return "allocating" if shipment.queued and self._shows_queue else "unallocated"

    def _take_from_queue(self, reference: str, trace: str) -> None:
        self._shipments[reference].queued -= 1
        self._book(reference, trace, SHIP_SERVICE)

    # The Consignments API.

    def _consignments(self, method: str, parts: Sequence[str], body: bytes | None, trace: str) -> tuple[int, bytes]:
        reference = known_as(parts[2])
        if method == "GET":
            return 200, _encode(self._consignment(reference))
        if parts[1] == "consignments" and body is not None:
            return 200, _encode([self._undone(known_as(one), trace) for one in _decode(body)])
        if parts[1] == "consignments":
            return (200, b"") if self._unbook(reference, trace) else (400, _REFUSAL)
        if body is not None:
            asked = map(known_as, _decode(body)["ConsignmentReferences"])
            return 200, _encode([self._allocated(one, trace, "") for one in asked])
        group = parts[4] if parts[3] == "allocatewithservicegroup" else ""
        item = self._allocated(reference, trace, group)
        return (200, _encode([item])) if item["StatusCode"] == 200 else (400, _REFUSAL)

    def _allocated(self, reference: str, trace: str, group: str) -> dict[str, Any]:
        links = [{"Rel": "detail", "Href": f"https://api.electioapp.com/consignments/{reference}"}]
        if not self._book(reference, trace, CONSIGNMENT_SERVICE, group):
            return {"StatusCode": 400, "ApiLinks": links, "Description": "It cannot be allocated."}
        return {
            "StatusCode": 200,
            "ApiLinks": links,
            "Description": f"Consignment {reference} has been successfully allocated with X",
            "ConsignmentLegs": self._legs(reference),
            "CarrierReference": "X",
            "CarrierName": "X",
            "CarrierServiceReference": CONSIGNMENT_SERVICE,
            "CarrierServiceName": "X",
        }

    def _undone(self, reference: str, trace: str) -> dict[str, Any]:
        done = self._unbook(reference, trace)
        return {"IsSuccess": done, "Message": "m", "Data": reference, "ApiLinks": None}

    def _consignment(self, reference: str) -> dict[str, Any]:
        shipment = self._shipments[reference]
        if not shipment.allocated_at:
            state = "Cancelled" if shipment.is_cancelled else "Unallocated"
            return {"Reference": reference, "ConsignmentState": state, "Allocation": None}
        return {
            "Reference": reference,
            "ConsignmentState": "Allocated",
            "ConsignmentLegs": self._legs(reference),
            "Allocation": {
                "MpdCarrierServiceReference": shipment.service,
                "CarrierServiceGroupReference": shipment.group or None,
                "AllocationDate": shipment.allocated_at,
            },
        }

    def _legs(self, reference: str) -> list[dict[str, Any]]:
        tracking = self.tracking(self._shipments[reference])
        return [{"Leg": 1, "TrackingReferences": [tracking] if tracking else []}]


_SHIP_REFUSAL: Final = (
    b'{"code":"allocation_failed","message":"m","details":[{"code":"shipment_invalid_state","message":"m"}]}'
)
_SHIP_PROBLEMS: Final = [{"code": "validation_error", "details": [{"code": "shipment_invalid_state", "message": "m"}]}]
_REFUSAL: Final = b'{"Code":"E","Message":"It is in the wrong state.","CorrelationId":"c"}'
_PAGE: Final = b"<html><body>An error occurred.</body></html>"


_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder().decode
_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def known_as(reference: str) -> str:
    """Returns the name that upstream has for what a request names: the Consignments API knows no case."""
    return reference if reference.startswith("sp_") else reference.upper()


def _http_date(wall: float) -> str:
    """Returns a time as HTTP has it, as email.utils.formatdate does in four times as long."""
    year, month, day, hour, minute, second, weekday, _, _ = time.gmtime(wall)
    return f"{_DAYS[weekday]}, {day:02} {_MONTHS[month - 1]} {year} {hour:02}:{minute:02}:{second:02} GMT"


def _quoted(text: str) -> bytes:
    return b'"%b"' % text.encode() if text else b""


class Engine:
    """The way from one process to upstream. See Engine of the gateway for what it does."""

    def __init__(self, model: Model, power: Power, replica: int) -> None:
        self._model = model
        self._power = power
        self._replica = replica
        self._loop = asyncio.get_running_loop()

    def use_headers(self, headers: Sequence[tuple[str, str]]) -> None:
        """Has nothing to do with headers."""

    def connections(self) -> Mapping[str, int]:
        """Has none."""
        return {}

    async def exchange(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None,
        headers: Sequence[tuple[bytes, bytes]],
        attempt: Attempt,
    ) -> Answer:
        """Sends a request and reads its answer."""
        del headers
        if not self._power.is_on:
            raise asyncio.CancelledError
        attempt.begin()
        return await _Sent(self._model, self._loop, self._replica, method, path, body).answer()

    async def close(self) -> None:
        """Does nothing."""


class _Sent:
    """One request on its way, and what becomes of it."""

    def __init__(
        self, model: Model, loop: asyncio.AbstractEventLoop, replica: int, method: str, path: str, body: bytes | None
    ) -> None:
        self._model = model
        self._loop = loop
        self._replica = replica
        self._method = method
        self._path = path
        self._body = body
        self._trace = TRACE.get()
        self._references = tuple(map(known_as, _references(path, body)))
        self._number = model.number()
        self._arrived = loop.time()
        self._forwarded: float | None = None
        # When nobody waited for it any more, of one that arrives later.
        self._left: float | None = None
        self._answered: float | None = None
        self._status = 0
        self._delivered = 0
        self._fault = ""
        self._reply: asyncio.Future[Answer] = loop.create_future()

    async def answer(self) -> Answer:
        """Lets it take its course, and waits for the answer."""
        self._set_out()
        try:
            return await self._reply
        finally:
            self._end()

    def _end(self) -> None:
        ended = self._loop.time()
        if self._forwarded is None and self._fault in {"late effect", "latency before"}:
            # What becomes of it is not known before it arrives.
            self._left = ended
        else:
            self._record(ended)

    def _record(self, ended: float) -> None:
        self._model.record(
            Request(
                number=self._number,
                trace=self._trace,
                method=self._method,
                path=self._path,
                references=self._references,
                arrived=self._arrived,
                ended=ended,
                fault=self._fault,
                forwarded=self._forwarded,
                answered=self._answered,
                status=self._status,
                delivered=self._delivered,
                replica=self._replica,
            )
        )

    def _set_out(self) -> None:
        model, reference = self._model, self._references[0]
        allocates_one = self._method == "PUT" and self._body is None and not self._path.startswith("/consignments/")
        strike = model.strike(reference, writes=self._method != "GET", allocates_one=allocates_one)
        pace = model.pace(reference)
        kept = model.kept(reference) if strike is not None and strike.kind == "cached" else None
        if strike is None or (strike.kind == "cached" and kept is None):
            self._loop.call_later(pace, self._arrive, self._deliver)
            return
        self._fault = strike.kind
        # Of each order of magnitude alike, from far below the tolerances to far beyond the time-outs.
        late = plan.spread(strike.share, _SHORTEST, _LONGEST)
        after: dict[str, tuple[Any, ...]] = {
            "latency after": (self._deliver_late, late),
            "reset after": (self._reset_late, late),
            "half a response": (self._cut,),
            "drip": (self._drip, late),
            "error page after": (self._show_page_late, late, strike.status),
            "garbage": (self._garble,),
            "hang after": (None,),
            "a part of it": (self._reset_late, late),
            "sent twice": (self._send_again,),
        }
        before: dict[str, tuple[Any, ...]] = {
            "outage": (self._reset,) if self._number % 2 else (self._show_page, strike.status),
            "reset before": (self._reset,),
            "error page before": (self._show_page, strike.status),
            "throttled": (self._throttle,),
            "cached": (self._put, kept),
        }
        if strike.kind in after:
            self._loop.call_later(pace, self._arrive, *after[strike.kind])
        elif strike.kind in before:
            self._loop.call_later(pace, *before[strike.kind])
        else:
            # A request that is still on its way is delivered within the settle time, or never.
            late = min(late, _LATEST_EFFECT * model.settle)
            is_cut = strike.kind == "late effect"
            if is_cut:
                self._loop.call_later(pace, self._reset)
            self._loop.call_later(pace + late, self._arrive, None if is_cut else self._deliver)

    def _arrive(self, then: Callable[..., None] | None, *arguments: Any) -> None:
        self._forwarded = self._answered = self._loop.time()
        asked = self._body
        if self._fault == "a part of it" and asked is not None:
            # Upstream ends in the midst of a bulk call: the rest of it is never done.
            asked = _first(asked)
        self._status, body = self._model.carry_out(self._method, self._path, asked, self._trace)
        answer = self._answer_of(self._status, body)
        if self._method == "GET":
            self._model.keep(self._references[0], answer)
        if self._left is not None:
            self._record(self._left)
        if then is not None:
            then(answer, *arguments)

    def _send_again(self, _: Answer) -> None:
        """A proxy has lost the answer, and passes on what the same request is answered when it comes again."""
        self._status, body = self._model.carry_out(self._method, self._path, self._body, self._trace)
        self._deliver(self._answer_of(self._status, body))

    def _answer_of(self, status: int, body: bytes) -> Answer:
        date = _http_date(self._model.wall())
        return Answer(status, {"date": date, "content-type": "application/json"}, body, head_at=self._loop.time())

    def _put(self, answer: Answer) -> None:
        if not self._reply.done():
            self._reply.set_result(answer)

    def _deliver(self, answer: Answer) -> None:
        if not self._reply.done():
            self._delivered = answer.status
            self._reply.set_result(answer)

    def _deliver_late(self, answer: Answer, late: float) -> None:
        def deliver() -> None:
            self._deliver(answer._replace(head_at=self._loop.time()))

        self._loop.call_later(late, deliver)

    def _drip(self, answer: Answer, late: float) -> None:
        # The head is there at once, and the body takes its time.
        self._loop.call_later(late, self._deliver, answer)

    def _reset(self, _: object = None) -> None:
        if not self._reply.done():
            self._reply.set_exception(NoAnswerError("the connection was lost"))

    def _reset_late(self, _: Answer, late: float) -> None:
        self._loop.call_later(late, self._reset)

    def _cut(self, answer: Answer) -> None:
        half = answer.body[: len(answer.body) // 2]
        self._put(answer._replace(body=half, problem="the body is cut short"))

    def _show_page(self, status: int) -> None:
        self._put(Answer(status, {"content-type": "text/html"}, _PAGE, head_at=self._loop.time()))

    def _show_page_late(self, _: Answer, late: float, status: int) -> None:
        self._loop.call_later(late, self._show_page, status)

    def _garble(self, answer: Answer) -> None:
        self._put(answer._replace(status=200, body=_PAGE))

    def _throttle(self) -> None:
        body = b'{"code":"too_many","message":"m"}'
        if self._path.startswith(("/alloc", "/consign")):
            body = b'{"statusCode":429,"message":"Rate limit is exceeded."}'
        self._delivered = self._status = 429
        self._put(Answer(429, {"retry-after": "1", "date": ""}, body, head_at=self._loop.time()))


def _first(body: bytes) -> bytes:
    """Returns a bulk request for the first of its references alone."""
    asked = _decode(body)
    if isinstance(asked, list):
        return _encode(asked[:1])
    return _encode({key: value[:1] if isinstance(value, list) else value for key, value in asked.items()})


def _references(path: str, body: bytes | None) -> tuple[str, ...]:
    if body is None:
        return (path.split("/")[2],)
    asked = _decode(body)
    return tuple(asked if isinstance(asked, list) else asked.get("shipments") or asked["ConsignmentReferences"])

"""What is measured: one row for each kind of load, and who is measured under it."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from bench import payloads

if TYPE_CHECKING:
    from google.protobuf.message import Message


class Mode(enum.Enum):
    """How calls follow each other; `instruments/load` says what each means."""

    CLOSED = "closed"
    OPEN = "open"
    BURST = "burst"


class Outcome(enum.Enum):
    """What every call must end in, or the numbers mean something else."""

    OK = "OK"
    REFUSED = "any error"


@dataclass(frozen=True)
class Upstream:
    """How the REST API behaves.

    Attributes:
        body: The answer to a request for one shipment.
        status: Its status.
        delay: Seconds that every answer takes.
        tls: Whether it is behind TLS.
    """

    body: bytes = field(default_factory=payloads.documented)
    status: int = 200
    delay: float = 0.0
    tls: bool = False


@dataclass(frozen=True)
class Row:
    """One kind of load.

    Attributes:
        key: What it is called by.
        title: What it is called in the report.
        contenders: Who is measured.
        method: The path of the rpc.
        request: What is sent.
        calls: Calls in flight, or of a burst.
        connections: Connections that they are spread over.
        rate: Calls per second, of an open load.
        ramp: Seconds over which the calls begin, so that the answers of a slow upstream are spread.
        warmup: Seconds between that and what is measured.
        seconds: How long is measured, in each round.
        rounds: How often.
        raised: Whether limits of the gateway that are meant for smaller loads are raised.
        alone: Whether each gateway is started anew for each round, so that no other one holds connections.
        pinned: Whether a gateway has just one core.
    """

    key: str
    title: str
    contenders: tuple[str, ...]
    upstream: Upstream = Upstream()
    method: str = payloads.ONE
    request: Message = field(default_factory=payloads.one)
    outcome: Outcome = Outcome.OK
    mode: Mode = Mode.CLOSED
    calls: int = 64
    connections: int = 8
    rate: float = 0.0
    ramp: float = 0.0
    warmup: float = 0.7
    seconds: float = 1.6
    rounds: int = 3
    raised: bool = False
    alone: bool = False
    pinned: bool = True


_RIVALS: Final = ("go", "vanguard", "envoy", "naive")
_ALL: Final = (*_RIVALS, "ours", "ours-store")
_VARIANTS: Final = (
    "ours-no-traces",
    "ours-no-metrics",
    "ours-untold",
    "ours-traced",
    "ours-no-log",
    "ours-rate-limit",
    "ours-grpcio",
    "ours-httpx",
)
_SLOW: Final = Upstream(delay=0.05)
# Requests per second that a gateway in Python without a fast client cannot hold on one core, and the others can.
RATE: Final = 1000.0


def _bulk(shipments: int) -> Row:
    return Row(
        f"bulk{shipments}",
        f"bulk call for {shipments} shipment{'s' if shipments > 1 else ''}, 32 in flight",
        _ALL,
        method=payloads.BULK,
        request=payloads.bulk(shipments),
        calls=32,
        seconds=2.0,
    )


ROWS: Final = (
    Row("calibration", "the load against prepared frames: what the load itself can do", ("responder",), rounds=1),
    Row("fast", "fast upstream, 64 in flight", ("echo", "echo-direct", *_ALL)),
    Row("slow64", "50 ms upstream, 64 in flight", ("go", "naive", "ours"), _SLOW),
    Row("slow400", "50 ms upstream, 400 in flight", (*_ALL, *_VARIANTS), _SLOW, calls=400, rounds=5),
    Row(
        "slow4000",
        "4 s upstream, 4,000 in flight",
        _ALL,
        Upstream(delay=4.0),
        calls=4000,
        connections=50,
        ramp=4.0,
        warmup=1.0,
        seconds=4.0,
        raised=True,
        alone=True,
    ),
    Row(
        "secured",
        "50 ms upstream, 400 in flight, who calls and what for",
        ("ours", "ours-tls", "ours-secured"),
        _SLOW,
        calls=400,
        rounds=5,
    ),
    Row("tls", "fast upstream behind TLS, 64 in flight", _ALL, Upstream(tls=True)),
    Row("large", "answers with 200 excluded services, 64 in flight", _ALL, Upstream(body=payloads.large(200))),
    _bulk(1),
    _bulk(10),
    _bulk(100),
    Row(
        "bulk10000",
        "10,000 shipments as a hundred bulk calls at once",
        _ALL,
        method=payloads.BULK,
        request=payloads.bulk(100),
        mode=Mode.BURST,
        calls=100,
        seconds=2.0,
    ),
    Row(
        "error",
        "upstream refuses with 409, 64 in flight",
        _ALL,
        Upstream(body=payloads.refusal(), status=409),
        outcome=Outcome.REFUSED,
        seconds=2.0,
    ),
    Row(
        "refused",
        "an invalid request, 64 in flight (the others send it upstream)",
        ("go", "ours", "ours-store"),
        request=payloads.invalid(),
        outcome=Outcome.REFUSED,
        seconds=2.0,
    ),
    Row(
        "lookup",
        "a service group from the cache, 64 in flight (the others have none)",
        ("ours",),
        method=payloads.LOOKUP,
        request=payloads.lookup(),
        seconds=2.0,
    ),
    Row(
        "rate",
        f"fast upstream, {RATE:,.0f} calls per second whatever happens",
        ("echo", "echo-direct", *_ALL),
        mode=Mode.OPEN,
        rate=RATE,
        rounds=5,
    ),
    Row(
        "workers",
        f"50 ms upstream, {RATE:,.0f} calls per second, every core",
        ("ours", "ours-workers"),
        _SLOW,
        mode=Mode.OPEN,
        connections=64,
        rate=RATE,
        pinned=False,
    ),
)

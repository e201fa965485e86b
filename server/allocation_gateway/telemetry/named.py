"""Metrics by names that others choose: of callers, and of carriers.

Who makes up names must not decide how many time series there are. So the first names that come have series of their
own, up to a bound, and all others share one. None makes room for another: what is counted never goes down.
"""

from __future__ import annotations

from collections import Counter, deque
from threading import Lock
from typing import TYPE_CHECKING, Final

from allocation.v1.core_pb2 import ExclusionCode

from allocation_gateway.telemetry.conventions import DURATION_BUCKETS, status_attributes
from allocation_gateway.telemetry.state import callback

if TYPE_CHECKING:
    from collections.abc import Iterable

    from opentelemetry.metrics import Meter

    from allocation_gateway.telemetry.conventions import Attributes
    from allocation_gateway.telemetry.histograms import Durations, HistogramFactory

OTHER: Final = "_OTHER"
"""Stands for all names that have no series of their own."""
MOST_NAMES: Final = 100
"""So many names have series of their own."""
LONGEST_NAME: Final = 200
# As many carriers are kept until they are counted, twice a second. No process makes so many allocations in that time.
_MOST_UNCOUNTED: Final = 100_000


class BoundedNames:
    """The names that have series of their own."""

    def __init__(self, most: int = MOST_NAMES) -> None:
        self._most = most
        self._known = {OTHER}

    def of(self, name: str) -> str:
        """Returns a name, or what stands for it if it has no series of its own."""
        if name in self._known:
            return name
        if len(self._known) > self._most or len(name) > LONGEST_NAME or not name.isprintable():
            return OTHER
        self._known.add(name)
        return name


class _Carriers:
    """The allocations of one API, by the reference of their carrier."""

    def __init__(self, api: str, most_uncounted: int) -> None:
        self.uncounted: deque[str] = deque(maxlen=most_uncounted)
        self._api = api
        self._names = BoundedNames()
        self._counts: Counter[str] = Counter()
        self._lock = Lock()

    def count(self) -> None:
        """Counts what has come. Any thread may call it."""
        with self._lock:
            came: Counter[str] = Counter()
            while self.uncounted:
                came[self.uncounted.popleft()] += 1
            for carrier, times in came.items():
                self._counts[self._names.of(carrier)] += times

    def read(self) -> Iterable[tuple[float, Attributes]]:
        """Returns the counts."""
        self.count()
        with self._lock:
            return [(times, {"api": self._api, "carrier": carrier}) for carrier, times in self._counts.items()]


class NamedInstruments:
    """The instruments. Without a meter provider they keep nothing."""

    def __init__(self, meter: Meter, histograms: HistogramFactory, *, is_on: bool) -> None:
        self._callers = BoundedNames()
        self._carriers: dict[str, _Carriers] = {}
        self._most_uncounted = _MOST_UNCOUNTED if is_on else 0
        self._calls: Durations[tuple[str, str]] = histograms.create(
            meter,
            "allocation_gateway.caller.call.duration",
            "How long the calls of each caller take.",
            lambda call: {"caller": call[0], **status_attributes(call[1])},
            DURATION_BUCKETS,
        )
        meter.create_observable_counter(
            "allocation_gateway.allocations",
            callbacks=[callback(lambda: [told for one in list(self._carriers.values()) for told in one.read()])],
            unit="{allocation}",
            description="Allocations of one shipment or consignment that were made, by carrier.",
        )
        self._exclusions = meter.create_counter(
            "allocation_gateway.allocation.exclusions",
            unit="{service}",
            description="Services that were excluded where no service was left, so that an allocation has failed.",
        )

    def called(self, caller: str, code: str, seconds: float) -> None:
        """Records a call that has ended.

        Args:
            caller: Who has made it.
            code: The name of its gRPC status code.
            seconds: How long it took.
        """
        self._calls.record((self._callers.of(caller), code), seconds)

    def carriers(self, api: str) -> deque[str]:
        """Returns what takes the reference of the carrier of each allocation that an API has made."""
        if api not in self._carriers:
            self._carriers[api] = _Carriers(api, self._most_uncounted)
        return self._carriers[api].uncounted

    def count(self) -> None:
        """Counts the carriers that have come. It has to be called every so often."""
        for carriers in self._carriers.values():
            carriers.count()

    def excluded(self, api: str, codes: Iterable[ExclusionCode.ValueType]) -> None:
        """Counts the services that a failed allocation has excluded, by why each was."""
        for code, times in Counter(codes).items():
            self._exclusions.add(times, {"api": api, "code": _name_of(code)})


def _name_of(code: ExclusionCode.ValueType) -> str:
    known = code if code in ExclusionCode.values() else ExclusionCode.EXCLUSION_CODE_UNSPECIFIED
    return ExclusionCode.Name(known).removeprefix("EXCLUSION_CODE_")

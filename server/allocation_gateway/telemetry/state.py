"""The metrics of state, read whenever metrics are collected. The functions run in a thread of the exporter's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry.metrics import Observation

from allocation_gateway.telemetry.conventions import STATE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import TypeAlias

    from opentelemetry.metrics import CallbackOptions, Meter

    from allocation_gateway.telemetry.conventions import Attributes

    # Reads values with their attributes.
    Read: TypeAlias = Callable[[], Iterable[tuple[float, Attributes]]]


class StateInstruments:
    """The instruments that read state."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter

    def observe_process(
        self, cpu_seconds: Read, memory_bytes: Read, collector_seconds: Read, uptime_seconds: Read
    ) -> None:
        """Registers the metrics of the resources of the process.

        Args:
            cpu_seconds: Returns the CPU time, by mode.
            memory_bytes: Returns the resident memory.
            collector_seconds: Returns the time that the garbage collector has taken, by generation.
            uptime_seconds: Returns for how long the process has run.
        """
        self._meter.create_observable_gauge(
            "process.uptime", [callback(uptime_seconds)], unit="s", description="How long the process has run."
        )
        self._meter.create_observable_counter(
            "process.cpu.time", [callback(cpu_seconds)], unit="s", description="CPU time of the process."
        )
        self._meter.create_observable_up_down_counter(
            "process.memory.usage", [callback(memory_bytes)], unit="By", description="Resident memory of the process."
        )
        self._meter.create_observable_counter(
            "allocation_gateway.gc.time",
            [callback(collector_seconds)],
            unit="s",
            description="Time that the garbage collector has taken, while nothing else could run.",
        )

    def observe_calls(self, in_hand: Callable[[], int], limit: int) -> None:
        """Registers the metrics of how many calls are in hand, and of how many there may be."""
        self._meter.create_observable_gauge(
            "allocation_gateway.calls.in_hand",
            [callback(lambda: [(in_hand(), {})])],
            unit="{call}",
            description="Calls that have arrived and have not ended.",
        )
        self._meter.create_observable_gauge(
            "allocation_gateway.calls.limit",
            [callback(lambda: [(limit, {})])],
            unit="{call}",
            description="How many calls may be in hand. Those beyond are refused.",
        )

    def observe_serving(self, is_serving: Callable[[], bool]) -> None:
        """Registers the metric of the gateway's health, which is told to whoever routes calls to it."""
        self._meter.create_observable_gauge(
            "allocation_gateway.serving",
            [callback(lambda: [(int(is_serving()), {})])],
            unit=STATE,
            description="1 while the health of the gateway is SERVING, else 0.",
        )

    def observe_workers(self, count: int) -> None:
        """Registers the metric of how many processes there should be behind the port, this one among them."""
        self._meter.create_observable_gauge(
            "allocation_gateway.workers",
            [callback(lambda: [(count, {})])],
            unit="{process}",
            description="How many processes should serve behind the port, this one among them.",
        )

    def observe_worker(self, number: int, restarts: int) -> None:
        """Records which one of several workers this process is, and how often it has been replaced."""
        self._meter.create_observable_gauge(
            "allocation_gateway.worker.restarts",
            [callback(lambda: [(restarts, {"worker": number})])],
            unit="{restart}",
            description="How often a worker has ended without being told to, and was replaced, since the start of all.",
        )

    def observe_connections(self, connections: Read, limits: Read) -> None:
        """Registers the metrics of the connections to upstream, and of how many there may be.

        Args:
            connections: Returns the connections, by server and state.
            limits: Returns how many there may be, by server.
        """
        self._meter.create_observable_up_down_counter(
            "http.client.open_connections",
            [callback(connections)],
            unit="{connection}",
            description="Connections to upstream, by whether a request is under way.",
        )
        self._meter.create_observable_gauge(
            "allocation_gateway.upstream.connections.limit",
            [callback(limits)],
            unit="{connection}",
            description="How many connections to upstream there may be.",
        )

    def observe_writes(self, by_phase: Callable[[], Mapping[str, int]], longest_doubt: Callable[[], float]) -> None:
        """Registers the metrics of the writes under way, by phase, and of how long one has been in doubt."""
        self._meter.create_observable_gauge(
            "allocation_gateway.writes.longest_doubt",
            [callback(lambda: [(longest_doubt(), {})])],
            unit="s",
            description="For how long the oldest write in doubt has been in doubt; 0 if there is none.",
        )
        self._meter.create_observable_gauge(
            "allocation_gateway.writes",
            [callback(lambda: [(count, {"phase": phase}) for phase, count in by_phase().items()])],
            unit="{write}",
            description="Writes under way. Of those in doubt it is not known yet whether they were carried out.",
        )

    def observe_streams(self, calls: Read, items: Read, lags: Read) -> None:
        """Registers the metrics of the calls that last, and of the items that they have in hand.

        Args:
            calls: Returns how many calls last, by rpc.
            items: Returns how many items are in hand, by API and state.
            lags: Returns for how long the oldest item has been in hand, by API.
        """
        self._meter.create_observable_gauge(
            "allocation_gateway.streams",
            [callback(calls)],
            unit="{call}",
            description="Streams and watches that are open.",
        )
        self._meter.create_observable_gauge(
            "allocation_gateway.stream.items",
            [callback(items)],
            unit="{item}",
            description="Items of streams that were read, and whose outcome the caller has not taken.",
        )
        self._meter.create_observable_gauge(
            "allocation_gateway.stream.lag",
            [callback(lags)],
            unit="s",
            description="For how long the oldest of these items has been in hand; 0 if there is none.",
        )

    def observe_groups(self, counts: Read, listing_ages: Read) -> None:
        """Registers the metrics of the service groups that are known, by API and source, and of each listing's age."""
        self._meter.create_observable_gauge(
            "allocation_gateway.service_group.known",
            [callback(counts)],
            unit="{group}",
            description="Service groups that are known, by source.",
        )
        self._meter.create_observable_gauge(
            "allocation_gateway.service_group.listing.age",
            [callback(listing_ages)],
            unit="s",
            description="How long ago upstream's listing of service groups was loaded.",
        )

    def observe_files(self, written_at: Read, usable: Read) -> None:
        """Registers the metrics of the files that are followed, by the names of their settings."""
        self._meter.create_observable_gauge(
            "allocation_gateway.file.written",
            [callback(written_at)],
            unit="s",
            description="When the content of the file that is in use was written, in seconds of the epoch.",
        )
        self._meter.create_observable_gauge(
            "allocation_gateway.file.usable",
            [callback(usable)],
            unit=STATE,
            description="1 while the newest content of the file is in use, 0 while it cannot be used.",
        )


def callback(read: Read) -> Callable[[CallbackOptions], Iterable[Observation]]:
    """Returns what the SDK calls to have values read."""
    return lambda _: [Observation(value, attributes) for value, attributes in read()]

"""What happens to single calls, each of which leaves a trace that is worth a look."""

from __future__ import annotations

import itertools
import threading
import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import grpc
from allocation.v1 import job_pb2
from allocation.v1 import shipment_allocation_service_pb2 as pb
from allocation.v1.shipment_allocation_service_pb2_grpc import ShipmentAllocationServiceStub
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.grpc import client_interceptor
from opentelemetry.instrumentation.grpc.grpcext import intercept_channel
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from support.workers import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from support.sandbox import Sandbox

SHIPMENTS: Final = 20_000
SERVICE: Final = "caller"
_SECONDS: Final = 20.0
ITEMS: Final = 12


class Caller:
    """A caller of the gateway whose calls are traced by OpenTelemetry's own instrumentation of gRPC.

    Attributes:
        stub: What it calls.
        sandbox: Where its shipments are.
    """

    def __init__(self, address: str, endpoint: str, sandbox: Sandbox) -> None:
        """Connects.

        Args:
            address: The gateway's, as host:port.
            endpoint: Where its spans go.
            sandbox: Where its shipments are.
        """
        self.sandbox = sandbox
        self._provider = TracerProvider(resource=Resource.create({"service.name": SERVICE}), shutdown_on_exit=False)
        exporter = OTLPSpanExporter(endpoint=endpoint, insecure=True)
        self._provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=100))
        self._tracer = self._provider.get_tracer(__name__)
        # One connection, so that all of its calls come to the same worker.
        self._channel = grpc.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1)])
        instrumented = client_interceptor(self._provider)  # type: ignore[no-untyped-call]
        channel: grpc.Channel = intercept_channel(self._channel, instrumented)  # type: ignore[no-untyped-call]
        self.stub = ShipmentAllocationServiceStub(channel)
        self._numbers = itertools.count(1)

    def shipment(self) -> str:
        """Returns the reference of a shipment that nobody has allocated."""
        return f"sp_{next(self._numbers) % SHIPMENTS + 1:032d}"

    @contextmanager
    def call(self, name: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yields the id of a new trace, and how a call is made within it."""
        with self._tracer.start_as_current_span(f"call {name}") as span:
            yield format(span.get_span_context().trace_id, "032x"), {"timeout": _SECONDS}

    def allocate(self, shipment: str, request_id: str = "") -> str:
        """Allocates a shipment, and returns the id of the trace."""
        request = pb.AllocateShipmentRequest(shipment_reference=shipment, request_id=request_id or str(uuid.uuid4()))
        with self.call("AllocateShipment") as (trace_id, options):
            self.stub.AllocateShipment(request, **options)
        return trace_id

    def strike(self, shipment: str, action: Mapping[str, Any]) -> None:
        """Has a fault strike the next request that writes a shipment."""
        match = {"method": "PUT", "reference": shipment}
        self.sandbox.call("POST", "faults", {"match": match, "count": 1, "action": action})

    def close(self) -> None:
        """Sends off what is left, and hangs up."""
        self._provider.shutdown()
        self._channel.close()


def plain(caller: Caller) -> str:
    """A write that is answered at once."""
    return caller.allocate(caller.shipment())


def retry(caller: Caller) -> str:
    """A write that upstream refuses for a moment."""
    shipment = caller.shipment()
    caller.strike(shipment, {"type": "status", "status": 429, "body": {"code": "too_many_requests"}})
    return caller.allocate(shipment)


def read_back(caller: Caller) -> str:
    """A write whose answer is lost, so that it is read what became of it."""
    shipment = caller.shipment()
    caller.strike(shipment, {"type": "drop", "when": "after"})
    return caller.allocate(shipment)


def joined(caller: Caller) -> str:
    """A call that waits for another one that does the work for both."""
    shipment, request_id = caller.shipment(), str(uuid.uuid4())
    caller.strike(shipment, {"type": "latency", "seconds": 3.0})
    worker = threading.Thread(target=caller.allocate, args=(shipment, request_id))
    worker.start()
    wait_until(lambda: _has_arrived(caller.sandbox, shipment), "the request of the other call is not upstream")
    trace_id = caller.allocate(shipment, request_id)
    worker.join()
    return trace_id


def _has_arrived(sandbox: Sandbox, shipment: str) -> bool:
    faults = sandbox.call("GET", "faults")["faults"]
    return any(fault["hits"] for fault in faults if fault["match"].get("reference") == shipment)


def remembered(caller: Caller) -> str:
    """A call that gets the answer of an earlier one."""
    shipment, request_id = caller.shipment(), str(uuid.uuid4())
    caller.allocate(shipment, request_id)
    return caller.allocate(shipment, request_id)


def stream(caller: Caller) -> str:
    """A stream, whose items are sent in batches."""
    described = job_pb2.AllocationJob(job_id=str(uuid.uuid4()), wait_for=job_pb2.WAIT_FOR_ALLOCATED)
    items = [pb.ShipmentItem(shipment_reference=caller.shipment()) for _ in range(ITEMS)]
    requests = [
        pb.AllocateShipmentStreamRequest(job=described),
        pb.AllocateShipmentStreamRequest(items=items),
    ]
    with caller.call("AllocateShipmentStream") as (trace_id, options):
        for _ in caller.stub.AllocateShipmentStream(iter(requests), **options):
            pass
    return trace_id


SCENES: Final[Mapping[str, Callable[[Caller], str]]] = {
    scene.__name__: scene for scene in (plain, retry, read_back, joined, remembered, stream)
}

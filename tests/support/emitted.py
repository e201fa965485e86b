"""Everything that a gateway can emit as metrics, each with all of its attributes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from allocation.v1.core_pb2 import ExclusionCode
from allocation_gateway.telemetry.conventions import ACCOUNT, account_attributes
from allocation_gateway.telemetry.runtime import CollectorPauses, cpu_seconds, memory_bytes, uptime_seconds

if TYPE_CHECKING:
    from contextlib import ExitStack

    from allocation_gateway.telemetry.conventions import Attributes
    from allocation_gateway.telemetry.telemetry import Telemetry

_SERVER: Final[Attributes] = {
    "server.address": "127.0.0.1",
    "server.port": 80,
    "api": "ship",
    **account_attributes("another", ACCOUNT),
}


def emit_everything(telemetry: Telemetry, stack: ExitStack) -> None:
    """Records into every instrument. What is read when metrics are collected is read until the stack is closed."""
    for error in (False, True):
        call = telemetry.call("allocation.v1.S/R", [])
        request = call.request("GET", "/x", "http://127.0.0.1", "/x", account="another" if error else "default")
        request.answered(500 if error else 200)
        call.finish(*(("INTERNAL", "UPSTREAM_FAILED", "another") if error else ("OK",)))
    metrics = telemetry.metrics
    metrics.group_lookup(known=True)
    metrics.group_event("listing_read")
    metrics.group_part("cache", usable=True, account="another")
    metrics.write_detached("a/b")
    metrics.write_event("joined", "a/b")
    metrics.answer_undocumented("a/b", "read")
    metrics.store_step("begin", 0.001)
    metrics.store_failure("begin", "timeout")
    metrics.store_usable(usable=True)
    metrics.observe_breaker("ship", lambda: 2, "another")
    metrics.upstream_refused("ship", "breaker", "another")
    metrics.queue_length("ship", "write", 1, "another")
    metrics.queue_waited("ship", "write", 0.1, "another")
    metrics.budget_asked("ship", "retries", granted=True, account="another")
    metrics.caller_refused("CALLER_NOT_ALLOWED")
    metrics.stream_item_told("ship", "allocated")
    metrics.observe_streams(
        lambda: [(1, {"rpc.method": "a/b"})],
        lambda: [(1, {"api": "ship", "state": "waiting"})],
        lambda: [(1.5, {"api": "ship"})],
    )
    metrics.loop_lag(0.001)
    metrics.named.called("dns:shop", "OK", 0.1)
    metrics.named.carriers("ship").append("FF_DPD")
    metrics.named.excluded("ship", [ExclusionCode.EXCLUSION_CODE_RULES])
    metrics.observe_calls(lambda: 1, 2)
    metrics.observe_writes(lambda: {"in doubt": 1}, lambda: 2.5)
    metrics.observe_serving(lambda: True)
    metrics.observe_workers(2)
    metrics.observe_worker(1, 0)
    metrics.observe_connections(lambda: [(1, {**_SERVER, "http.connection.state": "active"})], lambda: [(2, _SERVER)])
    of = {"api": "ship", **account_attributes("another")}
    metrics.observe_groups(lambda: [(1, {**of, "source": "catalogue"})], lambda: [(1.0, of)])
    metrics.observe_files(lambda: [(1.0, {"file": "policy_file"})], lambda: [(1.0, {"file": "policy_file"})])
    pauses = stack.enter_context(CollectorPauses())
    metrics.observe_process(cpu_seconds, memory_bytes, pauses.seconds, uptime_seconds)

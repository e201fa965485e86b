"""The keys of both APIs, quoted by upstream in every way: nothing that the running gateway emits holds one of them.

Statuses, details, trailers, responses, log lines, spans, metrics and log records, each as it comes out of the process.
"""

from __future__ import annotations

import json
import random
import string
import uuid
from typing import TYPE_CHECKING, Any, Final

import grpc
import pytest
from allocation_gateway.operations.model import Api
from mapping.consignments import REQUESTS as CONSIGNMENT_REQUESTS
from mapping.table import REQUESTS
from properties.test_redaction import ERRORS, FIXTURES, GOOD, MANAGED, written
from support.collector import running_collector
from support.gateway import running_gateway
from support.secrets import FORMS, everywhere, quotes
from support.upstream import Reply, running_upstream

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.upstream import Received

# What is in doubt is read until then.
TIMEOUT: Final = 6.0
ALPHABETS: Final = {
    "base64": string.ascii_letters + string.digits + "+/",
    "anything": string.ascii_letters + "+/=&\"\\%<>'",
}
RPCS: Final = (
    "AllocateShipmentWithServiceGroup",
    "GetShipmentAllocation",
    "AllocateConsignment",
    "GetConsignmentQuotes",
)
SERVICES: Final = {"Shipment": "ShipmentAllocationService", "Consignment": "ConsignmentAllocationService"}


def answers(rpc: str, quoted: str) -> Iterator[Reply]:
    """Returns what upstream answers a call with, with a key in all of its texts, or in those that may be anything."""
    api = Api.SHIP if "Shipment" in rpc else Api.CONSIGNMENTS
    good = json.loads((FIXTURES / f"{GOOD[rpc]}.json").read_text())
    # What decides has to be what it should be, or the whole answer counts for nothing.
    kept = {"shipment_reference", "reference", "state", "StatusCode", "currency"}
    readable = [
        {name: value if name in kept else everywhere(value, quoted) for name, value in item.items()}
        for item in (good if isinstance(good, list) else [good])
    ]
    answered = readable if isinstance(good, list) else readable[0]
    yield Reply(200, written(answered, "plain"))
    yield Reply(200, written(everywhere(good, quoted), "escaped"))
    # Read apart, since it is large.
    yield Reply(200, written({**ERRORS[api], "x": [quoted] * 3_000, "y": "y" * 200_000}, "slashes"))
    for status in (400, 401, 404, 409, 429, 500, 503, 521):
        yield Reply(status, written(everywhere(ERRORS[api], quoted), "plain"))
    yield Reply(403, written(everywhere(MANAGED, quoted), "escaped"))
    yield Reply(403, f"<html>{quoted}</html>".encode())
    yield Reply(200, quoted.encode())


@pytest.mark.properties
@pytest.mark.parametrize("alphabet", ALPHABETS)
def test_nothing_that_the_gateway_emits_holds_a_key(alphabet: str) -> None:
    chance = random.Random(alphabet)  # noqa: S311 - the same keys in each run
    ship_key, key = ("".join(chance.choices(ALPHABETS[alphabet], k=32)) for _ in range(2))
    emitted: set[str] = set()
    replies: dict[str, Reply] = {}

    def answer(received: Received) -> Reply:
        if received.line.startswith("GET ") and "quotes" not in received.line and "/read-" not in received.line:
            return Reply(404, {"code": "shipment_not_found", "Code": "NotFound"})
        return next(reply for name, reply in replies.items() if name in received.line)

    with running_upstream() as upstream, running_collector() as collector:
        upstream.default = answer
        names = {"MAX_ATTEMPTS": "1", "BREAKER_MIN_CALLS": "1000000", "READ_BEFORE_WRITE": "false"}
        settings = {
            "ALLOW_PLAINTEXT": "true",
            "SHIP_BASE_URL": upstream.url,
            "SHIP_API_KEY": ship_key,
            "CONSIGNMENTS_BASE_URL": f"http://127.0.0.1:{upstream.port}",
            "CONSIGNMENTS_API_KEY": key,
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint,
            "OTEL_LOGS_EXPORTER": "otlp",
            "LOG_LEVEL": "debug",
            **{f"{api}_{name}": value for api in ("SHIP", "CONSIGNMENTS") for name, value in names.items()},
        }
        with running_gateway(settings) as gateway:
            with grpc.insecure_channel(gateway.address) as channel:
                calls = []
                for rpc in RPCS:
                    kind = "Shipment" if "Shipment" in rpc else "Consignment"
                    request: Any = {**REQUESTS, **CONSIGNMENT_REQUESTS}[rpc]
                    make: Any = channel.unary_unary(
                        f"/allocation.v1.{SERVICES[kind]}/{rpc}", request_serializer=type(request).SerializeToString
                    )
                    for form in list(FORMS.values())[list(ALPHABETS).index(alphabet) :: len(ALPHABETS)]:
                        for reply in answers(rpc, form(ship_key if kind == "Shipment" else key)):
                            name = f"{'read' if rpc.startswith('Get') else 'write'}-{uuid.uuid4().hex}"
                            field = request.DESCRIPTOR.fields[0].name
                            former = getattr(request, field)
                            replies[name] = Reply(
                                reply.status,
                                reply.encoded().partition(b"\r\n\r\n")[2].replace(former.encode(), name.encode()),
                            )
                            copy = type(request)()
                            copy.CopyFrom(request)
                            setattr(copy, field, name)
                            calls.append(make.future(copy, timeout=TIMEOUT))
                succeeded = 0
                for call in calls:
                    error = call.exception()
                    if error is None:
                        succeeded += 1
                        emitted.add(call.result().decode("latin-1"))
                    emitted.add(f"{call.code()} {call.details()}")
                    for metadata in (call.initial_metadata(), call.trailing_metadata()):
                        for _, value in metadata:
                            emitted.add(value.decode("latin-1") if isinstance(value, bytes) else value)
                assert succeeded >= 10  # enough to know that answers are looked at, too
            gateway.stop()
        emitted |= {json.dumps(line) for line in gateway.lines}
        emitted |= {repr(item) for items in (collector.spans, collector.points, collector.records) for item in items}
        assert collector.spans
        assert collector.records
    for text in emitted:
        for secret in (ship_key, key):
            assert not quotes(text, secret, 2), text

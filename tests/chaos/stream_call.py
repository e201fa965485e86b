"""One call of a job, and what its caller writes down of it: in this process, or in one that can be killed."""

from __future__ import annotations

import asyncio
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import grpc.aio
import msgspec
from allocation.v1 import consignment_allocation_service_pb2 as consignments
from allocation.v1 import shipment_allocation_service_pb2 as ship
from allocation.v1.consignment_allocation_service_pb2_grpc import ConsignmentAllocationServiceStub
from allocation.v1.shipment_allocation_service_pb2_grpc import ShipmentAllocationServiceStub
from chaos.clients import OPTIONS
from chaos.requests import failure, failure_in

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

# Seconds between two messages, so that there are many bulk calls, and something is always under way.
_BETWEEN: Final = 0.1
_CODES: Final = {code.value[0]: code.name for code in grpc.StatusCode}
# The most that one line of a caller has: the words of a thousand items.
_LONGEST_LINE: Final = 1 << 24
_TAKEN: Final = frozenset({"allocation", "queued"})


class StreamCall(msgspec.Struct, frozen=True):
    """A call that is to be made.

    Attributes:
        is_ship: Whether it is of shipments, or else of consignments.
        traceparent: Its trace.
        messages: Its messages, as they are sent.
    """

    is_ship: bool
    traceparent: str
    messages: list[bytes]


class Sent(msgspec.Struct, frozen=True, tag=True):
    """A message is being sent.

    Attributes:
        time: When.
        references: Its items.
    """

    time: float
    references: list[str]


class Word(msgspec.Struct, frozen=True):
    """What was told of one item.

    Attributes:
        reference: The item.
        kind: The outcome.
        code: Its status; OK if it is not an error.
        reason, effect, retry_after: Of the status.
        reconciled: Whether its allocation was read.
    """

    reference: str
    kind: str
    code: str = "OK"
    reason: str = ""
    effect: str = ""
    retry_after: float | None = None
    reconciled: bool = False


class Told(msgspec.Struct, frozen=True, tag=True):
    """A message was received that has outcomes.

    Attributes:
        time: When.
        words: What it says.
    """

    time: float
    words: list[Word]


class Ended(msgspec.Struct, frozen=True, tag=True):
    """The call has ended by itself.

    Attributes:
        code: Its status.
        reason, effect, retry_after: Of the status.
    """

    code: str
    reason: str = ""
    effect: str = ""
    retry_after: float | None = None


Event = Sent | Told | Ended


def reference_of(one: Any, *, is_ship: bool) -> str:
    """Returns the reference of an item, or of an outcome."""
    return str(one.shipment_reference if is_ship else one.consignment_reference)


def request_of(*, is_ship: bool) -> Any:
    """Returns the class of the messages of a call."""
    return ship.AllocateShipmentStreamRequest if is_ship else consignments.AllocateConsignmentStreamRequest


async def converse(channel: grpc.aio.Channel, call: StreamCall, note: Callable[[Event], None]) -> None:
    """Makes a call. Whoever is cancelled breaks it off, and the gateway is told so.

    Args:
        channel: A connection.
        call: The call.
        note: Is told what happens.
    """
    stub: Any = (ShipmentAllocationServiceStub if call.is_ship else ConsignmentAllocationServiceStub)(channel)
    method = stub.AllocateShipmentStream if call.is_ship else stub.AllocateConsignmentStream

    async def messages() -> AsyncIterator[Any]:
        for message in map(request_of(is_ship=call.is_ship).FromString, call.messages):
            if message.items:
                note(Sent(time.time(), [reference_of(item, is_ship=call.is_ship) for item in message.items]))
            yield message
            await asyncio.sleep(_BETWEEN)

    made = method(messages(), metadata=(("traceparent", call.traceparent),))
    try:
        async for response in made:
            words = [_word(one, is_ship=call.is_ship) for one in response.results.results]
            if words:
                note(Told(time.time(), words))
    except grpc.aio.AioRpcError as error:
        said = failure(error)
        note(Ended(error.code().name, said.reason, said.effect, said.retry_after))
    else:
        note(Ended("OK"))
    finally:
        made.cancel()
        with suppress(grpc.aio.AioRpcError, asyncio.CancelledError):
            await made.code()


def _word(one: Any, *, is_ship: bool) -> Word:
    reference, kind = reference_of(one, is_ship=is_ship), one.WhichOneof("outcome")
    if kind in _TAKEN:
        return Word(reference, kind, reconciled=kind == "allocation" and one.allocation.reconciled)
    status = getattr(one, kind)
    said = failure_in(status)
    return Word(reference, kind, _CODES[status.code], said.reason, said.effect, said.retry_after)


async def converse_in_a_process(address: str, call: StreamCall, note: Callable[[Event], None]) -> None:
    """Makes a call in a process of its own. Whoever is cancelled kills that by SIGKILL: the gateway is told nothing.

    Args:
        address: Where the gateway listens.
        call: The call.
        note: Is told what the process has written down, also when it was killed.

    Raises:
        RuntimeError: The process has ended by itself before its call had.
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "chaos.stream_call", address),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=_LONGEST_LINE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    has_ended = False
    try:
        process.stdin.write(msgspec.json.encode(call))
        process.stdin.close()
        async for line in process.stdout:
            event = _DECODER.decode(line)
            has_ended = has_ended or isinstance(event, Ended)
            note(event)
        if not has_ended:
            raise RuntimeError(f"a caller has ended with {await process.wait()}")
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        # What it had no time to write to the end, it has not learned.
        whole, _, _ = (await process.stdout.read()).rpartition(b"\n")
        for line in whole.splitlines():
            note(_DECODER.decode(line))
        await process.wait()


_DECODER: Final = msgspec.json.Decoder(Event)


async def _main(address: str) -> None:
    """Makes the call that comes by the standard input, and writes what happens to the standard output, as lines."""
    encode = msgspec.json.Encoder().encode

    def note(event: Event) -> None:
        sys.stdout.buffer.write(encode(event) + b"\n")
        sys.stdout.buffer.flush()

    async with grpc.aio.insecure_channel(address, options=OPTIONS) as channel:
        await converse(channel, msgspec.json.decode(sys.stdin.buffer.read(), type=StreamCall), note)


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1]))

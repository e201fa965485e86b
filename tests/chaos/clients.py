"""The clients: they ask, lose patience, ask again and go away, as real ones do."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import grpc.aio
from allocation.v1.consignment_allocation_service_pb2_grpc import ConsignmentAllocationServiceStub
from allocation.v1.shipment_allocation_service_pb2_grpc import ShipmentAllocationServiceStub
from chaos import outside
from chaos.check import conclusive
from chaos.history import Call, Operation
from chaos.requests import asking, digest, failure, is_reconciled, outcomes, references_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from chaos.history import History
    from chaos.plan import Plan, Session, Step
    from chaos.processes import Witness
    from chaos.requests import Asking

# Connections to each gateway, so that not all calls share the fate of one.
_CHANNELS: Final = 4
OPTIONS: Final = (
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 300),
    # Each channel has connections of its own.
    ("grpc.use_local_subchannel_pool", 1),
    # What repeats a call is the client, who writes it down.
    ("grpc.enable_retries", 0),
)
# How often, and for how many seconds, a client asks before it takes *unknown* for an answer.
_MOST_CALLS: Final = 9
_MOST_SECONDS: Final = 60.0
_LONGEST_WAIT: Final = 2.0
# How long clients wait when all faults are over, in times of what a call may take then.
_SETTLING_PATIENCE: Final = 1.2
# Seconds between two clients that ask then: all at once would be a fault of its own.
_BETWEEN_SETTLING: Final = 0.02


class Clients:
    """All clients of a phase.

    Attributes:
        in_flight: The calls that each gateway has in hand.
    """

    def __init__(
        self, plan: Plan, history: History, addresses: Sequence[str], witness: Witness, account: str = ""
    ) -> None:
        """Connects to nobody yet.

        Args:
            plan: What they do.
            history: Where what they see is written down.
            addresses: Where the gateways listen.
            witness: Upstream, of their account.
            account: The account that they name; empty if they name none.
        """
        self._metadata = (("allocation-account", account),) if account else ()
        self._plan = plan
        self._history = history
        self._witness = witness
        self._channels = [
            [grpc.aio.insecure_channel(address, options=OPTIONS) for _ in range(_CHANNELS)] for address in addresses
        ]
        self._numbers = 0
        self._steps: dict[str, tuple[Step, Asking]] = {}
        self._last: dict[str, Call] = {}
        self.in_flight = [0 for _ in addresses]

    async def close(self) -> None:
        """Closes all connections."""
        await asyncio.gather(*(channel.close() for channels in self._channels for channel in channels))

    async def run(self, session: Session) -> None:
        """Lets everyone of a session do what they want to."""
        clients = (self._client(steps, session) for steps in session.clients)
        await asyncio.gather(*clients, self._other_system(session))

    async def _client(self, steps: Iterable[Step], session: Session) -> None:
        for step in steps:
            await asyncio.sleep(step.after)
            await self._want(step, session)

    async def _want(self, step: Step, session: Session) -> None:
        asked = asking(step, step.references, await self._quote(step))
        self._steps[step.id.hex] = (step, asked)
        self._history.add(
            Operation(step.id.hex, asked.verb, asked.method, step.references, step.fate, asked.carrier_service)
        )
        match step.fate:
            case "quitter":
                patience = self._plan.patience("patience", step.id)
                await self._ask(step, asked, "first", patience=patience)
            case "twin":
                copy = asyncio.create_task(self._ask(step, asked, "copy"))
                await self._pursue(step, asked)
                await copy
            case "reuser":
                call = await self._pursue(step, asked)
                if call.code == "OK":
                    # A quote would be another shipment's, and be refused for that.
                    other = replace(step, how="default") if step.how == "quote" else step
                    await self._ask(step, asking(other, (session.spare,), ""), "other")
            case "repeater":
                call = await self._pursue(step, asked)
                if conclusive(call) and call.code == "OK":
                    await self._ask(step, asked, "repeat")
            case _:
                await self._pursue(step, asked)

    async def _quote(self, step: Step) -> str:
        """Asks upstream itself for a quote: what is under test is its use."""
        if step.how != "quote":
            return ""
        one = step.references[0]
        method, path = ("POST", f"/pro/shipments/{one}/quote")
        if step.api == "consignments":
            method, path = ("GET", f"/quotes/consignment/{one}")
        async with self._witness.http.request(method, path) as answer:
            if not answer.ok:
                # What is booked is quoted no more: a quote that nobody knows will do.
                return str(step.id)
            quoted = await answer.json()
        return str(quoted["quotes"][0]["reference"] if step.api == "ship" else quoted["Quotes"][0]["QuoteReference"])

    async def _pursue(self, step: Step, asked: Asking) -> Call:
        """Asks until the answer is conclusive, as often as a client would."""
        end = time.time() + _MOST_SECONDS
        dice = self._plan.generator("back-off", step.id)
        call = await self._ask(step, asked, "first")
        for attempt in range(1, _MOST_CALLS):
            if conclusive(call) or time.time() > end:
                break
            wait = dice.uniform(0.0, min(0.1 * 2**attempt, _LONGEST_WAIT))
            await asyncio.sleep(min(max(wait, call.retry_after or 0.0), _LONGEST_WAIT))
            call = await self._ask(step, asked, "retry")
        return call

    async def _ask(self, step: Step, asked: Asking, role: str, patience: float | None = None) -> Call:
        """Makes one call, and writes down how it ended."""
        self._numbers += 1
        number = self._numbers
        dice = self._plan.generator("way", step.id, role, number if role in {"retry", "settling"} else 0)
        replica = dice.randrange(len(self._channels))
        is_late = role in {"settling", "repeat", "other"}
        timeout = _SETTLING_PATIENCE * self._history.run.recovery if is_late else step.timeout
        started = time.time()
        self.in_flight[replica] += 1
        call = Call(
            number=number,
            id=step.id.hex,
            references=tuple(references_of(asked.message)),
            role=role,
            replica=replica,
            started=started,
            ended=started,
            deadline=started + timeout,
            code="OK",
        )
        try:
            response = await self._send(dice.choice(self._channels[replica]), asked, call, patience)
            call.digest = digest(response)
            call.reconciled = is_reconciled(response)
            call.outcomes = outcomes(response)
        except grpc.aio.AioRpcError as error:
            call.code = error.code().name
            call.reason, call.effect, call.retry_after = failure(error)
        except (TimeoutError, asyncio.CancelledError):
            call.code = "CANCELLED"
        finally:
            self.in_flight[replica] -= 1
        call.ended = time.time()
        self._history.add(call)
        if role != "other":
            self._last[call.id] = call
        return call

    async def _send(self, channel: grpc.aio.Channel, asked: Asking, call: Call, patience: float | None) -> Any:
        stub: Any = ShipmentAllocationServiceStub if asked.service == "Shipment" else ConsignmentAllocationServiceStub
        metadata = (("traceparent", f"00-{call.id}-{call.number:016x}-00"), *self._metadata)
        sent = getattr(stub(channel), asked.method)(
            asked.message, timeout=call.deadline - call.started, metadata=metadata
        )
        if patience is None:
            return await sent
        # Whoever loses patience cancels, and the gateway is told so.
        async with asyncio.timeout(patience):
            return await sent

    async def _other_system(self, session: Session) -> None:
        """What another system does with the same shipment, past the gateway."""
        for pause, what in session.outside:
            await asyncio.sleep(pause)
            step = session.clients[0][0]
            await outside.write(self._witness.http, step.api, what, step.references[0], step.id.hex)

    async def settle(self, at_once: int, share_of_repeats: float) -> None:
        """After all faults: asks again for what is not known, and for some of what is."""
        places = asyncio.Semaphore(at_once)

        async def again(step: Step, asked: Asking, role: str) -> None:
            async with places:
                call = await self._ask(step, asked, role)
                for _ in range(2):
                    if role != "settling" or conclusive(call):
                        return
                    await asyncio.sleep(min(call.retry_after or 0.2, _LONGEST_WAIT))
                    call = await self._ask(step, asked, role)

        tasks = []
        for id_, (step, asked) in tuple(self._steps.items()):
            call = self._last[id_]
            dice = self._plan.generator("settling", id_)
            if not conclusive(call):
                # Some who went away never come back.
                if step.fate != "quitter" or dice.random() < 0.5:
                    tasks.append(asyncio.create_task(again(step, asked, "settling")))
            elif call.code == "OK" and dice.random() < share_of_repeats:
                tasks.append(asyncio.create_task(again(step, asked, "repeat")))
            else:
                continue
            await asyncio.sleep(_BETWEEN_SETTLING)
        await asyncio.gather(*tasks)
